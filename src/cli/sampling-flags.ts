/** Flags that say how tokens are chosen. */
import { type Command, InvalidArgumentError } from "commander";
import type { SamplingParams } from "../engine/sampling/params.ts";
import { collect, parseNumber } from "./arguments.ts";

/** What {@link addSamplingFlags} reads. */
export interface SamplingFlags
  extends Omit<SamplingParams, "frequencyPenalty" | "presencePenalty" | "penaltyLastN" | "logprobs"> {
  readonly drySequenceBreaker?: string[];
}

export function addSamplingFlags(command: Command): void {
  command
    .option("--temperature <x>", "0 always takes the most likely token (default: 0.8)", parseNumber)
    .option("--top-k <n>", "keep this many most likely tokens; 0 keeps all (default: 40)", parseNumber)
    .option("--top-p <x>", "keep the most likely tokens of this probability (default: 0.95)", parseNumber)
    .option("--min-p <x>", "keep tokens this times as likely as the best (default: 0.05)", parseNumber)
    .option("--typical-p <x>", "keep tokens of usual surprise, of this probability (default: 1)", parseNumber)
    .option(
      "--top-n-sigma <x>",
      "keep logits within this many deviations of the best; -1 is off (default: -1)",
      parseNumber,
    )
    .option("--xtc-probability <x>", "how often top choices are excluded (default: 0)", parseNumber)
    .option("--xtc-threshold <x>", "what makes a top choice of a token (default: 0.1)", parseNumber)
    .option("--repeat-penalty <x>", "make recent tokens less likely; 1 is off (default: 1)", parseNumber)
    .option("--dry-multiplier <x>", "make going on with a repetition less likely (default: 0)", parseNumber)
    .option("--dry-base <x>", "by what that grows a token (default: 1.75)", parseNumber)
    .option("--dry-allowed-length <n>", "shorter repetitions are free, tokens (default: 2)", parseNumber)
    .option("--dry-penalty-last-n <n>", "look at this many last tokens; -1 at all (default: -1)", parseNumber)
    .option(
      "--dry-sequence-breaker <text>",
      'no repetition reaches over it; may be given several times (default: newline, ":", \'"\', "*")',
      collect,
    )
    .option(
      "--mirostat <n>",
      "1 or 2: hold the surprise of tokens steady; 0 is off (default: 0)",
      parseNumber,
    )
    .option("--mirostat-tau <x>", "that surprise, bits (default: 5)", parseNumber)
    .option("--mirostat-eta <x>", "how fast it is learned (default: 0.1)", parseNumber)
    .option(
      "--logit-bias <token=x>",
      "add to the logit of a token, such as 42=-100; may be given several times",
      parseBias,
    )
    .option("--seed <n>", "makes the draws repeatable (default: random)", parseNumber)
    .option("--stop <text>", "end before this text; may be given several times", collect);
}

/** The parameters that were given. */
export function samplingOf(flags: SamplingFlags): SamplingParams {
  const { temperature, topK, topP, minP, typicalP, topNSigma, xtcProbability, xtcThreshold } = flags;
  const { repeatPenalty, dryMultiplier, dryBase, dryAllowedLength, dryPenaltyLastN } = flags;
  const { drySequenceBreaker: drySequenceBreakers, mirostat, mirostatTau, mirostatEta } = flags;
  const { logitBias, seed, stop } = flags;
  const given = {
    ...{ temperature, topK, topP, minP, typicalP, topNSigma, xtcProbability, xtcThreshold, repeatPenalty },
    ...{ dryMultiplier, dryBase, dryAllowedLength, dryPenaltyLastN, drySequenceBreakers },
    ...{ mirostat, mirostatTau, mirostatEta, logitBias, seed, stop },
  };
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
}

function parseBias(text: string, previous: Record<string, number> = {}): Record<string, number> {
  const [, token, amount] = /^(\d{1,9})=(.+)$/.exec(text.trim()) ?? [];
  if (token === undefined) throw new InvalidArgumentError("It has to be a token id and a number: 42=-100.");
  return { ...previous, [Number(token)]: parseNumber(amount!) };
}
