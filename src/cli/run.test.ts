import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it, type TestContext } from "node:test";
import { samplePath, withoutSample } from "../../test/sample-model.ts";

/** Greedily, the sample model goes on with this until its context is full. */
const endless = "1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 +";
const main = join(import.meta.dirname, "main.ts");

/** Runs the command to its end, with `input` on stdin. */
function stowage(args: readonly string[], input = "", env: NodeJS.ProcessEnv = {}) {
  const options = { input, encoding: "utf8", env: { ...process.env, ...env } } as const;
  return spawnSync(process.execPath, [main, ...args], options);
}

describe("stowage run", { skip: withoutSample }, () => {
  const run = (...args: string[]) =>
    stowage(["run", samplePath, "--threads", "1", "--temperature", "0", ...args]);

  it("answers one prompt on stdout and nothing else", () => {
    const { status, stdout, stderr } = run("Once upon a time", "--max-tokens", "8");
    assert.deepEqual([status, stderr], [0, ""]);
    assert.match(stdout, /^.+\n$/s);
  });

  it("reads the prompt from stdin, and flags from the environment", () => {
    const fromArgument = run("It was a dark night", "--raw", "--max-tokens", "12");
    const flags = {
      STOWAGE_MAX_TOKENS: "12",
      STOWAGE_TEMPERATURE: "0",
      STOWAGE_RAW: "1",
      STOWAGE_THREADS: "1",
    };
    const fromStdin = stowage(["run", samplePath], "It was a dark night\n", flags);
    assert.deepEqual([fromStdin.status, fromStdin.stdout], [0, fromArgument.stdout]);
    assert.notEqual(fromArgument.stdout, "\n");
  });

  it("asks by the chat template unless told not to, with the system message first", () => {
    const promptTokens = (...args: string[]) => {
      const lines = run("Who are you?", "--max-tokens", "1", "--json", ...args)
        .stdout.trim()
        .split("\n");
      return JSON.parse(lines.at(-1)!).usage.promptTokens as number;
    };
    const [raw, asked, instructed] = [
      promptTokens("--raw"),
      promptTokens(),
      promptTokens("--system", "Be brief."),
    ];
    assert.ok(raw < asked && asked < instructed, `${raw}, ${asked}, ${instructed}`);
  });

  it("prints a line of JSON for each token and for the end", () => {
    const { stdout, stderr } = run("The sea", "--raw", "--max-tokens", "5", "--json", "--stats");
    const parts = stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    assert.deepEqual(
      parts.map(({ type }) => type),
      ["token", "token", "token", "token", "token", "finish"],
    );
    assert.equal(parts.at(-1).usage.completionTokens, 5);
    assert.match(
      stderr,
      /^prefill: \d+ tokens, 0 of them cached, .+ tokens\/s; decode: 5 tokens, .+ tokens\/s; end: length\n$/,
    );
  });

  it("ends before a stop text", () => {
    const { stdout } = run("The sea", "--raw", "--max-tokens", "24", "--stop", "e", "--stop", "a");
    assert.doesNotMatch(stdout, /[ea]/);
  });

  it("takes every way to choose tokens", () => {
    const flags = "--typical-p .9 --top-n-sigma 3 --xtc-probability 1 --xtc-threshold .2 --dry-multiplier 1";
    const more = "--dry-base 2 --dry-allowed-length 1 --dry-penalty-last-n 50 --dry-sequence-breaker .";
    const args = `${flags} ${more} --mirostat 2 --mirostat-tau 3 --mirostat-eta .2 --seed 1`.split(" ");
    const biased = [...args, "--logit-bias", "300=100", "--logit-bias", "301=100", "--temperature", "1"];
    const { stdout } = run("The sea", "--raw", "--json", "--max-tokens", "6", ...biased);
    const tokens = stdout.split("\n").flatMap((line) => /"token":(\d+)/.exec(line)?.[1] ?? []);
    assert.deepEqual(new Set(tokens), new Set(["300", "301"]));
  });

  it("stops an answer at Ctrl-C and exits with 130", async () => {
    const child = spawn(process.execPath, [
      main,
      "run",
      samplePath,
      endless,
      "--raw",
      "--json",
      "--temperature",
      "0",
      "--threads",
      "1",
    ]);
    await Promise.race([once(child.stdout, "data"), once(child, "exit")]);
    child.kill("SIGINT");
    assert.deepEqual(await once(child, "exit"), [130, null]);
  });

  for (const [args, message] of [
    [["--temperature", "warm"], /option '--temperature <x>' argument 'warm' is invalid/],
    [["--memory", "much"], /It has to be an amount of memory/],
    [["--top-p", "2"], /topP is 2/],
    [["--mirostat", "3"], /mirostat is 3/],
    [["--logit-bias", "42"], /It has to be a token id and a number/],
    [["--logit-bias", "42=101"], /logitBias\.42 is 101/],
    [["--context", "100000"], /contextTokens is 100000/],
    [["--system", "x", "--raw"], /cannot be used with/],
    [["--nothing"], /unknown option '--nothing'/],
    [["two", "prompts"], /too many arguments/],
  ] as const) {
    it(`exits with 2 and says what to try on: ${args.join(" ")}`, () => {
      const { status, stdout, stderr } = stowage(["run", samplePath, "The sea", ...args]);
      assert.deepEqual([status, stdout], [2, ""]);
      assert.match(stderr, message);
      assert.match(stderr, /^next: /m);
    });
  }

  it("says how much memory the model needs", () => {
    const { status, stderr } = stowage(["run", samplePath, "The sea", "--memory", "1MiB"]);
    assert.equal(status, 1);
    assert.match(stderr, /^error: The model needs .+ MiB.+the budget of 1\.0 MiB/);
  });

  it("says that there is no prompt", () => {
    const { status, stderr } = stowage(["run", samplePath]);
    assert.equal(status, 2);
    assert.match(stderr, /^error: There is no prompt: stdin is empty\.\nnext: /);
  });
});

