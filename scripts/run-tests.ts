import { join, relative } from "node:path";
import { run } from "node:test";
import { inspect } from "node:util";

/** How many tests ended which way. A file that crashes, never ends or holds no test is one failed test. */
export interface Tally {
  passed: number;
  failed: number;
  skipped: number;
}

interface FileState {
  /** Names of the tests and suites that are open, outermost first. */
  names: string[];
  tally: Tally;
  /** What the file wrote to stdout and stderr; shown only if it fails. */
  output: string;
}

/** What node:test says about a test that ended; its own types leave out `file` for some events. */
interface Ended {
  name: string;
  nesting: number;
  file?: string;
  skip?: string | boolean;
  todo?: string | boolean;
  details: { type?: string | undefined; error?: TestError };
}

type TestError = Error & { failureType?: string; exitCode?: number; signal?: string | null };

/** The engine's tests compute on every core: two at a time would wait for each other at every barrier. */
const filesAtOnce = 1;

/**
 * Runs test files, each in a process of its own, one after the other, and prints a line for each file and every failure
 * with the test's full name.
 *
 * @param root - Folder that file names are relative to.
 * @param files - Test files to run.
 * @param print - Receives the text, line by line.
 * @param limits - Milliseconds after which a test, or the whole run, has failed.
 */
export async function runTests(
  root: string,
  files: string[],
  print: (line: string) => void,
  limits = { test: 5 * 60_000, total: 15 * 60_000 },
): Promise<Tally> {
  const states = new Map(files.map((file) => [file, newState()]));
  const outside = newState();
  const stateOf = (path?: string) => states.get(relative(root, path ?? root)) ?? outside;
  const failures: string[] = [];

  const events = run({
    files: files.map((file) => join(root, file)),
    cwd: root,
    concurrency: filesAtOnce,
    timeout: limits.test,
    signal: AbortSignal.timeout(limits.total),
  });
  events.on("test:start", ({ file, nesting, name }) => {
    stateOf(file).names.splice(nesting, Number.POSITIVE_INFINITY, name);
  });
  for (const stream of ["test:stdout", "test:stderr"] as const) {
    events.on(stream, ({ file, message }) => {
      stateOf(file).output += message;
    });
  }
  const ended = (passed: boolean, test: Ended) => {
    const state = stateOf(test.file);
    const outcome = outcomeOf(passed, test);
    if (outcome === undefined) return;
    state.tally[outcome] += 1;
    if (outcome !== "failed" || isOnlyItsChildren(test)) return;
    const name = fullName(root, test, state.names);
    failures.push(name);
    print(`FAILED ${name}\n${indent(`${reasonOf(passed, test.details.error)}\n${state.output}`)}`);
    state.output = "";
  };
  events.on("test:pass", (test) => ended(true, test as Ended));
  events.on("test:fail", (test) => ended(false, test as Ended));
  events.on("test:summary", ({ file, duration_ms }) => {
    if (file === undefined) return;
    const { tally } = stateOf(file);
    const mark = tally.failed === 0 ? "ok    " : "FAILED";
    print(`${mark} ${relative(root, file)}: ${tally.passed} passed, ${(duration_ms / 1000).toFixed(1)} s`);
  });
  for await (const _ of events);

  if (failures.length > 0) print(`\nFailed tests:\n${indent(failures.join("\n"))}`);
  return sum([...states.values(), outside].map(({ tally }) => tally));
}

/** Where a test counts; undefined for a suite that only groups tests. */
function outcomeOf(passed: boolean, test: Ended): keyof Tally | undefined {
  const isSuite = test.details.type === "suite";
  if (isSuite && (passed || isOnlyItsChildren(test))) return undefined;
  if (isWholeFile(test)) return "failed";
  if (test.skip !== undefined || test.todo !== undefined) return "skipped";
  return passed ? "passed" : "failed";
}

/** The event for a file itself: node:test sends it for a crash, and for a file without any test. */
function isWholeFile(test: Ended): boolean {
  return test.nesting === 0 && test.name === test.file;
}

function isOnlyItsChildren(test: Ended): boolean {
  return test.details.error?.failureType === "subtestsFailed";
}

function fullName(root: string, test: Ended, names: string[]): string {
  const file = relative(root, test.file ?? root);
  return isWholeFile(test) ? file : [file, ...names.slice(0, test.nesting), test.name].join(" > ");
}

function reasonOf(passed: boolean, error?: TestError): string {
  if (passed) return "It holds no test.";
  if (error?.signal) return `Its process was ended by ${error.signal}.`;
  if (error?.exitCode) return `Its process ended with exit code ${error.exitCode}.`;
  return inspect(error?.cause instanceof Error ? error.cause : error?.message);
}

function indent(text: string): string {
  return text.trimEnd().replace(/^/gm, "  ");
}

function newState(): FileState {
  return { names: [], tally: { passed: 0, failed: 0, skipped: 0 }, output: "" };
}

function sum(tallies: Tally[]): Tally {
  const total = newState().tally;
  for (const tally of tallies) {
    total.passed += tally.passed;
    total.failed += tally.failed;
    total.skipped += tally.skipped;
  }
  return total;
}
