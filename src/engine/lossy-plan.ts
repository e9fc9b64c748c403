import { isDeepStrictEqual } from "node:util";
import { StowageError } from "../errors.ts";
import { modelIdentity } from "../experts/fingerprint.ts";
import { allRecordBytes, allRecords, classOf, type ExpertLayout } from "../experts/layout.ts";
import { chooseLow, EdgeMoe, type ExpertCost } from "../experts/lossy/edgemoe.ts";
import { Hobbit } from "../experts/lossy/hobbit.ts";
import type { LossyMode } from "../experts/lossy/mode.ts";
import { readSensitivity, sensitivityPath } from "../experts/lossy/sensitivity-file.ts";
import type { Backend } from "../ggml/backend.ts";
import { requireArchitecture } from "../gguf/metadata.ts";
import { type GgufFile, openGguf } from "../gguf/read.ts";
import { openFileSource } from "../gguf/source.ts";
import { planExpertRecords } from "../model/expert-records.ts";
import { familyOf } from "../model/families.ts";
import { planWeights, type WeightLayout } from "../model/layout.ts";
import { budgetOf } from "./expert-budget.ts";
import {
  defaultThresholds,
  type EdgeMoeOptions,
  type HobbitOptions,
  type LossyOptions,
} from "./lossy-options.ts";

/** The file of the low-precision copies, how they lie, and who chooses. */
export interface LossyPlan {
  readonly file: GgufFile;
  readonly records: ExpertLayout;
  readonly mode: LossyMode;
  /** How much of a budget for experts the copies get, from 0 to 1. */
  readonly lowShare: number;
}

/** Of the budget for experts, what copies get that only stand in for those that are missing. */
const standInShare = 1 / 8;

/**
 * Reads and checks the file of the copies, and what the mode needs to know.
 * @throws StowageError low_experts, load_option, sensitivity_file, gguf_*, model_*
 */
export async function planLossy(
  file: GgufFile,
  layout: WeightLayout,
  records: ExpertLayout,
  backend: Backend,
  options: LossyOptions,
): Promise<LossyPlan> {
  const low = await planCopies(file, layout, records, backend, options.low);
  if (options.mode === "hobbit")
    return { ...low, ...hobbit(options, records, layout.hyperparameters.expertsUsed) };
  return { ...low, ...(await edgemoe(options, { file, records }, low)) };
}

/** A file of experts, and how they are kept. */
interface Experts {
  readonly file: GgufFile;
  readonly records: ExpertLayout;
}

/**
 * Reads and checks the file of a model's low-precision copies.
 * @throws StowageError low_experts, gguf_*, model_*
 */
export async function planCopies(
  file: GgufFile,
  layout: WeightLayout,
  records: ExpertLayout,
  backend: Backend,
  path: string,
): Promise<Experts> {
  const low = await openGguf(path);
  const lowLayout = planWeights(low, familyOf(requireArchitecture(low.metadata)), backend);
  checkSameShape(file, layout, low, lowLayout);
  const lowRecords = planExpertRecords(lowLayout)!;
  checkSameExperts(low, records, lowRecords);
  await checkSameRouter(file, layout, low);
  return { file: low, records: lowRecords };
}

/**
 * @param used experts of a token
 * @throws StowageError load_option
 */
function hobbit(
  options: HobbitOptions,
  { experts }: ExpertLayout,
  used: number,
): Pick<LossyPlan, "mode" | "lowShare"> {
  const { full = Math.min(1, defaultThresholds.full / used) } = options;
  const { skip = Math.min(full, defaultThresholds.skip / used) } = options;
  for (const [option, value] of Object.entries({ full, skip })) {
    if (!(value >= 0 && value <= 1)) throw invalid(`lossy.${option}`, value, "a share from 0 to 1");
  }
  if (skip > full) throw invalid("lossy.skip", skip, `at most lossy.full, which is ${full}`);
  return { mode: new Hobbit({ full, skip }, experts), lowShare: standInShare };
}

