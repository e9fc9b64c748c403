import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { type LoadedModel, type LoadOptions, loadEngine } from "../src/engine/load.ts";
import type { SequenceRequest } from "../src/engine/sequence.ts";
import { openGguf } from "../src/gguf/read.ts";
import { gguf } from "../src/gguf/values.ts";
import { writeGguf } from "../src/gguf/write.ts";
import type { AdapterChoice } from "../src/model/lora/adapters.ts";
import { type SyntheticShape, writeSyntheticModel } from "../src/model/synth.ts";
import { assertSameGreedy, collect } from "./collect.ts";
import { hasCode } from "./has-code.ts";
import { boundOf, clearTokens } from "./parity-cases.ts";
import { measureParity, worst } from "./parity-measure.ts";
import { OwnModel } from "./parity-own.ts";
import { writeTinyAdapter } from "./tiny-adapter.ts";
import { tinyDense, tinyShapes } from "./tiny-model.ts";

let folder: string;
before(() => {
  folder = mkdtempSync(join(tmpdir(), "stowage-lora-"));
});
after(() => rmSync(folder, { recursive: true }));

const denseLlama: SyntheticShape = { ...tinyDense, architecture: "llama" };

describe("logits with adapters equal libllama's", () => {
  const some = /attn_output|ffn_gate_inp\.|ffn_down\./;
  const grouped: SyntheticShape = { ...tinyShapes.qwen3!, heads: 8, kvHeads: 2 };
  for (const [name, shape, types] of [
    ["llama, dense", denseLlama, ["F32", "Q4_K"]],
    ["qwen3, grouped queries", grouped, ["Q4_K"]],
    ["qwen2, with biases", tinyShapes.qwen2!, ["F32"]],
    ["gemma3, tied embeddings", { ...tinyShapes.gemma3!, tiedEmbeddings: true }, ["F32"]],
    // All experts are chosen: an adapter moves the router, and so what is a tie to it.
    ["qwen3moe", { ...tinyShapes.qwen3moe!, experts: 2 }, ["F32", "Q4_K"]],
  ] as const) {
    for (const type of types) {
      test(`${name}: ${type}`, async (t) => {
        const path = join(folder, "parity.gguf");
        await writeSyntheticModel(path, { ...shape, type, seed: 7 });
        const poet = join(folder, "poet.gguf");
        const bard = join(folder, "bard.gguf");
        await writeTinyAdapter(poet, path, { seed: 1, rank: 4, alpha: 6 });
        await writeTinyAdapter(bard, path, {
          seed: 2,
          rank: 1,
          type: "F16",
          weights: shape.tiedEmbeddings ? some : new RegExp(`^token_embd|${some.source}`),
        });
        const lora = [
          { name: "poet", path: poet, scale: 0.75 },
          { name: "bard", path: bard, scale: -0.5 },
        ];
        const parity = await measureParity(path, clearTokens, { lora });
        // The adapter in F16 rounds activations to that, as a model in F16 does; its own come beside those of the model.
        const bound = boundOf({ allowance: 2 }, type === "F32" ? "F16" : type);
        const { divergences, ...rows } = parity;
        for (const [step, compared] of Object.entries(rows)) {
          const difference = worst(compared);
          t.diagnostic(`${step} ${difference.toExponential(1)}, bound ${bound}`);
          assert.ok(difference <= bound, `logits at ${step} differ by ${difference}`);
        }
        for (const { gap } of divergences) assert.ok(gap <= bound);
      });
    }
  }
});

