/**
 * Measures what a loaded and busy model takes: `memory-child MODEL KV_TOKENS STEP_TOKENS KV_TYPE`. Fills the context of eight sequences,
 * decodes them side by side, and prints one object: `planned` (bytes) and `grown` (bytes by which the process
 * at its peak was larger than before it loaded the model).
 */
import { readFileSync } from "node:fs";
import { loadEngine } from "../src/engine/load.ts";
import { loadLlama } from "../src/ggml/llama.ts";
import type { KvTypeName } from "../src/kv/types.ts";
import { collect } from "./collect.ts";

const path = process.argv[2]!;
const [kvTokens, stepTokens] = process.argv.slice(3, 5).map(Number) as [number, number];
const kvType = process.argv[5] as KvTypeName;
loadLlama();
const before = bytesOf("VmRSS");
const model = await loadEngine(path, {
  threads: 1,
  kvTokens,
  stepTokens,
  cacheTypeK: kvType,
  cacheTypeV: kvType,
});
const { contextTokens, maxSequences } = model.engine.limits;
const vocabulary = model.tokenizer.vocabularySize;
const sequences = Array.from({ length: maxSequences }, (_, index) => {
  const prompt = Array.from(
    { length: contextTokens - 20 },
    (_, at) => 5 + ((at * 7919 + index * 131) % (vocabulary - 5)),
  );
  return model.engine.submit({ prompt, ignoreEnd: true });
});
const results = await Promise.all(sequences.map((sequence) => collect(sequence)));
const generated = results.reduce((sum, { finish }) => sum + finish.generatedTokens, 0);
const most = Math.max(...model.engine.records.list().map(({ decodeSequences }) => decodeSequences));
const grown = bytesOf("VmHWM") - before;
console.log(JSON.stringify({ planned: model.plan.total, grown, generated, most }));
await model.dispose();

function bytesOf(field: string): number {
  const line = readFileSync("/proc/self/status", "utf8").match(new RegExp(`^${field}:\\s+(\\d+) kB`, "m"));
  return Number(line![1]) * 1024;
}
