import { StowageError } from "../errors.ts";
import { segmentRouting } from "../experts/locality.ts";
import { type GgufValue, gguf } from "../gguf/values.ts";
import type { Hyperparameters } from "./hyperparameters.ts";
import { StreamRouting } from "./stream-routing.ts";
import type { TopicalEmbeddings } from "./topical-embeddings.ts";
import { type TopicProcess, topicalTokens, topicMetadata } from "./topics.ts";

/**
 * How local the routing of a synthetic model is: `uniform` when every token chooses for itself, or the SRP(16) that it is
 * to have on text of its topics, from 0 to 1.
 */
export type Locality = "uniform" | number;

/** The segment that published figures are given for, tokens. */
const segment = 16;
/** As many as SRP needs to hold still from one stream to the next: 64 runs. */
const streamTokens = 4096;
const localTopics = 64;
const localRun = 64;
/** Shares are multiples of this, so that rounding on another processor does not make another file. */
const shareStep = 1 / 1024;

/** The text that a model of this locality is made for. */
export function processFor(locality: Locality, vocabulary: number): TopicProcess {
  if (locality === "uniform") return { vocabulary, topics: 1, meanRun: 1 };
  return { vocabulary, topics: localTopics, meanRun: localRun };
}

/** What a file tells of its routing; `topicsOf` reads what is needed to make text for it. */
export function localityMetadata(
  locality: Locality,
  process: TopicProcess,
  share: number,
  seed: number,
): [string, GgufValue][] {
  return [
    ["stowage.synth.seed", { type: "u64", value: BigInt(seed) }],
    ["stowage.synth.locality", gguf.string(nameOf(locality))],
    ...topicMetadata(process),
    ["stowage.synth.topic_share", gguf.f32(share)],
  ];
}

/**
 * The share of the topics in the embeddings that makes SRP(16) what was asked, by bisection: with a larger share,
 * more neighbours choose alike.
 * @param routers of each layer, F32 [width, experts]
 * @param seed of the text, 4096 tokens
 * @throws StowageError synth_invalid when the model has no experts, or no share gives this locality
 */
export async function calibrateShare(
  h: Hyperparameters,
  routers: readonly Float32Array[],
  embeddings: TopicalEmbeddings,
  process: TopicProcess,
  locality: Locality,
  seed: number,
): Promise<number> {
  if (h.experts === 0) throw refusal(locality, "left out: the model has no experts");
  if (locality === "uniform") return 0;
  const tokens = topicalTokens(seed, streamTokens, process);
  const stream = await StreamRouting.compute(h, routers, embeddings, process.topics, tokens);
  const srpAt = (share: number) => segmentRouting([stream.at(share)], segment).model.performance;
  const [least, most] = [srpAt(0), srpAt(1)];
  if (!(locality >= least && locality <= most)) {
    // Rounded to what can be met.
    const [from, to] = [Math.ceil(least * 1000) / 10, Math.floor(most * 1000) / 10];
    const shape = `${h.expertsUsed} of ${h.experts} experts`;
    throw refusal(locality, `uniform, or from ${from}% to ${to}% for ${shape}`);
  }
  let [low, high] = [0, 1 / shareStep];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (srpAt(middle * shareStep) < locality) low = middle;
    else high = middle;
  }
  return high * shareStep;
}

function refusal(locality: Locality, limit: string): StowageError {
  return new StowageError("synth_invalid", { field: "locality", value: nameOf(locality), limit });
}

function nameOf(locality: Locality): string {
  return locality === "uniform" ? locality : `${Number((locality * 100).toFixed(3))}%`;
}
