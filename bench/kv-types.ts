/**
 * What the types of a KV cache cost: a long prefill, decode steps after it, and memory, beside libllama with the same
 * types on the same file, a model of random weights with two layers.
 *
 *   node bench/kv-types.ts [--json]
 *
 * Exits 0 when all goals are met, 1 when one falls short.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { loadEngine } from "../src/engine/load.ts";
import { LlamaContext } from "../src/ggml/llama-context.ts";
import { LlamaModel } from "../src/ggml/llama-model.ts";
import { type KvTypeName, kvTypeNames, kvTypesOf } from "../src/kv/types.ts";
import { writeSyntheticModel } from "../src/model/synth.ts";
import { median } from "../src/workload/statistics.ts";

const shape = {
  architecture: "llama",
  layers: 2,
  width: 1024,
  heads: 16,
  kvHeads: 16,
  headWidth: 64,
  feedForwardWidth: 2048,
  experts: 0,
  expertsUsed: 0,
  expertWidth: 0,
  vocabulary: 1024,
  context: 4096,
  ropeBase: 10_000,
  normEpsilon: 1e-5,
  type: "Q8_0",
  seed: 1,
} as const;
const promptTokens = 3072;
const decodeSteps = 32;
const stepTokens = 512;
const threads = Number(process.env.STOWAGE_THREADS ?? 1);
/** A prefill with a quantised cache may take so many times as long as with F16. */
const mostTimes = 1.5;

interface Measured {
  readonly side: "stowage" | "libllama";
  readonly type: KvTypeName;
  readonly prefillMs: number;
  /** Median of a step. */
  readonly decodeMs: number;
}

const prompt = Array.from({ length: promptTokens }, (_, index) => 5 + ((index * 7919) % 1000));

async function ours(path: string, type: KvTypeName): Promise<Measured & { kvMib: number }> {
  const model = await loadEngine(path, {
    threads,
    stepTokens,
    contextTokens: shape.context,
    kvTokens: shape.context,
    cacheTypeK: type,
    cacheTypeV: type,
  });
  await model.engine.settled;
  const started = performance.now();
  const sampling = { temperature: 0 };
  const sequence = model.engine.submit({ prompt, maxTokens: decodeSteps + 1, ignoreEnd: true, sampling });
  const times: number[] = [];
  for await (const event of sequence) if (event.type === "token") times.push(performance.now());
  await model.dispose();
  const steps = times.slice(1).map((time, index) => time - times[index]!);
  const kvMib = model.plan.kv / 2 ** 20;
  return { side: "stowage", type, prefillMs: times[0]! - started, decodeMs: median(steps), kvMib };
}

async function theirs(path: string, type: KvTypeName): Promise<Measured> {
  const model = await LlamaModel.load(path);
  const context = new LlamaContext(model, {
    contextTokens: shape.context,
    batchTokens: stepTokens,
    microBatchTokens: stepTokens,
    threads,
    flashAttention: true,
    kvTypes: kvTypesOf(type, type),
  });
  const run = (tokens: readonly number[], from: number) => {
    const entries = tokens.map((token, index) => ({ token, position: from + index, sequence: 0 }));
    context.decode(entries.map((entry, index) => ({ ...entry, wantLogits: index === entries.length - 1 })));
  };
  const started = performance.now();
  for (let from = 0; from < promptTokens; from += stepTokens)
    run(prompt.slice(from, from + stepTokens), from);
  const prefillMs = performance.now() - started;
  const steps: number[] = [];
  for (let step = 0; step < decodeSteps; step++) {
    const from = performance.now();
    run([7 + step], promptTokens + step);
    steps.push(performance.now() - from);
  }
  model.dispose();
  return { side: "libllama", type, prefillMs, decodeMs: median(steps) };
}

const folder = mkdtempSync(join(tmpdir(), "stowage-kv-types-"));
const results: (Measured & { kvMib?: number })[] = [];
try {
  const path = join(folder, "model.gguf");
  await writeSyntheticModel(path, shape);
  for (const type of kvTypeNames) {
    results.push(await ours(path, type));
    results.push(await theirs(path, type));
  }
} finally {
  rmSync(folder, { recursive: true });
}

const of = (side: Measured["side"], type: KvTypeName) =>
  results.find((result) => result.side === side && result.type === type)!;
const checks = kvTypeNames
  .filter((type) => type !== "f16")
  .map((type) => {
    const value = of("stowage", type).prefillMs / of("stowage", "f16").prefillMs;
    return { name: `prefill_${type}`, value, unit: "times f16", goal: mostTimes, ok: value <= mostTimes };
  });

if (process.argv.includes("--json")) {
  const machine = { processor: cpus()[0]?.model, node: process.version };
  const settings = { shape, promptTokens, decodeSteps, stepTokens, threads };
  console.log(JSON.stringify({ machine, settings, results, checks }));
} else {
  console.log(`prefill of ${promptTokens} tokens, decode after it, KV cache of ${shape.context} tokens`);
  for (const { side, type, prefillMs, decodeMs, kvMib } of results) {
    const memory = kvMib === undefined ? "" : `${kvMib.toFixed(1)} MiB`;
    const cells = [`${prefillMs.toFixed(0)} ms`, `${decodeMs.toFixed(2)} ms`, memory];
    console.log(`${side.padEnd(10)}${type.padEnd(6)}${cells.map((cell) => cell.padStart(12)).join("")}`);
  }
  for (const { name, value, goal, ok } of checks) {
    console.log(
      `${ok ? "ok   " : "SHORT"} ${name}: ${value.toFixed(2)} times f16, goal at most ${goal.toFixed(2)}`,
    );
  }
}
process.exitCode = checks.every((check) => check.ok) ? 0 : 1;
