/** What an engine process takes, told by the system: before it takes a model, and at most. Linux only. */
import { readFileSync } from "node:fs";
import { EngineProcess, type GenerateCall } from "../gateway/engine-process.ts";
import type { ModelSettings } from "../gateway/options.ts";
import { randomTokens } from "../workload/random-tokens.ts";

/** An engine that has planned a model reads its vocabulary beside; its size is taken when it has stood still for so long. */
const stillMs = 300;
const stillWithinMs = 20_000;
const lookEveryMs = 50;

/** Of each context, the tokens that are decoded after the prompt. */
const decodedTokens = 8;

class Planned extends Error {}

/**
 * Starts an engine process as a server has it, lets it read the model's header and vocabulary, and ends it. Of the
 * weights nothing is read.
 * @returns bytes that the process itself has resident; undefined where the system does not tell
 * @throws StowageError those of `loadEngine` up to its plan
 */
export async function idleEngineBytes(
  path: string,
  settings: Partial<ModelSettings>,
): Promise<number | undefined> {
  if (process.platform !== "linux") return undefined;
  const engine = await EngineProcess.start(path);
  let bytes = 0;
  try {
    await engine.load(path, settings, {
      planned: async () => {
        bytes = await settledBytes(engine.pid);
        throw new Planned();
      },
    });
  } catch (error) {
    if (!(error instanceof Planned)) throw error;
  } finally {
    engine.kill();
    await engine.exited;
  }
  return bytes;
}

/** What a loaded and busy model took. Bytes. */
export interface EnginePeak {
  /** What it was planned to take, without the process itself. */
  readonly planned: number;
  /** The most that its process had resident, mapped files included. */
  readonly peak: number;
}

/** Loads a model in an engine process, fills the context of as many sequences as it takes at once, and ends it. */
export async function busyEngineBytes(path: string, settings: Partial<ModelSettings>): Promise<EnginePeak> {
  const engine = await EngineProcess.start(path);
  try {
    let planned = 0;
    const ready = await engine.load(path, settings, {
      planned: async (bytes) => {
        planned = bytes;
      },
    });
    const generations = Array.from({ length: ready.maxSequences }, (_, index) => {
      const tokens = randomTokens(ready.contextTokens - decodedTokens, ready.vocabulary, index);
      return finished(engine, { input: { tokens }, ignoreEnd: true, sampling: {} });
    });
    await Promise.all(generations);
    return { planned, peak: statusBytes(engine.pid, "VmHWM") };
  } finally {
    engine.kill();
    await engine.exited;
  }
}

function finished(engine: EngineProcess, call: GenerateCall): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const nothing = () => {};
    const listener = { accepted: nothing, started: nothing, token: nothing };
    engine.generate(call, { ...listener, finished: resolve, failed: reject }).catch(reject);
  });
}

/** A field of the process's status in bytes: VmRSS is resident now, VmHWM at most. */
function statusBytes(pid: number, field: "VmRSS" | "VmHWM"): number {
  const line = readFileSync(`/proc/${pid}/status`, "utf8").match(new RegExp(`^${field}:\\s+(\\d+) kB`, "m"));
  return Number(line![1]) * 1024;
}

async function settledBytes(pid: number): Promise<number> {
  const end = performance.now() + stillWithinMs;
  let bytes = 0;
  let since = performance.now();
  while (performance.now() < end) {
    const now = statusBytes(pid, "VmRSS");
    if (now !== bytes) since = performance.now();
    else if (performance.now() - since > stillMs) break;
    bytes = now;
    await new Promise((resolve) => setTimeout(resolve, lookEveryMs));
  }
  return bytes;
}
