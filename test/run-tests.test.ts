import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";

const runner = join(import.meta.dirname, "../scripts/run-tests.ts");
const imports = `import { describe, it, before } from "node:test"; import assert from "node:assert";`;

/** Runs one test file with the project's runner, in another process: node:test does not nest. */
function run(source: string, limits = { test: 60_000, total: 60_000 }): { text: string; tally: unknown } {
  const folder = mkdtempSync(join(tmpdir(), "stowage-tests-"));
  try {
    writeFileSync(join(folder, "a.test.ts"), `${imports}\n${source}`);
    const script = `import { runTests } from ${JSON.stringify(runner)};
      const tally = await runTests(${JSON.stringify(folder)}, ["a.test.ts"], console.log, ${JSON.stringify(limits)});
      console.log(JSON.stringify(tally));`;
    const { NODE_TEST_CONTEXT: _, ...env } = process.env;
    writeFileSync(join(folder, "run.mjs"), script);
    const { stdout, stderr } = spawnSync(process.execPath, ["run.mjs"], {
      cwd: folder,
      env,
      encoding: "utf8",
    });
    const lines = stdout.trimEnd().split("\n");
    return { text: stdout + stderr, tally: JSON.parse(lines.at(-1) ?? "") };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

describe("the test runner", () => {
  it("counts passed, failed and skipped tests and names failures in full", () => {
    const { text, tally } = run(`describe("outer", () => {
      it("good", () => {});
      it.skip("later", () => {});
      describe("inner", () => { it("bad", () => assert.equal(1, 2)); });
    });`);
    assert.deepEqual(tally, { passed: 1, failed: 1, skipped: 1 });
    assert.match(text, /^FAILED a\.test\.ts > outer > inner > bad$/m);
    assert.match(text, /1 == 2/);
  });

  for (const [what, source, passed] of [
    ["an exit code", `it("good", () => {}); setTimeout(() => process.exit(3), 50);`, 1],
    ["an abort", `it("good", () => {}); setTimeout(() => process.abort(), 50);`, 1],
    ["a throw while loading", `throw new Error("no");`, 0],
    ["a missing import", `import "./missing.ts";`, 0],
    ["no test", `console.log("nothing here");`, 0],
    ["a suite that throws", `it("good", () => {}); describe("broken", () => { throw new Error("no"); });`, 1],
  ] as const) {
    it(`counts a file with ${what} as failed`, () => {
      assert.deepEqual(run(source).tally, { passed, failed: 1, skipped: 0 });
    });
  }

  it("fails a file that never ends", () => {
    const { tally } = run(`it("good", () => {}); setTimeout(() => { for (;;); }, 50);`, {
      test: 30_000,
      total: 4000,
    });
    assert.deepEqual(tally, { passed: 1, failed: 1, skipped: 0 });
  });
});
