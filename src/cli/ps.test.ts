import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { afterEach, describe, it } from "node:test";
import type { Status } from "../server/schemas/status.ts";
import { statusTable } from "./status-table.ts";

const main = join(import.meta.dirname, "main.ts");
// Not the settings of whoever runs the tests.
process.env.XDG_CONFIG_HOME = import.meta.dirname;

const model: Status["models"][number] = {
  name: "sample",
  path: "/models/sample.gguf",
  state: "ready",
  problem: null,
  restarts: 0,
  pid: 12,
  architecture: "qwen3moe",
  context_tokens: 512,
  max_sequences: 8,
  running: 2,
  waiting: 1,
  paused: 0,
  memory: { weights: 1, experts: 0, kv: 1, compute: 1, total: 2 ** 20, resident: 3 },
  kv_cells: 4,
  kv_cells_used: 1,
  prompt_tokens_total: 10,
  cached_tokens_total: 0,
  generated_tokens_total: 1234,
  experts: null,
  recording: null,
  expires_at: 61_000,
  last_used: null,
};

const status: Status = {
  version: "0.1.0",
  // No process has this number.
  pid: 2 ** 30,
  state: "ready",
  started_at: 0,
  now: 1000,
  memory: { budget: 2 ** 30, planned: 2 ** 20, gateway_resident: 1 },
  models: [
    model,
    {
      ...model,
      name: "other\u001b[2J",
      state: "failed",
      problem: { code: "x", message: "It is broken.", next: "Mend it." },
      memory: null,
      running: 0,
      waiting: 0,
      expires_at: null,
      generated_tokens_total: 0,
    },
  ],
  requests: { live: [], total: 0, completed: 0, failed: 0, cancelled: 0, refused: 0 },
  latency: { time_to_first_token_ms: null, inter_token_ms: null, end_to_end_ms: null },
};

it("the table has a row for each model, what ails it, and the whole", () => {
  assert.equal(
    statusTable(status),
    `model      state   memory    running  waiting  tokens  expires in
sample     ready   1.00 MiB        2        1    1234  1:00
other [2J  failed  -               0        0       0  -

other [2J: It is broken.
  Mend it.

ready, 1.00 MiB of 1.00 GiB held, 0 requests
`,
  );
});

describe("asking a server", () => {
  let server: Server | undefined;
  afterEach(() => server?.close());

  type Answer = (request: IncomingMessage, response: ServerResponse) => void;

  /** Serves, and returns the URL. */
  async function serve(answer: Answer): Promise<string> {
    server = createServer(answer).listen(0, "127.0.0.1");
    await once(server, "listening");
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  const json =
    (code: number, body: unknown): Answer =>
    (_, response) =>
      response.writeHead(code, { "content-type": "application/json" }).end(JSON.stringify(body));

  async function stowage(args: readonly string[], env: NodeJS.ProcessEnv = {}) {
    const child = spawn(process.execPath, [main, ...args], { env: { ...process.env, ...env } });
    const [stdout, stderr, [code]] = await Promise.all([
      text(child.stdout),
      text(child.stderr),
      once(child, "close"),
    ]);
    return { code, stdout, stderr };
  }

  it("prints a table, or the status as JSON", async () => {
    const url = await serve(json(200, status));
    assert.deepEqual(await stowage(["ps", "--url", url]), {
      code: 0,
      stdout: statusTable(status),
      stderr: "",
    });
    const { stdout } = await stowage(["ps", "--json"], { STOWAGE_URL: `${url}/` });
    assert.deepEqual(JSON.parse(stdout), status);
  });

  it("finds the server by the settings that `serve` would have, and brings the first key", async () => {
    let key: string | undefined;
    const url = await serve((request, response) => {
      key = request.headers.authorization;
      json(200, status)(request, response);
    });
    const env = { STOWAGE_PORT: new URL(url).port, STOWAGE_HOST: "0.0.0.0", STOWAGE_API_KEY: "one,two" };
    assert.equal((await stowage(["ps"], env)).code, 0);
    assert.equal(key, "Bearer one");
    await stowage(["ps", "--api-key", "three"], env);
    assert.equal(key, "Bearer three");
  });

  for (const [name, answer, message, next] of [
    ["another program", json(200, { hello: 1 }), /is not a Stowage of this version: version: /, /--url/],
    [
      "a page",
      (_: IncomingMessage, response: ServerResponse) => response.end("<html>"),
      /not a Stowage/,
      /--url/,
    ],
    ["a redirect", json(302, {}), /not a Stowage of this version: status 302/, /--url/],
    ["an error of another", json(500, { error: "x" }), /status 500/, /--url/],
    [
      "a server that wants a key",
      json(401, { error: { message: "A key is needed.", next: "Send the header." } }),
      /answered with 401: A key is needed\./,
      /--api-key KEY/,
    ],
    [
      "a server that refuses",
      json(503, { error: { message: "It stops.", next: "Wait." } }),
      /answered with 503: It stops\./,
      /Wait\./,
    ],
    [
      "a connection that ends",
      (_: IncomingMessage, response: ServerResponse) => response.destroy(),
      /No server answers at .+: /,
      /stowage serve/,
    ],
  ] as const) {
    it(`tells of ${name}`, async () => {
      const url = await serve(answer as Answer);
      const { code, stdout, stderr } = await stowage(["ps", "--url", url]);
      assert.deepEqual([code, stdout], [1, ""]);
      assert.match(stderr, message);
      assert.match(stderr, new RegExp(`^next: .*${next.source}`, "m"));
    });
  }

  it("says that nothing listens, and what is no URL", async () => {
    const url = await serve(json(200, status));
    server!.close();
    for (const args of [["ps"], ["stop"], ["stop", "sample"]]) {
      const { code, stderr } = await stowage([...args, "--url", url]);
      assert.equal(code, 1);
      assert.match(stderr, /^error: No server answers at .+: the connection was refused\.\nnext: Start one/);
    }
    const { code, stderr } = await stowage(["ps", "--url", "ftp://x"]);
    assert.equal(code, 2);
    assert.match(stderr, /^error: --url is "ftp:\/\/x"; it has to be a URL/);
  });

  it("unloads a model", async () => {
    let asked = "";
    const url = await serve(async (request, response) => {
      asked = `${request.method} ${request.url} ${await text(request)}`;
      json(200, { model: "a", state: "unloaded" })(request, response);
    });
    const { code, stdout } = await stowage(["stop", "a", "--url", url]);
    assert.deepEqual([code, stdout, asked], [0, "unloaded a\n", `POST /api/models/unload {"model":"a"}`]);
  });

  it("waits until a server that it has stopped is gone", async () => {
    let polls = 0;
    const url = await serve((request, response) => {
      if (request.url === "/api/stop") return json(200, { stopping: true })(request, response);
      // The first is asked before the stop; the last comes from the server that took its place.
      const started_at = ++polls > 3 ? 1 : 0;
      json(200, { ...status, state: "draining", started_at })(request, response);
    });
    const { code, stdout } = await stowage(["stop", "--url", url]);
    assert.deepEqual([code, stdout, polls], [0, `stopped ${url}\n`, 4]);
  });
});
