import { InvalidArgumentError } from "commander";
import type { ArrivalKind } from "../workload/arrivals.ts";
import type { Goals } from "../workload/load-metrics.ts";
import type { Endpoint } from "../workload/load-request.ts";
import type { Lengths } from "../workload/synthetic-requests.ts";
import { positiveNumber } from "./arguments.ts";

/** The flags of `stowage bench serve`; undefined where one was not given and has no value of its own. */
export interface ServeFlags {
  readonly url: URL;
  readonly model?: string;
  readonly apiKey?: string;
  readonly endpoint: Endpoint;
  /** Seconds. */
  readonly timeout: number;
  readonly concurrency?: number;
  /** Requests a second. */
  readonly rate?: number;
  readonly arrivals?: ArrivalKind;
  readonly cv?: number;
  readonly requests?: number;
  /** Seconds. */
  readonly duration?: number;
  readonly warmup: number;
  readonly inputTokens?: Lengths;
  readonly outputTokens?: Lengths;
  readonly trace?: string;
  readonly traceFormat?: string;
  readonly scaleRate?: number;
  readonly scaleLength?: number;
  readonly maxInput?: number;
  readonly maxOutput?: number;
  readonly goodput?: Goals;
  readonly seed: number;
}

/** For `argParser`: where the paths of a server begin; a `/v1` at the end may stand there, as other clients want it. */
export function parseServer(text: string): URL {
  const url = URL.parse(text);
  if (url === null || !/^https?:$/.test(url.protocol))
    throw new InvalidArgumentError("It has to be an address such as http://127.0.0.1:8321.");
  url.pathname = `${url.pathname.replace(/\/+$/, "").replace(/\/v1$/, "")}/`;
  return url;
}

/** For `argParser`: a number of tokens, or the least and the most of one, such as 100-900. */
export function parseLengths(text: string): Lengths {
  const [, least, most = least] = /^(\d+)(?:-(\d+))?$/.exec(text) ?? [];
  const lengths = { least: Number(least), most: Number(most) };
  if (lengths.least >= 1 && lengths.most >= lengths.least && Number.isSafeInteger(lengths.most))
    return lengths;
  throw new InvalidArgumentError("It has to be a whole number from 1 on, or two such as 100-900.");
}

const goalNames = ["ttft", "tpot", "e2e"] as const;

/** For `argParser`: the most ms of some latencies, such as ttft:500,tpot:50. */
export function parseGoals(text: string): Goals {
  const goals: { -readonly [Name in keyof Goals]: Goals[Name] } = {};
  for (const part of text.split(",")) {
    const [, name, value] = /^\s*(\w+):(.+)$/.exec(part) ?? [];
    const goal = goalNames.find((known) => known === name);
    if (goal === undefined || value === undefined || goal in goals)
      throw new InvalidArgumentError(
        `It has to be some of ${goalNames.join(", ")}, such as ttft:500,tpot:50.`,
      );
    goals[goal] = positiveNumber(value);
  }
  return goals;
}
