/**
 * What LoRA adapters cost: milliseconds of a decode step and of a prefill of the sample model, without adapters, with one that
 * is loaded and not used, and with sequences that have adapters of rank 16 on every matrix outside of experts.
 *
 *   node bench/lora.ts [--json]
 *
 * Exits 0 when all goals are met, 1 when one falls short.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type LoadedModel, loadEngine } from "../src/engine/load.ts";
import type { AdapterChoice } from "../src/model/lora/adapters.ts";
import { median } from "../src/workload/statistics.ts";
import { writeTinyAdapter } from "../test/tiny-adapter.ts";

const samplePath = fileURLToPath(new URL("../models/sample-moe.gguf", import.meta.url));
const threads = Number(process.env.STOWAGE_THREADS ?? 1);
const rank = 16;
const steps = 100;
const rounds = 5;
const promptTokens = 256;
/** Adapters that are loaded and not used may cost this times as much as none, at most. */
const mostTimes = 1.05;

const poet: readonly AdapterChoice[] = [{ name: "poet" }];
const bard: readonly AdapterChoice[] = [{ name: "bard" }];
/** By name: whether adapters are loaded, and those of each sequence. */
const settings: Readonly<
  Record<string, { loaded: boolean; sequences: readonly (readonly AdapterChoice[])[] }>
> = {
  "1 sequence, none loaded": { loaded: false, sequences: [[]] },
  "1 sequence, none used": { loaded: true, sequences: [[]] },
  "1 sequence, one used": { loaded: true, sequences: [poet] },
  "8 sequences, none loaded": { loaded: false, sequences: Array.from({ length: 8 }, () => []) },
  "8 sequences, none used": { loaded: true, sequences: Array.from({ length: 8 }, () => []) },
  "8 sequences, all with one": { loaded: true, sequences: Array.from({ length: 8 }, () => poet) },
  "8 sequences, two in turns": {
    loaded: true,
    sequences: Array.from({ length: 8 }, (_, index) => (index % 2 === 0 ? poet : bard)),
  },
};

async function measure(model: LoadedModel, sequences: readonly (readonly AdapterChoice[])[]) {
  const { engine } = model;
  engine.clearCache();
  const before = engine.records.total;
  await Promise.all(
    sequences.map(async (lora, index) => {
      const prompt = Array.from({ length: promptTokens }, (_, at) => 5 + ((at * 7919 + index * 131) % 8000));
      const sampling = { temperature: 0 };
      const sequence = engine.submit({ prompt, lora, sampling, maxTokens: steps, ignoreEnd: true });
      for await (const _ of sequence);
    }),
  );
  const records = engine.records.list().slice(before - engine.records.total);
  const decodes = records.filter(
    ({ prefillTokens, decodeSequences }) => prefillTokens === 0 && decodeSequences === sequences.length,
  );
  const prefills = records.filter(({ decodeSequences }) => decodeSequences === 0);
  const tokens = prefills.reduce((sum, { prefillTokens }) => sum + prefillTokens, 0);
  const prefillMs = prefills.reduce((sum, { prepareMs, computeMs }) => sum + prepareMs + computeMs, 0);
  return {
    decodeMs: median(decodes.map(({ prepareMs, computeMs }) => prepareMs + computeMs)),
    prefillMs: (prefillMs / tokens) * promptTokens,
  };
}

const folder = mkdtempSync(join(tmpdir(), "stowage-bench-lora-"));
const samples: Record<string, { decodeMs: number; prefillMs: number }[]> = {};
try {
  const lora = [];
  for (const [index, name] of ["poet", "bard"].entries()) {
    const path = join(folder, `${name}.gguf`);
    const weights = /attn_(q|k|v|output)|ffn_gate_inp|^output/;
    await writeTinyAdapter(path, samplePath, { seed: index, rank, type: "F16", weights });
    lora.push({ name, path });
  }
  const models = {
    bare: await loadEngine(samplePath, { threads, kvTokens: 4096 }),
    adapted: await loadEngine(samplePath, { threads, kvTokens: 4096, lora }),
  };
  await Promise.all([models.bare.engine.settled, models.adapted.engine.settled]);
  for (let round = 0; round < rounds; round++) {
    for (const [name, { loaded, sequences }] of Object.entries(settings)) {
      samples[name] = [
        ...(samples[name] ?? []),
        await measure(loaded ? models.adapted : models.bare, sequences),
      ];
    }
  }
  await models.bare.dispose();
  await models.adapted.dispose();
} finally {
  rmSync(folder, { recursive: true });
}

const results = Object.entries(samples).map(([name, measured]) => ({
  name,
  decodeMs: median(measured.map(({ decodeMs }) => decodeMs)),
  prefillMs: median(measured.map(({ prefillMs }) => prefillMs)),
}));
const checks = [1, 8].map((count) => {
  const of = (what: string) => samples[`${count} ${count === 1 ? "sequence" : "sequences"}, none ${what}`]!;
  const ratios = of("used").map(({ decodeMs }, round) => decodeMs / of("loaded")[round]!.decodeMs);
  const value = median(ratios);
  return {
    name: `unused_${count}`,
    value,
    unit: "times none loaded",
    goal: mostTimes,
    ok: value <= mostTimes,
  };
});

if (process.argv.includes("--json")) {
  const machine = { processor: cpus()[0]?.model, node: process.version };
  console.log(JSON.stringify({ machine, settings: { threads, rank, steps, promptTokens }, results, checks }));
} else {
  console.log(`${"".padEnd(28)}decode step   prefill of ${promptTokens}`);
  for (const { name, decodeMs, prefillMs } of results) {
    console.log(
      `${name.padEnd(28)}${decodeMs.toFixed(3).padStart(8)} ms${prefillMs.toFixed(1).padStart(14)} ms`,
    );
  }
  for (const { name, value, goal, ok } of checks) {
    console.log(
      `${ok ? "ok   " : "SHORT"} ${name}: ${value.toFixed(3)} times none loaded, goal at most ${goal}`,
    );
  }
}
process.exitCode = checks.every((check) => check.ok) ? 0 : 1;
