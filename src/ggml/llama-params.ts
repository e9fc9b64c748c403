import { StowageError } from "../errors.ts";

/** Where a field lies in a native struct, how it is stored, and what the library's own default for it is. */
interface Field {
  readonly offset: number;
  readonly kind: "int32" | "float32" | "bool";
  readonly default: number;
}

/**
 * Room for a parameter struct that is passed by value. More than any of them needs: native code reads its own
 * size only, and the bytes behind the known fields stay as the library returned them.
 */
export const paramsBytes = 256;

/** `struct llama_model_params`, llama.cpp v0.5.0. */
export const modelParamsLayout = {
  gpuLayers: { offset: 16, kind: "int32", default: -1 },
  splitMode: { offset: 20, kind: "int32", default: 1 },
  loadMode: { offset: 24, kind: "int32", default: -1 },
  lazyMode: { offset: 28, kind: "int32", default: 1 },
  mainGpu: { offset: 32, kind: "int32", default: 0 },
  vocabOnly: { offset: 72, kind: "bool", default: 0 },
  checkTensors: { offset: 73, kind: "bool", default: 0 },
  extraBuffers: { offset: 74, kind: "bool", default: 1 },
  noHost: { offset: 75, kind: "bool", default: 0 },
} as const satisfies Record<string, Field>;

/** `struct llama_context_params`, llama.cpp v0.5.0. */
export const contextParamsLayout = {
  contextTokens: { offset: 0, kind: "int32", default: 512 },
  batchTokens: { offset: 4, kind: "int32", default: 2048 },
  microBatchTokens: { offset: 8, kind: "int32", default: 512 },
  sequences: { offset: 12, kind: "int32", default: 1 },
  outputsPerSequence: { offset: 24, kind: "int32", default: 1 },
  threads: { offset: 28, kind: "int32", default: 4 },
  batchThreads: { offset: 32, kind: "int32", default: 4 },
  ropeScaling: { offset: 40, kind: "int32", default: -1 },
  pooling: { offset: 44, kind: "int32", default: -1 },
  attention: { offset: 48, kind: "int32", default: -1 },
  flashAttention: { offset: 52, kind: "int32", default: -1 },
  yarnExtFactor: { offset: 64, kind: "float32", default: -1 },
  typeK: { offset: 104, kind: "int32", default: 1 },
  typeV: { offset: 108, kind: "int32", default: 1 },
  embeddings: { offset: 128, kind: "bool", default: 0 },
  offloadKqv: { offset: 129, kind: "bool", default: 1 },
  noPerf: { offset: 130, kind: "bool", default: 1 },
  opOffload: { offset: 131, kind: "bool", default: 1 },
  swaFull: { offset: 132, kind: "bool", default: 1 },
  unifiedKv: { offset: 133, kind: "bool", default: 0 },
} as const satisfies Record<string, Field>;

/**
 * Finds the library's known default at every offset that the project uses.
 * @param bytes the struct as the library's `…_default_params` returned it
 * @throws StowageError native_version_mismatch naming the fields that differ
 */
export function checkDefaults(struct: string, bytes: Uint8Array, layout: Record<string, Field>): void {
  const differing = Object.entries(layout).filter(([, field]) => read(bytes, field) !== field.default);
  if (differing.length === 0) return;
  const list = (value: (field: Field) => number) =>
    differing.map(([name, field]) => `${name}@${field.offset}=${value(field)}`).join(", ");
  throw new StowageError("native_version_mismatch", {
    library: `llama (struct ${struct})`,
    found: list((field) => read(bytes, field)),
    expected: list((field) => field.default),
  });
}

/** The defaults with some fields replaced. */
export function withFields<L extends Record<string, Field>>(
  defaults: Uint8Array,
  layout: L,
  values: Partial<Record<keyof L, number | boolean>>,
): Uint8Array {
  const bytes = defaults.slice();
  const view = new DataView(bytes.buffer);
  for (const name in values) {
    const { offset, kind } = layout[name]!;
    const value = Number(values[name]);
    if (kind === "bool") view.setUint8(offset, value);
    else if (kind === "float32") view.setFloat32(offset, value, true);
    else view.setInt32(offset, value, true);
  }
  return bytes;
}

function read(bytes: Uint8Array, { offset, kind }: Field): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (kind === "bool") return view.getUint8(offset);
  return kind === "float32" ? view.getFloat32(offset, true) : view.getInt32(offset, true);
}
