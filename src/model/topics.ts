import type { Metadata } from "../gguf/metadata.ts";
import { type GgufValue, gguf } from "../gguf/values.ts";
import { Random } from "./random.ts";
import { specialTokens } from "./synth-vocabulary.ts";

/** Text of a synthetic vocabulary: runs of tokens of one topic. With one topic, tokens are independent. */
export interface TopicProcess {
  /** Tokens of the vocabulary. */
  readonly vocabulary: number;
  /** Topics that it is divided into, see {@link topicOf}. */
  readonly topics: number;
  /** Mean length of a run, tokens; lengths are geometric. */
  readonly meanRun: number;
}

const keys = { topics: "stowage.synth.topics", meanRun: "stowage.synth.topic_run" } as const;

/** The topic of a token, from 0 on. */
export function topicOf(token: number, topics: number): number {
  return token % topics;
}

/**
 * Tokens of the process: after each one, the topic changes to another with probability 1 / meanRun; a token is
 * any of its topic with equal probability, special tokens excepted.
 * @param seed equal seeds give equal tokens, and the first of a longer stream
 */
export function topicalTokens(seed: number, count: number, process: TopicProcess): number[] {
  const { vocabulary, topics, meanRun } = process;
  const random = new Random(seed);
  let topic = random.below(topics);
  return Array.from({ length: count }, (_, index) => {
    const changes = index > 0 && topics > 1 && random.below(meanRun) === 0;
    if (changes) topic = (topic + 1 + random.below(topics - 1)) % topics;
    const first = topic + topics * Math.max(0, Math.ceil((specialTokens - topic) / topics));
    return first + topics * random.below(Math.ceil((vocabulary - first) / topics));
  });
}

/** The metadata that {@link topicsOf} reads. */
export function topicMetadata({ topics, meanRun }: TopicProcess): [string, GgufValue][] {
  return [
    [keys.topics, gguf.u32(topics)],
    [keys.meanRun, gguf.u32(meanRun)],
  ];
}

/**
 * The text that a synthetic model was made for; `undefined` for a model without topics.
 * @throws StowageError gguf_metadata_type
 */
export function topicsOf(metadata: Metadata): TopicProcess | undefined {
  if (!metadata.has(keys.topics)) return undefined;
  return {
    vocabulary: metadata.strings("tokenizer.ggml.tokens").length,
    topics: metadata.number(keys.topics),
    meanRun: metadata.number(keys.meanRun),
  };
}
