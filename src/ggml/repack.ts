import type { Pointer } from "./bindings.ts";
import { Context } from "./context.ts";
import type { Native } from "./library.ts";
import { tensorLayout } from "./struct.ts";
import type { TensorType } from "./types.ts";

/**
 * Whether ggml has kernels for a repacked layout of such a matrix on this processor. Asked of the device itself,
 * with a product of the matrix, because the answer depends on type, rows and instruction set.
 * @param shape [k, m] or [k, m, experts]
 */
export function canRepack(
  native: Native,
  bufferType: Pointer,
  type: TensorType,
  shape: readonly number[],
): boolean {
  const { ggml, cpuDevice } = native;
  const context = new Context(native, { tensors: 4 });
  const buffer: Pointer = ggml.ggml_backend_buft_alloc_buffer(bufferType, 0n);
  try {
    const weights = context.tensor(type, shape);
    context.setUint64(weights.pointer, tensorLayout.buffer, buffer);
    const [k, , experts = 1] = shape as [number, number, number?];
    const product =
      experts === 1
        ? context.mulMat(weights, context.tensor("F32", [k, 1]))
        : context.mulMatId(weights, context.tensor("F32", [k, 1, 1]), context.tensor("I32", [1, 1]));
    return ggml.ggml_backend_dev_supports_op(cpuDevice, product.pointer);
  } finally {
    context.dispose();
    ggml.ggml_backend_buffer_free(buffer);
  }
}
