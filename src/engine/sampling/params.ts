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
  /**
   * Keep the tokens of the most usual surprise that together have more than this probability, 0 to 1; 1 turns it off.
   * Default 1.
   */
  typicalP?: number;
  /** Keep logits within this many standard deviations of the greatest, -1 to 100; 0 or less turns it off. Default -1. */
  topNSigma?: number;
  /** How often the most likely tokens are excluded (XTC), 0 to 1; 0 turns it off. Default 0. */
  xtcProbability?: number;
  /** XTC excludes all but the least likely of the tokens at least this likely, 0 to 1; off above 0.5. Default 0.1. */
  xtcThreshold?: number;
  /** Scales the penalty on going on with a repetition (DRY), 0 to 100; 0 turns it off. Default 0. */
  dryMultiplier?: number;
  /** By what that penalty grows with each further token repeated, 1 to 100. Default 1.75. */
  dryBase?: number;
  /** Repetitions shorter than this cost nothing, tokens, 0 to 131072. Default 2. */
  dryAllowedLength?: number;
  /** How many of the last tokens DRY looks at, -1 to 131072; -1 means all of them, 0 turns it off. Default -1. */
  dryPenaltyLastN?: number;
  /** Text that no repetition reaches over: at most 16 strings of 1 to 40 units. Default: newline, `:`, `"` and `*`. */
  drySequenceBreakers?: readonly string[];
  /** Mirostat 1 or 2, in the place of the samplers from `topNSigma` to XTC; 0 is off. Default 0. */
  mirostat?: number;
  /** The surprise that Mirostat aims at, bits a token, 0 to 100. Default 5. */
  mirostatTau?: number;
  /** How fast Mirostat learns, 0 to 1. Default 0.1. */
  mirostatEta?: number;
  /** Added to the logits of these tokens first of all: -100 to 100, by token id; at most 1024 of them. Default: none. */
  logitBias?: Readonly<Record<string, number>>;
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
const maxBreakers = 16;
const maxBreakerLength = 40;
const maxBiased = 1024;
const maxRandomSeed = 2 ** 48 - 1;

/**
 * Fills the defaults in and checks every type and range.
 * A missing `seed` is drawn from the system's random source, so that the result can be repeated.
 * @throws StowageError `sampling_param` naming the field, its value and what is allowed.
 */
export function resolveSampling(params: SamplingParams = {}): ResolvedSampling {
  const { temperature = 0.8, topK = 40, topP = 0.95, minP = 0.05 } = params;
  const { repeatPenalty = 1, frequencyPenalty = 0, presencePenalty = 0, penaltyLastN = 64 } = params;
  const { typicalP = 1, topNSigma = -1, xtcProbability = 0, xtcThreshold = 0.1 } = params;
  const { dryMultiplier = 0, dryBase = 1.75, dryAllowedLength = 2, dryPenaltyLastN = -1 } = params;
  const { drySequenceBreakers = ["\n", ":", '"', "*"] } = params;
  const { mirostat = 0, mirostatTau = 5, mirostatEta = 0.1, logitBias = {} } = params;
  const { seed = randomInt(maxRandomSeed), logprobs, stop = [] } = params;
  return {
    temperature: real("temperature", temperature, 0, 10),
    topK: integer("topK", topK, 0, 1_000_000),
    topP: real("topP", topP, 0, 1),
    minP: real("minP", minP, 0, 1),
    typicalP: real("typicalP", typicalP, 0, 1),
    topNSigma: real("topNSigma", topNSigma, -1, 100),
    xtcProbability: real("xtcProbability", xtcProbability, 0, 1),
    xtcThreshold: real("xtcThreshold", xtcThreshold, 0, 1),
    dryMultiplier: real("dryMultiplier", dryMultiplier, 0, 100),
    dryBase: real("dryBase", dryBase, 1, 100),
    dryAllowedLength: integer("dryAllowedLength", dryAllowedLength, 0, 131_072),
    dryPenaltyLastN: integer("dryPenaltyLastN", dryPenaltyLastN, -1, 131_072),
    drySequenceBreakers: strings("drySequenceBreakers", drySequenceBreakers, maxBreakers, maxBreakerLength),
    mirostat: integer("mirostat", mirostat, 0, 2),
    mirostatTau: real("mirostatTau", mirostatTau, 0, 100),
    mirostatEta: real("mirostatEta", mirostatEta, 0, 1),
    logitBias: biases(logitBias),
    repeatPenalty: real("repeatPenalty", repeatPenalty, 0.01, 100),
    frequencyPenalty: real("frequencyPenalty", frequencyPenalty, -2, 2),
    presencePenalty: real("presencePenalty", presencePenalty, -2, 2),
    penaltyLastN: integer("penaltyLastN", penaltyLastN, 0, 131_072),
    seed: integer("seed", seed, Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER),
    logprobs: logprobs === undefined ? undefined : integer("logprobs", logprobs, 0, 20),
    stop: strings("stop", stop, maxStops, maxStopLength),
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

function strings(field: string, value: unknown, most: number, longest: number): readonly string[] {
  if (!Array.isArray(value)) throw refusal(field, value, "a list of strings");
  if (value.length > most) {
    throw refusal(field, `a list of ${value.length}`, `a list of at most ${most} strings`);
  }
  value.forEach((text: unknown, i) => {
    if (typeof text !== "string" || text === "" || text.length > longest || !text.isWellFormed()) {
      throw refusal(`${field}[${i}]`, text, `well-formed text of 1 to ${longest} UTF-16 units`);
    }
  });
  return [...value];
}

function biases(value: unknown): Readonly<Record<string, number>> {
  const allowed = `an object of at most ${maxBiased} numbers from -100 to 100, by token id`;
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw refusal("logitBias", value, allowed);
  }
  const entries = Object.entries(value);
  if (entries.length > maxBiased) throw refusal("logitBias", `an object of ${entries.length}`, allowed);
  for (const [token, amount] of entries) {
    if (!/^(0|[1-9]\d{0,8})$/.test(token)) throw refusal("logitBias", `for ${shorten(token)}`, allowed);
    real(`logitBias.${token}`, amount, -100, 100);
  }
  return Object.fromEntries(entries);
}

function refusal(field: string, value: unknown, allowed: string): StowageError {
  const text = typeof value === "string" ? shorten(value) : value;
  const shown = typeof text === "number" || typeof text === "bigint" ? String(text) : JSON.stringify(text);
  return new StowageError("sampling_param", { field, value: shown ?? typeof value, allowed });
}

function shorten(text: string): string {
  return text.length > maxStopLength ? `${text.length} units long` : text;
}
