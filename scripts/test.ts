/**
 * `npm test`: type check, lint, folder order, then every test. Its last line is `N passed, N failed`, which counts the
 * tests and every check that fails; the exit code is 0 only when nothing failed.
 */
import { spawnSync } from "node:child_process";
import { globSync } from "node:fs";
import { join } from "node:path";
import { runTests, type Tally } from "./run-tests.ts";

const root = join(import.meta.dirname, "..");
const bin = (name: string) => join(root, "node_modules/.bin", name);

const checks: [name: string, program: string, args: string[]][] = [
  ["type check", bin("tsc"), ["--noEmit"]],
  ["type check of the pages", bin("tsc"), ["--project", "src/server/pages"]],
  ["type check of the pages' tests", bin("tsc"), ["--project", "src/server/pages/tsconfig.tests.json"]],
  ["lint and format", bin("biome"), ["check", "--error-on-warnings"]],
  ["folder order", process.execPath, [join(root, "scripts/house.ts")]],
];

/** Runs one check; returns whether it passed. */
function passes(name: string, program: string, args: string[]): boolean {
  const { status, error } = spawnSync(program, args, { cwd: root, stdio: ["ignore", "inherit", "inherit"] });
  console.log(
    `${status === 0 ? "ok    " : "FAILED"} ${name}${error === undefined ? "" : `: ${error.message}`}`,
  );
  return status === 0;
}

function lastLine({ passed, failed, skipped }: Tally): string {
  return `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`;
}

const failedChecks = checks.filter(([name, program, args]) => !passes(name, program, args)).length;
const files = globSync(["src/**/*.test.ts", "test/**/*.test.ts"], { cwd: root }).sort();
/** A browser, a server and an engine are too many for one processor. */
const alone = ["test/pages.test.ts", "test/expert-map.test.ts"];
const tally = await runTests(root, files, console.log, undefined, alone);
tally.failed += failedChecks;
if (tally.passed === 0) tally.failed = Math.max(1, tally.failed);
console.log(lastLine(tally));
process.exitCode = tally.failed === 0 ? 0 : 1;
