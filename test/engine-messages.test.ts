/** Messages between gateway and engine that make no sense, in both directions. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import type { Duplex } from "node:stream";
import { afterEach, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import type { ErrorBody } from "../src/server/schemas/common.ts";
import { samplePath, withoutSample } from "./sample-model.ts";
import { eventsOf, TestServer } from "./server.ts";

const faulty = fileURLToPath(new URL("faulty-engine.ts", import.meta.url));
const real = fileURLToPath(new URL("../src/engine/process/main.ts", import.meta.url));
const prompt = { model: "sample", prompt: "Once", stream: true };

describe("an engine that makes no sense", { skip: withoutSample }, () => {
  let server: TestServer | undefined;
  afterEach(async () => {
    await server?.close();
    server = undefined;
    delete process.env.FAULTY_ENGINE;
  });

  async function start(mode: string): Promise<TestServer> {
    process.env.FAULTY_ENGINE = mode;
    server = await TestServer.start({ drainTimeoutSeconds: 1 }, { engineScript: faulty });
    return server;
  }

  for (const [mode, said] of [
    ["no JSON", /no JSON: \{this is no JSON/],
    ["unknown type", /type: .*surprise/],
    ["wrong field", /events\.0\.text: .*string/],
    ["endless line", /a line of more than \d+ characters/],
    ["closes its end", /SIGKILL/],
  ] as const) {
    test(`${mode}: its request ends with an error event, and it is started again`, async () => {
      const { post, until } = bound(await start(mode));
      const events = await eventsOf(await post("/v1/completions", prompt));
      assert.match(events.at(-2)!, /so far/);
      const { error } = JSON.parse(events.at(-1)!) as ErrorBody;
      assert.equal(error.code, "engine_lost");
      assert.match(error.message, said);
      const status = await until(({ models }) => models[0]!.restarts === 1 && models[0]!.state === "ready");
      assert.equal(status.state, "ready");
      assert.deepEqual(status.requests.live, []);
    });
  }

  test("an error that nobody knows fails its request alone", async () => {
    const { post, status } = bound(await start("unknown error"));
    const events = await eventsOf(await post("/v1/completions", prompt));
    const { error } = JSON.parse(events.at(-1)!) as ErrorBody;
    assert.equal(error.code, "engine_fault");
    assert.match(error.message, /made_up/);
    assert.equal((await status()).models[0]!.restarts, 0);
  });

  test("news of requests that nobody made are nobody's", async () => {
    const { post, status } = bound(await start("strangers"));
    const events = await eventsOf(await post("/v1/completions", prompt));
    assert.equal(events.at(-1), "[DONE]");
    assert.equal((await status()).models[0]!.restarts, 0);
  });

  for (const [mode, said] of [
    ["another version", /it speaks version 99, not 1/],
    ["dies at once", /exit code 4; its last words: something: terrible happened/],
    ["dies while loading", /exit code 3/],
  ] as const) {
    test(`${mode}: health says so, and it is tried again`, async () => {
      const { get, post, until } = bound(await start(mode));
      const health = await get("/health");
      assert.equal(health.status, 503);
      const { status, models } = (await health.json()) as { status: string; models: { problem: string }[] };
      assert.equal(status, "degraded");
      assert.match(models[0]!.problem, said);
      await until(({ models }) => models[0]!.restarts >= 2);
      const refused = await post("/v1/completions", prompt);
      assert.ok([500, 503].includes(refused.status));
      // What made it fail is over: it comes back by itself.
      process.env.FAULTY_ENGINE = "strangers";
      await until(({ models }) => models[0]!.state === "ready");
      assert.equal((await get("/health")).status, 200);
    });
  }
});

describe("a gateway that makes no sense", { skip: withoutSample }, () => {
  for (const [what, line, said] of [
    ["no JSON", "load, please", /no JSON: load, please/],
    ["an unknown type", `{"type":"dance"}`, /type/],
    ["a wrong field", `{"type":"cancel","id":"seven"}`, /id: .*number/],
  ] as const) {
    test(`${what}: the engine says so and ends`, async () => {
      const child = spawn(process.execPath, [real], { stdio: ["ignore", "ignore", "pipe", "pipe"] });
      let stderr = "";
      child.stderr!.on("data", (text) => {
        stderr += text;
      });
      const socket = child.stdio[3] as Duplex;
      socket.resume();
      socket.on("error", () => {});
      socket.write(`${JSON.stringify({ type: "load", path: samplePath, settings: {} })}\n${line}\n`);
      const [code] = await once(child, "close");
      assert.equal(code, 70);
      assert.match(stderr, said);
    });
  }
});

/** Methods that can be taken out of their object. */
function bound(server: TestServer) {
  return {
    get: server.get.bind(server),
    post: server.post.bind(server),
    status: server.status.bind(server),
    until: server.until.bind(server),
  };
}
