import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { StowageError } from "../errors.ts";
import { heapMebibytes, maxMilliseconds, type TemplateResult } from "./template-limits.ts";

/** A template to render; without variables, only to parse. */
export interface TemplateJob {
  readonly source: string;
  readonly variables?: Readonly<Record<string, unknown>>;
}

/** The process ends itself in time but for one step that takes long; then it is ended from here. */
const killAfter = maxMilliseconds + 200;

/**
 * Renders templates in a child process. A template is a program that came with a model file: what it may take of
 * time and memory can only be bounded from outside, and a thread of this process that runs out of memory would end
 * the whole process. One child serves all templates, one job at a time; a new one takes the place of one that had
 * to be ended. It does not keep this process alive, and ends with it.
 */
class TemplateProcess {
  #child: ChildProcess | undefined;
  #last: Promise<unknown> = Promise.resolve();

  /** Waits for the jobs before it. */
  run(job: TemplateJob): Promise<TemplateResult> {
    const result = this.#last.then(() => this.#runAlone(job));
    this.#last = result.catch(() => undefined);
    return result;
  }

  async #runAlone(job: TemplateJob): Promise<TemplateResult> {
    const child = await this.#ready();
    setAlive(child, true);
    try {
      return await exchange(child, job);
    } finally {
      setAlive(child, false);
    }
  }

  async #ready(): Promise<ChildProcess> {
    if (this.#child) return this.#child;
    const script = fileURLToPath(import.meta.url).replace(/process\.(ts|js)$/, "child.$1");
    const child = fork(script, [], {
      execArgv: [`--max-old-space-size=${heapMebibytes}`],
      serialization: "advanced",
      stdio: ["ignore", "ignore", "ignore", "ipc"],
    });
    // A broken channel: what waits is settled by the exit that follows.
    child.on("error", () => child.kill("SIGKILL"));
    child.once("exit", () => {
      if (this.#child === child) this.#child = undefined;
    });
    await Promise.race([
      once(child, "message"),
      once(child, "exit").then(([code, signal]) => {
        throw new StowageError("native_call_failed", {
          call: "fork",
          reason: `the template process ended before it was ready (${code ?? signal}).`,
        });
      }),
    ]);
    this.#child = child;
    return child;
  }
}

function exchange(child: ChildProcess, job: TemplateJob): Promise<TemplateResult> {
  return new Promise((resolve) => {
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      child.kill("SIGKILL");
    }, killAfter);
    const settle = (result: TemplateResult) => {
      clearTimeout(timer);
      child.off("message", settle);
      child.off("exit", ended);
      resolve(result);
    };
    const ended = () =>
      settle(
        late
          ? { kind: "timeout" }
          : { kind: "limit", what: "memory in MiB", found: "more", limit: heapMebibytes },
      );
    child.once("message", settle);
    child.once("exit", ended);
    child.send(job);
  });
}

/** Whether the child keeps this process alive: only while somebody waits for it. */
function setAlive(child: ChildProcess, alive: boolean): void {
  if (alive) {
    child.ref();
    child.channel?.ref();
  } else {
    child.unref();
    child.channel?.unref();
  }
}

/** The one template process of this process. */
export const templateProcess = new TemplateProcess();
