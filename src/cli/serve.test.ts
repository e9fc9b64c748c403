import assert from "node:assert/strict";
import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it, type TestContext } from "node:test";
import { samplePath, withoutSample } from "../../test/sample-model.ts";
import { stowage } from "../../test/stowage.ts";
import { greeting } from "./serve-greeting.ts";

const main = join(import.meta.dirname, "main.ts");

let folder: string;
before(() => {
  folder = mkdtempSync(join(tmpdir(), "stowage-serve-"));
  // Not the settings of whoever runs the tests.
  process.env.XDG_CONFIG_HOME = folder;
});
after(() => rmSync(folder, { recursive: true }));

/** `stowage serve` in a folder without a configuration. */
class Serve {
  readonly child: ChildProcessWithoutNullStreams;
  readonly ended: Promise<unknown[]>;
  stdout = "";
  stderr = "";

  constructor(t: TestContext, args: readonly string[]) {
    const command = [main, "serve", `sample=${samplePath}`, "--threads", "1", ...args];
    this.child = spawn(process.execPath, command, { cwd: folder });
    this.ended = once(this.child, "close");
    t.after(() => this.child.kill("SIGKILL"));
    this.child.stdout.on("data", (data) => {
      this.stdout += data;
    });
    this.child.stderr.on("data", (data) => {
      this.stderr += data;
    });
  }

  /** The URL that it prints when it is up. */
  async url(): Promise<string> {
    while (!this.stdout.includes("curl")) {
      const left = await Promise.race([once(this.child.stdout, "data"), this.ended.then(() => undefined)]);
      assert.ok(left, this.stderr);
    }
    return /listens at (\S+)/.exec(this.stdout)![1]!;
  }
}

describe("stowage serve", { skip: withoutSample }, () => {
  it("says where it is, is seen by ps, and ends with 0 when it is stopped", async (t) => {
    const serve = new Serve(t, ["--port", "0"]);
    const url = await serve.url();
    assert.match(
      serve.stdout,
      /^ {2}chat .*\n {2}dashboard .*\n {2}models +sample \(ready\)\n {2}try +curl /m,
    );
    assert.equal(serve.stderr, "");
    assert.match(stowage(["ps", "--url", url], folder).stdout, /^sample +ready +.+ MiB +0 +0 +0 +-$/m);
    assert.equal(stowage(["stop", "sample", "--url", url], folder).stdout, "unloaded sample\n");
    assert.match(stowage(["ps", "--url", url], folder).stdout, /^sample +unloaded/m);

    const port = new URL(url).port;
    const second = stowage(["serve", samplePath, "--port", port], folder);
    assert.equal(second.status, 1);
    assert.match(
      second.stderr,
      /^error: Port \d+ of 127\.0\.0\.1 is taken by another Stowage\.\nnext: End it/,
    );

    assert.equal(stowage(["stop", "--url", url], folder).stdout, `stopped ${url}\n`);
    assert.deepEqual(await serve.ended, [0, null]);
  });

  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    it(`ends with 0 at ${signal}, also while it loads`, async (t) => {
      const early = new Serve(t, ["--port", "0", "--log-level", "info"]);
      await once(early.child.stderr, "data");
      early.child.kill(signal);
      assert.deepEqual([await early.ended, early.stdout], [[0, null], ""]);
      const late = new Serve(t, ["--port", "0"]);
      await late.url();
      late.child.kill(signal);
      assert.deepEqual(await late.ended, [0, null]);
    });
  }

  it("ends at once at the second signal, though a request runs", async (t) => {
    const serve = new Serve(t, ["--port", "0", "--drain-timeout", "60"]);
    const url = await serve.url();
    const body = {
      model: "sample",
      prompt: Array(100).fill("1 + 1 +"),
      max_tokens: 400,
      stream: true,
      temperature: 0,
      ignore_eos: true,
    };
    const headers = { "content-type": "application/json" };
    const asked = await fetch(`${url}/v1/completions`, {
      method: "POST",
      headers,
      body: JSON.stringify(body),
    });
    // A hundred answers take far longer than the test.
    const reader = asked.body!.getReader();
    assert.deepEqual([asked.status, (await reader.read()).done], [200, false]);
    serve.child.kill("SIGTERM");
    setTimeout(() => serve.child.kill("SIGTERM"), 700);
    assert.deepEqual(await serve.ended, [143, null]);
  });

  it("goes on when a model cannot be loaded, and says why", async (t) => {
    const serve = new Serve(t, [`broken=${main}`, "--port", "0", "--log-level", "silent"]);
    await serve.url();
    assert.match(serve.stdout, /sample \(ready\), broken \(not loaded\)/);
    assert.match(serve.stderr, /^error: .*main\.ts is not a GGUF file.*\nnext: /);
    serve.child.kill("SIGTERM");
    assert.deepEqual(await serve.ended, [0, null]);
  });

  it("says that another program has the port", async (t) => {
    const other = createServer((socket) => socket.end("hello\n")).listen(0, "127.0.0.1");
    t.after(() => other.close());
    await once(other, "listening");
    const serve = new Serve(t, ["--port", String((other.address() as AddressInfo).port)]);
    assert.deepEqual(await serve.ended, [1, null]);
    assert.match(serve.stderr, /is taken by another program\.\nnext: .+--port/);
  });

  it("says that an address is none of this machine", async (t) => {
    const serve = new Serve(t, ["--port", "0", "--host", "192.0.2.1", "--api-key", "k"]);
    assert.deepEqual(await serve.ended, [2, null]);
    assert.match(serve.stderr, /cannot listen at 192\.0\.2\.1: it is no address of this machine/);
  });
});

