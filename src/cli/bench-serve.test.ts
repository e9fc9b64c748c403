import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { openAiPeer } from "../../test/openai-peer.ts";
import { parseGoals, parseLengths, parseServer } from "./bench-serve-arguments.ts";

interface Outcome {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function start(...args: string[]): { child: ChildProcess; outcome: Promise<Outcome> } {
  const command = [join(import.meta.dirname, "main.ts"), "bench", "serve", ...args];
  const child = spawn(process.execPath, command, { stdio: ["ignore", "pipe", "pipe"] });
  const outcome = Promise.all([
    child.stdout.toArray(),
    child.stderr.toArray(),
    new Promise<number | null>((resolve) => child.on("close", resolve)),
  ]).then(([stdout, stderr, status]) => ({ status, stdout: stdout.join(""), stderr: stderr.join("") }));
  return { child, outcome };
}

/** Runs the command with `--json`; gives its report, its rows by their names, and its exit code. */
async function bench(url: string, ...args: string[]) {
  const { status, stdout, stderr } = await start("--url", url, "--json", ...args).outcome;
  assert.notEqual(stdout, "", stderr);
  const report = JSON.parse(stdout);
  const rows = new Map<string, Record<string, number>>(
    report.results.map((row: { measure: string }) => [row.measure, row]),
  );
  return { status, report, rows, checks: report.checks as { name: string; value: number; ok: boolean }[] };
}

describe("stowage bench serve", () => {
  let folder: string;
  before(() => {
    folder = mkdtempSync(join(tmpdir(), "stowage-serve-"));
  });
  after(() => rmSync(folder, { recursive: true }));

  it("measures prompts of exact tokens at a concurrency, and writes the page", async (test) => {
    const peer = await openAiPeer(test, { firstMs: 60, tokenMs: 10 });
    const page = join(folder, "page.html");
    const flags = ["--requests", "9", "--concurrency", "3", "--warmup", "1", "--html", page];
    const lengths = ["--input-tokens", "20-40", "--output-tokens", "5"];
    const { status, report, rows, checks } = await bench(peer.url, ...flags, ...lengths);
    assert.equal(status, 0);
    assert.deepEqual(
      checks.map(({ name, value, ok }) => [name, value, ok]),
      [["completed", 1, true]],
    );
    assert.equal(peer.requests.length, 10);
    assert.equal(peer.mostAtOnce(), 3);
    const measured = peer.requests.slice(1);
    const tokens = measured.map(({ prompt }) => prompt!.length);
    assert.ok(
      tokens.every((count) => count >= 20 && count <= 40),
      String(tokens),
    );
    assert.ok(measured.every(({ model, ignore_eos }) => model === "peer-model" && ignore_eos));
    assert.equal(
      rows.get("input tokens")!.count,
      tokens.reduce((sum, count) => sum + count, 0),
    );
    assert.equal(rows.get("output tokens")!.count, 45);
    assert.equal(rows.get("input tokens cached")!.count, 9);
    assert.ok(rows.get("ttft_ms")!.median! >= 55, JSON.stringify(rows.get("ttft_ms")));
    assert.ok(rows.get("tpot_ms")!.median! >= 7, JSON.stringify(rows.get("tpot_ms")));
    assert.deepEqual([rows.get("itl_ms")!.count, report.settings.prompts], [36, "exact tokens"]);
    assert.equal(readFileSync(page, "utf8").match(/<figure>/g)?.length, 5);
  });

  it("measures chats of about as many tokens, by what words cost", async (test) => {
    const peer = await openAiPeer(test, { tokenizes: false });
    const { status, report, rows } = await bench(
      `${peer.url}/v1/`,
      ...["--endpoint", "chat", "--requests", "4", "--input-tokens", "107", "--output-tokens", "2"],
    );
    assert.equal(status, 0);
    assert.equal(report.settings.prompts, "words of about 1.00 tokens and 7 more");
    assert.equal(rows.get("input tokens")!.count, 4 * 107);
    assert.equal(peer.requests.at(-1)!.messages![0]!.content.split(" ").length, 100);
  });

  it("counts every kind of fault, tries none again, and exits with 1", async (test) => {
    const faults = ["refuse", "break", "error", "stall"] as const;
    const peer = await openAiPeer(test, { faultOf: (index) => faults[index] });
    const flags = ["--requests", "6", "--warmup", "0", "--timeout", "1", "--goodput", "ttft:60000"];
    const { status, rows, checks } = await bench(
      peer.url,
      ...flags,
      "--rate",
      "1000",
      "--arrivals",
      "constant",
    );
    assert.equal(status, 1);
    assert.equal(peer.requests.length, 6);
    assert.deepEqual(
      ["refused 503 overloaded", "broken ECONNRESET", "error lost", "timeout", "completed", "good"].map(
        (name) => rows.get(name)?.count,
      ),
      [1, 1, 1, 1, 2, 2],
    );
    assert.deepEqual(
      checks.map(({ name, ok }) => [name, ok]),
      [
        ["completed", false],
        ["goodput", false],
      ],
    );
    assert.ok(checks.every(({ value }) => Math.abs(value - 1 / 3) < 1e-9));
  });

  it("replays a trace: its times, its scaled lengths, and the beginnings that its prompts share", async (test) => {
    const peer = await openAiPeer(test);
    const trace = join(folder, "trace.jsonl");
    const line = (timestamp: number, input_length: number, hash_ids: number[]) =>
      JSON.stringify({ timestamp, input_length, output_length: 16, hash_ids });
    writeFileSync(
      trace,
      [line(0, 1024, [1, 2]), line(4000, 1536, [1, 2, 3]), line(8000, 2048, [1, 4, 5, 6])].join("\n"),
    );
    const flags = ["--trace", trace, "--scale-length", "0.125", "--scale-rate", "10", "--max-input", "200"];
    const { status, report, rows } = await bench(peer.url, ...flags, "--warmup", "0");
    const [first, second, third] = peer.requests.map(({ prompt }) => prompt as number[]);
    assert.equal(status, 0);
    assert.deepEqual([first!.length, second!.length, third!.length], [128, 192, 200]);
    assert.deepEqual(second!.slice(0, 128), first);
    assert.deepEqual(third!.slice(0, 64), first!.slice(0, 64));
    assert.notEqual(third![64], first![64]);
    assert.deepEqual([report.settings.trace, report.settings.clipped_inputs], [`${trace} (mooncake)`, 1]);
    assert.equal(rows.get("output tokens")!.count, 6);
    assert.ok(3 / rows.get("completed")!.per_s! >= 0.79);
  });

  it("ends with what was measured on Ctrl-C", async (test) => {
    let hasStalled = () => {};
    const stalled = new Promise<void>((resolve) => {
      hasStalled = resolve;
    });
    const peer = await openAiPeer(test, {
      faultOf: (index) => {
        if (index < 3) return undefined;
        hasStalled();
        return "stall";
      },
    });
    const flags = ["--url", peer.url, "--json", "--warmup", "0", "--concurrency", "1"];
    const { child, outcome } = start(...flags);
    await stalled;
    child.kill("SIGINT");
    const { status, stdout } = await outcome;
    const { settings, results } = JSON.parse(stdout);
    const counts = new Map(
      results.map((row: { measure: string; count: number }) => [row.measure, row.count]),
    );
    assert.deepEqual([status, settings.interrupted], [0, true]);
    assert.deepEqual([counts.get("completed"), counts.get("unfinished")], [3, 1]);
  });

  it("sends the key, and says what is wrong with the server", async (test) => {
    const { url } = await openAiPeer(test, { key: "secret" });
    const { status, report } = await bench(url, "--api-key", "secret", "--requests", "1");
    assert.equal(status, 0);
    assert.doesNotMatch(JSON.stringify(report), /secret/);
    const refused = await start("--url", url).outcome;
    assert.deepEqual([refused.status, refused.stdout], [2, ""]);
    assert.match(
      refused.stderr,
      /^error: The server at \S+ cannot be measured: \/v1\/models gives HTTP 401\.\nnext: /,
    );
    const gone = await start("--url", "http://127.0.0.1:2").outcome;
    assert.match(
      gone.stderr,
      /^error: The server at http:\/\/127\.0\.0\.1:2 cannot be measured: .*ECONNREFUSED/,
    );
  });

  it("exits with 2 when flags contradict each other", async () => {
    const { status, stderr } = await start("--rate", "1", "--concurrency", "2").outcome;
    assert.equal(status, 2);
    assert.match(stderr, /^error: --rate and --concurrency together cannot be taken: .+\nnext: /);
  });
});

describe("arguments of stowage bench serve", () => {
  it("are read", () => {
    assert.equal(parseServer("http://a:1").href, "http://a:1/");
    assert.equal(parseServer("https://a/x/v1/").href, "https://a/x/");
    assert.deepEqual(parseLengths("5"), { least: 5, most: 5 });
    assert.deepEqual(parseLengths("5-9"), { least: 5, most: 9 });
    assert.deepEqual(parseGoals("ttft:500, tpot:0.5"), { ttft: 500, tpot: 0.5 });
  });

  it("are refused where they say nothing", () => {
    for (const text of ["a:1", "ftp://a", ""]) assert.throws(() => parseServer(text));
    for (const text of ["0", "9-5", "1.5", "-1", ""]) assert.throws(() => parseLengths(text));
    for (const text of ["", "itl:5", "ttft", "ttft:0", "ttft:1,ttft:2"])
      assert.throws(() => parseGoals(text));
  });
});