it("stowage run says that there is no such file", () => {
  const { status, stdout, stderr } = stowage(["run", "/nowhere/model.gguf", "The sea"]);
  assert.deepEqual([status === 0, stdout], [false, ""]);
  assert.match(stderr, /^error: .*\/nowhere\/model\.gguf.*\nnext: /);
});

const withoutTerminal =
  withoutSample ||
  (spawnSync("script", ["--version"]).status === 0 ? false : "there is no `script` to make a terminal");

describe("stowage run with a budget for experts", { skip: withoutSample }, () => {
  let folder: string;
  let path: string;
  before(() => {
    folder = mkdtempSync(join(tmpdir(), "stowage-run-"));
    path = join(folder, "model.gguf");
    symlinkSync(samplePath, path);
  });
  after(() => rmSync(folder, { recursive: true, force: true }));
  const run = (...args: string[]) =>
    stowage(["run", path, "Once upon a time", "--raw", "--temperature", "0", "--max-tokens", "8", ...args]);

  it("prepares the model once, says the same, and tells how the experts fared", () => {
    const resident = stowage([
      "run",
      samplePath,
      "Once upon a time",
      "--raw",
      "--temperature",
      "0",
      "--max-tokens",
      "8",
    ]);
    const first = run("--expert-memory", "50%", "--stats");
    assert.deepEqual([first.status, first.stdout], [0, resident.stdout]);
    assert.match(
      first.stderr,
      /experts: \d+ % were there, .+ read, .+ waited for; read ahead: .+; policy: composite, evicts by successors; reads ahead by /,
    );
    assert.ok(existsSync(`${path}.experts`));
    const again = run("--expert-memory", "4MiB", "--expert-policy", "lfu", "--expert-prefetch", "none");
    assert.deepEqual([again.status, again.stdout, again.stderr], [0, resident.stdout, ""]);
  });

  it("unprepared, writes nothing and says why that is slower", () => {
    rmSync(`${path}.experts`, { force: true });
    const { status, stderr } = run("--expert-memory", "50%", "--unprepared");
    assert.equal(status, 0);
    assert.match(stderr, /^hint: .+\n {2}.*stowage prepare/m);
    assert.ok(!existsSync(`${path}.experts`));
  });

  it("in a lossy mode names it, and what it did", () => {
    const low = join(folder, "low.gguf");
    const quantised = stowage(["quantize", path, low, "--type", "q2_k", "--pure"]);
    assert.equal(quantised.status, 0, quantised.stderr);
    const lossy = run("--expert-memory", "40%", "--lossy", "hobbit", "--low-experts", low, "--stats");
    assert.equal(lossy.status, 0, lossy.stderr);
    assert.match(lossy.stderr, /^lossy: hobbit, a missing expert is low below .+ low ones read$/m);
    const half = run("--expert-memory", "40%", "--low-experts", low);
    assert.equal(half.status, 2);
    assert.match(half.stderr, /Give --lossy hobbit with --low-experts/);
  });

  it("refuses a budget that is too small, and says the least that works", () => {
    const { status, stderr } = run("--expert-memory", "1KiB");
    assert.equal(status, 2);
    const [, least] = /--expert-memory at least ([\d.]+)MiB/.exec(stderr) ?? [];
    assert.ok(least, stderr);
    assert.equal(run("--expert-memory", `${least}MiB`, "--unprepared").status, 0);
  });
});

