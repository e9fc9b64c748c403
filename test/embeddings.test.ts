/** An encoder and a decoder behind one server. */
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { writeEmbeddingModel } from "./embedding-measure.ts";
import { EmbeddingPeer, vectorDistance } from "./embedding-peer.ts";
import { steadyOffered, TestServer } from "./server.ts";

interface Answer {
  readonly data: readonly { readonly embedding: number[] }[];
  readonly usage: { readonly prompt_tokens: number };
  readonly error: { readonly code: string; readonly param: string | null; readonly next: string };
}

describe("an encoder behind a server", () => {
  let folder: string;
  let path: string;
  let server: TestServer;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "stowage-"));
    path = join(folder, "bert.gguf");
    await writeEmbeddingModel(path, "bert", "F32");
    const offered = { ...steadyOffered, path };
    server = await TestServer.start({
      models: [
        { ...offered, name: "encoder" },
        { ...offered, name: "by-cls", preload: false, pooling: "cls" },
        { ...offered, name: "by-token", preload: false, pooling: "none" },
      ],
    });
  });
  after(async () => {
    await server.close();
    await rm(folder, { recursive: true });
  });

  const post = async (endpoint: string, body: object) =>
    (await (await server.post(endpoint, body)).json()) as Answer;
  const embed = (body: object) => post("/v1/embeddings", { model: "encoder", ...body });

  it("gives the vectors of libllama, by the pooling of its file or of its settings", async () => {
    for (const [model, pooling] of [
      ["encoder", "mean"],
      ["by-cls", "cls"],
    ] as const) {
      const peer = await EmbeddingPeer.load(path, pooling);
      const texts = ["The captain looked at the sea.", "x"];
      const { data, usage } = await embed({ model, input: texts });
      let tokens = 0;
      for (const [index, text] of texts.entries()) {
        const special = { addSpecial: true, parseSpecial: false };
        const own = [...peer.model.vocabulary.tokenize(Buffer.from(text), special)];
        const [expected] = peer.embed(own);
        const length = Math.hypot(...expected!);
        const vector = Float32Array.from(data[index]!.embedding);
        assert.ok(
          vectorDistance(
            vector,
            expected!.map((value) => value / length),
          ) < 1e-3,
        );
        tokens += own.length;
      }
      assert.equal(usage.prompt_tokens, tokens);
      peer.dispose();
    }
  });

  it("generates nothing, and says where to go", async () => {
    for (const body of [{ prompt: "The sea" }, { prompt: [10, 11] }]) {
      const { error } = await post("/v1/completions", { model: "encoder", ...body });
      assert.equal(error.code, "model_embeds");
      assert.match(error.next, /\/v1\/embeddings/);
    }
    const messages = [{ role: "user", content: "The sea" }];
    const { error } = await post("/v1/chat/completions", { model: "encoder", messages });
    assert.equal(error.code, "model_embeds");
  });

  it("refuses what it cannot take by its field", async () => {
    const long = "sea ".repeat(400);
    for (const [input, code, param] of [
      [long, "embedding_too_long", "input"],
      [["sea", long], "embedding_too_long", "input[1]"],
      [[[10], [1e6]], "token_invalid", "input[1]"],
    ] as const) {
      const { error } = await embed({ input });
      assert.deepEqual([error.code, error.param], [code, param]);
    }
    const { error } = await embed({ model: "by-token", input: "sea" });
    assert.equal(error.code, "embedding_pooling");
  });

  it("is told from decoders in the list of models by nothing but what it does", async () => {
    const status = await server.status();
    const [encoder] = status.models;
    assert.equal(encoder!.architecture, "bert");
    assert.equal(encoder!.memory!.kv, 0);
    assert.equal(encoder!.running, 0);
  });
});
