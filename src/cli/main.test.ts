import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";

const root = join(import.meta.dirname, "../..");

function stowage(...args: string[]) {
  const command = [join(root, "src/cli/main.ts"), ...args];
  return spawnSync(process.execPath, command, { encoding: "utf8" });
}

describe("stowage", () => {
  it("prints the version of the package", () => {
    const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
    const { status, stdout, stderr } = stowage("--version");
    assert.deepEqual([status, stdout, stderr], [0, `${version}\n`, ""]);
  });

  it("lists its commands with --help", () => {
    const { status, stdout } = stowage("--help");
    assert.equal(status, 0);
    assert.match(stdout, /^ {2}bench /m);
  });

  for (const args of [["nothing"], ["--nothing"], ["bench", "--nothing"]]) {
    it(`exits with 2 and says what to try on: ${args.join(" ")}`, () => {
      const { status, stdout, stderr } = stowage(...args);
      assert.deepEqual([status, stdout], [2, ""]);
      assert.match(stderr, /^error: unknown (command|option) '(--)?nothing'\nnext: .+\n$/);
    });
  }
});
