import { StowageError } from "../errors.ts";
import type { Backend } from "../ggml/backend.ts";
import { tensorAlignment } from "../ggml/buffer.ts";
import { canRepack } from "../ggml/repack.ts";
import type { TensorType } from "../ggml/types.ts";
import type { GgufFile, GgufTensor } from "../gguf/read.ts";
import { expertWeights } from "./expert-network.ts";
import type { Family, TensorSpec } from "./family.ts";
import type { Hyperparameters } from "./hyperparameters.ts";
import { globalTensors } from "./specs.ts";

/** One tensor of the model in memory: a tensor of the file, or several joined row under row. */
export interface Placed {
  readonly parts: readonly GgufTensor[];
  readonly type: TensorType;
  readonly shape: readonly number[];
  readonly bytes: number;
  /**
   * `mapped`: used in place in the mapped file. `repacked`: copied into the layout of the fast kernels. `joined`:
   * copied as it is, next to its neighbours. `device`: copied as it is into a device's memory.
   */
  readonly layout: "mapped" | "repacked" | "joined" | "device";
  /** Byte at which it begins in the buffer of its layout; 0 when mapped, in slots, and on a device. */
  readonly offset: number;
  /** Kept expert by expert in the slots of a cache, in this layout; has no place of its own. */
  readonly inSlots: boolean;
}

/** Where every weight of a model goes, before anything is loaded. Bytes. */
export interface WeightLayout {
  readonly hyperparameters: Hyperparameters;
  readonly vocabulary: number;
  readonly globals: ReadonlyMap<string, Placed>;
  readonly layers: readonly ReadonlyMap<string, Placed>[];
  readonly mappedBytes: number;
  readonly repackedBytes: number;
  readonly joinedBytes: number;
  /** Of weights on a device. */
  readonly deviceBytes: number;
  /** The first layer that is on a device; that and all behind it are, and the output. As many as layers where none is. */
  readonly firstDeviceLayer: number;
}

/** Where weights go that are not as by default. */
export interface LayoutOptions {
  /** The experts take no memory here: a cache has some of them. */
  readonly expertsInSlots?: boolean;
  /** So many layers at the end, and the output, are on a device. */
  readonly deviceLayers?: number;
}

/**
 * Plain matrices over the same input are copied to be joined only when they are as small as this together: then a
 * node saved is worth more than a copy.
 */
const smallJoinBytes = 2 ** 20;
const outputName = "output.weight";

/**
 * Finds every tensor that the family expects, checks its shape, and decides its layout: matrices for which this
 * processor has repacked kernels are copied into that layout, matrices over the same input joined there; all else
 * is used in place in the mapped file.
 * @throws StowageError model_tensor_missing, model_tensor_shape, model_tensor_type, model_tensor_unknown
 */
export function planWeights(
  file: GgufFile,
  family: Family,
  backend: Backend,
  options: LayoutOptions = {},
): WeightLayout {
  const hyperparameters = family.read(file.metadata);
  const planner = new Planner(file, backend, options.expertsInSlots ? expertWeights : []);
  const firstDeviceLayer = hyperparameters.layers - (options.deviceLayers ?? 0);
  const layers = Array.from({ length: hyperparameters.layers }, (_, layer) => {
    planner.onDevice = layer >= firstDeviceLayer;
    return planner.place(`blk.${layer}.`, family.layerTensors(hyperparameters, layer));
  });
  planner.onDevice = false;
  const embeddings = file.tensors.get("token_embd.weight");
  if (!embeddings) throw missing("token_embd.weight");
  const vocabulary = embeddings.shape[1] ?? 1;
  const specs = globalSpecs(family, hyperparameters, vocabulary);
  const output = specs.find(({ name }) => name === outputName);
  const globals = planner.place(
    "",
    specs.filter((spec) => spec !== output),
  );
  planner.onDevice = firstDeviceLayer < layers.length;
  const outputTensor = file.tensors.get(outputName) ?? (output?.optional ? embeddings : undefined);
  if (output && !outputTensor) throw missing(outputName);
  if (output) globals.set(outputName, planner.alone(output, outputTensor!));
  checkAllKnown(file, family, hyperparameters, [globals, ...layers]);
  return {
    hyperparameters,
    vocabulary,
    globals,
    layers,
    mappedBytes: planner.mappedBytes,
    repackedBytes: planner.repackedBytes,
    joinedBytes: planner.joinedBytes,
    deviceBytes: planner.deviceBytes,
    firstDeviceLayer,
  };
}

/** The tensors of a model outside of its layers. */
export function globalSpecs(family: Family, h: Hyperparameters, vocabulary: number): readonly TensorSpec[] {
  return family.globalTensors?.(h, vocabulary) ?? globalTensors(h, vocabulary);
}

class Planner {
  mappedBytes = 0;
  repackedBytes = 0;
  joinedBytes = 0;
  deviceBytes = 0;
  /** Whether what is placed from now on goes to a device. */
  onDevice = false;
  readonly #file: GgufFile;
  readonly #backend: Backend;
  readonly #repackable = new Map<string, boolean>();
  readonly #mapped = new Set<GgufTensor>();

  readonly #inSlots: readonly string[];

  /** @param inSlots names of weights that take no memory here */
  constructor(file: GgufFile, backend: Backend, inSlots: readonly string[]) {
    this.#file = file;
    this.#backend = backend;
    this.#inSlots = inSlots;
  }

  place(prefix: string, specs: readonly TensorSpec[]): Map<string, Placed> {
    const placed = new Map<string, Placed>();
    for (const group of this.#groups(prefix, specs)) {
      const [first] = group as [Found, ...Found[]];
      const entry = this.#placeGroup(group);
      if (group.length === 1) placed.set(first.spec.name, entry);
      else for (const { spec } of group) placed.set(spec.name, entry);
    }
    return placed;
  }

