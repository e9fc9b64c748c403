import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { fillFirstStep, loadForTest, stepOf } from "../../test/forward.ts";
import { StowageError } from "../errors.ts";
import { GraphAllocator } from "../ggml/allocator.ts";
import { Context } from "../ggml/context.ts";
import { LlamaContext } from "../ggml/llama-context.ts";
import { LlamaModel } from "../ggml/llama-model.ts";
import type { Tensor } from "../ggml/tensor.ts";
import type { TensorType } from "../ggml/types.ts";
import { openGguf } from "../gguf/read.ts";
import { Blocks } from "./blocks.ts";
import { expertsTogether } from "./experts-together.ts";
import type { Runtime } from "./forward.ts";
import { StepMemory } from "./step-memory.ts";
import { type SyntheticModel, writeSyntheticModel } from "./synth.ts";

const tiny = {
  layers: 2,
  width: 256,
  heads: 4,
  kvHeads: 2,
  headWidth: 64,
  feedForwardWidth: 512,
  experts: 16,
  expertsUsed: 2,
  expertWidth: 256,
  vocabulary: 500,
  context: 256,
  ropeBase: 10_000,
  normEpsilon: 1e-5,
  type: "F16",
  seed: 7,
} as const;

const shapes: readonly SyntheticModel[] = [
  { ...tiny, architecture: "olmoe", kvHeads: 4 },
  { ...tiny, architecture: "qwen3moe", tiedEmbeddings: true },
  { ...tiny, architecture: "llama" },
  { ...tiny, architecture: "llama", experts: 0, expertsUsed: 0 },
  { ...tiny, architecture: "qwen3", experts: 0, expertsUsed: 0 },
  { ...tiny, architecture: "olmoe", kvHeads: 4, locality: "uniform" },
];
const types: readonly TensorType[] = ["F16", "Q8_0", "Q4_0", "Q4_K", "Q6_K"];

/** 64 different tokens. */
const tokens = Array.from({ length: 64 }, (_, index) => 3 + ((index * 37) % 497));

describe("writeSyntheticModel", () => {
  let folder: string;
  before(() => {
    folder = mkdtempSync(join(tmpdir(), "stowage-synth-"));
  });
  after(() => rmSync(folder, { recursive: true }));

  const write = async (model: SyntheticModel, name = "model.gguf") => {
    const path = join(folder, name);
    await writeSyntheticModel(path, model);
    return path;
  };

  for (const shape of shapes) {
    const kind = shape.locality ?? (shape.experts ? `${shape.experts} experts` : "dense");
    it(`${shape.architecture}, ${kind}: every type agrees with libllama, and what follows depends on the token`, async () => {
      for (const type of types) {
        const path = await write({ ...shape, type });
        const file = await openGguf(path);
        assert.equal(file.tensors.get("blk.1.attn_q.weight")?.type, type);
        const own = await loadForTest(path, tokens.length);
        const rows = await own.logits(tokens);
        own.dispose();
        const expected = await llamaLogits(path);
        const distances = rows.map((row, index) => relativeDistance(row, expected[index]!));
        // Where two experts are all but equal, rounding decides which is chosen: few tokens may differ by more.
        const distant = distances.filter((distance) => distance > 0.03).length;
        assert.ok(distant <= 3, `${type}: ${distant} tokens differ from libllama: ${distances}`);
        const following = new Set(rows.map(best));
        assert.ok(following.size > 40, `${type}: ${following.size} different tokens follow 64`);
        const repeated = rows.filter((row, index) => best(row) === tokens[index]).length;
        assert.ok(repeated < 4, `${type}: ${repeated} tokens of 64 follow themselves`);
      }
    });
  }

  for (const shape of shapes.filter(({ experts }) => experts > 0)) {
    it(`${shape.architecture}, ${shape.locality ?? "plain"}: routing uses all experts about equally, in every layer`, async () => {
      const model = { ...shape, layers: 6, experts: 16, expertsUsed: 2 };
      const own = await loadForTest(await write(model), tokens.length);
      const rankings = await rank(own.runtime, tokens);
      own.dispose();
      for (const [layer, ranking] of rankings.entries()) {
        const uses = new Array(16).fill(0);
        for (let token = 0; token < tokens.length; token++)
          for (let place = 0; place < 2; place++) uses[ranking[token * 16 + place]!]++;
        // 128 uses over 16 experts: 8 each, with a standard deviation of 2.6.
        assert.ok(Math.max(...uses) <= 24, `layer ${layer}: ${uses}`);
        assert.ok(uses.filter((count) => count > 0).length >= 14, `layer ${layer}: ${uses}`);
      }
    });
  }

  it("its vocabulary takes any text apart and puts it together again", async () => {
    const model = await LlamaModel.load(await write({ ...shapes[2]!, vocabulary: 2000 }), {
      vocabOnly: true,
    });
    const text = Buffer.from('The quick brown fox: 12 + 3 = 15.\n\tconst x = "naïve 船";');
    const found = model.vocabulary.tokenize(text, { addSpecial: true, parseSpecial: false });
    assert.deepEqual(Buffer.from(model.vocabulary.detokenize(found, false)), text);
    assert.ok(found.length < text.length, `${found.length} tokens for ${text.length} bytes`);
    assert.deepEqual([model.vocabulary.size, found[0], model.vocabulary.eos], [2000, 1, 2]);
    model.dispose();
  });

  it("equal seeds give equal files, others do not", async () => {
    const digest = async (seed: number) => {
      const path = await write({ ...shapes[0]!, type: "Q4_K", downType: "Q6_K", seed });
      return createHash("sha256").update(readFileSync(path)).digest("hex");
    };
    const first = await digest(1);
    assert.equal(await digest(1), first);
    assert.notEqual(await digest(2), first);
    const { tensors } = await openGguf(join(folder, "model.gguf"));
    assert.equal(tensors.get("blk.0.ffn_down_exps.weight")?.type, "Q6_K");
    assert.equal(tensors.get("blk.0.ffn_up_exps.weight")?.type, "Q4_K");
  });

  it("reports all bytes of weights", async () => {
    let last = [0, 0];
    const path = await write({ ...shapes[0]!, progress: (...reported) => (last = reported) });
    const { tensors } = await openGguf(path);
    const bytes = [...tensors.values()].reduce((sum, tensor) => sum + tensor.bytes, 0);
    assert.deepEqual(last, [bytes, bytes]);
  });

  const refusals: [string, Partial<SyntheticModel>, string, RegExp][] = [
    [
      "a row that blocks do not divide",
      { type: "Q4_K", expertWidth: 96 },
      "synth_invalid",
      /ffn_down_exps.weight is 96 elements; .* 256 for Q4_K/,
    ],
    ["a type that is no float", { type: "I32" }, "quantize_type", /I32/],
    ["a type that needs statistics", { type: "IQ2_XXS" }, "quantize_type", /IQ2_XXS/],
    ["a vocabulary without bytes", { vocabulary: 200 }, "synth_invalid", /vocabulary is 200; .* 260/],
    ["more experts in use than there are", { expertsUsed: 17 }, "model_invalid", /expert_used_count is 17/],
    ["an unknown architecture", { architecture: "gpt5" }, "model_architecture", /gpt5/],
    [
      "a disk without room",
      { layers: 100, width: 1 << 19, type: "F32" },
      "gguf_write_space",
      /takes \d+ bytes, and \d+ are free/,
    ],
  ];
  for (const [name, change, code, message] of refusals) {
    it(`refuses ${name}, and leaves nothing behind`, async () => {
      const path = join(folder, "refused.gguf");
      await assert.rejects(writeSyntheticModel(path, { ...shapes[0]!, ...change }), (error) => {
        assert.ok(error instanceof StowageError);
        assert.equal(error.code, code);
        assert.match(error.message, message);
        return true;
      });
      assert.deepEqual(
        readdirSync(folder).filter((file) => file.startsWith("refused")),
        [],
      );
    });
  }
});

