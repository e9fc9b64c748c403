/** What goes wrong around a server, and what its clients see of that. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, mkdtempSync, renameSync, rmSync, truncateSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, afterEach, before, describe, test } from "node:test";
import type { ErrorBody } from "../src/server/schemas/common.ts";
import type { Status } from "../src/server/schemas/status.ts";
import { samplePath, withoutSample } from "./sample-model.ts";
import { eventsOf, steadyOffered, TestServer } from "./server.ts";

const long = "The captain looked at the sea, and the sea looked at him. ".repeat(28);
const endless = { model: "sample", prompt: "Once upon a time", ignore_eos: true };

/** Reads a stream's events as they come. */
async function* live(response: Response): AsyncGenerator<string> {
  let rest = "";
  for await (const text of response.body!.pipeThrough(new TextDecoderStream())) {
    const blocks = (rest + text).split("\n\n");
    rest = blocks.pop()!;
    yield* blocks.filter((block) => block.startsWith("data: ")).map((block) => block.slice(6));
  }
}

function errorIn(event: string | undefined): ErrorBody["error"] {
  return (JSON.parse(event ?? "{}") as ErrorBody).error;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

const held = ({ models, requests }: Status) => ({
  ...{ running: models[0]!.running, waiting: models[0]!.waiting, paused: models[0]!.paused },
  ...{ cells: models[0]!.kv_cells_used, live: requests.live.length },
});
const nothing = { running: 0, waiting: 0, paused: 0, cells: 0, live: 0 };
const holdsNothing = (status: Status) => JSON.stringify(held(status)) === JSON.stringify(nothing);

describe("an engine that is killed", { skip: withoutSample }, () => {
  let server: TestServer;
  before(async () => {
    server = await TestServer.start({ models: [steadyOffered] });
  });
  after(() => server?.close());

  async function kill(): Promise<void> {
    process.kill((await server.status()).models[0]!.pid!, "SIGKILL");
  }

  async function assertBack(restarts: number): Promise<void> {
    assert.equal((await server.get("/health")).status, 503);
    await server.until(({ models }) => models[0]!.state === "ready" && models[0]!.restarts === restarts);
    assert.equal((await server.get("/health")).status, 200);
    const answer = await server.post("/v1/completions", { ...endless, max_tokens: 4 });
    assert.equal(answer.status, 200);
    await server.until(holdsNothing);
  }

  test("in decode: the streams end with an error event; it is started again, and health says so meanwhile", async () => {
    const streams = await Promise.all(
      [1, 2, 3].map(() => server.post("/v1/completions", { ...endless, stream: true })),
    );
    const [first, ...others] = streams;
    const events: string[] = [];
    for await (const event of live(first!)) if (events.push(event) === 5) await kill();
    assert.equal(errorIn(events.at(-1)).code, "engine_lost");
    assert.match(errorIn(events.at(-1)).message, /SIGKILL/);
    for (const other of others) assert.equal(errorIn((await eventsOf(other)).at(-1)).code, "engine_lost");
    await assertBack(1);
  });

  test("in prefill: an answer that is no stream is a typed 502, a stream ends with an error event", async () => {
    // Together they are more than one step takes, so that one of them is in its prefill for a while.
    const body = (text: string) => ({ model: "sample", prompt: text + long, max_tokens: 4 });
    const whole = server.post("/v1/completions", body("One. "));
    const stream = server.post("/v1/completions", { ...body("Two. "), stream: true });
    await server.until(({ requests }) => requests.live.some(({ phase }) => phase === "prefill"), 5000);
    await kill();
    const answer = await whole;
    assert.equal(answer.status, 502);
    assert.equal(((await answer.json()) as ErrorBody).error.code, "engine_lost");
    assert.equal(errorIn((await eventsOf(await stream)).at(-1)).code, "engine_lost");
    await assertBack(2);
  });

  test("and requests that come before it is back are told when to come again", async () => {
    await kill();
    await server.until(({ models }) => models[0]!.state === "restarting");
    const refused = await server.post("/v1/completions", { ...endless, max_tokens: 1 });
    assert.equal(refused.status, 503);
    assert.equal(((await refused.json()) as ErrorBody).error.code, "engine_restarting");
    assert.match(refused.headers.get("retry-after") ?? "", /^\d+$/);
    await assertBack(3);
  });
});

describe("a server that stops under load", { skip: withoutSample }, () => {
  const bodies = Array.from({ length: 12 }, (_, index) => ({
    ...{ ...endless, stream: index % 2 === 0, prompt: `Once upon ${index}`, max_tokens: 300 },
  }));

  test("lets what runs end, takes nothing new, and leaves no process", async () => {
    const server = await TestServer.start({ models: [steadyOffered] });
    const pid = (await server.status()).models[0]!.pid!;
    const answers = bodies.map((body) => server.post("/v1/completions", body));
    await server.until(({ requests }) => requests.live.length === bodies.length);
    const closed = server.close();
    await assert.rejects(server.post("/v1/completions", bodies[0]), /fetch failed/);
    for (const [index, answer] of answers.entries()) {
      const text = await (await answer).text();
      if (index % 2 === 0) assert.match(text, /data: \[DONE\]\n\n$/);
      else assert.equal(JSON.parse(text).usage.completion_tokens, 300);
    }
    await closed;
    assert.equal(isAlive(pid), false);
  });

  test("ends what takes longer than it may, with a typed error", async () => {
    const server = await TestServer.start({ drainTimeoutSeconds: 0.1, models: [steadyOffered] });
    const answers = bodies.map((body) => server.post("/v1/completions", { ...body, max_tokens: 480, n: 8 }));
    await server.until(({ requests }) => requests.live.some(({ phase }) => phase === "decode"));
    await server.close();
    for (const [index, pending] of answers.entries()) {
      const answer = await pending;
      const text = await answer.text();
      if (index % 2 === 0) assert.match(text, /"server_stopping".*\}\n\n$/);
      else assert.deepEqual([answer.status, JSON.parse(text).error.code], [503, "server_stopping"]);
    }
  });

  test("whose gateway is killed outright leaves no engine behind", async () => {
    const script = `
      import { startServer } from ${JSON.stringify(new URL("../src/server/start.ts", import.meta.url).href)};
      const server = await startServer({ host: "127.0.0.1", port: 0, apiKeys: [], drainTimeoutSeconds: 1,
        logLevel: "silent", memoryBytes: 4e9, maxQueue: 1, models: [${JSON.stringify({ ...steadyOffered, keepAliveSeconds: 600 })}] });
      await server.loaded;
      console.log(server.url);`;
    const gateway = spawn(process.execPath, ["--input-type=module-typescript", "-e", script], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const [url] = (await once(createInterface(gateway.stdout!), "line")) as [string];
    const status = (await (await fetch(`${url}/api/status`)).json()) as Status;
    const pid = status.models[0]!.pid!;
    assert.ok(isAlive(pid));
    gateway.kill("SIGKILL");
    for (let wait = 0; isAlive(pid) && wait < 200; wait++)
      await new Promise((resolve) => setTimeout(resolve, 25));
    assert.equal(isAlive(pid), false);
  });
});

describe("clients that go away", { skip: withoutSample }, () => {
  let server: TestServer;
  before(async () => {
    server = await TestServer.start({ maxQueue: 400, models: [steadyOffered] });
  });
  after(() => server?.close());

  test("300 of them, at random points: nothing is held one step later, and the next request is served", async () => {
    let random = 12345;
    const next = (below: number) => {
      random = (Math.imul(random, 1103515245) + 12345) >>> 0;
      return (random >>> 8) % below;
    };
    const phases = new Set<string>();
    const outcomes = { aborted: 0, ended: 0 };
    const one = async (index: number): Promise<void> => {
      const abort = new AbortController();
      const chat = index % 3 === 0;
      const text = index % 2 === 0 ? long.slice(next(1500)) : "Once upon a time";
      const body = chat
        ? { model: "sample", messages: [{ role: "user", content: text.slice(0, 1200) }], ignore_eos: true }
        : { ...endless, prompt: text };
      const path = chat ? "/v1/chat/completions" : "/v1/completions";
      const timer = setTimeout(() => abort.abort(), next(500));
      try {
        const request = { ...body, stream: index % 4 < 2, n: 1 + next(3), max_tokens: 64 };
        const answer = await server.post(path, request, { signal: abort.signal });
        await answer.text();
        outcomes.ended++;
      } catch {
        outcomes.aborted++;
      } finally {
        clearTimeout(timer);
      }
    };
    const watch = setInterval(async () => {
      for (const { phase } of (await server.status()).requests.live) phases.add(phase);
    }, 20);
    for (let wave = 0; wave < 6; wave++)
      await Promise.all(Array.from({ length: 50 }, (_, index) => one(index)));
    clearInterval(watch);
    assert.ok(outcomes.aborted > 150, JSON.stringify(outcomes));
    for (const phase of ["queued", "prefill", "decode"]) assert.ok(phases.has(phase), [...phases].join());
    const status = await server.until(holdsNothing, 5000);
    assert.equal(status.models[0]!.restarts, 0);
    const answer = await server.post("/v1/completions", { ...endless, max_tokens: 4 });
    assert.equal(
      ((await answer.json()) as { usage: { completion_tokens: number } }).usage.completion_tokens,
      4,
    );
  });

  test("while the model is loaded for them", async () => {
    const lazy = await TestServer.start({ models: [{ ...steadyOffered, preload: false }] });
    const abort = new AbortController();
    const request = lazy.post("/v1/completions", endless, { signal: abort.signal });
    await lazy.until(({ requests }) => requests.live[0]?.phase === "loading");
    abort.abort();
    await assert.rejects(request);
    await lazy.until(({ requests, models }) => requests.live.length === 0 && models[0]!.state === "ready");
    await lazy.until(holdsNothing);
    await lazy.close();
  });

  test("a reader that is too slow is put aside with a bounded buffer, and gets everything once it reads", async () => {
    const socket = connect(server.port, "127.0.0.1");
    // The system takes some 4 MB for a reader on this machine, before a byte of it waits here.
    const body = JSON.stringify({ ...endless, stream: true, logprobs: 20, n: 16, max_tokens: 400 });
    socket.pause();
    socket.write(
      `POST /v1/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\nconnection: close\r\n\r\n${body}`,
    );
    const stalled = await server.until(({ requests }) => requests.live[0]?.phase === "stalled", 60_000);
    const generated = stalled.requests.live[0]!.generated_tokens;
    assert.ok(generated < 16 * 400, `${generated} tokens`);
    // Its place and its KV cells are others'.
    await server.until(({ models }) => models[0]!.running === 0 && models[0]!.waiting === 0);
    const other = await server.post("/v1/completions", { ...endless, max_tokens: 20 });
    assert.equal(other.status, 200);
    const { requests } = await server.status();
    assert.ok(requests.live[0]!.generated_tokens <= generated + 64, "it does not go on");
    let text = "";
    socket.on("data", (data) => {
      text += data;
    });
    socket.resume();
    await once(socket, "end");
    assert.match(text, /data: \[DONE\]/);
    assert.ok(text.match(/"text":/g)!.length >= 16 * 400);
    await server.until(holdsNothing);
  });

  test("a full queue answers 503 with the time to come again", async () => {
    const small = await TestServer.start({ maxQueue: 2, models: [{ ...steadyOffered, maxSequences: 2 }] });
    const abort = new AbortController();
    const running = [1, 2, 3, 4].map(() => small.post("/v1/completions", endless, { signal: abort.signal }));
    await small.until(({ requests }) => requests.live.length === 4);
    const refused = await small.post("/v1/completions", endless);
    assert.equal(refused.status, 503);
    assert.equal(((await refused.json()) as ErrorBody).error.code, "queue_full");
    assert.match(refused.headers.get("retry-after") ?? "", /^\d+$/);
    abort.abort();
    await Promise.allSettled(running);
    await small.until(holdsNothing);
    await small.close();
  });
});

describe("a model file", { skip: withoutSample }, () => {
  let folder: string;
  let server: TestServer;
  before(() => {
    folder = mkdtempSync(join(tmpdir(), "stowage-server-"));
  });
  afterEach(() => server?.close());
  after(() => rmSync(folder, { recursive: true }));

  const request = { model: "sample", prompt: "Once", max_tokens: 4 };

  async function start(name: string): Promise<string> {
    const path = join(folder, name);
    copyFileSync(samplePath, path);
    server = await TestServer.start({ models: [{ ...steadyOffered, path }] });
    return path;
  }

  test("that vanishes: what is loaded goes on; when it has to be loaded again, the error names it", async () => {
    const path = await start("vanishes.gguf");
    rmSync(path);
    assert.equal((await server.post("/v1/completions", request)).status, 200);
    await server.post("/api/models/unload", { model: "sample" });
    const failed = await server.post("/v1/completions", request);
    assert.equal(failed.status, 500);
    const { error } = (await failed.json()) as ErrorBody;
    assert.equal(error.code, "gguf_unreadable");
    assert.match(error.message, /vanishes\.gguf/);
    assert.equal((await server.get("/health")).status, 503);
    copyFileSync(samplePath, path);
    await server.until(({ models }) => models[0]!.state === "failed");
    for (let tries = 0; tries < 100; tries++) {
      if ((await server.post("/v1/completions", request)).status === 200) break;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    assert.equal((await server.get("/health")).status, 200);
  });

  test("that is replaced: the next request gets the new one, and the one under way is not touched", async () => {
    const path = await start("replaced.gguf");
    const { pid } = (await server.status()).models[0]!;
    const running = server.post("/v1/completions", { ...endless, max_tokens: 300, n: 16 });
    await server.until(({ requests }) => requests.live[0]?.phase === "decode");
    copyFileSync(samplePath, `${path}.new`);
    renameSync(`${path}.new`, path);
    assert.equal((await running).status, 200);
    assert.equal((await server.status()).models[0]!.pid, pid);
    assert.equal((await server.post("/v1/completions", request)).status, 200);
    assert.notEqual((await server.status()).models[0]!.pid, pid);
  });

  test("that is cut short: a typed error, not a crash", async () => {
    const path = await start("cut.gguf");
    await server.post("/api/models/unload", { model: "sample" });
    truncateSync(path, 1_000_000);
    const failed = await server.post("/v1/completions", request);
    assert.match(((await failed.json()) as ErrorBody).error.code, /^gguf_(truncated|extent)$/);
    assert.equal((await server.status()).models[0]!.restarts, 0);
  });
});

test("a port that is taken", { skip: withoutSample }, async () => {
  const server = await TestServer.start({}, { until: "listening" });
  await assert.rejects(TestServer.start({ port: server.port }), { code: "EADDRINUSE" });
  await server.close();
});
