import { type LoadedModel, loadEngine } from "../src/engine/load.ts";
import { type Pooling, poolings } from "../src/model/pooling.ts";
import { type SyntheticModel, writeSyntheticModel } from "../src/model/synth.ts";
import { EmbeddingPeer, vectorDistance } from "./embedding-peer.ts";
import { tinyShapes } from "./tiny-model.ts";

/** Architectures whose embeddings are compared with libllama's: a decoder, and the encoders. */
export const embeddingCases = ["qwen3", "bert", "nomic-bert"] as const;
export const embeddingTypes = ["F32", "F16", "Q8_0", "Q4_K"] as const;

/** Of texts in one step, in a tile, and beyond the tiles of attention; the last one fills the context. */
const lengths = [1, 7, 61, 130, 256];

/**
 * The most that a vector may differ by, over its length. What rounds differently is said at `boundOf` in
 * parity-cases.ts; the length of a difference is less than its largest element makes it seem.
 */
export const embeddingBounds: Readonly<Record<string, number>> = {
  F32: 1e-3,
  F16: 2e-3,
  Q8_0: 2e-2,
  Q4_K: 5e-2,
};

export type EmbeddingDistances = Readonly<Record<Pooling, number>>;

export function writeEmbeddingModel(path: string, architecture: string, type: string): Promise<void> {
  return writeSyntheticModel(path, {
    ...tinyShapes[architecture]!,
    type: type as SyntheticModel["type"],
    seed: 7,
  });
}

/** Tokens that are no special ones of the small models' vocabularies. */
export function textOf(length: number, seed: number): number[] {
  return Array.from({ length }, (_, index) => 10 + ((index * 7919 + seed * 104_729) % 490));
}

/** The worst of all texts, each alone and all together in a batch, by pooling. */
export async function measureEmbeddings(
  path: string,
  options: { readonly stepTokens?: number } = {},
): Promise<EmbeddingDistances> {
  const model = await loadEngine(path, { threads: 1, kvTokens: 2048, ...options });
  await model.engine.settled;
  try {
    const entries: [Pooling, number][] = [];
    for (const pooling of poolings) entries.push([pooling, await worstOf(model, path, pooling)]);
    return Object.fromEntries(entries) as unknown as EmbeddingDistances;
  } finally {
    await model.dispose();
  }
}

async function worstOf({ engine }: LoadedModel, path: string, pooling: Pooling): Promise<number> {
  const peer = await EmbeddingPeer.load(path, pooling, Math.max(...lengths));
  engine.clearCache();
  const texts = lengths.map((length) => textOf(length, length));
  const together = await Promise.all(texts.map((tokens) => engine.embed({ tokens, pooling }).result));
  let worst = 0;
  for (const [index, tokens] of texts.entries()) {
    engine.clearCache();
    const alone = await engine.embed({ tokens, pooling }).result;
    const expected = peer.embed(tokens);
    for (const { vectors } of [alone, together[index]!]) {
      if (vectors.length !== expected.length) return Number.POSITIVE_INFINITY;
      const distances = vectors.map((vector, token) => vectorDistance(vector, expected[token]!));
      // Math.max keeps a NaN, so that one fails every bound.
      worst = Math.max(worst, ...distances);
    }
  }
  peer.dispose();
  return worst;
}
