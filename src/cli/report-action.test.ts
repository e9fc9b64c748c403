import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { pathToFileURL } from "node:url";

const source = (path: string) => JSON.stringify(pathToFileURL(join(import.meta.dirname, path)).href);
const commander = pathToFileURL(createRequire(import.meta.url).resolve("commander")).href;

/** A benchmark that checks the value it is given; a value of "throw" fails. */
const program = `
import { Command } from ${JSON.stringify(commander)};
import { reportAction } from ${source("report-action.ts")};
import { check } from ${source("../workload/report.ts")};
import { machineInfo } from ${source("../workload/machine.ts")};
const command = new Command().argument("<value>");
reportAction(command, async (value) => {
  if (value === "throw") throw new Error("no such model");
  const checks = [check("speed", Number(value), "x", ">=", 1)];
  const report = { machine: machineInfo(), settings: { value }, results: [{ speed: 1 }], checks };
  return { report, plots: [{ title: "Curve", xLabel: "x", yLabel: "y", series: [{ name: "s", points: [[0, 1]] }] }] };
});
await command.parseAsync();`;

describe("reportAction", () => {
  let folder: string;
  before(() => {
    folder = mkdtempSync(join(tmpdir(), "stowage-report-"));
    writeFileSync(join(folder, "bench.mjs"), program);
  });
  after(() => rmSync(folder, { recursive: true }));

  const bench = (...args: string[]) =>
    spawnSync(process.execPath, ["bench.mjs", ...args], { cwd: folder, encoding: "utf8" });

  it("prints a table and exits with 0 when all is well", () => {
    const { status, stdout } = bench("1.5");
    assert.equal(status, 0);
    assert.match(stdout, /^ok +speed +1\.50 x +>= 1\.00$/m);
  });

  it("exits with 1 when a check falls short, 2 when it could not measure", () => {
    assert.equal(bench("0.5").status, 1);
    assert.equal(bench("NaN").status, 2);
    const { status, stdout, stderr } = bench("throw");
    assert.deepEqual([status, stdout], [2, ""]);
    assert.match(stderr, /^error: no such model\nnext: /);
  });

  it("prints one JSON object with --json, and writes the page with --html", () => {
    const { stdout } = bench("0.5", "--json", "--html", "page.html");
    const report = JSON.parse(stdout);
    assert.deepEqual(Object.keys(report), ["machine", "settings", "results", "checks"]);
    assert.deepEqual(report.checks, [{ name: "speed", value: 0.5, unit: "x", goal: ">= 1.00", ok: false }]);
    assert.match(readFileSync(join(folder, "page.html"), "utf8"), /<figcaption>Curve<\/figcaption>/);
  });

  it("says that it could not write the page, after printing the table", () => {
    const { status, stdout, stderr } = bench("1.5", "--html", "gone/page.html");
    assert.equal(status, 2);
    assert.match(stdout, /^ok +speed/m);
    assert.match(stderr, /^error: The report could not be written to gone\/page\.html: ENOENT/);
  });
});
