import { readFileSync } from "node:fs";
import { flushCompileCache } from "node:module";
import {
  asRequest,
  type DecodeSamples,
  type FirstToken,
  type ReplaySamples,
  type SideMemory,
  type SideOptions,
  type SideReply,
  type SideRequest,
  type SideResults,
  type SideTask,
} from "./side-messages.ts";

/** What a side measures; see `Side` for what each means. */
export interface Subject {
  loadToFirstToken(prompt: readonly number[]): Promise<FirstToken>;
  prefill(prompt: readonly number[]): Promise<FirstToken>;
  decode(prompts: readonly (readonly number[])[], steps: number): Promise<DecodeSamples>;
  replay(prompt: readonly number[], forced: readonly number[]): Promise<ReplaySamples>;
  /** What is planned for its memory, where it plans. */
  readonly planned?: Omit<SideMemory, "peakBytes">;
}

/** Makes this process a side: does what its parent asks, one task at a time, until the parent is gone. */
export function serveSide(make: (options: SideOptions) => Subject): void {
  let subject: Subject | undefined;

  async function answer(request: SideRequest): Promise<SideResults[SideTask]> {
    if (request.task === "start") {
      subject = make(request.options);
      return { ready: true };
    }
    if (request.task === "memory") return { peakBytes: peakBytes(), ...subject?.planned };
    if (!subject) throw new Error("it was not started.");
    if (request.task === "load") return subject.loadToFirstToken(request.prompt);
    if (request.task === "prefill") return subject.prefill(request.prompt);
    if (request.task === "replay") return subject.replay(request.prompt, request.forced);
    return subject.decode(request.prompts, request.steps);
  }

  process.on("message", async (message) => {
    const request = asRequest(message);
    const task = request?.task ?? (message as { task?: SideTask } | null)?.task ?? "start";
    let reply: SideReply;
    try {
      if (!request) throw new Error("the request is not valid.");
      reply = { task, result: await answer(request) };
    } catch (error) {
      reply = { task, error: error instanceof Error ? error.message : String(error) };
    }
    process.send!(reply);
    // The process will be killed: what was compiled is kept for the next one now.
    if (task === "load") flushCompileCache();
  });
  process.on("disconnect", () => process.exit());
}

/** The most memory that this process has had resident, bytes, mapped files and Node itself included. */
function peakBytes(): number {
  return counterOf("/proc/self/status", /^VmHWM:\s+(\d+) kB$/m) * 1024;
}

/** What this process has read from disks so far, bytes, mapped files included. Linux only. */
export function diskBytes(): number {
  return counterOf("/proc/self/io", /^read_bytes: (\d+)$/m);
}

function counterOf(path: string, pattern: RegExp): number {
  const match = pattern.exec(readFileSync(path, "utf8"));
  if (!match) throw new Error(`${path} has no ${pattern.source}.`);
  return Number(match[1]);
}