describe("adapters in one batch", () => {
  let path: string;
  let lora: { name: string; path: string; scale: number }[];
  before(async () => {
    path = join(folder, "batch.gguf");
    await writeSyntheticModel(path, { ...denseLlama, type: "Q4_K", seed: 7 });
    lora = [];
    for (const [index, name] of ["poet", "bard"].entries()) {
      lora.push({ name, path: join(folder, `batch-${name}.gguf`), scale: 1 });
      await writeTinyAdapter(lora[index]!.path, path, { seed: 10 + index, rank: 4 + index });
    }
  });

  test("change nothing, to the last bit, for those beside them", async () => {
    const own = await OwnModel.load(path, { sequences: 3, cellsEach: 256, converted: true, lora });
    try {
      const prompts = [12, 7, 30].map((length, at) =>
        Array.from({ length }, (_, index) => 5 + ((index * 37 + at * 11) % 500)),
      );
      /** Logits of a prefill and three decode steps of three sequences side by side, [sequence][step]. */
      const run = async (choices: readonly (readonly AdapterChoice[])[]) => {
        const runs = prompts.map(() => own.open());
        const rows: Float32Array[][] = prompts.map(() => []);
        for (let step = 0; step < 4; step++) {
          const logits = await own.step(
            runs.map((run, index) => ({
              run,
              tokens: step === 0 ? prompts[index]! : [40 + step],
              lora: choices[index]!,
            })),
          );
          for (const [index, row] of logits.entries()) rows[index]!.push(row);
        }
        for (const run of runs) own.close({ ...run, tokens: [] });
        return rows;
      };
      const poet = [{ name: "poet" }];
      const bard = [{ name: "bard", scale: 0.5 }];
      const base = await run([[], [], []]);
      const mixed = await run([poet, bard, []]);
      const equal = await run([poet, poet, poet]);
      const two = await run([[...poet, ...bard], poet, bard]);
      assert.deepEqual(mixed[0], equal[0]);
      assert.deepEqual(mixed[2], base[2]);
      assert.deepEqual(two[1], equal[1]);
      assert.deepEqual((await run([bard, bard, bard]))[1], mixed[1]);
      assert.notDeepEqual(mixed[0], base[0]);
      assert.notDeepEqual(mixed[1], base[1]);
      assert.notDeepEqual(two[0], mixed[0]);
    } finally {
      own.dispose();
    }
  });

  describe("in the engine", () => {
    let model: LoadedModel;
    before(async () => {
      model = await loadEngine(path, { threads: 1, lora });
      await model.engine.settled;
    });
    after(() => model.dispose());

    const greedy = (request: Partial<SequenceRequest>) =>
      collect(
        model.engine.submit({
          prompt: [5, 6, 7, 8, 9, 10],
          maxTokens: 24,
          ignoreEnd: true,
          sampling: { temperature: 0, logprobs: 2 },
          ...request,
        }),
      );
    const choices: readonly (readonly AdapterChoice[])[] = [
      [],
      [{ name: "poet" }],
      [{ name: "bard" }],
      [{ name: "bard" }, { name: "poet", scale: 0.5 }],
    ];

    test("each sequence is as if alone", async () => {
      const alone = [];
      for (const lora of choices) {
        model.engine.clearCache();
        alone.push(await greedy({ lora }));
      }
      assert.equal(new Set(alone.map(({ text }) => text)).size, choices.length, "they say different things");
      model.engine.clearCache();
      const together = await Promise.all(choices.map((lora) => greedy({ lora })));
      for (const [index, output] of together.entries()) assertSameGreedy(alone[index]!, output, 0.3);
    });

    test("decode steps keep their graphs", async () => {
      const before = model.engine.records.total;
      await Promise.all(choices.map((lora) => greedy({ lora })));
      const records = model.engine.records.list().slice(before - model.engine.records.total);
      const decodes = records.filter(({ prefillTokens }) => prefillTokens === 0);
      assert.ok(decodes.length >= 20);
      assert.ok(decodes.slice(1).every(({ reused }) => reused));
    });

    test("what one adapter computed is no prefix to another", async () => {
      model.engine.clearCache();
      const cached = async (lora: readonly AdapterChoice[]) => (await greedy({ lora })).finish.cachedTokens;
      assert.equal(await cached([]), 0);
      assert.equal(await cached([{ name: "poet" }]), 0);
      assert.equal(await cached([{ name: "poet", scale: 0.5 }]), 0);
      assert.equal(await cached([{ name: "poet" }]), 5);
      assert.equal(await cached([{ name: "poet", scale: 1 }]), 5);
      assert.equal(await cached([{ name: "poet", scale: 0 }]), 5, "an adapter at scale 0 is none");
      assert.equal(await cached([{ name: "bard" }]), 0);
    });

    test("wrong choices are refused", () => {
      const refused = (lora: readonly AdapterChoice[], code: Parameters<typeof hasCode>[0]) =>
        assert.throws(() => model.engine.submit({ prompt: [5], lora }), hasCode(code));
      refused([{ name: "nobody" }], "lora_unknown");
      refused([{ name: "poet" }, { name: "poet" }], "lora_twice");
      refused([{ name: "poet", scale: Number.NaN }], "lora_scale");
    });
  });

  test("they are planned for, and a model without any refuses to use one", async () => {
    const bare = await loadEngine(path, { threads: 1 });
    try {
      assert.throws(
        () => bare.engine.submit({ prompt: [5], lora: [{ name: "poet" }] }),
        hasCode("lora_unknown"),
      );
      const loaded = await loadEngine(path, { threads: 1, lora });
      const bytes = (await Promise.all(lora.map(({ path }) => openGguf(path)))).map(
        ({ shards }) => shards[0]!.bytes,
      );
      assert.equal(loaded.plan.adapters, bytes[0]! + bytes[1]!);
      assert.ok(loaded.plan.total >= bare.plan.total + loaded.plan.adapters);
      await loaded.dispose();
      const memory = loaded.plan.total - 1;
      await assert.rejects(loadEngine(path, { threads: 1, lora, memory }), hasCode("memory_budget"));
    } finally {
      await bare.dispose();
    }
  });
});

