/** The part of docs/parity.md about embeddings. */
import { join } from "node:path";
import { poolings } from "../src/model/pooling.ts";
import {
  embeddingBounds,
  embeddingCases,
  embeddingTypes,
  measureEmbeddings,
  writeEmbeddingModel,
} from "../test/embedding-measure.ts";

/** @param folder for files that are needed meanwhile */
export async function embeddingSection(folder: string): Promise<string> {
  const rows: string[] = [];
  for (const architecture of embeddingCases) {
    for (const type of embeddingTypes) {
      const path = join(folder, "embedding.gguf");
      await writeEmbeddingModel(path, architecture, type);
      const distances = await measureEmbeddings(path);
      const cells = [...poolings.map((pooling) => distances[pooling]), embeddingBounds[type]!];
      rows.push(`| ${[architecture, type, ...cells.map((cell) => cell.toExponential(1))].join(" | ")} |`);
    }
  }
  return `## Embeddings

How far our vectors are from libllama's: the length of the difference over the length of libllama's vector, the worst of texts of 1 to 256 tokens, each alone and all in
one batch, by pooling. With \`none\`, of every token. \`src/engine/embedding.test.ts\` holds them to the bound.

| Architecture | Type | ${poolings.join(" | ")} | Bound |
|---|---|${poolings.map(() => "---|").join("")}---|
${rows.join("\n")}
`;
}
