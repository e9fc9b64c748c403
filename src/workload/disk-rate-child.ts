/** The process that measures a disk, see `disk-rate.ts`. */
import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { AlignedMemory } from "../ggml/aligned.ts";
import type { DiskRate, DiskTask } from "./disk-rate.ts";

/** What unbuffered reads ask for: of places, sizes and memory. */
const alignment = 4096;

async function measure(task: DiskTask): Promise<DiskRate> {
  const { file, unbuffered } = await openUnbuffered(task.path);
  try {
    const { size } = await file.stat();
    const places = Math.floor((size - task.readBytes) / alignment) + 1;
    if (places < 1) throw new Error(`${task.path} is shorter than a read of ${task.readBytes} bytes.`);
    const rates: DiskRate["rates"][number][] = [];
    for (const depth of task.depths) {
      rates.push({ depth, bytesPerSecond: await rateAt(file, depth, places, task) });
    }
    const bytesPerSecond = Math.max(...rates.map((rate) => rate.bytesPerSecond));
    return { readBytes: task.readBytes, unbuffered, rates, bytesPerSecond };
  } finally {
    await file.close();
  }
}

async function rateAt(file: FileHandle, depth: number, places: number, task: DiskTask): Promise<number> {
  const { readBytes, mostBytes, mostMs } = task;
  // Large pages, as the slots of experts are asked for: small ones cost the system more than many disks.
  const memory = new AlignedMemory(depth * readBytes, { hugePages: true });
  const started = performance.now();
  let asked = 0;
  let read = 0;
  const reader = async (index: number) => {
    const target = memory.bytes.subarray(index * readBytes, (index + 1) * readBytes);
    while (asked < mostBytes && performance.now() - started < mostMs) {
      asked += readBytes;
      const position = Math.floor(Math.random() * places) * alignment;
      const { bytesRead } = await file.read(target, 0, readBytes, position);
      read += bytesRead;
    }
  };
  await Promise.all(Array.from({ length: depth }, (_, index) => reader(index)));
  const seconds = (performance.now() - started) / 1000;
  memory.dispose();
  return read / seconds;
}

/** Not every file system reads past the page cache: then through it. */
async function openUnbuffered(path: string): Promise<{ file: FileHandle; unbuffered: boolean }> {
  try {
    return { file: await open(path, constants.O_RDONLY | (constants.O_DIRECT ?? 0)), unbuffered: true };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EINVAL") throw error;
    return { file: await open(path, "r"), unbuffered: false };
  }
}

let answer: DiskRate | { error: string };
try {
  answer = await measure(JSON.parse(process.argv[2]!) as DiskTask);
} catch (error) {
  answer = { error: (error as Error).message };
}
process.send!(answer);
