import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { test } from "node:test";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { loadEngine } from "../src/engine/load.ts";
import { Backend } from "../src/ggml/backend.ts";
import { loadNative } from "../src/ggml/library.ts";
import { collect } from "./collect.ts";
import { samplePath, withoutSample } from "./sample-model.ts";

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;

/** What a process holds: resident bytes, open files, threads. Files and threads only where the system tells. */
function held() {
  collectGarbage();
  const count = (folder: string) => (process.platform === "linux" ? readdirSync(folder).length : 0);
  return { rss: process.memoryUsage.rss(), files: count("/proc/self/fd"), threads: count("/proc/self/task") };
}

/** Loads the model, serves two requests of which one may be cancelled at its fifth token, and gives all back. */
async function live(cycle: number): Promise<void> {
  const threads = cycle % 10 === 0 ? 2 : 1;
  const model = await loadEngine(samplePath, { threads });
  const prompt = model.tokenizer.encode("Once upon a time", { addSpecial: true, parseSpecial: false });
  const submit = (maxTokens: number) => model.engine.submit({ prompt, maxTokens, ignoreEnd: true });
  const stopped = submit(10);
  const results = [
    collect(submit(6)),
    collect(stopped, (count) => cycle % 3 === 0 && count === 5 && stopped.cancel()),
  ];
  // Every fourth engine is disposed while it runs.
  if (cycle % 4 !== 0) await Promise.all(results);
  await model.dispose();
  await Promise.all(results);
}

test("two hundred lives of a model leave nothing behind", { skip: withoutSample }, async () => {
  const cycles = 200;
  const warm = 20;
  let early = held();
  for (let cycle = 1; cycle <= cycles; cycle++) {
    await live(cycle);
    if (cycle === warm) early = held();
  }
  const late = held();
  // Memory comes and goes by some MiB with the collector and the allocator; a leak of 180 KiB a life shows.
  const growth = (late.rss - early.rss) / 2 ** 20;
  assert.ok(growth < 32, `${growth} MiB more after ${cycles} lives than after ${warm}`);
  assert.equal(late.files, early.files);
  assert.equal(late.threads, early.threads);
});

test("two hundred thread pools leave no thread behind", () => {
  const native = loadNative();
  new Backend(native, { threads: 3 }).dispose();
  const { threads } = held();
  for (let cycle = 0; cycle < 200; cycle++) new Backend(native, { threads: 3 }).dispose();
  assert.equal(held().threads, threads);
});