describe("stowage serve, without starting", () => {
  it("prints the configuration, and needs no model for that", () => {
    const { status, stdout } = stowage(["serve", "--print-config", "--port", "7", "--json"], folder);
    assert.equal(status, 0);
    assert.deepEqual(JSON.parse(stdout).settings.port, { value: 7, source: "flag" });
    assert.match(stowage(["serve", "--print-config"], folder).stdout, /^port +8321 +default$/m);
  });

  for (const [args, message] of [
    [[], /There is no model to serve/],
    [["--port", "x"], /--port is "x"; it has to be a whole number from 0 to 65535/],
    [["--nothing"], /unknown option '--nothing'/],
    [[main, "--host", "0.0.0.0"], /0\.0\.0\.0 other machines could reach/],
  ] as const) {
    it(`exits with 2 and says what to try on: ${args.join(" ")}`, () => {
      const { status, stdout, stderr } = stowage(["serve", ...args], folder);
      assert.deepEqual([status, stdout], [2, ""]);
      assert.match(stderr, message);
      assert.match(stderr, /^next: /m);
    });
  }
});

describe("the greeting", () => {
  it("has a line for a shell, whatever a model's name", () => {
    const models = [
      { name: "other", state: "on demand" },
      { name: "it's \u001b", state: "ready" },
    ];
    const text = greeting({ url: "http://127.0.0.1:1", isOpen: true, needsKey: true, models });
    assert.match(
      text,
      /^Stowage listens at http:\/\/127\.0\.0\.1:1, and at this machine's other addresses\n/,
    );
    assert.doesNotMatch(text, /recording/);
    const recorded = greeting({
      ...{ url: "http://127.0.0.1:1", isOpen: false, needsKey: false },
      models: [{ name: "a", state: "ready", recordRouting: "/tmp/a.routing" }],
    });
    assert.match(recorded, /\n {2}recording +what a is asked for, into \/tmp\/a\.routing\n/);
    assert.match(text, /models +other \(on demand\), it's {3}\(ready\)\n/);
    assert.match(text, /-H "authorization: Bearer \$STOWAGE_API_KEY" -d '\{"model":"it'\\''s \\u001b",/);
  });
});
