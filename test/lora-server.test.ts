import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { samplePath, withoutSample } from "./sample-model.ts";
import { steadyOffered, TestServer } from "./server.ts";
import { writeTinyAdapter } from "./tiny-adapter.ts";

/** What the sample model keeps out of its experts. */
const weights = /attn_(q|k|v|output)|^output/;

/** Logits differ by rounding in other company. */
const tolerance = 0.3;

interface Tokens {
  readonly tokens: readonly string[];
  readonly top_logprobs: readonly Readonly<Record<string, number>>[];
}

/** Equal to the end, or up to a token where the two best were all but equally likely. */
function assertSame(found: Tokens, expected: Tokens): void {
  const parting = found.tokens.findIndex((token, index) => token !== expected.tokens[index]);
  if (parting < 0) {
    assert.equal(found.tokens.length, expected.tokens.length);
    return;
  }
  const [best, second] = Object.values(expected.top_logprobs[parting]!).sort((a, b) => b - a);
  assert.ok(best! - second! < tolerance, `token ${parting} differs at a gap of ${best! - second!}`);
}

describe("a server whose model has two adapters", { skip: withoutSample }, () => {
  let folder: string;
  let server: TestServer;
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), "stowage-lora-server-"));
    const lora = ["poet", "bard"].map((name) => ({ name, path: join(folder, `${name}.gguf`) }));
    for (const [index, { path }] of lora.entries()) {
      await writeTinyAdapter(path, samplePath, { seed: 1 + index, alpha: 4, weights });
    }
    const plain = { ...steadyOffered, name: "plain", preload: false };
    server = await TestServer.start({ models: [{ ...steadyOffered, lora }, plain] });
  });
  after(async () => {
    await server?.close();
    rmSync(folder, { recursive: true });
  });

  interface Completion {
    readonly model: string;
    readonly choices: readonly { readonly text: string; readonly logprobs: Tokens | null }[];
    readonly usage: { readonly prompt_tokens_details: { readonly cached_tokens: number } };
    readonly error?: { readonly code: string; readonly param: string; readonly message: string };
  }
  const complete = async (fields: object): Promise<Completion & { status: number }> => {
    const prompt = "Once upon a time there was a little";
    const body = { model: "sample", prompt, max_tokens: 24, temperature: 0, ignore_eos: true, ...fields };
    const response = await server.post("/v1/completions", body);
    return { status: response.status, ...((await response.json()) as Completion) };
  };
  const textOf = async (fields: object) => {
    const { status, choices, error } = await complete(fields);
    assert.equal(status, 200, error?.message);
    return choices[0]!.text;
  };

  const tokensOf = async (fields: object) =>
    (await complete({ ...fields, logprobs: 2 })).choices[0]!.logprobs!;

  test("offers each as a model", async () => {
    const list = (await (await server.get("/v1/models")).json()) as {
      data: { id: string; parent: string }[];
    };
    assert.deepEqual(
      list.data.map(({ id, parent }) => [id, parent]),
      [
        ["sample", null],
        ["sample:poet", "sample"],
        ["sample:bard", "sample"],
        ["plain", null],
      ],
    );
    const one = await server.get("/v1/models/sample:poet");
    assert.equal(one.status, 200);
    assert.equal(((await one.json()) as { id: string }).id, "sample:poet");
    assert.equal((await server.get("/v1/models/sample:nobody")).status, 404);
  });

  test("answers each of several requests at one time as if it were alone", async () => {
    const ways = [
      { model: "sample" },
      { model: "sample:poet" },
      { model: "sample:bard" },
      { lora: [{ name: "poet" }, { name: "bard", scale: 0.5 }] },
    ];
    const alone: string[] = [];
    const tokensAlone: Tokens[] = [];
    for (const way of ways) {
      alone.push(await textOf(way));
      tokensAlone.push(await tokensOf(way));
    }
    assert.equal(new Set(alone).size, ways.length, "they say different things");
    for (const [index, tokens] of (await Promise.all(ways.map(tokensOf))).entries()) {
      assertSame(tokens, tokensAlone[index]!);
    }
    assert.equal(await textOf({ lora: [{ name: "poet" }] }), alone[1]);
    assert.equal(await textOf({ lora: [{ id: 1, scale: 1 }] }), alone[2]);
    assert.equal(await textOf({ lora: [] }), alone[0]);
    assert.equal(await textOf({ lora: [{ name: "bard", scale: 0 }] }), alone[0]);
    assert.equal(await textOf({ model: "plain" }), alone[0]);
  });

  test("says which model answered, and reuses no prompt of another adapter", async () => {
    const prompt = "The captain looked at the stars and said to the crew";
    const ask = (model: string) => complete({ model, prompt });
    await ask("sample");
    const first = await ask("sample:poet");
    assert.equal(first.model, "sample:poet");
    assert.equal(first.usage.prompt_tokens_details.cached_tokens, 0);
    const second = await ask("sample:poet");
    assert.ok(second.usage.prompt_tokens_details.cached_tokens > 0);
    assert.equal(second.choices[0]!.text, first.choices[0]!.text);
  });

  test("streams a chat by an adapter, and counts its tokens", async () => {
    const body = {
      model: "sample:poet",
      messages: [{ role: "user", content: "Hello" }],
      max_tokens: 4,
      stream: true,
    };
    const response = await server.post("/v1/chat/completions", body);
    const text = await response.text();
    assert.equal(response.status, 200, text);
    assert.match(text, /"model":"sample:poet"/);
    assert.match(text, /data: \[DONE\]/);
    const tokens = await server.post("/tokenize", { model: "sample:poet", prompt: "Hello" });
    assert.equal(tokens.status, 200);
  });

  for (const [what, fields, status, code, param] of [
    ["an unknown adapter", { lora: [{ name: "nobody" }] }, 400, "lora_unknown", "lora"],
    ["a number that is too high", { lora: [{ id: 2 }] }, 400, "lora_unknown", "lora"],
    ["an adapter twice", { lora: [{ id: 0 }, { name: "poet" }] }, 400, "request_invalid", "lora"],
    [
      "an adapter of another model",
      { model: "plain", lora: [{ name: "poet" }] },
      400,
      "lora_unknown",
      "lora",
    ],
    [
      "a model of an adapter, and a choice",
      { model: "sample:poet", lora: [] },
      400,
      "request_invalid",
      "lora",
    ],
    ["an unknown adapter as a model", { model: "sample:nobody" }, 404, "model_not_found", "model"],
    ["an adapter as a model that has none", { model: "plain:poet" }, 404, "model_not_found", "model"],
    ["no name", { lora: [{ scale: 1 }] }, 400, "request_invalid", /^lora/],
    ["no list", { lora: "poet" }, 400, "request_invalid", "lora"],
    ["a scale that is out of range", { lora: [{ id: 0, scale: 1e9 }] }, 400, "request_invalid", /^lora/],
    ["a scale that is none", { lora: [{ id: 0, scale: "1" }] }, 400, "request_invalid", /^lora/],
  ] as const) {
    test(`refuses ${what}`, async () => {
      const { status: found, error } = await complete(fields);
      assert.equal(found, status);
      assert.equal(error!.code, code);
      if (typeof param === "string") assert.equal(error!.param, param);
      else assert.match(error!.param, param);
    });
  }

  test("refuses to embed by one", async () => {
    const response = await server.post("/v1/embeddings", { model: "sample:poet", input: "Hello" });
    assert.equal(response.status, 404);
  });
});