  /** A tensor of the file in the role of `spec`, whatever its name. */
  alone(spec: TensorSpec, tensor: GgufTensor): Placed {
    checkShape(tensor, spec);
    checkType(tensor, spec);
    return this.#placeGroup([{ spec, tensor }]);
  }

  /** Neighbours with equal `join` and type, in the order of the specs. */
  #groups(prefix: string, specs: readonly TensorSpec[]): Found[][] {
    const groups: Found[][] = [];
    for (const spec of specs) {
      const tensor = this.#file.tensors.get(prefix + spec.name);
      if (!tensor) {
        if (spec.optional) continue;
        throw missing(prefix + spec.name);
      }
      checkShape(tensor, spec);
      checkType(tensor, spec);
      const found = { spec, tensor };
      const last = groups.at(-1)?.at(-1);
      if (last && this.#joins(last, found)) groups.at(-1)!.push(found);
      else groups.push([found]);
    }
    return groups;
  }

  #joins(a: Found, b: Found): boolean {
    if (this.onDevice || a.spec.join === undefined || a.spec.join !== b.spec.join) return false;
    if (a.tensor.type !== b.tensor.type || this.#canRepack(a) !== this.#canRepack(b)) return false;
    return (
      this.#canRepack(a) || (a.spec.shape.length === 2 && a.tensor.bytes + b.tensor.bytes <= smallJoinBytes)
    );
  }

  #canRepack({ spec, tensor }: Found): boolean {
    const bufferType = this.#backend.repackBufferType;
    if (spec.use !== "matrix" || !bufferType) return false;
    const key = `${tensor.type}:${spec.shape.join()}`;
    let answer = this.#repackable.get(key);
    if (answer === undefined) {
      answer = canRepack(this.#backend.native, bufferType, tensor.type, spec.shape);
      this.#repackable.set(key, answer);
    }
    return answer;
  }

  #placeGroup(group: readonly Found[]): Placed {
    const [first] = group as [Found];
    const parts = group.map(({ tensor }) => tensor);
    const bytes = parts.reduce((total, tensor) => total + tensor.bytes, 0);
    const [k, , experts] = first.spec.shape as [number, number?, number?];
    const rows = group.reduce((total, { spec }) => total + (spec.shape[1] ?? 0), 0);
    const shape = group.length === 1 ? first.spec.shape : experts ? [k, rows, experts] : [k, rows];
    const { type } = first.tensor;
    const layout = this.#canRepack(first) ? "repacked" : group.length > 1 ? "joined" : "mapped";
    const inSlots = this.#inSlots.includes(first.spec.name);
    const placed = { parts, type, shape, bytes, layout, inSlots } as const;
    if (inSlots) return { ...placed, offset: 0 };
    if (this.onDevice) {
      this.deviceBytes += bytes;
      return { ...placed, layout: "device", offset: 0 };
    }
    if (layout === "mapped") {
      // Tied embeddings are one tensor of the file in two roles.
      if (!this.#mapped.has(first.tensor)) this.mappedBytes += bytes;
      this.#mapped.add(first.tensor);
      return { ...placed, offset: 0 };
    }
    const counter = layout === "repacked" ? "repackedBytes" : "joinedBytes";
    const offset = Math.ceil(this[counter] / tensorAlignment) * tensorAlignment;
    this[counter] = offset + bytes;
    return { ...placed, offset };
  }
}

interface Found {
  readonly spec: TensorSpec;
  readonly tensor: GgufTensor;
}

/** A tensor that is left out of the computation, as a bias would be, makes every result wrong without a sign. */
function checkAllKnown(
  file: GgufFile,
  { name: architecture }: Family,
  { layers, skippedBlocks }: Hyperparameters,
  weights: readonly ReadonlyMap<string, Placed>[],
): void {
  const placed = weights.flatMap((entries) => [...entries.values()].flatMap(({ parts }) => parts));
  const known = new Set(placed.map(({ name }) => name));
  const skipped = (name: string) => {
    const block = Number(/^blk\.(\d+)\./.exec(name)?.[1]);
    return block >= layers && block < layers + skippedBlocks;
  };
  const unknown = [...file.tensors.keys()].find((name) => !known.has(name) && !skipped(name));
  if (unknown) throw new StowageError("model_tensor_unknown", { name: unknown, architecture });
}

function missing(name: string): StowageError {
  return new StowageError("model_tensor_missing", { name });
}

function checkShape(tensor: GgufTensor, spec: TensorSpec): void {
  const expected = trimmed(spec.shape);
  if (trimmed(tensor.shape).join() !== expected.join()) {
    throw new StowageError("model_tensor_shape", {
      name: tensor.name,
      found: tensor.shape.join(" x "),
      expected: expected.join(" x "),
    });
  }
}

/** Without extents of 1 at its end, which files have or leave out. */
function trimmed(shape: readonly number[]): readonly number[] {
  const last = shape.findLastIndex((extent) => extent !== 1);
  return shape.slice(0, Math.max(1, last + 1));
}

/** Types that the CPU multiplies with F32 activations. Integers and F64 are none. */
function checkType(tensor: GgufTensor, spec: TensorSpec): void {
  const allowed = spec.use === "vector" ? tensor.type === "F32" : !/^(I\d+|F64)$/.test(tensor.type);
  if (!allowed) {
    throw new StowageError("model_tensor_type", {
      name: tensor.name,
      found: tensor.type,
      expected: spec.use === "vector" ? "F32" : "a float or quantised type",
    });
  }
}
