import { readFileSync } from "node:fs";
import { type GgufFile, openGguf } from "../src/gguf/read.ts";
import { writeGguf } from "../src/gguf/write.ts";

/**
 * Writes a model with some of its tensors out of another file of the same shapes.
 * @param from the file that a tensor is taken from; undefined for the model's own, `zero` for zeros
 */
export async function mixedModel(
  output: string,
  model: string,
  from: (tensor: string) => string | undefined,
): Promise<void> {
  const files = new Map<string, { file: GgufFile; bytes: Buffer }>();
  const opened = async (path: string) => {
    const known = files.get(path) ?? { file: await openGguf(path), bytes: readFileSync(path) };
    files.set(path, known);
    return known;
  };
  const { file } = await opened(model);
  const parts = await Promise.all(
    [...file.tensors.keys()].map(async (name) => {
      const path = from(name) ?? model;
      const source = await opened(path === "zero" ? model : path);
      const { type, shape, offset, bytes } = source.file.tensors.get(name)!;
      const data = path === "zero" ? Buffer.alloc(bytes) : source.bytes.subarray(offset, offset + bytes);
      return { name, type, shape, data };
    }),
  );
  await writeGguf(output, { metadata: file.metadata, tensors: parts, data: ({ data }) => data });
}

/**
 * Writes a model with some of its experts out of another file, of the same shapes and types.
 * @param low whether an expert of a layer is taken from there
 */
export async function mixedExperts(
  output: string,
  model: string,
  other: string,
  experts: number,
  low: (layer: number, expert: number) => boolean,
): Promise<void> {
  const [file, lowFile] = [await openGguf(model), await openGguf(other)];
  const [bytes, lowBytes] = [readFileSync(model), readFileSync(other)];
  await writeGguf(output, {
    metadata: file.metadata,
    tensors: [...file.tensors.values()],
    data: ({ name, offset, bytes: size }) => {
      const data = Buffer.from(bytes.subarray(offset, offset + size));
      const [, layer] = /^blk\.(\d+)\.ffn_\w+_exps\./.exec(name) ?? [];
      if (layer === undefined) return data;
      const each = size / experts;
      const from = lowFile.tensors.get(name)!.offset;
      for (let expert = 0; expert < experts; expert++) {
        if (low(Number(layer), expert))
          lowBytes.copy(data, expert * each, from + expert * each, from + (expert + 1) * each);
      }
      return data;
    },
  });
}
