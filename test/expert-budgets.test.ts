/** Whatever the budget and the policy: with the same steps, the numbers of a model whose experts come and go are the resident model's. */
import assert from "node:assert/strict";
import { existsSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { type LoadedModel, type LoadOptions, loadEngine } from "../src/engine/load.ts";
import {
  type PolicyName,
  type PrefetchName,
  policyNames,
  prefetchNames,
} from "../src/experts/policies/policies.ts";
import { Random } from "../src/model/random.ts";
import { type SyntheticModel, writeSyntheticModel } from "../src/model/synth.ts";
import { tinyExperts } from "./expert-models.ts";
import { samplePath, withoutSample } from "./sample-model.ts";
import { tinyShapes } from "./tiny-model.ts";

const maxSequences = 8;
const contextTokens = 256;
const promptTokens = 40;
const outputTokens = 24;

const { downType, ...tiny } = { ...tinyExperts, experts: 16, vocabulary: 512, context: 256, seed: 11 };

const files: readonly { name: string; model: SyntheticModel }[] = [
  { name: "Q4_K with Q6_K down-projections", model: { ...tiny, type: "Q4_K", downType: downType! } },
  { name: "Q8_0", model: { ...tiny, type: "Q8_0" } },
  { name: "F16, weights not normalised", model: { ...tiny, architecture: "olmoe", kvHeads: 4, type: "F16" } },
];

/** Experts with biases, in a type that no other model has; at fewer budgets. */
const gptOss: SyntheticModel = { ...tinyShapes["gpt-oss"]!, type: "MXFP4", experts: 16, seed: 11 };

/** What one run gives: the chosen tokens with their exact logits, and how its steps were made up. */
interface Run {
  readonly rows: readonly (readonly (readonly [number, number])[])[];
  readonly steps: readonly (readonly [number, number])[];
}

async function load(path: string, options: LoadOptions): Promise<LoadedModel> {
  // Drafts would make steps of another make where all experts are there; under a budget there are none.
  const model = await loadEngine(path, { contextTokens, maxSequences, speculate: "off", ...options });
  await model.engine.settled;
  return model;
}

/** Greedy outputs of prompts that are submitted together, the log probability of each token to the last bit. */
async function run(
  model: LoadedModel,
  sequences: number,
  { tokens = outputTokens, seed = sequences } = {},
): Promise<Run> {
  const { engine, tokenizer } = model;
  const random = new Random(seed);
  const all = Array.from({ length: sequences }, (_, index) =>
    engine.submit({
      prompt: Array.from({ length: promptTokens + index }, () => random.below(tokenizer.vocabularySize)),
      maxTokens: tokens,
      ignoreEnd: true,
      sampling: { temperature: 0, logprobs: 1 },
    }),
  );
  const before = engine.records.total;
  const rows = await Promise.all(
    all.map(async (sequence) => {
      const row: [number, number][] = [];
      for await (const event of sequence) if (event.type === "token") row.push([event.token, event.logprob!]);
      return row;
    }),
  );
  const made = engine.records.list().slice(-(engine.records.total - before));
  engine.clearCache();
  return { rows, steps: made.map(({ prefillTokens, decodeSequences }) => [prefillTokens, decodeSequences]) };
}

/** The smallest budget that works, from the error that refuses a smaller one. */
async function leastBudget(path: string): Promise<string> {
  const error = await loadEngine(path, { contextTokens, maxSequences, expertMemory: 1 }).then(
    async (model) => {
      await model.dispose();
      throw new Error("a budget of one byte was accepted");
    },
    (reason) => reason,
  );
  assert.equal(error.code, "expert_memory");
  return error.details.needed as string;
}

async function checkSame(path: string, reference: Map<number, Run>, options: LoadOptions): Promise<void> {
  const model = await load(path, options);
  try {
    for (const [sequences, expected] of reference) {
      const found = await run(model, sequences);
      assert.deepEqual(found.steps, expected.steps, "the steps are made up alike");
      assert.deepEqual(found.rows, expected.rows, `${sequences} sequences`);
    }
    if (model.experts) {
      const { hits, misses } = model.experts.metrics.total;
      assert.ok(misses > 0 && hits + misses > 0, "experts came from the store");
    }
  } finally {
    await model.dispose();
  }
}

interface Tried {
  readonly budgets: readonly string[];
  readonly policies: readonly PolicyName[];
  /** With `lru`. */
  readonly prefetches: readonly PrefetchName[];
}

const all: Tried = {
  budgets: ["100%", "75%", "50%", "25%", "10%"],
  policies: policyNames,
  prefetches: prefetchNames,
};
/** What a policy decides does not depend on the type of the weights: one file has every policy, the others some. */
const some: Tried = { ...all, policies: ["lfru", "expertflow"], prefetches: ["next-gate", "pre-attention"] };
const few: Tried = { budgets: ["100%", "40%"], policies: [], prefetches: [] };

function describeFile(name: string, skip: string | false, pathOf: () => string, tried: Tried): void {
  describe(`the same tokens and logits at every budget: ${name}`, { skip }, () => {
    const reference = new Map<number, Run>();
    before(async () => {
      const model = await load(pathOf(), {});
      for (const sequences of [1, 8]) reference.set(sequences, await run(model, sequences));
      await model.dispose();
    });
    for (const share of tried.budgets) {
      test(share, () => checkSame(pathOf(), reference, { expertMemory: share }));
    }
    test("the experts of one token, and not a byte less", async () => {
      const mebibytes = Number(await leastBudget(pathOf()));
      await checkSame(pathOf(), reference, { expertMemory: Math.ceil(mebibytes * 2 ** 20) });
    });
    for (const expertPolicy of tried.policies) {
      test(expertPolicy, () => checkSame(pathOf(), reference, { expertMemory: "40%", expertPolicy }));
    }
    for (const expertPrefetch of tried.prefetches) {
      test(`lru, prefetch ${expertPrefetch}`, () =>
        checkSame(pathOf(), reference, { expertMemory: "40%", expertPolicy: "lru", expertPrefetch }));
    }
    test("from the model's own file, without a prepared one", async () => {
      rmSync(`${pathOf()}.experts`, { force: true });
      await checkSame(pathOf(), reference, { expertMemory: "50%", prepare: "never" });
    });
  });
}

describe("experts under a budget", () => {
  let folder: string;
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), "stowage-budgets-"));
    for (const [index, { model }] of [...files, { model: gptOss }].entries()) {
      await writeSyntheticModel(join(folder, `${index}.gguf`), model);
    }
  });
  after(() => rmSync(folder, { recursive: true, force: true }));
  for (const [index, { name }] of files.entries()) {
    describeFile(name, false, () => join(folder, `${index}.gguf`), index === 0 ? all : some);
  }
  describeFile("gpt-oss, MXFP4", false, () => join(folder, `${files.length}.gguf`), few);
  const sample = () => {
    const path = join(folder, "sample.gguf");
    // Its prepared file is written beside the link.
    if (withoutSample === false && !existsSync(path)) symlinkSync(samplePath, path);
    return path;
  };
  describeFile("the sample model", withoutSample, sample, all);

  for (const [architecture, shape] of Object.entries(tinyShapes).filter(([, { experts }]) => experts > 0)) {
    test(`every family: ${architecture}, half of its experts, and those of one token`, async () => {
      const path = join(folder, `${architecture}.gguf`);
      // Biases and factors that a file may lack are there too; no type is the same in every matrix.
      const model = { ...shape, experts: 16, seed: 11, type: "Q4_K", downType: "Q8_0" } as const;
      await writeSyntheticModel(path, model);
      const resident = await load(path, {});
      const reference = new Map<number, Run>();
      for (const sequences of [1, 8]) reference.set(sequences, await run(resident, sequences));
      await resident.dispose();
      await checkSame(path, reference, { expertMemory: "50%" });
      await checkSame(path, reference, { expertMemory: Number(await leastBudget(path)) * 2 ** 20 });
    });
  }

  test("10,000 decoded tokens, prefetches racing", { skip: withoutSample }, async () => {
    const path = join(folder, "long.gguf");
    symlinkSync(samplePath, path);
    const tokens = 200;
    const rounds = Math.ceil(10_000 / (tokens * maxSequences));
    const resident = await load(path, {});
    const offloaded = await load(path, { expertMemory: "25%", expertPolicy: "lfru" });
    try {
      for (let round = 0; round < rounds; round++) {
        const options = { tokens, seed: 100 + round };
        const expected = await run(resident, maxSequences, options);
        assert.deepEqual(await run(offloaded, maxSequences, options), expected, `round ${round}`);
      }
      const { prefetchesUseful, late } = offloaded.experts!.metrics.total;
      assert.ok(prefetchesUseful + late > 0, "experts were read ahead");
    } finally {
      await offloaded.dispose();
      await resident.dispose();
    }
  });
});
