import { planMemory } from "../engine/memory-plan.ts";
import { StowageError } from "../errors.ts";
import { allRecordBytes } from "../experts/layout.ts";
import { prepare } from "../experts/prepare.ts";
import { Backend } from "../ggml/backend.ts";
import { loadNative } from "../ggml/library.ts";
import { requireArchitecture } from "../gguf/metadata.ts";
import { openGguf } from "../gguf/read.ts";
import { planExpertRecords } from "../model/expert-records.ts";
import { familyOf } from "../model/families.ts";
import { planWeights } from "../model/layout.ts";
import { type TopicProcess, topicsOf } from "../model/topics.ts";

/**
 * What a side's process takes before it loads a model, bytes: Node, its heap and the libraries. 90 to 100 MB are
 * resident when it starts, and the heap grows.
 */
export const processBytes = 144 * 2 ** 20;

/** A model as its experts see it, bytes. */
export interface ExpertsModel {
  readonly path: string;
  /** The files of the model. */
  readonly files: readonly string[];
  readonly fileBytes: number;
  readonly vocabulary: number;
  /** The text that it was made for; any is as good for a model without topics. */
  readonly text: TopicProcess;
  /** Longest sequence of the measurement, tokens. */
  readonly contextTokens: number;
  /** Experts of all layers together. */
  readonly expertBytes: number;
  /** The largest record: the size of a read. */
  readonly recordBytes: number;
  /** What the model takes beside its experts: other weights, KV cache, working memory. */
  readonly otherBytes: number;
}

/**
 * Plans a model for one sequence, and prepares its experts where they are not.
 * @param mostContext tokens; the model's own limit is kept
 * @throws StowageError bench_experts for a dense model; gguf_*, model_*, native_*
 */
export async function planExperts(path: string, threads: number, mostContext: number): Promise<ExpertsModel> {
  const file = await openGguf(path);
  const backend = new Backend(loadNative(), { threads });
  try {
    const family = familyOf(requireArchitecture(file.metadata));
    const layout = planWeights(file, family, backend);
    const others = planWeights(file, family, backend, { expertsInSlots: true });
    const records = planExpertRecords(layout);
    if (!records) throw new StowageError("bench_experts", { path, reason: "it is a dense model" });
    // Once, and not under the limit: a model that is used with a budget is prepared.
    await prepare(file, records, backend);
    const contextTokens = Math.min(mostContext, layout.hyperparameters.contextTrained);
    const limits = { contextTokens, maxSequences: 1, stepTokens: 512 };
    const expertBytes = allRecordBytes(records);
    return {
      path,
      files: file.shards.map((shard) => shard.path),
      fileBytes: file.shards.reduce((total, { bytes }) => total + bytes, 0),
      vocabulary: layout.vocabulary,
      text: topicsOf(file.metadata) ?? { vocabulary: layout.vocabulary, topics: 1, meanRun: 1 },
      contextTokens,
      expertBytes,
      recordBytes: Math.max(...records.classes.map((entry) => entry.recordBytes)),
      otherBytes: planMemory(others, limits, contextTokens).total,
    };
  } finally {
    backend.dispose();
  }
}

/**
 * What a limit on the whole process leaves for experts, bytes; at most all of them.
 * @throws StowageError bench_experts when it leaves too little for a single read
 */
export function expertBudget(model: ExpertsModel, limitBytes: number): number {
  const left = limitBytes - processBytes - model.otherBytes;
  if (left >= model.recordBytes) return Math.min(left, model.expertBytes);
  const mebi = (bytes: number) => Math.ceil(bytes / 2 ** 20);
  const reason = `under ${mebi(limitBytes)} MiB, with ${mebi(model.otherBytes + processBytes)} MiB for all else, no expert finds room`;
  throw new StowageError("bench_experts", { path: model.path, reason });
}
