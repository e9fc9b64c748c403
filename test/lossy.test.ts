/** Lossy modes: lossless where they lose nothing, and else the numbers of a model whose weights are really so low. */
import assert from "node:assert/strict";
import { copyFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { type LoadedModel, type LoadOptions, loadEngine } from "../src/engine/load.ts";
import type { LossyOptions } from "../src/engine/lossy-options.ts";
import type { ErrorCode } from "../src/errors.ts";
import { quantizeModel } from "../src/model/quantize.ts";
import { Random } from "../src/model/random.ts";
import { writeSyntheticModel } from "../src/model/synth.ts";
import { tinyExperts } from "./expert-models.ts";
import { hasCode } from "./has-code.ts";
import { mixedExperts, mixedModel } from "./mixed-model.ts";
import { sampleTexts } from "./sample-texts.ts";
import { stowage } from "./stowage.ts";

const shape = { ...tinyExperts, experts: 16, expertsUsed: 4, vocabulary: 512, downType: "Q8_0" } as const;
const model = { ...shape, type: "Q8_0", seed: 11 } as const;
/** Of log-probabilities, between kernels of F32 and of Q4_0. */
const tolerance = 0.1;
const isExperts = (name: string) => name.includes("_exps.");
/** The experts of a token are a quarter of a layer's. */
const budget = "60%";

/** Chosen tokens with their exact log-probabilities. */
type Rows = readonly (readonly [number, number])[][];

async function run(
  { engine, tokenizer }: LoadedModel,
  { prompt, sequences = 2 }: { prompt: number; sequences?: number },
): Promise<Rows> {
  const random = new Random(3);
  const all = Array.from({ length: sequences }, () =>
    engine.submit({
      prompt: Array.from({ length: prompt }, () => random.below(tokenizer.vocabularySize)),
      maxTokens: 16,
      ignoreEnd: true,
      sampling: { temperature: 0, logprobs: 1 },
    }),
  );
  return Promise.all(
    all.map(async (sequence) => {
      const row: [number, number][] = [];
      for await (const event of sequence) if (event.type === "token") row.push([event.token, event.logprob!]);
      return row;
    }),
  );
}

describe("lossy modes", () => {
  let folder: string;
  const at = (name: string) => join(folder, `${name}.gguf`);
  const hobbit = (full: number, skip: number, low = "low"): LossyOptions => {
    return { mode: "hobbit", low: at(low), full, skip };
  };

  async function using<T>(
    path: string,
    options: LoadOptions,
    work: (model: LoadedModel) => Promise<T>,
  ): Promise<T> {
    const sizes = {
      contextTokens: 128,
      maxSequences: 2,
      speculate: "off",
      expertPolicy: "lru",
      threads: 1,
    } as const;
    const loaded = await loadEngine(path, { ...sizes, ...options });
    try {
      await loaded.engine.settled;
      return await work(loaded);
    } finally {
      await loaded.dispose();
    }
  }

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), "stowage-lossy-"));
    await writeSyntheticModel(at("model"), model);
    const quantise = (from: string, to: string, recipe: "Q4_0" | "F32") =>
      quantizeModel(at(from), at(to), { recipe, pure: true, overrides: [], threads: 1 });
    await quantise("model", "quantised", "Q4_0");
    await mixedModel(at("low"), at("model"), (name) => (isExperts(name) ? at("quantised") : undefined));
    await mixedModel(at("none"), at("model"), (name) => (isExperts(name) ? "zero" : undefined));
    await quantise("low", "floats", "F32");
    await mixedModel(at("same"), at("model"), (name) => (isExperts(name) ? at("floats") : undefined));
    await quantise("model", "all-floats", "F32");
    await mixedModel(at("model-floats"), at("model"), (name) =>
      isExperts(name) ? at("all-floats") : undefined,
    );
    measure();
    copyFileSync(at("low"), at("unmeasured"));
    await mixedModel(at("others"), at("quantised"), () => undefined);
    copyFileSync(`${at("low")}.sensitivity`, `${at("others")}.sensitivity`);
    await writeSyntheticModel(at("stranger"), { ...shape, type: "Q4_0", downType: "Q4_0", seed: 12 });
    await writeSyntheticModel(at("wider"), {
      ...shape,
      expertWidth: 512,
      type: "Q4_0",
      downType: "Q4_0",
      seed: 11,
    });
  });
  /** The sensitivities, as a user makes them. */
  function measure(): void {
    const text = join(folder, "text");
    writeFileSync(text, sampleTexts.prose.slice(0, 1200));
    const imatrix = join(folder, "imatrix");
    for (const args of [
      ["imatrix", at("model"), text, "--context", "64", "--output", imatrix],
      ["lab", "sensitivity", at("model"), at("low"), "--imatrix", imatrix],
    ]) {
      const { status, stderr } = stowage(args);
      assert.equal(status, 0, stderr);
    }
  }
  after(() => rmSync(folder, { recursive: true, force: true }));

  for (const prompt of [6, 45]) {
    test(`hobbit with thresholds of zero is lossless, prompts of ${prompt} tokens`, async () => {
      const expected = await using(at("model"), { expertMemory: budget }, (loaded) =>
        run(loaded, { prompt }),
      );
      const options = { expertMemory: budget, lossy: hobbit(0, 0) };
      await using(at("model"), options, async (loaded) => {
        assert.deepEqual(await run(loaded, { prompt }), expected);
        const { low, skipped, full } = loaded.lossy!.served;
        assert.ok(full > 0 && loaded.experts!.metrics.total.misses > 0);
        assert.deepEqual([low, skipped, loaded.lossy!.low.metrics.readBytes], [0, 0, 0]);
      });
    });
  }

  // Prompts of a token are decode steps, so nothing ever comes in full precision.
  for (const [name, skip] of [
    ["low", 0],
    ["none", 1],
  ] as const) {
    test(`hobbit on a cold cache that nothing is read into is the model with ${name} experts`, async () => {
      const expected = await using(at(name), {}, (loaded) => run(loaded, { prompt: 1 }));
      await using(at("model"), { expertMemory: "99%", lossy: hobbit(1, skip) }, async (loaded) => {
        assert.deepEqual(await run(loaded, { prompt: 1 }), expected);
        const { full, low, skipped } = loaded.lossy!.served;
        assert.equal(full, 0);
        assert.ok((skip === 0 ? low : skipped) > 0);
        assert.equal(loaded.experts!.metrics.readBytes, 0);
      });
    });
  }

  test("hobbit with copies that say the same as the experts says the same, whichever it takes", async () => {
    const options = { expertMemory: "40%", lossy: hobbit(0.3, 0) };
    const given = { prompt: 6, sequences: 2 };
    const expected = await using(at("same"), {}, (loaded) => run(loaded, given));
    await using(at("same"), options, async (loaded) => {
      const found = await run(loaded, given);
      for (const [index, row] of expected.entries()) {
        for (const [step, [token, logprob]] of row.entries()) {
          assert.equal(found[index]![step]![0], token);
          assert.ok(Math.abs(found[index]![step]![1] - logprob) < tolerance);
        }
      }
      const { full, low } = loaded.lossy!.served;
      assert.ok(full > 0 && low > 0);
    });
  });

  const edgemoe = (bytes: number | string, low = "low"): LossyOptions => {
    return { mode: "edgemoe", low: at(low), bytes };
  };

  for (const prompt of [1, 45]) {
    test(`edgemoe with bytes for all in full precision is lossless, prompts of ${prompt} tokens`, async () => {
      const expected = await using(at("model"), { expertMemory: budget }, (loaded) =>
        run(loaded, { prompt }),
      );
      const options = { expertMemory: budget, lossy: edgemoe("100%") };
      await using(at("model"), options, async (loaded) => {
        assert.deepEqual(await run(loaded, { prompt }), expected);
        assert.deepEqual([loaded.lossy!.served.low, loaded.lossy!.low.metrics.readBytes], [0, 0]);
      });
    });

    // At the least budget, where short steps have to run expert by expert too.
    for (const expertMemory of [budget, "14%"]) {
      test(`edgemoe with bytes for none, experts in ${expertMemory}: the low model, prompts of ${prompt} tokens`, async () => {
        const expected = await using(at("low"), {}, (loaded) => run(loaded, { prompt }));
        const bytes = await lowBytes();
        await using(at("model"), { expertMemory, lossy: edgemoe(bytes) }, async (loaded) => {
          assert.deepEqual(await run(loaded, { prompt }), expected);
          assert.deepEqual([loaded.lossy!.served.full, loaded.experts!.metrics.readBytes], [0, 0]);
        });
      });
    }
  }

  test("edgemoe with some low is a model of such weights", async () => {
    const options: LoadOptions = { expertMemory: "40%", expertPolicy: "composite", lossy: edgemoe("75%") };
    const given = { prompt: 45 };
    await using(at("model"), options, async (loaded) => {
      const { mode, served } = loaded.lossy!;
      const isLow = (layer: number, expert: number) => mode.ahead(layer, "low").includes(expert);
      await mixedExperts(at("half"), at("model-floats"), at("same"), shape.experts, isLow);
      const expected = await using(at("half"), {}, (reference) => run(reference, given));
      const found = await run(loaded, given);
      for (const [index, row] of expected.entries()) {
        for (const [step, [token, logprob]] of row.entries()) {
          assert.equal(found[index]![step]![0], token);
          assert.ok(Math.abs(found[index]![step]![1] - logprob) < tolerance);
        }
      }
      assert.ok(served.full > 0 && served.low > 0);
    });
  });

  test("a share between full and low takes its bytes from the least sensitive experts", async () => {
    const { sensitivity } = JSON.parse(readFileSync(`${at("low")}.sensitivity`, "utf8"));
    await using(at("model"), { expertMemory: budget, lossy: edgemoe("75%") }, async ({ lossy }) => {
      const of = (precision: "full" | "low") =>
        [0, 1, 2].flatMap((layer) =>
          lossy!.mode.ahead(layer, precision).map((expert) => sensitivity[layer][expert]),
        );
      assert.ok(Math.max(...of("low")) <= Math.min(...of("full")));
    });
  });

  /** What all experts take when they are low, from the error that refuses less. */
  async function lowBytes(): Promise<number> {
    const error = await using(at("model"), { expertMemory: budget, lossy: edgemoe(1) }, () =>
      Promise.resolve(),
    ).then(
      () => assert.fail("experts in one byte were accepted"),
      (reason) => reason,
    );
    assert.equal(error.code, "load_option");
    return Number(/at least (\d+) bytes/.exec(error.message)![1]);
  }

  test("gives everything back, also when it is refused late", async () => {
    const files = () => readdirSync("/proc/self/fd").length;
    const lossy = edgemoe("75%");
    await using(at("model"), { expertMemory: budget, lossy }, () => Promise.resolve());
    const before = files();
    for (let round = 0; round < 3; round++) {
      await using(at("model"), { expertMemory: budget, lossy }, (loaded) => run(loaded, { prompt: 6 }));
      const recordRouting = join(folder, "nowhere", "trace");
      await assert.rejects(
        using(at("model"), { expertMemory: budget, lossy, recordRouting }, () => Promise.resolve()),
      );
    }
    assert.equal(files(), before);
  });

  test("stowage lab lossy: speed against perplexity, as a table, JSON and a page", () => {
    const page = join(folder, "page.html");
    const { status, stdout, stderr } = stowage([
      ...["lab", "lossy", at("model"), at("low"), join(folder, "text"), "--json", "--html", page],
      ...["--context", "32", "--chunks", "2", "--threads", "1", "--expert-memory", budget],
      ...["--thresholds", "1/0,1/1", "--bytes", "70%"],
    ]);
    assert.equal(status, 0, stderr);
    const { results, checks, settings } = JSON.parse(stdout);
    assert.deepEqual(
      results.map(({ mode, setting }: Record<string, unknown>) => [mode, setting]),
      [
        ["lossless", "-"],
        ["hobbit", "full 0, skip 0"],
        ["hobbit", "full 1, skip 0"],
        ["hobbit", "full 1, skip 1"],
        ["edgemoe", "bytes 100%"],
        ["edgemoe", "bytes 70%"],
      ],
    );
    assert.equal(settings.expert_memory, budget);
    const [lossless, , low, skipped, all, some] = results;
    for (const exact of [lossless, all]) {
      assert.deepEqual([exact.change_percent, exact.same_best_percent, exact.low_percent], [0, 100, 0]);
    }
    assert.ok(low.low_percent > 0 && some.low_percent > 0 && skipped.skipped_percent > 0);
    assert.ok([low, skipped, some].every(({ change_percent }) => change_percent !== 0));
    assert.deepEqual(
      checks.map(({ name, value, ok }: Record<string, unknown>) => [name, value, ok]),
      [["identical_when_nothing_is_lost", 0, true]],
    );
    assert.match(readFileSync(page, "utf8"), /perplexity over lossless, %/);
  });

  test("hobbit's usual thresholds are of an equal share", async () => {
    const options: LoadOptions = { expertMemory: budget, lossy: { mode: "hobbit", low: at("low") } };
    await using(at("model"), options, async ({ lossy }) => {
      assert.equal(
        lossy!.mode.says,
        "a missing expert is low below 0.3 of its token's weights, skipped below 0.1",
      );
    });
  });

  const refused: readonly [string, ErrorCode, () => LoadOptions][] = [
    ["no budget", "lossy_budget", () => ({ lossy: hobbit(0.5, 0.1) })],
    ["a threshold that is no share", "load_option", () => ({ expertMemory: budget, lossy: hobbit(1.5, 0) })],
    ["skipping more than is low", "load_option", () => ({ expertMemory: budget, lossy: hobbit(0.1, 0.5) })],
    [
      "copies of another model",
      "low_experts",
      () => ({ expertMemory: budget, lossy: hobbit(0.5, 0.1, "stranger") }),
    ],
    [
      "copies of another shape",
      "low_experts",
      () => ({ expertMemory: budget, lossy: hobbit(0.5, 0.1, "wider") }),
    ],
    [
      "copies that are no smaller",
      "low_experts",
      () => ({ expertMemory: budget, lossy: hobbit(0.5, 0.1, "model") }),
    ],
    ["bytes that say nothing", "load_option", () => ({ expertMemory: budget, lossy: edgemoe("much") })],
    [
      "no sensitivities",
      "sensitivity_file",
      () => ({ expertMemory: budget, lossy: edgemoe("75%", "unmeasured") }),
    ],
    [
      "those of other copies",
      "sensitivity_file",
      () => ({ expertMemory: budget, lossy: edgemoe("75%", "others") }),
    ],
    ["no file", "gguf_unreadable", () => ({ expertMemory: budget, lossy: hobbit(0.5, 0.1, "nothing") })],
    [
      "a budget for full experts alone",
      "expert_memory",
      () => ({ expertMemory: "10%", lossy: hobbit(0.5, 0.1) }),
    ],
  ];
  for (const [name, code, options] of refused) {
    test(`refused: ${name}`, async () => {
      await assert.rejects(
        using(at("model"), options(), () => Promise.resolve()),
        hasCode(code),
      );
    });
  }
});
