import { join, relative } from "node:path";
import { run } from "node:test";
import { inspect } from "node:util";
import { canPin, pinTo, processors } from "./pin.ts";

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

/** Memory, more than processors, bounds how many engines are tested side by side. */
const mostLanes = 4;

/**
 * Runs test files, each in a process of its own, and prints a line for each file and every failure with the test's full
 * name. On Linux as many files run at one time as there are processors, each on one of its own (see pin.ts): two that
 * compute on the same processors would wait for each other at every barrier. Elsewhere they run one after the other.
 * The files `alone` come last, one after the other, on all processors.
 *
 * @param root - Folder that file names are relative to.
 * @param files - Test files to run.
 * @param print - Receives the text, line by line.
 * @param limits - Milliseconds after which a test, or the whole run, has failed.
 * @param alone - Those of the files that need more than one processor.
 */
export async function runTests(
  root: string,
  files: string[],
  print: (line: string) => void,
  limits = { test: 5 * 60_000, total: 17 * 60_000 },
  alone: readonly string[] = [],
): Promise<Tally> {
  const queue = files.filter((file) => !alone.includes(file));
  const tallies: Tally[] = [];
  const failures: string[] = [];
  const signal = AbortSignal.timeout(limits.total);
  const runOne = async (file: string, processor?: number) => {
    const { tally, failed } = await runFile(root, file, print, { processor, timeout: limits.test, signal });
    tallies.push(tally);
    failures.push(...failed);
  };
  const lane = async (processor: number | undefined) => {
    for (let file = queue.shift(); file !== undefined; file = queue.shift()) await runOne(file, processor);
  };
  const pinned = canPin() ? processors().slice(0, mostLanes) : [undefined];
  await Promise.all(pinned.map(lane));
  for (const file of files.filter((file) => alone.includes(file))) await runOne(file);
  if (failures.length > 0) print(`\nFailed tests:\n${indent(failures.join("\n"))}`);
  return sum(tallies);
}

/** Runs one file. @returns its counts, and the full names of the tests that failed */
async function runFile(
  root: string,
  file: string,
  print: (line: string) => void,
  options: { processor: number | undefined; timeout: number; signal: AbortSignal },
): Promise<{ tally: Tally; failed: string[] }> {
  const { processor, timeout, signal } = options;
  const state = newState();
  const failed: string[] = [];
  const pin = processor === undefined ? [] : ["--import", pinTo(processor)];
  const events = run({ files: [join(root, file)], cwd: root, timeout, signal, execArgv: pin });
  events.on("test:start", ({ nesting, name }) => {
    state.names.splice(nesting, Number.POSITIVE_INFINITY, name);
  });
  for (const stream of ["test:stdout", "test:stderr"] as const) {
    events.on(stream, ({ message }) => {
      state.output += message;
    });
  }
  const ended = (passed: boolean, test: Ended) => {
    const outcome = outcomeOf(passed, test);
    if (outcome === undefined) return;
    state.tally[outcome] += 1;
    if (outcome !== "failed" || isOnlyItsChildren(test)) return;
    const name = fullName(root, test, state.names);
    failed.push(name);
    print(`FAILED ${name}\n${indent(`${reasonOf(passed, test.details.error)}\n${state.output}`)}`);
    state.output = "";
  };
  const { tally } = state;
  let milliseconds = 0;
  events.on("test:pass", (test) => ended(true, test as Ended));
  events.on("test:fail", (test) => ended(false, test as Ended));
  events.on("test:summary", ({ duration_ms }) => {
    milliseconds = duration_ms;
  });
  for await (const _ of events);
  const mark = tally.failed === 0 ? "ok    " : "FAILED";
  print(`${mark} ${file}: ${tally.passed} passed, ${(milliseconds / 1000).toFixed(1)} s`);
  return { tally, failed };
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
