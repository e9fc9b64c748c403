import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { StowageError } from "../errors.ts";
import type { MemoryGroup } from "./memory-group.ts";
import {
  type DecodeSamples,
  type FirstToken,
  type ReplaySamples,
  readReply,
  type SideMemory,
  type SideOptions,
  type SideRequest,
  type SideResults,
  type SideTask,
} from "./side-messages.ts";

export type { DecodeSamples, FirstToken, ReplaySamples, SideMemory, SideOptions } from "./side-messages.ts";

/** The script of the llama.cpp side. */
export const llamaSide = new URL(
  import.meta.url.endsWith(".ts") ? "llama-side.ts" : "llama-side.js",
  import.meta.url,
);

/**
 * One side of a benchmark, in a process of its own. Times are taken inside that process, so messages cost nothing.
 * Ask for one thing at a time. Every method throws `side_failed` when the side answers with an error or ends.
 */
export class Side {
  readonly #child: ChildProcess;
  #busy: SideTask | undefined;

  /**
   * Starts the process and loads the library; the model is loaded by the first measure.
   * @param script what the process runs: {@link serveSide} on the side's subject
   * @param place.group whose memory limit holds the process from its beginning
   * @param place.readers reads of files that may wait for the disk at once; by default Node's 4
   */
  static async start(
    script: URL,
    options: SideOptions,
    place: { group?: MemoryGroup | undefined; readers?: number } = {},
  ): Promise<Side> {
    const command = [process.execPath, ...process.execArgv, fileURLToPath(script)];
    const [file, ...args] = place.group?.wrap(command) ?? command;
    const readers = place.readers === undefined ? {} : { UV_THREADPOOL_SIZE: String(place.readers) };
    const side = new Side(
      spawn(file!, args, {
        serialization: "advanced",
        stdio: ["ignore", "inherit", "inherit", "ipc"],
        env: { ...process.env, ...readers },
      }),
    );
    try {
      await side.#ask({ task: "start", options });
    } catch (error) {
      await side.stop();
      throw error;
    }
    return side;
  }

  private constructor(child: ChildProcess) {
    this.#child = child;
  }

  /**
   * Loads the model anew: from before the file is opened, over the context and the prompt, to the first token.
   * Whether the file is in the page cache is up to the caller.
   */
  loadToFirstToken(prompt: readonly number[]): Promise<FirstToken> {
    return this.#ask({ task: "load", prompt });
  }

  /** Computes the prompt from an empty cache to its first token, after having done the same once unmeasured. */
  prefill(prompt: readonly number[]): Promise<FirstToken> {
    return this.#ask({ task: "prefill", prompt });
  }

  /**
   * Greedy decoding of all prompts side by side, one sequence each: a step is the decoding and the choice of the
   * next token of every sequence. Eight steps go before those that are measured.
   */
  decode(prompts: readonly (readonly number[])[], steps: number): Promise<DecodeSamples> {
    return this.#ask({ task: "decode", prompts, steps });
  }

  /**
   * One sequence from an empty cache: the prompt, then the given tokens, one a step, whatever the logits say. Nothing goes
   * before what is measured.
   */
  replay(prompt: readonly number[], forced: readonly number[]): Promise<ReplaySamples> {
    return this.#ask({ task: "replay", prompt, forced });
  }

  /** What the side has taken so far, and what it planned. Linux only. */
  memory(): Promise<SideMemory> {
    return this.#ask({ task: "memory" });
  }

  /** The most memory that the side has had resident so far, bytes: mapped files and Node itself included. Linux only. */
  async peakMemory(): Promise<number> {
    return (await this.memory()).peakBytes;
  }

  /** Ends the process, also in the middle of a measure. */
  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = once(this.#child, "exit");
    this.#child.kill("SIGKILL");
    await ended;
  }

  async #ask<R extends SideRequest>(request: R): Promise<SideResults[R["task"]]> {
    const { task } = request as { task: R["task"] };
    const failed = (reason: string) => new StowageError("side_failed", { task, reason });
    if (this.#busy) throw failed(`it is still busy with ${this.#busy}.`);
    if (!this.#child.connected) throw failed("the process has ended.");
    this.#busy = task;
    const settled = new AbortController();
    const { signal } = settled;
    try {
      const reply = Promise.race([
        once(this.#child, "message", { signal }).then(([message]) => readReply(task, message)),
        once(this.#child, "exit", { signal }).then(([code, name]) => ({
          error: `the process ended (${name ?? `exit code ${code}`}).`,
        })),
      ]);
      // A message that cannot be sent is followed by the exit that it is due to.
      this.#child.send(request, () => {});
      const found = await reply;
      if ("error" in found) throw failed(found.error);
      return found.result;
    } finally {
      settled.abort();
      this.#busy = undefined;
    }
  }
}
