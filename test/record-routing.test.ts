/** Traces of what a server's users asked for: one for each start of an engine, and none that costs an answer. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { promisify } from "node:util";
import { readRoutingTrace } from "../src/experts/trace/reader.ts";
import { samplePath, withoutSample } from "./sample-model.ts";
import { steadyOffered, TestServer } from "./server.ts";

const run = promisify(execFile);

describe("routing that a server records", { skip: withoutSample }, () => {
  const folder = mkdtempSync(join(tmpdir(), "stowage-recorded-"));
  after(() => rmSync(folder, { recursive: true }));

  it("is that of its requests; each start of the engine writes a file of its own", async () => {
    const path = join(folder, "served.routing");
    const server = await TestServer.start({ models: [{ ...steadyOffered, recordRouting: path }] });
    try {
      const prompt = "The captain looked at the sea, and";
      const body = { model: "sample", prompt, max_tokens: 10, ignore_eos: true };
      const ask = async () => assert.equal((await server.post("/v1/completions", body)).status, 200);
      const tokenized = await server.post("/tokenize", { model: "sample", prompt });
      const { tokens } = (await tokenized.json()) as { tokens: number[] };
      await ask();
      // The last token of an answer is never computed.
      const count = tokens.length + 9;
      const status = await server.until(({ models }) => models[0]!.recording?.tokens === count);
      assert.deepEqual(
        { ...status.models[0]!.recording, bytes: 0 },
        { path, tokens: count, bytes: 0, failure: null },
      );

      assert.equal((await server.post("/api/models/unload", { model: "sample" })).status, 200);
      const first = readFileSync(path);
      await ask();
      await server.until(({ models }) => models[0]!.recording?.path === `${path}.2`);
      await server.close();
      assert.deepEqual(readdirSync(folder).sort(), ["served.routing", "served.routing.2"]);
      assert.deepEqual(readFileSync(path), first);
      for (const file of [path, `${path}.2`]) {
        const log = await readRoutingTrace(file);
        assert.deepEqual([...log.token.subarray(0, tokens.length)], tokens);
        assert.equal(log.count, count);
        assert.equal(
          log.decoded.reduce((sum, decoded) => sum + decoded),
          9,
        );
        assert.equal(statSync(file).mode & 0o077, 0, "nobody else may read it");
      }
    } finally {
      await server.close();
    }
  });

  it("ends where the disk is full: that is said once, and answers go on", async () => {
    const path = join(folder, "full.routing");
    const child = join(import.meta.dirname, "recording-child.ts");
    // Files of 8 KiB at most, and an error past that in place of a signal.
    const limited = "trap '' XFSZ; ulimit -f 8; exec \"$@\"";
    const { stdout } = await run("bash", ["-c", limited, "-", process.execPath, child, samplePath, path]);
    const { failures, wasTold, answered, written } = JSON.parse(stdout);
    assert.deepEqual([answered, written], [Array(8).fill(8), path]);
    assert.deepEqual(failures, ["routing_trace_write"]);
    assert.equal(wasTold, 1, "before it was closed");
  });
});
