import { createHash } from "node:crypto";
import { AlignedMemory } from "../ggml/aligned.ts";
import type { Backend } from "../ggml/backend.ts";
import { Buffer } from "../ggml/buffer.ts";
import { Context } from "../ggml/context.ts";
import type { GgufFile, GgufTensor } from "../gguf/read.ts";
import { type ByteSource, openFileSource } from "../gguf/source.ts";
import { classOf, type ExpertLayout } from "./layout.ts";

const chunkBytes = 2 ** 20;
const sampleBytes = 4096;

/**
 * What ggml's layout looks like here: a hash of a fixed pattern, repacked, for every type and shape that the experts
 * have. ggml does not number its layouts; another release or another processor may have others.
 */
export async function layoutFingerprint(layout: ExpertLayout, backend: Backend): Promise<string> {
  const type = backend.repackBufferType;
  const hash = createHash("sha256");
  for (const [key, tensor] of repackedShapes(layout)) {
    const bytes = tensor.bytes / layout.experts;
    const owned: { dispose(): void }[] = [];
    try {
      const pattern = new AlignedMemory(bytes);
      owned.push(pattern);
      fillPattern(pattern.bytes);
      const context = new Context(backend.native, { tensors: 1 });
      owned.push(context);
      const scratch = context.tensor(tensor.type, tensor.shape.slice(0, 2));
      const buffer = Buffer.allocate(backend.native, type!, bytes);
      owned.push(buffer);
      buffer.placeAt(scratch, 0);
      await backend.setTensor(scratch, pattern.address, bytes);
      hash.update(key).update(scratch.bytes());
    } finally {
      for (const resource of owned.reverse()) resource.dispose();
    }
  }
  return hash.digest("hex");
}

/**
 * What tells a model's files from others without reading gigabytes: sizes, a hash of everything before the tensor data,
 * and one of the first bytes of an expert of every tensor, for models that differ in nothing else.
 * @throws StowageError gguf_unreadable, gguf_truncated
 */
export async function modelIdentity(file: GgufFile, layout: ExpertLayout): Promise<unknown> {
  const sources: ByteSource[] = [];
  try {
    for (const { path } of file.shards) sources.push(await openFileSource(path));
    const shards: { bytes: number; header: string }[] = [];
    for (const [index, { dataOffset }] of file.shards.entries()) {
      const source = sources[index]!;
      shards.push({ bytes: source.size, header: await hashOf(source, dataOffset) });
    }
    const samples = createHash("sha256");
    for (const [layer, matrices] of layout.sources.entries()) {
      for (const [index, tensor] of matrices.flat().entries()) {
        const each = tensor.bytes / layout.experts;
        const expert = (layer + index) % layout.experts;
        const sample = new Uint8Array(Math.min(sampleBytes, each));
        await sources[tensor.shard]!.read(sample, tensor.offset + expert * each);
        samples.update(sample);
      }
    }
    return { shards, samples: samples.digest("hex") };
  } finally {
    for (const source of sources) await source.close();
  }
}

/** By type and shape, in a fixed order. */
function repackedShapes(layout: ExpertLayout): [string, GgufTensor][] {
  const shapes = new Map<string, GgufTensor>();
  layout.sources.forEach((matrices, layer) => {
    matrices.forEach((parts, index) => {
      if (!classOf(layout, layer).matrices[index]!.repacked) return;
      for (const part of parts) shapes.set(`${part.type} ${part.shape.slice(0, 2).join("x")}\n`, part);
    });
  });
  return [...shapes].sort(([a], [b]) => (a < b ? -1 : 1));
}

/** Bytes that look random and are the same everywhere; up to three at the end stay as they are. */
function fillPattern({ buffer, byteOffset, length }: Uint8Array<ArrayBuffer>): void {
  const words = new DataView(buffer, byteOffset, length);
  let state = 1;
  for (let at = 0; at + 4 <= length; at += 4) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) | 0;
    // The low bits of such a generator repeat soon: they come from the high ones.
    words.setInt32(at, state ^ (state >>> 16), true);
  }
}

async function hashOf(source: ByteSource, end: number): Promise<string> {
  const hash = createHash("sha256");
  for (let position = 0; position < end; position += chunkBytes) {
    const chunk = new Uint8Array(Math.min(chunkBytes, end - position));
    await source.read(chunk, position);
    hash.update(chunk);
  }
  return hash.digest("hex");
}
