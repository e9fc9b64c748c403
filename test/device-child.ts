/**
 * Runs a model with layers on a device: `device-child MODEL DEVICE LAYERS OUT`. Two sequences in one step, each of which
 * then gets some tokens more, one a step; the logits after each step go to the file OUT, F32, sequence by sequence in each step.
 */
import { writeFileSync } from "node:fs";
import { loadEngine } from "../src/engine/load.ts";
import { StepRunner } from "../src/engine/step-runner.ts";
import { KvCache } from "../src/kv/cache.ts";
import { deviceCells, devicePrompts, deviceTails } from "./device-prompts.ts";

const [path, device, layers, out] = process.argv.slice(2) as [string, string, string, string];
const options = { device, deviceLayers: Number(layers), contextTokens: deviceCells, maxSequences: 2 };
const model = await loadEngine(path, { ...options, kvTokens: 4 * deviceCells, threads: 1 });
await model.engine.settled;
const steps = new StepRunner(model.runtime, { maxTokens: 2 * deviceCells, maxSequences: 2 });
const cache = new KvCache(model.runtime.kv);
const runs = devicePrompts.map(() => cache.open([], deviceCells)!);
const all: number[] = [];
for (const step of [devicePrompts, ...deviceTails.map((token) => devicePrompts.map(() => [token]))]) {
  const entries = runs.map((run, index) => ({ run, tokens: step[index]! }));
  await steps.run(
    entries,
    () => {},
    (_, logits) => all.push(...logits),
  );
  for (const { run, tokens } of entries) run.tokens.push(...tokens);
}
// A copied beginning has to be as good as one that was computed.
cache.close(runs[0]!);
const copied = cache.open([...runs[0]!.tokens.slice(0, -1), 9], deviceCells)!;
await steps.run(
  [{ run: copied, tokens: [9] }],
  () => {},
  (_, logits) => all.push(...logits),
);
writeFileSync(out, new Float32Array(all));
steps.dispose();
await model.dispose();