/** @throws StowageError load_option, sensitivity_file */
async function edgemoe(
  { low, bytes, sensitivity: path = sensitivityPath(low) }: EdgeMoeOptions,
  full: Experts,
  copies: Experts,
): Promise<Pick<LossyPlan, "mode" | "lowShare">> {
  const { records } = full;
  const table = await readSensitivity(path, {
    model: await modelIdentity(full.file, records),
    low: await modelIdentity(copies.file, copies.records),
    experts: records.layerClass.map((index) => (index === null ? null : records.experts)),
  });
  const costs = allRecords(records).map(([layer, expert]): ExpertCost => {
    const fullBytes = classOf(records, layer).recordBytes;
    const lowBytes = classOf(copies.records, layer).recordBytes;
    return { layer, expert, fullBytes, lowBytes, sensitivity: table.sensitivity[layer]![expert]! };
  });
  const isLow = chooseLow(costs, budgetOf("lossy.bytes", bytes, allRecordBytes(records)));
  if (!isLow)
    throw invalid(
      "lossy.bytes",
      bytes,
      `at least ${allRecordBytes(copies.records)} bytes, what all take when they are low`,
    );
  const taken = { full: 0, low: 0 };
  for (const { layer, expert, fullBytes, lowBytes } of costs) {
    if (isLow[layer]![expert]) taken.low += lowBytes;
    else taken.full += fullBytes;
  }
  return { mode: new EdgeMoe(isLow), lowShare: taken.low / (taken.low + taken.full) };
}

function invalid(option: string, value: unknown, range: string): StowageError {
  return new StowageError("load_option", { option, value: String(value), range });
}

/** Quantising changes types and nothing of a model's shape. */
function checkSameShape(file: GgufFile, layout: WeightLayout, low: GgufFile, lowLayout: WeightLayout): void {
  const [mine, other] = [layout.hyperparameters, lowLayout.hyperparameters];
  for (const key of Object.keys(mine) as (keyof typeof mine)[]) {
    if (isDeepStrictEqual(mine[key], other[key])) continue;
    throw differs(low, `its ${key} is ${shown(other[key])}; in ${file.path} it is ${shown(mine[key])}`);
  }
}

function checkSameExperts(low: GgufFile, records: ExpertLayout, lowRecords: ExpertLayout): void {
  for (const [layer, index] of records.layerClass.entries()) {
    if (index === null) continue;
    const [mine, other] = [shapesOf(records, layer), shapesOf(lowRecords, layer)];
    if (isDeepStrictEqual(mine, other)) continue;
    throw differs(low, `experts of layer ${layer} are ${shown(other)} instead of ${shown(mine)}`);
  }
  if (allRecordBytes(lowRecords) < allRecordBytes(records)) return;
  const reason = `its experts take ${allRecordBytes(lowRecords)} bytes, and the model's own ${allRecordBytes(records)}`;
  throw new StowageError("low_experts", { path: low.path, reason });
}

/** [weight, k, rows] of a layer; matrices that one layout joins, the other may not. */
function shapesOf(records: ExpertLayout, layer: number): readonly unknown[] {
  if (records.layerClass[layer] === null) return [];
  return classOf(records, layer)
    .matrices.flatMap(({ weights, shape: [k, rows] }) =>
      weights.map((weight) => [weight, k, rows / weights.length]),
    )
    .sort();
}

/** Routers stay as they are when a model is quantised: other ones are those of another model. */
async function checkSameRouter(file: GgufFile, layout: WeightLayout, low: GgufFile): Promise<void> {
  const name = `blk.${layout.hyperparameters.denseLayers}.ffn_gate_inp.weight`;
  const [mine, other] = [file.tensors.get(name), low.tensors.get(name)];
  if (!mine || !other || mine.type !== other.type) return;
  const same = (await bytesOf(file, name)).equals(await bytesOf(low, name));
  if (!same) throw differs(low, `${name} has other values than in ${file.path}`);
}

async function bytesOf({ tensors, shards }: GgufFile, name: string): Promise<Buffer> {
  const { bytes, offset, shard } = tensors.get(name)!;
  const source = await openFileSource(shards[shard]!.path);
  try {
    const target = Buffer.alloc(bytes);
    await source.read(target, offset);
    return target;
  } finally {
    await source.close();
  }
}

function differs({ path }: GgufFile, reason: string): StowageError {
  return new StowageError("low_experts", { path, reason: `it is another model: ${reason}` });
}

function shown(value: unknown): string {
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}
