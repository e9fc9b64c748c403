import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { chatTable, completionTable, detokenizeTable, embeddingsTable, tokenizeTable } from "./bad-fields.ts";
import { type OpenApi, OpenApiCheck, operationsOf, resolved } from "./openapi-check.ts";
import { samplePath, withoutSample } from "./sample-model.ts";
import { steadyOffered, TestServer } from "./server.ts";

const chats = "POST /v1/chat/completions";
const completions = "POST /v1/completions";
const chat = { model: "sample", messages: [{ role: "user", content: "Hello" }], max_tokens: 6 };
const completion = { model: "sample", prompt: "Once upon a time", max_tokens: 6 };
const endless = { max_tokens: 480, ignore_eos: true };
const withUsage = { stream: true, stream_options: { include_usage: true } };

/** One for each way in which a model can be, or fail to be. */
const offered = [
  steadyOffered,
  { ...steadyOffered, name: "lean", preload: false, expertMemory: "60%", keepAliveSeconds: 600 },
  { ...steadyOffered, name: "huge", preload: false, kvTokens: 4_000_000 },
  { ...steadyOffered, name: "gone", preload: false, path: `${samplePath}.gone` },
];

/** `fetch` throws a TypeError where there is no connection. */
function ifUnconnected(error: unknown): undefined {
  if (!(error instanceof TypeError)) throw error;
}

