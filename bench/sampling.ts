/**
 * What choosing a token costs: microseconds per `Sampler.sample` on one core, by vocabulary size and chain.
 *
 *   node bench/sampling.ts [--json]
 *
 * Exits 0 when all goals are met, 1 when one falls short.
 */
import { cpus } from "node:os";
import { resolveSampling, type SamplingParams } from "../src/engine/sampling/params.ts";
import { Xoshiro128 } from "../src/engine/sampling/random.ts";
import { Sampler } from "../src/engine/sampling/sampler.ts";

const vocabs = [8_192, 50_257, 151_936];
const chains: Record<string, SamplingParams> = {
  greedy: { temperature: 0 },
  "default chain": {},
  "top_k=0, top_p=0.95": { topK: 0, minP: 0 },
  "temperature only": { temperature: 1, topK: 0, topP: 1, minP: 0 },
  "default + penalties": { repeatPenalty: 1.1, frequencyPenalty: 0.1 },
  "default + logprobs=5": { logprobs: 5 },
  "default + bias, DRY": { logitBias: { 5: 1 }, dryMultiplier: 0.8 },
  "typical_p=0.9, top_k=0": { topK: 0, typicalP: 0.9 },
  "top_n_sigma=1, top_k=0": { topK: 0, topP: 1, topNSigma: 1 },
  "default + XTC": { xtcProbability: 1 },
  "mirostat 1": { mirostat: 1 },
  "mirostat 2": { mirostat: 2 },
};
/** Upper limits in µs, by chain and vocabulary. */
const goals: Record<string, Record<number, number>> = {
  greedy: { 8192: 10, 50257: 50 },
  "default chain": { 50257: 250 },
  "typical_p=0.9, top_k=0": { 151936: 10_000 },
  "mirostat 1": { 151936: 10_000 },
};
const batches = 15;
const batchMs = 15;
/** Several logit vectors in turn, as a processor learns the branches of a single one by heart. */
const vectors = 16;

/** Normal logits of deviation 2.5 and a dozen tokens well above them, as a language model's look. */
function modelLike(vocab: number, random: Xoshiro128): Float32Array {
  const logits = Float32Array.from({ length: vocab }, () => {
    const radius = Math.sqrt(-2 * Math.log(1 - random.nextUnit()));
    return 2.5 * radius * Math.cos(2 * Math.PI * random.nextUnit());
  });
  for (let i = 0; i < 12; i++) logits[Math.floor(random.nextUnit() * vocab)] = 12 + 6 * random.nextUnit();
  return logits;
}

/** Median over batches of the µs that one call takes. */
function measure(sampler: Sampler, inputs: Float32Array[]): number {
  let turn = 0;
  const once = () => sampler.accept(sampler.sample(inputs[turn++ % vectors]!).token);
  const batch = () => {
    const start = performance.now();
    let calls = 0;
    do {
      for (let i = 0; i < vectors; i++) once();
      calls += vectors;
    } while (performance.now() - start < batchMs);
    return ((performance.now() - start) / calls) * 1000;
  };
  // Two batches untimed, for the compiler.
  batch();
  batch();
  const times = Array.from({ length: batches }, batch).sort((a, b) => a - b);
  return times[batches >> 1]!;
}

const random = Xoshiro128.fromSeed(1);
const results = vocabs.flatMap((vocab) => {
  const inputs = Array.from({ length: vectors }, () => modelLike(vocab, random));
  return Object.entries(chains).map(([chain, params]) => {
    const sampler = new Sampler(resolveSampling({ ...params, seed: 1 }), vocab);
    return { chain, vocab, microseconds: measure(sampler, inputs) };
  });
});
const checks = results.flatMap(({ chain, vocab, microseconds }) => {
  const goal = goals[chain]?.[vocab];
  if (goal === undefined) return [];
  return [
    { name: `${chain}, ${vocab} tokens`, value: microseconds, unit: "µs", goal, ok: microseconds < goal },
  ];
});

if (process.argv.includes("--json")) {
  const machine = { processor: cpus()[0]?.model, node: process.version };
  const settings = { vocabs, chains, batches, batchMs, vectors };
  console.log(JSON.stringify({ machine, settings, results, checks }));
} else {
  console.log(`${"µs per call".padEnd(24)}${vocabs.map((vocab) => String(vocab).padStart(10)).join("")}`);
  for (const chain of Object.keys(chains)) {
    const row = results.filter((result) => result.chain === chain);
    console.log(chain.padEnd(24) + row.map((r) => r.microseconds.toFixed(1).padStart(10)).join(""));
  }
  for (const { name, value, unit, goal, ok } of checks) {
    console.log(`${ok ? "ok   " : "SHORT"} ${name}: ${value.toFixed(1)} ${unit}, goal below ${goal} ${unit}`);
  }
}
process.exitCode = checks.every((check) => check.ok) ? 0 : 1;
