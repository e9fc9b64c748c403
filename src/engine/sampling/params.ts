/** What a request may say about sampling: defaults, ranges, and the check of both. */
import { randomInt } from "node:crypto";
import { StowageError } from "../../errors.ts";

/** Sampling parameters of one request. Every field may be left out; the defaults are llama.cpp's. */
export interface SamplingParams {
  /** Divides the logits before the draw, 0 to 10; 0 means greedy: always the most likely token. Default 0.8. */
  temperature?: number;
  /** Keep only this many most likely tokens; 0 turns it off. Default 40. */
  topK?: number;
  /** Keep the fewest most likely tokens whose probabilities add up to this, 0 to 1; 1 turns it off. Default 0.95. */
  topP?: number;
  /** Keep tokens at least this times as likely as the most likely one, 0 to 1; 0 turns it off. Default 0.05. */
  minP?: number;
  /** Divides positive and multiplies negative logits of recent tokens, 0.01 to 100; 1 turns it off. Default 1. */
  repeatPenalty?: number;
  /** Subtracted from a token's logit for each of its recent occurrences, -2 to 2. Default 0. */
  frequencyPenalty?: number;
  /** Subtracted once from the logit of every recent token, -2 to 2. Default 0. */
  presencePenalty?: number;
  /** How many of the last tokens the penalties look at; 0 turns them off. Default 64. */
  penaltyLastN?: number;
  /** Makes the draws repeatable: any safe integer. Default: drawn at random. */
  seed?: number;
  /** Report log-probabilities: of the chosen token, and of this many most likely ones, 0 to 20. Default: none. */
  logprobs?: number;
  /** Text at which generation ends: at most 16 strings of 1 to 256 UTF-16 units. Default: none. */
  stop?: readonly string[];
}

/** Checked parameters with nothing left open: the same value always gives the same draws. */
export type ResolvedSampling = Readonly<
  Required<Omit<SamplingParams, "logprobs">> & { logprobs: number | undefined }
>;

const maxStops = 16;
const maxStopLength = 256;
const maxRandomSeed = 2 ** 48 - 1;

/**
 * Fills the defaults in and checks every type and range.
 * A missing `seed` is drawn from the system's random source, so that the result can be repeated.
 * @throws StowageError `sampling_param` naming the field, its value and what is allowed.
 */
export function resolveSampling(params: SamplingParams = {}): ResolvedSampling {
  const { temperature = 0.8, topK = 40, topP = 0.95, minP = 0.05 } = params;
  const { repeatPenalty = 1, frequencyPenalty = 0, presencePenalty = 0, penaltyLastN = 64 } = params;
  const { seed = randomInt(maxRandomSeed), logprobs, stop = [] } = params;
  return {
    temperature: real("temperature", temperature, 0, 10),
    topK: integer("topK", topK, 0, 1_000_000),
    topP: real("topP", topP, 0, 1),
    minP: real("minP", minP, 0, 1),
    repeatPenalty: real("repeatPenalty", repeatPenalty, 0.01, 100),
    frequencyPenalty: real("frequencyPenalty", frequencyPenalty, -2, 2),
    presencePenalty: real("presencePenalty", presencePenalty, -2, 2),
    penaltyLastN: integer("penaltyLastN", penaltyLastN, 0, 131_072),
    seed: integer("seed", seed, Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER),
    logprobs: logprobs === undefined ? undefined : integer("logprobs", logprobs, 0, 20),
    stop: stops(stop),
  };
}

function real(field: string, value: unknown, min: number, max: number): number {
  if (typeof value === "number" && value >= min && value <= max) return value;
  throw refusal(field, value, `a number from ${min} to ${max}`);
}

function integer(field: string, value: unknown, min: number, max: number): number {
  if (Number.isInteger(value) && (value as number) >= min && (value as number) <= max) return value as number;
  throw refusal(field, value, `an integer from ${min} to ${max}`);
}

function stops(value: unknown): readonly string[] {
  if (!Array.isArray(value)) throw refusal("stop", value, "a list of strings");
  if (value.length > maxStops) {
    throw refusal("stop", `a list of ${value.length}`, `a list of at most ${maxStops} strings`);
  }
  value.forEach((stop: unknown, i) => {
    if (typeof stop !== "string" || stop === "" || stop.length > maxStopLength || !stop.isWellFormed()) {
      throw refusal(`stop[${i}]`, stop, `well-formed text of 1 to ${maxStopLength} UTF-16 units`);
    }
  });
  return [...value];
}

function refusal(field: string, value: unknown, allowed: string): StowageError {
  const text =
    typeof value === "string" && value.length > maxStopLength ? `${value.length} units long` : value;
  const shown = typeof text === "number" || typeof text === "bigint" ? String(text) : JSON.stringify(text);
  return new StowageError("sampling_param", { field, value: shown ?? typeof value, allowed });
}