test("experts under a budget, with adapters on what stays in memory", async () => {
  const path = join(folder, "experts.gguf");
  await writeSyntheticModel(path, { ...tinyShapes.qwen3moe!, type: "Q4_0", seed: 7 });
  const lora = [{ name: "poet", path: join(folder, "experts-poet.gguf") }];
  await writeTinyAdapter(lora[0]!.path, path, { seed: 4, weights: /attn_|ffn_gate_inp\.|output\.weight/ });
  const outputs = [];
  for (const options of [{ expertMemory: "100%" }, { expertMemory: "40%" }] satisfies LoadOptions[]) {
    const model = await loadEngine(path, { threads: 1, lora, prepare: "never", ...options });
    await model.engine.settled;
    const run = (lora: readonly AdapterChoice[], length: number) =>
      collect(
        model.engine.submit({
          prompt: Array.from({ length }, (_, index) => 5 + ((index * 31) % 500)),
          maxTokens: 16,
          ignoreEnd: true,
          sampling: { temperature: 0, logprobs: 2 },
          lora,
        }),
      );
    // Long prompts run expert by expert, short ones in one graph, or by slots.
    outputs.push(await run([{ name: "poet" }], 90), await run([{ name: "poet" }], 3), await run([], 3));
    await model.dispose();
  }
  const [long, short, bare, ...budgeted] = outputs;
  assert.notEqual(short!.text, bare!.text);
  for (const [index, output] of [long!, short!, bare!].entries()) {
    assertSameGreedy(output, budgeted[index]!, 0.3);
  }
});

