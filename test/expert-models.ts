import { readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { allRecords, type ExpertLayout } from "../src/experts/layout.ts";
import { Backend } from "../src/ggml/backend.ts";
import { loadNative } from "../src/ggml/library.ts";
import { type GgufFile, openGguf } from "../src/gguf/read.ts";
import { gguf } from "../src/gguf/values.ts";
import { writeGguf } from "../src/gguf/write.ts";
import { planExpertRecords } from "../src/model/expert-records.ts";
import { familyOf } from "../src/model/families.ts";
import { planWeights, type WeightLayout } from "../src/model/layout.ts";
import type { SyntheticModel } from "../src/model/synth.ts";

/** A mixture of experts of a few hundred KiB: 3 layers of 4 experts, Q4_K with Q6_K down-projections. */
export const tinyExperts: SyntheticModel = {
  architecture: "qwen3moe",
  layers: 3,
  width: 256,
  heads: 4,
  kvHeads: 2,
  headWidth: 64,
  experts: 4,
  expertsUsed: 2,
  expertWidth: 256,
  vocabulary: 300,
  context: 128,
  ropeBase: 10_000,
  normEpsilon: 1e-5,
  type: "Q4_K",
  downType: "Q6_K",
  seed: 7,
};

export interface ExpertModel {
  readonly file: GgufFile;
  readonly weights: WeightLayout;
  readonly layout: ExpertLayout;
  readonly backend: Backend;
  /** [layer, expert] of every record, in the order of a prepared file. */
  readonly records: readonly (readonly [number, number])[];
}

/** A mixture of experts with all that a store of its experts needs; the caller disposes the backend. */
export async function openExpertModel(path: string): Promise<ExpertModel> {
  const file = await openGguf(path);
  const backend = new Backend(loadNative(), { threads: availableParallelism() });
  const family = familyOf(file.metadata.string("general.architecture"));
  const weights = planWeights(file, family, backend);
  const layout = planExpertRecords(weights)!;
  return { file, weights, layout, backend, records: allRecords(layout) };
}

/** Writes a model in two parts into `folder`, tensors by turns. Returns the path of the first part. */
export async function splitModel(path: string, folder: string): Promise<string> {
  const file = await openGguf(path);
  const bytes = readFileSync(path);
  const all = [...file.tensors.values()];
  const pathOf = (index: number) => join(folder, `split-0000${index + 1}-of-00002.gguf`);
  for (const index of [0, 1]) {
    await writeGguf(pathOf(index), {
      metadata: [
        ...(index === 0 ? file.metadata : []),
        ["split.no", gguf.u32(index)],
        ["split.count", gguf.u32(2)],
        ["split.tensors.count", gguf.u32(all.length)],
      ],
      tensors: all.filter((_, at) => at % 2 === index),
      data: (tensor) => bytes.subarray(tensor.offset, tensor.offset + tensor.bytes),
    });
  }
  return pathOf(0);
}
