/**
 * Whether regrouping sequences by their experts pays: tokens a second and experts read a token of eight sequences of the sample
 * model under budgets, with all in each step, with four that are regrouped, and with four of them at a time.
 *
 *   node bench/regroup-experts.ts
 */
import { fileURLToPath } from "node:url";
import { type LoadedModel, type LoadOptions, loadEngine } from "../src/engine/load.ts";
import { ownPrompts } from "../src/workload/own-prompts.ts";
import { table } from "../src/workload/report-table.ts";
import { median } from "../src/workload/statistics.ts";

const samplePath = fileURLToPath(new URL("../models/sample-moe.gguf", import.meta.url));
const threads = Number(process.env.STOWAGE_THREADS ?? 1);
const sequences = 8;
const outputTokens = 48;
const rounds = 2;

const ways: Readonly<Record<string, LoadOptions>> = {
  "all eight in a step": {},
  "four, regrouped": { regroupExperts: 4 },
  "four at a time": { maxSequences: 4 },
};

/** Experts that decode steps had to wait for, so far. */
function missesOf({ experts }: LoadedModel): number {
  return experts!.residency(false).outcomes.reduce((sum, { misses }) => sum + misses, 0);
}

async function decode(model: LoadedModel, round: number): Promise<{ rate: number; reads: number }> {
  const { engine, tokenizer } = model;
  const first = round * sequences;
  const [missed, recorded] = [missesOf(model), engine.records.total];
  const prompts = ownPrompts.slice(first, first + sequences);
  await Promise.all(
    prompts.map(async (text) => {
      const prompt = tokenizer.encode(text, { addSpecial: true, parseSpecial: false });
      const sequence = engine.submit({
        ...{ prompt, maxTokens: outputTokens, ignoreEnd: true },
        sampling: { temperature: 0 },
      });
      for await (const _ of sequence);
    }),
  );
  const steps = engine.records.list().slice(recorded - engine.records.total);
  const decoding = steps.filter(({ prefillTokens }) => prefillTokens === 0);
  const tokens = decoding.reduce((sum, { decodeSequences }) => sum + decodeSequences, 0);
  const ms = decoding.reduce(
    (sum, { prepareMs, computeMs, sampleMs }) => sum + prepareMs + computeMs + sampleMs,
    0,
  );
  engine.clearCache();
  return { rate: (1000 * tokens) / ms, reads: (missesOf(model) - missed) / tokens };
}

const rows: string[][] = [];
for (const expertMemory of ["25%", "50%"]) {
  for (const [name, options] of Object.entries(ways)) {
    const common = { contextTokens: 512, maxSequences: sequences, threads, speculate: "off" } as const;
    const model = await loadEngine(samplePath, {
      ...common,
      expertMemory,
      expertPolicy: "lfru",
      expertPrefetch: "none",
      ...options,
    });
    await model.engine.settled;
    await decode(model, 0);
    const measured: Awaited<ReturnType<typeof decode>>[] = [];
    for (let round = 1; round <= rounds; round++) measured.push(await decode(model, round));
    const of = (key: "rate" | "reads") => median(measured.map((each) => each[key]));
    rows.push([expertMemory, name, of("rate").toFixed(1), of("reads").toFixed(2)]);
    await model.dispose();
  }
}
console.log(table([["experts in memory", "sequences", "tokens/s", "experts read a token"], ...rows]));
