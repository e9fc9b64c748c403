import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { describe, test } from "node:test";
import { type LoadedModel, type LoadOptions, loadEngine } from "../src/engine/load.ts";
import { StowageError } from "../src/errors.ts";
import { collect } from "./collect.ts";
import { hasCode } from "./has-code.ts";
import { samplePath, withoutSample } from "./sample-model.ts";

const mebibyte = 2 ** 20;
/** What the process itself may grow by, bytes: vocabulary, JavaScript heap, tensors' descriptions. */
const processGrowth = 16 * mebibyte;
const withoutStatus =
  process.platform === "linux" ? withoutSample : "only Linux tells a process's peak memory";

async function load<T>(options: LoadOptions, use: (model: LoadedModel) => T | Promise<T>): Promise<T> {
  const model = await loadEngine(samplePath, { threads: 1, ...options });
  try {
    return await use(model);
  } finally {
    await model.dispose();
  }
}

async function refusal(options: LoadOptions): Promise<StowageError> {
  const error = await load(options, () => undefined).catch((reason: unknown) => reason);
  assert.ok(error instanceof StowageError, "the budget is refused");
  assert.equal(error.code, "memory_budget");
  return error;
}

for (const [kvTokens, stepTokens, kvType, atOnce] of [
  [4096, 512, "f16", 8],
  [512, 512, "f16", 1],
  [4096, 4096, "f16", 8],
  [4096, 512, "q8_0", 8],
]) {
  const name = `what a busy model takes is within its plan: ${kvTokens} tokens of KV cache in ${kvType}, ${stepTokens} a step`;
  test(name, { skip: withoutStatus }, () => {
    const script = join(import.meta.dirname, "memory-child.ts");
    const args = [script, samplePath, `${kvTokens}`, `${stepTokens}`, `${kvType}`];
    const child = spawnSync(process.execPath, args, { encoding: "utf8" });
    assert.equal(child.status, 0, child.stderr);
    const { planned, grown, generated, most } = JSON.parse(child.stdout);
    assert.equal(generated, 8 * 20);
    assert.equal(most, atOnce);
    assert.ok(grown <= planned + processGrowth, `${grown} bytes were taken, ${planned} planned`);
    assert.ok(planned <= 1.25 * grown, `${planned} bytes were planned, ${grown} taken`);
  });
}

describe("a memory budget", { skip: withoutSample }, () => {
  test("that the plan meets is accepted to the byte", async () => {
    const total = await load({}, ({ plan }) => plan.total);
    await load({ memory: total }, ({ plan }) => {
      const { mappedWeights, convertedWeights, kv, compute, work } = plan;
      assert.equal(mappedWeights + convertedWeights + kv + compute + work, plan.total);
    });
    const error = await refusal({ memory: total - 1 });
    assert.equal(error.details.over, "0.1");
  });

  test("that is short says by how much, and raising it by that works", async () => {
    const total = await load({}, ({ plan }) => plan.total);
    for (const memory of [1, Math.floor(total / 3), Math.floor(total * 0.97)]) {
      const { details, message } = await refusal({ memory });
      assert.match(message, new RegExp(`${details.over} MiB short`));
      await load({ memory: memory + Number(details.over) * mebibyte }, () => undefined);
    }
  });

  test("that is short says which KV cache fits; that one is served from, the next larger is refused", async () => {
    const { total, kv } = await load({ kvTokens: 4096 }, ({ plan }) => plan);
    for (const share of [0.99, 0.6, 0.1]) {
      const memory = Math.floor(total - kv * (1 - share));
      const { next } = await refusal({ kvTokens: 4096, memory });
      const fits = Number(/A KV cache of (\d+) tokens would fit/.exec(next)![1]);
      await load({ kvTokens: fits, memory }, async ({ engine, plan }) => {
        assert.ok(plan.total <= memory && plan.kvCells === fits);
        const { finish } = await collect(engine.submit({ prompt: [5, 6, 7], maxTokens: 2, ignoreEnd: true }));
        assert.equal(finish.generatedTokens, 2);
      });
      await refusal({ kvTokens: fits + 1, memory });
    }
  });

  test("that no KV cache would meet says so", async () => {
    const memory = await load({}, ({ plan }) => plan.total - plan.kv - 1);
    const { next } = await refusal({ memory });
    assert.match(next, /Without any KV cache it needs [\d.]+ MiB already/);
    await refusal({ memory, kvTokens: 1 });
  });
});

test("options out of their range, a file that is not there, and memory that cannot be had", {
  skip: withoutSample,
}, async () => {
  const refused = (options: LoadOptions, code: Parameters<typeof hasCode>[0]) =>
    assert.rejects(
      load(options, () => undefined),
      hasCode(code),
    );
  for (const value of [0, -1, 1.5, Number.NaN]) {
    for (const option of ["threads", "contextTokens", "maxSequences", "kvTokens", "stepTokens"]) {
      await refused({ [option]: value }, "load_option");
    }
  }
  await refused({ contextTokens: 513 }, "load_option");
  await refused({ kvTokens: 2 ** 30 }, "native_call_failed");
  await assert.rejects(loadEngine("/nowhere/none.gguf"), hasCode("gguf_unreadable"));
});
