import koffi from "koffi";
import { StowageError } from "../errors.ts";
import type { KoffiFunction, Pointer } from "./bindings.ts";
import { loadNative } from "./library.ts";
import { rowBytes, type TensorType, tensorTypes } from "./types.ts";

/** Offset of the function that turns a row into F32 in `struct ggml_type_traits`, and the bytes that are read. */
const traitsLayout = { toFloat: 40, size: 56 } as const;

let toFloatPrototype: ReturnType<typeof koffi.proto> | undefined;
const toFloats = new Map<TensorType, KoffiFunction>();

/** Whether rows of F32 can be turned into `type` without knowing how much each column matters. Integers and F64 cannot at all. */
export function canQuantize(type: TensorType): boolean {
  return isFloatType(type) && !loadNative().ggml.ggml_quantize_requires_imatrix(tensorTypes[type].id);
}

/** Whether the type is one of floats, quantised or not, that ggml converts. */
export function isFloatType(type: TensorType): boolean {
  return !/^(I\d+|F64)$/.test(type);
}

/**
 * Quantises rows with ggml's own quantiser, on a thread of libuv's pool: several calls run at once.
 * @param source F32, any number of rows
 * @param rowElements elements of a row, a multiple of the type's block
 * @param target room for exactly the result
 * @param importance how much each column matters, [rowElements]; default: equally much
 * @returns whether all results are finite: a value may be too large for F16
 * @throws StowageError quantize_type, quantize_row
 */
export async function quantizeRows(
  type: TensorType,
  source: Float32Array,
  rowElements: number,
  target: Uint8Array,
  importance?: Float32Array,
): Promise<boolean> {
  if (!(importance ? isFloatType(type) : canQuantize(type)))
    throw new StowageError("quantize_type", { type });
  checkSizes(type, source.length, rowElements, target.length);
  if (importance && importance.length !== rowElements) {
    const { block } = tensorTypes[type];
    throw new StowageError("quantize_row", {
      type,
      elements: importance.length,
      rowElements,
      bytes: 0,
      block,
    });
  }
  const { ggml_quantize_chunk, ggml_validate_row_data } = loadNative().ggml;
  const { id } = tensorTypes[type];
  const rows = source.length / rowElements;
  await offLoop(ggml_quantize_chunk, id, source, target, 0, rows, rowElements, importance ?? null);
  return (await offLoop(ggml_validate_row_data, id, target, target.length)) as boolean;
}

/**
 * The values of rows of any float or quantised type, as F32; off the event loop, as {@link quantizeRows}.
 * @param source whole blocks of `type`
 * @param target room for exactly the values
 * @throws StowageError quantize_type for integers and F64, quantize_row
 */
export async function dequantizeRows(
  type: TensorType,
  source: Uint8Array,
  target: Float32Array,
): Promise<void> {
  checkSizes(type, target.length, target.length, source.length);
  if (type === "F32") {
    new Uint8Array(target.buffer, target.byteOffset, target.byteLength).set(source);
    return;
  }
  await offLoop(toFloatOf(type), source, target, target.length);
}

/**
 * As {@link dequantizeRows}, of one row and at once: microseconds.
 * @param source in memory that stays where it is
 * @throws StowageError quantize_type for integers and F64, quantize_row
 */
export function dequantizeRow(type: TensorType, source: Uint8Array, target: Float32Array): void {
  checkSizes(type, target.length, target.length, source.length);
  if (type === "F32") new Uint8Array(target.buffer, target.byteOffset, target.byteLength).set(source);
  else toFloatOf(type)(source, target, target.length);
}

function toFloatOf(type: TensorType): KoffiFunction {
  const known = toFloats.get(type);
  if (known) return known;
  const traits: Pointer = loadNative().ggml.ggml_get_type_traits(tensorTypes[type].id);
  const view = new DataView(koffi.view(traits, traitsLayout.size));
  const address = view.getBigUint64(traitsLayout.toFloat, true);
  if (!address) throw new StowageError("quantize_type", { type });
  toFloatPrototype ??= koffi.proto("void stowage_to_float(void*, void*, int64_t)");
  const toFloat: KoffiFunction = koffi.decode(address, toFloatPrototype);
  toFloats.set(type, toFloat);
  return toFloat;
}

/** Calls a native function on libuv's pool. Its arguments, arrays included, stay alive until it returns. */
function offLoop(call: KoffiFunction, ...args: unknown[]): Promise<unknown> {
  return new Promise((resolve, reject) => {
    call.async(...args, (error: unknown, result: unknown) => {
      args.length = 0;
      if (error) reject(error);
      else resolve(result);
    });
  });
}

function checkSizes(type: TensorType, elements: number, rowElements: number, bytes: number): void {
  const { block } = tensorTypes[type];
  const whole = rowElements % block === 0 && elements % rowElements === 0;
  if (!whole || bytes !== rowBytes(type, elements)) {
    throw new StowageError("quantize_row", { type, elements, rowElements, bytes, block });
  }
}
