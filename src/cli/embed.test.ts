import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { describe, it } from "node:test";
import { samplePath, withoutSample } from "../../test/sample-model.ts";

const main = join(import.meta.dirname, "main.ts");

function embed(args: readonly string[], input = "") {
  const all = [main, "embed", samplePath, "--threads", "1", ...args];
  return spawnSync(process.execPath, all, { input, encoding: "utf8" });
}

describe("stowage embed", { skip: withoutSample }, () => {
  it("prints a line of numbers for each text", () => {
    const { status, stdout, stderr } = embed(["A cat.", "A dog.", "--dimensions", "4"]);
    assert.deepEqual([status, stderr], [0, ""]);
    const vectors = stdout
      .trim()
      .split("\n")
      .map((line) => line.split(" ").map(Number));
    assert.deepEqual(
      vectors.map(({ length }) => length),
      [4, 4],
    );
    for (const vector of vectors) assert.ok(Math.abs(Math.hypot(...vector) - 1) < 1e-6);
  });

  it("reads the lines of stdin, and prints JSON", () => {
    const { status, stdout } = embed(["--json", "--pooling", "mean"], "A cat.\r\n\nA dog.");
    assert.equal(status, 0);
    const lines = stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    assert.deepEqual(
      lines.map(({ text, embedding }) => [text, embedding.length]),
      [
        ["A cat.", 256],
        ["A dog.", 256],
      ],
    );
    const [given] = embed(["A cat.", "--pooling", "mean"]).stdout.split("\n");
    assert.equal(given, lines[0].embedding.join(" "));
  });

  for (const [args, input, message] of [
    [[], "", /There is no prompt/],
    [["a", "--pooling", "rank"], "", /Allowed choices are mean, cls, last/],
    [["a", "--dimensions", "257"], "", /257 dimensions were asked for; .* from 1 to 256/],
    [["word ".repeat(600)], "", /The text has \d+ tokens; embeddings of this model take at most 512/],
  ] as const) {
    it(`exits with 2 and says what to try on: ${args.join(" ").slice(0, 30)}`, () => {
      const { status, stdout, stderr } = embed(args, input);
      assert.deepEqual([status, stdout], [2, ""]);
      assert.match(stderr, message);
    });
  }
});
