import assert from "node:assert/strict";
import koffi from "koffi";
import { findFile } from "../src/ggml/library.ts";
import { loadLlama } from "../src/ggml/llama.ts";
import type { TensorType } from "../src/ggml/types.ts";
import { type RecipeName, recipes } from "../src/model/quantize-recipes.ts";

export interface LlamaQuantizeOptions {
  /** All matrices get the one type. */
  readonly pure?: boolean;
  /** By tensor, [columns · matrices]. */
  readonly importance?: ReadonlyMap<string, Float32Array>;
}

/** Offsets in `struct llama_model_quantize_params`. */
const layout = {
  threads: 0,
  fileType: 4,
  allowRequantize: 16,
  pure: 19,
  dryRun: 21,
  importance: 24,
  size: 256,
} as const;

/** llama.cpp's own quantiser. @returns whether it did it */
export function quantizeByLlama(
  input: string,
  output: string,
  recipe: RecipeName,
  options: LlamaQuantizeOptions = {},
): boolean {
  return run(input, output, recipe, options, false);
}

/** The type that llama.cpp's quantiser would give every tensor. */
export function planByLlama(
  input: string,
  recipe: RecipeName,
  options: LlamaQuantizeOptions = {},
): Map<string, TensorType> {
  let text = "";
  const logType = koffi.pointer(koffi.proto("void (int level, const char *text, void *data)"));
  const log = koffi.register((_level: number, part: string) => (text += part), logType);
  const setLog = llama().func("llama_log_set", "void", ["void*", "void*"]);
  setLog(log, null);
  try {
    assert.ok(run(input, "", recipe, options, true), text);
  } finally {
    setLog(loadLlama().native.address("ggml_time_ms"), null);
    koffi.unregister(log);
  }
  const line = /\] +(\S+) +- \[.*?\], type = +(\w+), size = +[\d.]+ MiB(?: -> +[\d.]+ MiB \((\w+)\))?/g;
  const upper = (type: string) => type.toUpperCase() as TensorType;
  return new Map([...text.matchAll(line)].map(([, name, from, to]) => [name!, upper(to ?? from!)]));
}

let library: ReturnType<typeof koffi.load> | undefined;

function llama(): ReturnType<typeof koffi.load> {
  library ??= koffi.load(findFile(loadLlama().native.directory, /^(lib)?llama(\.v[\d.]+)?\.(so|dylib|dll)$/));
  return library;
}

let paramsType: ReturnType<typeof koffi.struct> | undefined;

function run(
  input: string,
  output: string,
  recipe: RecipeName,
  { pure = false, importance }: LlamaQuantizeOptions,
  dryRun: boolean,
): boolean {
  paramsType ??= koffi.struct({ bytes: koffi.array("uint8", layout.size, "Typed") });
  const defaults = llama().func("llama_model_quantize_default_params", paramsType, []);
  const params = defaults().bytes as Uint8Array;
  const view = new DataView(params.buffer, params.byteOffset, layout.size);
  assert.deepEqual(
    [0, 4, 8, 12].map((offset) => view.getInt32(offset, true)),
    [0, 7, 43, 43],
  );
  view.setInt32(layout.threads, 1, true);
  view.setInt32(layout.fileType, recipes[recipe].fileType, true);
  params[layout.allowRequantize] = 1;
  params[layout.pure] = pure ? 1 : 0;
  params[layout.dryRun] = dryRun ? 1 : 0;
  const kept = importance ? importanceArray(importance) : [];
  if (kept[0]) view.setBigUint64(layout.importance, koffi.address(kept[0]), true);
  try {
    return (
      llama().func("llama_model_quantize", "uint32", ["str", "str", "void*"])(input, output, params) === 0
    );
  } finally {
    for (const memory of kept) koffi.free(memory);
  }
}

/** Name, data and number of values of each tensor, then zeros. @returns the array itself, then all that it points to */
function importanceArray(importance: ReadonlyMap<string, Float32Array>): unknown[] {
  const entryBytes = 24;
  const bytes = (importance.size + 1) * entryBytes;
  const array = koffi.alloc("uint8", bytes);
  const view = new DataView(koffi.view(array, bytes));
  new Uint8Array(view.buffer).fill(0);
  const parts: unknown[] = [array];
  const copied = (source: Uint8Array) => {
    const memory = koffi.alloc("uint8", source.length);
    new Uint8Array(koffi.view(memory, source.length)).set(source);
    parts.push(memory);
    return koffi.address(memory);
  };
  let offset = 0;
  for (const [name, values] of importance) {
    const data = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
    view.setBigUint64(offset, copied(Buffer.from(`${name}\0`)), true);
    view.setBigUint64(offset + 8, copied(data), true);
    view.setBigUint64(offset + 16, BigInt(values.length), true);
    offset += entryBytes;
  }
  return parts;
}
