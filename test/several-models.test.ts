/** Several models on one server: loaded when they are asked for, within a budget, and unloaded again. */
import assert from "node:assert/strict";
import { afterEach, describe, test } from "node:test";
import type { OfferedModel } from "../src/gateway/options.ts";
import type { ErrorBody } from "../src/server/schemas/common.ts";
import type { Status } from "../src/server/schemas/status.ts";
import { withoutSample } from "./sample-model.ts";
import { steadyOffered, TestServer } from "./server.ts";

const offered = (name: string, more: Partial<OfferedModel> = {}): OfferedModel => ({
  ...{ ...steadyOffered, name, preload: false, maxSequences: 2, kvTokens: 1024 },
  ...more,
});
const request = (model: string, more: object = {}) => ({ model, prompt: "Once", max_tokens: 2, ...more });
const states = ({ models }: Status) => Object.fromEntries(models.map(({ name, state }) => [name, state]));

describe("several models", { skip: withoutSample }, () => {
  let server: TestServer;
  let needed = 0;
  afterEach(() => server?.close());

  async function start(models: OfferedModel[], room: number): Promise<void> {
    if (needed === 0) {
      const alone = await TestServer.start({ models: [offered("alone", { preload: true })] });
      needed = (await alone.status()).memory.planned;
      await alone.close();
    }
    server = await TestServer.start({ models, memoryBytes: Math.floor(needed * room) });
  }

  async function ask(model: string, more: object = {}): Promise<void> {
    const answer = await server.post("/v1/completions", request(model, more));
    assert.equal(answer.status, 200, await answer.text());
  }

  test("a model is loaded by its first request, and the one idle longest makes room", async () => {
    await start([offered("a"), offered("b"), offered("c")], 2.5);
    assert.deepEqual(states(await server.status()), { a: "unloaded", b: "unloaded", c: "unloaded" });
    assert.equal((await server.get("/health")).status, 200);
    await ask("a");
    await ask("b");
    assert.deepEqual(states(await server.status()), { a: "ready", b: "ready", c: "unloaded" });
    await ask("a");
    await ask("c");
    const status = await server.status();
    assert.deepEqual(states(status), { a: "ready", b: "unloaded", c: "ready" });
    assert.ok(status.memory.planned <= status.memory.budget);
    await ask("b");
    assert.deepEqual(states(await server.status()), { a: "unloaded", b: "ready", c: "ready" });
  });

  test("at the start, models are loaded as far as memory goes, and none at another's cost", async () => {
    await start([offered("a", { preload: true }), offered("b", { preload: true })], 1.5);
    assert.deepEqual(states(await server.status()), { a: "ready", b: "unloaded" });
    assert.equal((await server.get("/health")).status, 200);
    await ask("b");
    assert.deepEqual(states(await server.status()), { a: "unloaded", b: "ready" });
    assert.equal((await server.get("/health")).status, 200);
  });

  test("one in use is never unloaded: the other is told to come again, and then gets in", async () => {
    await start([offered("a"), offered("b")], 1.5);
    const abort = new AbortController();
    const body = request("a", { max_tokens: 500, ignore_eos: true, n: 16 });
    const running = server.post("/v1/completions", body, { signal: abort.signal });
    await server.until(({ requests }) => requests.live[0]?.phase === "decode");
    const refused = await server.post("/v1/completions", request("b"));
    assert.equal(refused.status, 503);
    const { error } = (await refused.json()) as ErrorBody;
    assert.equal(error.code, "model_room");
    assert.match(error.message, /models in use: a/);
    assert.match(refused.headers.get("retry-after") ?? "", /^\d+$/);
    abort.abort();
    await running.catch(() => {});
    await server.until(({ requests }) => requests.live.length === 0);
    await ask("b");
    assert.deepEqual(states(await server.status()), { a: "unloaded", b: "ready" });
  });

  test("one that can never fit is a typed error with both sizes", async () => {
    await start([offered("a")], 0.5);
    const refused = await server.post("/v1/completions", request("a"));
    assert.equal(refused.status, 507);
    const { error } = (await refused.json()) as ErrorBody;
    assert.equal(error.code, "model_too_large");
    assert.match(error.message, /needs [\d.]+ MiB; the budget for all models is [\d.]+ MiB/);
  });

  test("requests at once for models that do not fit together: each gets an answer or is told when to come again", async () => {
    await start([offered("a"), offered("b"), offered("c")], 1.5);
    const answers = await Promise.all(
      Array.from({ length: 12 }, (_, index) => server.post("/v1/completions", request("abc"[index % 3]!))),
    );
    const kinds = answers.map(({ status }) => status);
    assert.ok(
      kinds.every((status) => status === 200 || status === 503),
      kinds.join(),
    );
    assert.ok(kinds.includes(200));
    const { memory, requests } = await server.status();
    assert.ok(memory.planned <= memory.budget);
    assert.deepEqual(requests.live, []);
  });

  test("a model goes when nobody has used it for its time; a request's own time counts for that request", async () => {
    await start([offered("short", { keepAliveSeconds: 2 }), offered("long")], 3);
    await ask("short");
    const [short, long] = (await server.status()).models;
    assert.ok(short!.expires_at! <= Date.now() + 2000);
    assert.equal(long!.expires_at, null);
    await ask("long");
    await server.until(({ models }) => models[0]!.state === "unloaded");
    await ask("short", { keep_alive: -1 });
    assert.equal((await server.status()).models[0]!.expires_at, null);
    await ask("long", { keep_alive: 0 });
    await server.until(({ models }) => models[1]!.state === "unloaded");
    await ask("long", { keep_alive: "1h" });
    assert.ok((await server.status()).models[1]!.expires_at! > Date.now() + 3_000_000);
  });

  test("unloading by hand: an idle model at once, one in use not", async () => {
    await start([offered("a")], 2);
    await ask("a");
    const abort = new AbortController();
    const body = request("a", { max_tokens: 500, ignore_eos: true, n: 16 });
    const running = server.post("/v1/completions", body, { signal: abort.signal });
    await server.until(({ requests }) => requests.live[0]?.phase === "decode");
    const refused = await server.post("/api/models/unload", { model: "a" });
    assert.deepEqual(
      [refused.status, ((await refused.json()) as ErrorBody).error.code],
      [409, "model_in_use"],
    );
    abort.abort();
    await running.catch(() => {});
    await server.until(({ requests }) => requests.live.length === 0);
    assert.equal((await server.post("/api/models/unload", { model: "a" })).status, 200);
    assert.deepEqual(states(await server.status()), { a: "unloaded" });
    assert.equal((await server.status()).memory.planned, 0);
  });

  test("experts under a budget report hits and reads", async () => {
    await start([offered("a", { expertMemory: "50%", expertPolicy: "lru", expertPrefetch: "next-gate" })], 3);
    await ask("a", { max_tokens: 40, ignore_eos: true });
    const status = await server.until(({ models }) => (models[0]!.experts?.misses ?? 0) > 0);
    assert.ok(status.models[0]!.experts!.read_bytes > 0);
    const text = await (await server.get("/metrics")).text();
    const labels = 'model_name="a",policy="lru",prefetch="next-gate"';
    const value = (name: string, more = "") => {
      const line = text.split("\n").find((line) => line.startsWith(`stowage:${name}{${labels}${more}} `));
      assert.ok(line, `${name} in ${text}`);
      return Number(line.split(" ").at(-1));
    };
    assert.ok(value("expert_cache_misses") > 0);
    assert.ok(value("expert_read_bytes", ',kind="demand"') > 0);
    // What was read ahead was there, under way or in vain; or is still to come.
    const ahead = ["expert_prefetches_useful", "expert_cache_late", "expert_prefetches_wasted"].map((name) =>
      value(name),
    );
    assert.ok(ahead.reduce((sum, count) => sum + count) > 0);
    assert.ok(value("expert_read_bytes", ',kind="prefetch"') > 0);
    assert.ok(value("expert_cache_hits") > 0 && value("expert_stall_seconds") > 0);
  });
});
