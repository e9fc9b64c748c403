import assert from "node:assert/strict";
import koffi from "koffi";
import { findFile } from "../src/ggml/library.ts";
import { loadLlama } from "../src/ggml/llama.ts";
import type { TensorType } from "../src/ggml/types.ts";
import { fileTypes } from "../src/model/file-type.ts";

/** llama.cpp's own tool: `pure`, so that all matrices get the one type. */
export function quantizeByLlama(input: string, output: string, type: TensorType): void {
  const { native } = loadLlama();
  const library = koffi.load(findFile(native.directory, /^(lib)?llama(\.v[\d.]+)?\.(so|dylib|dll)$/));
  const params = koffi.struct({ bytes: koffi.array("uint8", 256, "Typed") });
  const defaults = library.func("llama_model_quantize_default_params", params, [])().bytes as Uint8Array;
  const view = new DataView(defaults.buffer, defaults.byteOffset, 256);
  assert.deepEqual(
    [0, 4, 8, 12].map((offset) => view.getInt32(offset, true)),
    [0, 7, 43, 43],
  );
  view.setInt32(0, 2, true);
  view.setInt32(4, fileTypes[type]!, true);
  const [allowRequantize, pure] = [16, 19];
  defaults[allowRequantize] = 1;
  defaults[pure] = 1;
  const quantize = library.func("llama_model_quantize", "uint32", ["str", "str", "void*"]);
  assert.equal(quantize(input, output, defaults), 0, `llama.cpp quantises to ${type}`);
}