/** The router's ranking of experts in each layer, [tokens][experts], by the forward pass itself. */
async function rank({ backend, family, weights, kv, contextTokens }: Runtime, sequence: readonly number[]) {
  const { hyperparameters: h } = weights.layout;
  const shape = stepOf(sequence.length);
  const memory = new StepMemory(backend, h, shape);
  fillFirstStep(memory, sequence, h);
  const context = new Context(backend.native, { tensors: 2000, graphNodes: 2000 });
  const scope = { context, graph: context.graph(2000) };
  const kept = h.layers * sequence.length * h.experts;
  const places = context.tensor("I32", [kept]);
  const buffer = backend.allocate([places]);
  const rankings: Tensor[] = [];
  const experts = {
    run: (...args: Parameters<typeof expertsTogether.run>) => {
      const { ranking } = args[4];
      buffer.placeAt(ranking, rankings.length * ranking.byteLength);
      rankings.push(ranking);
      return expertsTogether.run(...args);
    },
  };
  const { globals } = weights;
  const parts = { hyperparameters: h, shape, memory, kv, globals, contextTokens, experts };
  const blocks = new Blocks(parts, scope);
  let x = blocks.embed();
  for (const [index, layer] of weights.layers.entries()) {
    blocks.layer = index;
    x = await family.layer(blocks, layer, x);
  }
  scope.graph.expand(x);
  const allocator = new GraphAllocator(backend.native, backend.hostBufferType);
  allocator.allocate(scope.graph);
  assert.equal(await backend.compute(scope.graph), true);
  const result = rankings.map((ranking) => ranking.ints().slice());
  for (const resource of [allocator, buffer, context, memory]) resource.dispose();
  return result;
}

async function llamaLogits(path: string): Promise<Float32Array[]> {
  const model = await LlamaModel.load(path);
  const context = new LlamaContext(model, {
    contextTokens: 256,
    threads: availableParallelism(),
    flashAttention: true,
  });
  const rows = context.decode(
    tokens.map((token, position) => ({ token, position, sequence: 0, wantLogits: true })),
  );
  model.dispose();
  return rows;
}

function best(row: Float32Array): number {
  return row.reduce((found, value, index) => (value > row[found]! ? index : found), 0);
}

/** Length of the difference over the length of `b`. */
function relativeDistance(a: Float32Array, b: Float32Array): number {
  const gap = a.reduce((sum, value, index) => sum + (value - b[index]!) ** 2, 0);
  return Math.sqrt(gap / b.reduce((sum, value) => sum + value ** 2, 0));
}