describe("a chat with stowage run", { skip: withoutTerminal }, () => {
  /** The command in a terminal of its own. */
  class Terminal {
    readonly child: ChildProcess;
    screen = "";

    constructor(t: TestContext, ...args: string[]) {
      const quoted = [process.execPath, main, "run", samplePath, "--threads", "1", ...args].map(
        (part) => `'${part}'`,
      );
      // A shell that stayed in between would end at the first Ctrl-C.
      this.child = spawn("script", ["-qec", `exec ${quoted.join(" ")}`, "/dev/null"], { stdio: "pipe" });
      t.after(() => this.child.kill());
      this.child.stdout!.on("data", (data) => {
        this.screen += data;
      });
    }

    /** Waits for `pattern` in what came since the last call, and takes it away. */
    async see(pattern: RegExp): Promise<string> {
      for (const until = Date.now() + 20_000; ; await new Promise((resolve) => setTimeout(resolve, 10))) {
        const match = pattern.exec(this.screen);
        assert.ok(match || Date.now() < until, `no ${pattern} in: ${JSON.stringify(this.screen)}`);
        if (!match) continue;
        this.screen = this.screen.slice(match.index + match[0].length);
        return match[0];
      }
    }

    type(text: string): void {
      this.child.stdin!.write(text);
    }

    async end(): Promise<number> {
      return this.child.exitCode ?? ((await once(this.child, "exit"))[0] as number);
    }
  }
  /** The prompt is the last thing on the screen, but for where the cursor is put. */
  // biome-ignore lint/suspicious/noControlCharactersInRegex: terminals are steered by them
  const prompt = /> (?:\u001b\[\d*[A-Z])*$/;

  it("remembers what was said, forgets it at /clear, and ends at /bye", async (t) => {
    const terminal = new Terminal(t, "--temperature", "0", "--max-tokens", "6", "--stats");
    await terminal.see(/\/help shows the commands/);
    await terminal.see(prompt);
    terminal.type("/help\r");
    await terminal.see(/\/clear .+forget/);
    await terminal.see(prompt);
    const ask = async (text: string) => {
      terminal.type(`${text}\r`);
      const [, tokens, cached] = /(\d+) tokens, (\d+) of/.exec(await terminal.see(/prefill: [^\n]+\n/)) ?? [];
      await terminal.see(prompt);
      return { tokens: Number(tokens), cached: Number(cached) };
    };
    const first = await ask("Who is the captain?");
    const second = await ask("Why?");
    assert.ok(
      second.tokens > first.tokens && second.cached >= first.tokens,
      JSON.stringify({ first, second }),
    );
    terminal.type("/clear\r");
    await terminal.see(prompt);
    assert.equal((await ask("Who is the captain?")).tokens, first.tokens);
    terminal.type("/bye\r");
    assert.equal(await terminal.end(), 0);
  });

  it("stops an answer at Ctrl-C and ends at the next", async (t) => {
    const terminal = new Terminal(t, "--raw", "--temperature", "0", "--stats");
    await terminal.see(prompt);
    terminal.type(`${endless}\r`);
    await terminal.see(/\+\r+\n[\s\S]{10}/);
    terminal.type("\x03");
    await terminal.see(/end: cancelled/);
    await terminal.see(prompt);
    terminal.type("\x03");
    assert.equal(await terminal.end(), 0);
  });

  it("leaves the oldest turns out when the context is full, and ends at Ctrl-D", async (t) => {
    const terminal = new Terminal(t, "--context", "96", "--max-tokens", "4", "--stats");
    await terminal.see(prompt);
    for (const number of [1, 2, 3]) {
      terminal.type(`Tell me of the storm and of the ship and of the men, part ${number}.\r`);
      if (number === 3) await terminal.see(/oldest messages no longer fit/);
      await terminal.see(/prefill: /);
      await terminal.see(prompt);
    }
    terminal.type("\x04");
    assert.equal(await terminal.end(), 0);
  });
});