describe("a file that is no adapter for the model is refused", () => {
  let path: string;
  let good: string;
  before(async () => {
    path = join(folder, "refused.gguf");
    good = join(folder, "good.gguf");
    await writeSyntheticModel(path, { ...tinyShapes.qwen3moe!, type: "F32", seed: 7 });
    await writeTinyAdapter(good, path, { seed: 1 });
  });

  type Metadata = [string, ReturnType<typeof gguf.string> | ReturnType<typeof gguf.f32>][];
  interface Part {
    name: string;
    type: "F32" | "I32";
    shape: number[];
  }
  const metadata = (changes: Record<string, Metadata[number][1] | undefined> = {}): Metadata =>
    Object.entries({
      "general.type": gguf.string("adapter"),
      "general.architecture": gguf.string("qwen3moe"),
      "adapter.type": gguf.string("lora"),
      "adapter.lora.alpha": gguf.f32(4),
      ...changes,
    }).filter((entry): entry is Metadata[number] => entry[1] !== undefined);
  const pair = (name: string, a: number[], b: number[], type: Part["type"] = "F32"): Part[] => [
    { name: `${name}.lora_a`, type, shape: a },
    { name: `${name}.lora_b`, type, shape: b },
  ];
  const fits = pair("blk.0.attn_q.weight", [256, 4], [4, 256]);

  const refused = async (
    code: Parameters<typeof hasCode>[0],
    tensors: readonly Part[] = fits,
    changes: Parameters<typeof metadata>[0] = {},
  ) => {
    const bad = join(folder, "bad.gguf");
    await writeGguf(bad, {
      metadata: metadata(changes),
      tensors,
      data: ({ shape }) => new Uint8Array(4 * shape.reduce((product, extent) => product * extent, 1)),
    });
    await assert.rejects(loadEngine(path, { threads: 1, lora: [{ name: "bad", path: bad }] }), hasCode(code));
  };

  test("by what it says it is", async () => {
    await refused("lora_kind", fits, { "general.type": gguf.string("model") });
    await refused("lora_kind", fits, { "general.type": undefined });
    await refused("lora_kind", fits, { "adapter.type": gguf.string("dora") });
    await refused("lora_base", fits, { "general.architecture": gguf.string("llama") });
    await refused("gguf_metadata_missing", fits, { "general.architecture": undefined });
    await refused("gguf_metadata_type", fits, { "adapter.lora.alpha": gguf.string("4") });
    await refused("lora_tensor", fits, { "adapter.lora.alpha": gguf.f32(Number.NaN) });
    await refused("lora_tensor", fits, { "adapter.lora.alpha": gguf.f32(-1) });
    await assert.rejects(
      loadEngine(path, { threads: 1, lora: [{ name: "model", path }] }),
      hasCode("lora_kind"),
    );
  });

  test("by its tensors", async () => {
    await refused("lora_tensor", [...fits, { name: "blk.0.attn_norm.weight", type: "F32", shape: [256] }]);
    await refused("lora_tensor", fits.slice(0, 1));
    await refused("lora_tensor", fits.slice(1));
    await refused("lora_base", pair("blk.7.attn_q.weight", [256, 4], [4, 256]));
    await refused("lora_base", pair("blk.0.ffn_up.weight", [256, 4], [4, 512]));
    await refused("lora_tensor", pair("blk.0.attn_norm.weight", [256, 4], [4, 1]));
    await refused("lora_tensor", pair("blk.0.ffn_up_exps.weight", [256, 4, 8], [4, 256, 8]));
    await refused("lora_tensor", pair("blk.0.attn_q.weight", [256, 4], [4, 256], "I32"));
  });

  test("by shapes that do not fit", async () => {
    await refused("lora_shape", pair("blk.0.attn_q.weight", [4, 256], [256, 4]));
    await refused("lora_shape", pair("blk.0.attn_q.weight", [256, 4], [5, 256]));
    await refused("lora_shape", pair("blk.0.attn_q.weight", [256, 4], [4, 255]));
    await refused("lora_shape", pair("blk.0.attn_q.weight", [256, 4, 2], [4, 256]));
    await refused("lora_shape", pair("token_embd.weight", [256, 4], [4, 512]));
  });

  test("by name and scale", async () => {
    const load = (...lora: NonNullable<LoadOptions["lora"]>) => loadEngine(path, { threads: 1, lora });
    for (const name of ["", " ", "a:b", "a,b", "a=b", "a\n", "x".repeat(201)]) {
      await assert.rejects(load({ name, path: good }), hasCode("lora_name"));
    }
    await assert.rejects(load({ name: "a", path: good }, { name: "a", path: good }), hasCode("lora_name"));
    await assert.rejects(load({ name: "a", path: good, scale: Number.NaN }), hasCode("lora_scale"));
    await assert.rejects(load({ name: "a", path: "/nowhere.gguf" }), hasCode("gguf_unreadable"));
  });
});