describe("the OpenAPI document", { skip: withoutSample }, () => {
  let server: TestServer;
  let document: OpenApi;
  let check: OpenApiCheck;

  before(async () => {
    server = await TestServer.start({ models: offered, maxQueue: 1 });
    document = (await (await server.get("/openapi.json")).json()) as OpenApi;
    check = new OpenApiCheck(document);
  });
  after(() => server.close());

  const get = (path: string, headers: Record<string, string> = {}) =>
    check.call(server.url, `GET ${path}`, { headers });
  const post = (operation: string, body: unknown, init?: RequestInit) =>
    check.post(server.url, operation, body, init);
  const statusOf = async (call: Promise<{ status: number }>) => (await call).status;

  it("is one of version 3.1: every reference leads somewhere, every schema is one", () => {
    assert.match(document.openapi, /^3\.1\.\d+$/);
    assert.deepEqual(
      ["title", "version", "description", "license"].filter((key) => !document.info[key]),
      [],
    );
    const schemes = Object.keys(document.components.securitySchemes ?? {});
    const asked = [document.security, ...operationsOf(document).map(([, { security }]) => security ?? [])];
    for (const name of asked.flat().flatMap((one) => Object.keys(one)))
      assert.ok(schemes.includes(name), name);
    resolved(document, document);
    assert.ok(check.compileAll() > operationsOf(document).length);
    for (const schema of Object.values(document.components.schemas ?? {})) check.compile(schema);
  });

  it("describes answers of a given form, and calls of tools, whole and in a stream", async () => {
    const tools = [
      { type: "function", function: { name: "f", parameters: { type: "object", properties: {} } } },
    ];
    for (const fields of [
      { response_format: { type: "json_object" } },
      { json_schema: { type: "integer" } },
      { grammar: 'root ::= "a"' },
      { tools, tool_choice: "required", max_tokens: 60 },
      { tools, tool_choice: "auto" },
    ]) {
      assert.equal(await statusOf(post(chats, { ...chat, ...fields })), 200);
      assert.equal(await statusOf(post(chats, { ...chat, ...fields, ...withUsage })), 200);
    }
    assert.equal(await statusOf(post(completions, { ...completion, grammar: 'root ::= "a"' })), 200);
  });

  it("describes every operation whole, each under a name of its own", () => {
    const operations = operationsOf(document);
    assert.equal(new Set(operations.map(([, { operationId }]) => operationId)).size, operations.length);
    for (const [
      name,
      { operationId, summary, tags, parameters = [], requestBody, responses },
    ] of operations) {
      assert.match(operationId, /^[a-z]\w+$/i, name);
      assert.ok(summary.length > 0 && tags.length === 1, name);
      const inPath = [...name.matchAll(/\{(\w+)\}/g)].map(([, parameter]) => parameter);
      assert.deepEqual(
        parameters.map(({ name, in: where, required }) => [name, where, required]),
        inPath.map((parameter) => [parameter, "path", true]),
      );
      assert.equal(requestBody !== undefined, name.startsWith("POST "), name);
      assert.ok("200" in responses && "default" in responses, name);
      for (const { description, content } of Object.values(resolved(document, responses))) {
        assert.ok(description.length > 0 && Object.keys(content).length > 0, name);
      }
    }
  });

  it("allows what the server takes of every field", async () => {
    const tables = [chatTable, completionTable, embeddingsTable, tokenizeTable, detokenizeTable];
    for (const { path, right, fields } of tables) {
      const { schema } = document.paths[path]!.post!.requestBody!.content["application/json"]!;
      const validate = check.compile(schema);
      for (const { name, good } of fields) {
        for (const value of good)
          assert.ok(validate({ ...right, [name]: value }), `${path} ${name} ${value}`);
      }
    }
  });

  it("tells what a server says of itself before it has done anything, and after", async () => {
    const states = async () => {
      for (const path of ["/api/status", "/metrics", "/health", "/v1/models"]) {
        assert.equal(await statusOf(get(path)), 200);
      }
    };
    await states();
    for (const name of ["sample", "lean", "huge"]) {
      const { status, body } = await check.call(
        server.url,
        "GET /v1/models/{model}",
        {},
        `/v1/models/${name}`,
      );
      assert.equal(status, 200);
      assert.equal(body.id, name);
    }
    assert.equal(await statusOf(post(chats, { ...chat, model: "lean" })), 200);
    assert.equal(await statusOf(post(chats, chat)), 200);
    await states();
    const { body } = await get("/api/status");
    assert.ok(body.models.some(({ experts }: { experts: object | null }) => experts !== null));
    assert.ok(body.latency.time_to_first_token_ms.count > 0);
  });

  it("tells which experts of a model are in memory, and why there is no such map", async () => {
    const map = (name: string) =>
      check.call(server.url, "GET /api/models/{model}/experts", {}, `/api/models/${name}/experts`);
    const { status, body } = await map("lean");
    assert.equal(status, 200);
    const { slots, states, layers, totals, by_policy } = body;
    const { absent, ...there } = states;
    const resident = Object.values<number>(there).reduce((sum, count) => sum + count);
    assert.ok(resident > 0 && resident <= slots, `${resident} in ${slots} slots`);
    assert.equal(absent + resident, layers.length * layers[0].states.length);
    assert.ok(totals.misses > 0 && by_policy.length > 0);
    for (const [name, code] of [
      ["sample", "experts_unmapped"],
      ["huge", "experts_unmapped"],
      ["nobody's", "model_not_found"],
    ] as const) {
      const { status, body } = await map(name);
      assert.deepEqual([status, body.error.code], [404, code]);
    }
  });

  it("tells what chats come to", async () => {
    const variants = [
      {},
      { n: 2, temperature: 1 },
      { logprobs: true },
      { logprobs: true, top_logprobs: 3, n: 2 },
      { stop: ["a", "e"] },
      { stream: false, seed: 1, user: "me" },
    ];
    for (const variant of variants) {
      const { body } = await post(chats, { ...chat, ...variant });
      assert.equal(body.choices.length, variant.n ?? 1);
      const { events } = await post(chats, { ...chat, ...variant, ...withUsage });
      assert.ok(events.at(-1).usage.total_tokens > 0);
      assert.ok((await post(chats, { ...chat, ...variant, stream: true })).events.length > 1);
    }
  });

  it("tells what completions come to", async () => {
    const variants = [
      {},
      { n: 2, temperature: 1 },
      { logprobs: 0 },
      { logprobs: 3, n: 2 },
      { echo: true },
      { echo: true, prompt: [1, 2, 3] },
      { prompt: ["a", "b"], echo: true },
      { stop: "a", prompt: [[1], [2, 3]] },
    ];
    for (const variant of variants) {
      assert.equal(await statusOf(post(completions, { ...completion, ...variant })), 200);
      const { events } = await post(completions, { ...completion, ...variant, ...withUsage });
      assert.ok(events.at(-1).usage.total_tokens > 0);
      assert.ok((await post(completions, { ...completion, ...variant, stream: true })).events.length > 1);
    }
  });

  it("tells what texts are as vectors", async () => {
    for (const fields of [{}, { encoding_format: "base64" }, { dimensions: 8 }, { input: [[1], [2, 3]] }]) {
      const { body } = await post("POST /v1/embeddings", { model: "sample", input: ["a", "b"], ...fields });
      assert.deepEqual(
        body.data.map(({ index }: { index: number }) => index),
        [0, 1],
      );
    }
  });

  it("tells of tokens", async () => {
    const { body } = await post("POST /tokenize", {
      model: "sample",
      prompt: "Once upon",
      add_special_tokens: false,
    });
    const { tokens } = body;
    assert.equal((await post("POST /detokenize", { model: "sample", tokens })).body.prompt, "Once upon");
    assert.ok((await post("POST /tokenize", { model: "sample", messages: chat.messages })).body.count > 1);
  });

  it("tells of errors of every operation, before it begins and in its body", async () => {
    const json = { "content-type": "application/json" };
    for (const [operation] of operationsOf(document)) {
      const path = operation.split(" ")[1]!.replace("{model}", "sample");
      const call = (init: RequestInit) => statusOf(check.call(server.url, operation, init, path));
      assert.equal(await call({ headers: { origin: "http://evil.example" } }), 403);
      if (!operation.startsWith("POST ")) continue;
      assert.equal(await call({ headers: json, body: "[]" }), 400);
      assert.equal(await call({ headers: json, body: "{" }), 400);
      assert.equal(await call({ headers: { "content-type": "text/plain" }, body: "{}" }), 415);
      assert.equal(await call({ headers: { ...json, "content-encoding": "gzip" }, body: "{}" }), 415);
      const wrongMethod = await fetch(`${server.url}${path}`, { method: "PUT" });
      assert.equal(await statusOf(check.check(operation, wrongMethod)), 405);
    }
    const huge = JSON.stringify({ ...completion, prompt: "x".repeat(8 * 1024 * 1024) });
    assert.equal(await statusOf(check.call(server.url, completions, { headers: json, body: huge })), 413);
  });

  it("tells of errors about models, and of those that the engine finds", async () => {
    for (const [operation, fields] of [
      [chats, chat],
      [completions, completion],
      ["POST /v1/embeddings", { input: "a" }],
      ["POST /tokenize", { prompt: "a" }],
      ["POST /detokenize", { tokens: [1] }],
      ["POST /api/models/unload", {}],
    ] as const) {
      assert.equal(await statusOf(post(operation, { ...fields, model: "nobody's" })), 404);
    }
    assert.equal(
      await statusOf(check.call(server.url, "GET /v1/models/{model}", {}, "/v1/models/nobody's")),
      404,
    );
    assert.equal(await statusOf(post(chats, { ...chat, model: "huge" })), 507);
    assert.equal(await statusOf(post(completions, { ...completion, model: "gone" })), 500);
    assert.equal(await statusOf(post(completions, { ...completion, prompt: "word ".repeat(600) })), 400);
    assert.equal(await statusOf(post(completions, { ...completion, n: 16 })), 503);
    assert.equal(await statusOf(post("POST /detokenize", { model: "sample", tokens: [1e6] })), 400);
    for (const path of ["/api/status", "/metrics", "/health", "/v1/models"]) await get(path);
  });

  it("tells of unloading, and of what is not unloaded", async () => {
    const { body } = await post("POST /api/models/unload", { model: "lean" });
    assert.deepEqual(body, { model: "lean", state: "unloaded" });
    const running = post(chats, { ...chat, ...endless, ...withUsage });
    await server.until(({ requests }) => requests.live.some(({ phase }) => phase === "decode"));
    assert.equal(await statusOf(post("POST /api/models/unload", { model: "sample" })), 409);
    for (const path of ["/api/status", "/metrics"]) await get(path);
    await running;
  });

  it("tells of an engine that dies, with and without a stream", async () => {
    const streaming = post(chats, { ...chat, ...endless, stream: true });
    const waiting = post(completions, { ...completion, ...endless });
    const { models } = await server.until(
      ({ requests }) => requests.live.filter(({ phase }) => phase === "decode").length === 2,
    );
    process.kill(models.find(({ name }) => name === "sample")!.pid!, "SIGKILL");
    assert.equal((await streaming).events.at(-1).error.code, "engine_lost");
    assert.equal(await statusOf(waiting), 502);
    assert.equal((await post(chats, chat)).body.error.code, "engine_restarting");
    assert.equal(await statusOf(get("/health")), 503);
    await get("/api/status");
    await server.until(({ models }) => models[0]!.state === "ready");
  });

  describe("of a server that asks for a key", () => {
    const key = { headers: { authorization: "Bearer secret" } };
    let keyed: TestServer;

    before(async () => {
      keyed = await TestServer.start({ models: [steadyOffered], apiKeys: ["secret"] });
    });
    after(() => keyed.close());

    it("tells who has none", async () => {
      for (const [operation, { security }] of operationsOf(document)) {
        const path = operation.split(" ")[1]!.replace("{model}", "sample");
        const status = await statusOf(check.call(keyed.url, operation, {}, path));
        assert.equal(status, security?.length === 0 ? 200 : 401, operation);
      }
    });

    it("tells that it stops", async () => {
      const running = check.post(keyed.url, chats, { ...chat, ...endless, stream: true }, key);
      const isDecoding = async () => {
        const { body } = await check.call(keyed.url, "GET /api/status", key);
        return body.requests.live[0]?.phase === "decode";
      };
      while (!(await isDecoding()));
      const { body } = await check.post(keyed.url, "POST /api/stop", {}, key);
      assert.deepEqual(body, { stopping: true });
      // New connections are not taken any more; on one from before, the answer has to be as described.
      const refused = await check.post(keyed.url, completions, completion, key).catch(ifUnconnected);
      assert.equal(refused?.body.error.code ?? "server_stopping", "server_stopping");
      const health = await check.call(keyed.url, "GET /health").catch(ifUnconnected);
      assert.equal(health?.body.status ?? "draining", "draining");
      assert.ok((await running).events.length > 10);
      await keyed.closed;
    });
  });

  it("describes nothing that was not called here, in every form", () => {
    for (const [operation, { responses }] of operationsOf(resolved(document, document))) {
      for (const [status, { content }] of Object.entries(responses)) {
        for (const type of Object.keys(content)) {
          const wanted = status === "default" ? new RegExp(`^\\S+ \\S+ [45]\\d\\d ${type}$`) : undefined;
          const isSeen = wanted
            ? [...check.seen].some((seen) => seen.startsWith(`${operation} `) && wanted.test(seen))
            : check.seen.has(`${operation} ${status} ${type}`);
          assert.ok(isSeen, `${operation} ${status} ${type}`);
        }
      }
    }
  });
});
