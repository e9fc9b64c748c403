import koffi from "koffi";
import { StowageError } from "../errors.ts";
import type { KoffiFunction, Pointer } from "./bindings.ts";
import { loadNative } from "./library.ts";
import { rowBytes, type TensorType, tensorTypes } from "./types.ts";

/** Offset of the function that turns a row into F32 in `struct ggml_type_traits`, and the bytes that are read. */
const traitsLayout = { toFloat: 40, size: 56 } as const;

let toFloatPrototype: ReturnType<typeof koffi.proto> | undefined;
const toFloats = new Map<TensorType, KoffiFunction>();

/**
 * Whether rows of F32 can be turned into `type`. Integers and F64 cannot; some types of less than 3 bits need
 * statistics of the activations, which are not supported.
 */
export function canQuantize(type: TensorType): boolean {
  if (/^(I\d+|F64)$/.test(type)) return false;
  return !loadNative().ggml.ggml_quantize_requires_imatrix(tensorTypes[type].id);
}

/**
 * Quantises rows with ggml's own quantiser, on a thread of libuv's pool: several calls run at once.
 * @param source F32, any number of rows
 * @param rowElements elements of a row, a multiple of the type's block
 * @param target room for exactly the result
 * @throws StowageError quantize_type, quantize_row
 */
export async function quantizeRows(
  type: TensorType,
  source: Float32Array,
  rowElements: number,
  target: Uint8Array,
): Promise<void> {
  if (!canQuantize(type)) throw new StowageError("quantize_type", { type });
  checkSizes(type, source.length, rowElements, target.length);
  const { ggml_quantize_chunk } = loadNative().ggml;
  const rows = source.length / rowElements;
  await offLoop(ggml_quantize_chunk, tensorTypes[type].id, source, target, 0, rows, rowElements, null);
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
function offLoop(call: KoffiFunction, ...args: unknown[]): Promise<void> {
  return new Promise((resolve, reject) => {
    call.async(...args, (error: unknown) => {
      args.length = 0;
      if (error) reject(error);
      else resolve();
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
