import koffi from "koffi";
import { StowageError } from "../errors.ts";
import type { Pointer } from "./bindings.ts";
import type { Native } from "./library.ts";

/** Byte offsets inside `struct ggml_tensor`, ggml 0.25. Checked against the loaded library before first use. */
export const tensorLayout = {
  type: 0,
  buffer: 8,
  ne: 16,
  nb: 48,
  data: 248,
  size: 336,
  /** Bytes that a context spends on a tensor besides the struct (`ggml_object`). */
  header: 32,
} as const;

/** Byte offsets inside `struct ggml_threadpool_params`. */
export const threadpoolLayout = { threads: 512, poll: 520, size: 528 } as const;

/**
 * Makes a tensor through the library's own functions and finds every field that the project reads or writes in
 * place at the offset that it uses.
 * @throws StowageError native_version_mismatch
 */
export function checkStructs(native: Native): void {
  const { ggml } = native;
  const memory: Pointer = koffi.alloc("uint8", 4096);
  const context: Pointer = ggml.ggml_init({ mem_size: 4096, mem_buffer: memory, no_alloc: true });
  const data: Pointer = koffi.alloc("uint8", 4096);
  const address = (data / 64n + 1n) * 64n;
  const buffer: Pointer = ggml.ggml_backend_cpu_buffer_from_ptr(address, 2048n);
  const tensor: Pointer = ggml.ggml_new_tensor(context, 1, 4, [3n, 5n, 7n, 2n]);
  ggml.ggml_backend_tensor_alloc(buffer, tensor, address);
  const view = new DataView(koffi.view(tensor, tensorLayout.size));
  const int64 = (offset: number) => Number(view.getBigInt64(offset, true));
  const found = {
    overhead: Number(ggml.ggml_tensor_overhead()),
    type: view.getInt32(tensorLayout.type, true),
    ne: [0, 1, 2, 3].map((d) => int64(tensorLayout.ne + 8 * d)).join(),
    nb: [0, 1, 2, 3].map((d) => int64(tensorLayout.nb + 8 * d)).join(),
    buffer: view.getBigUint64(tensorLayout.buffer, true) === buffer,
    data: view.getBigUint64(tensorLayout.data, true) === address,
  };
  const pool = koffi.alloc("uint8", 1024);
  ggml.ggml_threadpool_params_init(pool, 13);
  const poolView = new DataView(koffi.view(pool, 1024));
  const foundPool = {
    threads: poolView.getInt32(threadpoolLayout.threads, true),
    poll: poolView.getUint32(threadpoolLayout.poll, true),
  };
  ggml.ggml_free(context);
  ggml.ggml_backend_buffer_free(buffer);
  koffi.free(data);
  koffi.free(memory);
  koffi.free(pool);
  const expected = {
    overhead: tensorLayout.size + tensorLayout.header,
    type: 1,
    ne: "3,5,7,2",
    nb: "2,6,30,210",
    buffer: true,
    data: true,
  };
  const expectedPool = { threads: 13, poll: 50 };
  const foundText = JSON.stringify([found, foundPool]);
  const expectedText = JSON.stringify([expected, expectedPool]);
  if (foundText !== expectedText) {
    throw new StowageError("native_version_mismatch", {
      library: `ggml (struct layout ${foundText})`,
      found: native.version,
      expected: expectedText,
    });
  }
}
