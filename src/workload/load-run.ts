import { setImmediate as nextTurn, setTimeout as wait } from "node:timers/promises";
import type { LoadRecord } from "./load-record.ts";
import type { Send } from "./load-request.ts";
import type { PlannedRequest } from "./traces/shape.ts";

/** What is to be sent, and when. */
export interface LoadPlan {
  readonly requests: Iterable<PlannedRequest>;
  /** So many at any time, each sent when another has ended; undefined: each at the time it is due. */
  readonly concurrency?: number | undefined;
  /** After so many ms no more are sent; those under way are awaited. */
  readonly durationMs?: number | undefined;
}

export interface LoadRun {
  /** What the times of requests and records count from, by `performance.now`. */
  readonly origin: number;
  /** Aborting it ends the run: what is under way becomes a record that was cancelled. */
  readonly signal: AbortSignal;
  /** Makes the request of this index ready. */
  prepare(request: PlannedRequest, index: number): Send;
  /** Called when a request has ended, well or not. */
  onEnd?(record: LoadRecord): void;
}

/** Sends the requests of a plan. The records are in the order of sending. */
export async function runLoad(plan: LoadPlan, run: LoadRun): Promise<LoadRecord[]> {
  const sent: Promise<LoadRecord>[] = [];
  const send = (ready: Send, dueAt?: number) => {
    const record = ready(run.signal, dueAt);
    sent.push(record);
    return record.then((ended) => run.onEnd?.(ended));
  };
  if (plan.concurrency === undefined) await sendWhenDue(plan, run, send);
  else await sendWhenFree(plan, plan.concurrency, run, send);
  return Promise.all(sent);
}

type Start = (ready: Send, dueAt?: number) => Promise<void>;

async function sendWhenDue({ requests, durationMs }: LoadPlan, run: LoadRun, send: Start): Promise<void> {
  const under: Promise<void>[] = [];
  let index = 0;
  for (const request of requests) {
    if (durationMs !== undefined && request.at >= durationMs) break;
    const ready = run.prepare(request, index++);
    await until(run.origin + request.at, run.signal);
    if (run.signal.aborted) break;
    under.push(send(ready, request.at));
  }
  await Promise.all(under);
}

async function sendWhenFree(
  { requests, durationMs = Number.POSITIVE_INFINITY }: LoadPlan,
  concurrency: number,
  run: LoadRun,
  send: Start,
): Promise<void> {
  const source = requests[Symbol.iterator]();
  let index = 0;
  const place = async () => {
    while (!run.signal.aborted && performance.now() - run.origin < durationMs) {
      const next = source.next();
      if (next.done) return;
      await send(run.prepare(next.value, index++));
    }
  };
  await Promise.all(Array.from({ length: concurrency }, place));
}

/** Waits until `time`, by `performance.now`, or until the signal. Gives other work a turn in any case. */
async function until(time: number, signal: AbortSignal): Promise<void> {
  await nextTurn();
  try {
    for (let left = time - performance.now(); left > 0; left = time - performance.now())
      await wait(left, undefined, { signal });
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}
