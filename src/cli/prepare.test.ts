import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { tinyExperts } from "../../test/expert-models.ts";
import { stowage } from "../../test/stowage.ts";
import { writeSyntheticModel } from "../model/synth.ts";

describe("stowage prepare", () => {
  let folder: string;
  let model: string;
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), "stowage-prepare-cli-"));
    model = join(folder, "model.gguf");
    await writeSyntheticModel(model, { ...tinyExperts, experts: 16 });
  });
  after(() => rmSync(folder, { recursive: true }));

  it("ends with 130 on Ctrl-C, goes on from there, and leaves a good file as it is", () => {
    const prepared = `${model}.experts`;
    // Ctrl-C as soon as there is something to interrupt, told from inside the process.
    const preload = `
      import { existsSync } from "node:fs";
      const timer = setInterval(() => {
        if (!existsSync(${JSON.stringify(`${prepared}.part`)})) return;
        clearInterval(timer);
        process.emit("SIGINT");
      });
      timer.unref();`;
    const main = join(import.meta.dirname, "main.ts");
    const args = ["--import", `data:text/javascript,${encodeURIComponent(preload)}`, main, "prepare", model];
    const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: "utf8" });
    assert.deepEqual([status, stdout], [130, ""]);
    assert.match(
      stderr,
      /^error: .*model\.gguf\.experts was not written: .* after .* of [\d.]+ MiB\.\nnext: /,
    );
    assert.equal(existsSync(prepared), false);

    const second = stowage(["prepare", model, "--threads", "1"]);
    assert.deepEqual([second.status, second.stderr], [0, ""]);
    assert.match(
      second.stdout,
      /^wrote .*\.experts: [\d.]+ MiB, 48 records(, \d+ of them by an earlier run)?, in [\d.]+ s \(.+\/s\)\n$/,
    );
    const third = stowage(["prepare", model]);
    assert.equal(third.status, 0);
    assert.match(third.stdout, /^.*\.experts is there already: [\d.]+ MiB, 48 records\n$/);
  });

  it("writes it anew with --force, and tells in JSON what was written", () => {
    const { status, stdout, stderr } = stowage(["prepare", model, "--force", "--json"]);
    assert.deepEqual([status, stderr], [0, ""]);
    const { seconds, rate, ...written } = JSON.parse(stdout);
    const path = `${model}.experts`;
    assert.deepEqual(written, { path, bytes: statSync(path).size, records: 48, written: 48 });
    assert.ok(seconds > 0 && rate > 0);
  });

  it("exits with 2 on a dense model", async () => {
    const dense = join(folder, "dense.gguf");
    const shape = { architecture: "qwen3", experts: 0, expertsUsed: 0, feedForwardWidth: 256 };
    await writeSyntheticModel(dense, { ...tinyExperts, ...shape });
    const { status, stdout, stderr } = stowage(["prepare", dense]);
    assert.deepEqual([status, stdout], [2, ""]);
    assert.match(stderr, /dense\.gguf is a dense model: it has no experts .*\nnext: /);
  });

  it("exits with 1 when there is no such model", () => {
    const { status, stderr } = stowage(["prepare", join(folder, "none.gguf")]);
    assert.equal(status, 1);
    assert.match(stderr, /none\.gguf cannot be read as a model file/);
  });
});
