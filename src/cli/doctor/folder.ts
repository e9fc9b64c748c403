/** The folder of the models: whether there is room, and how fast it is read. */
import { randomBytes } from "node:crypto";
import { access, constants, mkdtemp, open, readdir, rm, stat, statfs } from "node:fs/promises";
import { join } from "node:path";
import { measureDiskRate } from "../../workload/disk-rate.ts";
import { formatBytes } from "../../workload/format.ts";
import { type Finding, failed, ok, warn } from "./finding.ts";

const mebi = 2 ** 20;
const littleSpace = 2048 * mebi;
/** Bytes a second from which on experts on the disk are a pleasure; old disks and networks give less. */
const slowDisk = 300 * mebi;
/** A file to measure with, where there is no model. */
const trialBytes = 64 * mebi;
const readBytes = mebi;

/** @param measures whether the speed of its disk is to be measured */
export async function checkFolder(folder: string, measures: boolean): Promise<Finding[]> {
  const check = "models folder";
  try {
    const models = await modelsIn(folder);
    const writable = await access(folder, constants.W_OK).then(
      () => true,
      () => false,
    );
    const found = `${folder}, ${models.length === 1 ? "1 model file" : `${models.length} model files`}`;
    const may = writable
      ? ok(check, found)
      : warn(
          check,
          `${found}, not writable`,
          "Experts are prepared beside their model: give yourself write access.",
        );
    const space = await checkSpace(folder);
    return measures ? [may, space, await checkSpeed(folder, models, writable)] : [may, space];
  } catch (error) {
    return [failed(check, error, "Make the folder, or name another: stowage doctor --models FOLDER.")];
  }
}

interface ModelFile {
  readonly path: string;
  readonly bytes: number;
}

/** The largest first. */
async function modelsIn(folder: string): Promise<ModelFile[]> {
  const names = (await readdir(folder)).filter((name) => name.endsWith(".gguf"));
  const files = names.map(async (name) => {
    const path = join(folder, name);
    return { path, bytes: (await stat(path)).size };
  });
  return (await Promise.all(files)).sort((a, b) => b.bytes - a.bytes);
}

async function checkSpace(folder: string): Promise<Finding> {
  const { bavail, blocks, bsize } = await statfs(folder);
  const free = bavail * bsize;
  const found = `${formatBytes(free)} of ${formatBytes(blocks * bsize)}`;
  if (free >= littleSpace) return ok("free space", found);
  const next = "Make room: quantised models and prepared experts are written beside the model.";
  return warn("free space", found, next);
}

async function checkSpeed(
  folder: string,
  [largest]: readonly ModelFile[],
  writable: boolean,
): Promise<Finding> {
  const check = "disk speed";
  const big = largest !== undefined && largest.bytes >= 8 * readBytes;
  if (!big && !writable) return ok(check, "not measured: no model file, and none may be written");
  let trial: string | undefined;
  try {
    if (!big) trial = await mkdtemp(join(folder, ".stowage-doctor-"));
    const path = trial === undefined ? largest!.path : await writeTrial(trial);
    const rate = await measureDiskRate(path, { readBytes, depths: [1, 4], mostMs: 400 });
    const how = rate.unbuffered ? "past the page cache" : "through the page cache";
    const found = `${formatBytes(rate.bytesPerSecond)}/s in reads of ${formatBytes(readBytes)}, ${how}`;
    if (rate.bytesPerSecond >= slowDisk) return ok(check, found);
    const next = "Models load slowly, and experts on the disk slow every token: put models on a local SSD.";
    return warn(check, found, next);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return warn(check, `not measured: ${reason}`, "Check that the file can be read, and its disk.");
  } finally {
    if (trial !== undefined) await rm(trial, { recursive: true, force: true });
  }
}

async function writeTrial(folder: string): Promise<string> {
  const path = join(folder, "trial");
  const file = await open(path, "w");
  try {
    const bytes = randomBytes(mebi);
    for (let written = 0; written < trialBytes; written += mebi) await file.write(bytes);
    await file.sync();
  } finally {
    await file.close();
  }
  return path;
}
