import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { InvalidArgumentError } from "commander";
import { parseBytes, parseMemoryAmount, parseNumber } from "./arguments.ts";

describe("parseBytes", () => {
  for (const [text, bytes] of [
    ["1", 1],
    ["2GiB", 2 ** 31],
    ["512 mib", 2 ** 29],
    ["1.5GB", 1_500_000_000],
    ["0.5KiB", 512],
  ] as const) {
    it(`reads ${text}`, () => assert.equal(parseBytes(text), bytes));
  }
  for (const text of [
    "",
    "0",
    "-1",
    "GiB",
    "2 GiB 3",
    "1e3",
    "2XiB",
    "Infinity",
    "9999999TiB",
    "1constructor",
  ]) {
    it(`refuses "${text}"`, () => assert.throws(() => parseBytes(text), InvalidArgumentError));
  }
});

describe("parseNumber", () => {
  it("reads numbers and nothing else", () => {
    assert.equal(parseNumber("0.5"), 0.5);
    for (const text of ["", " ", "x", "1x", "NaN", "Infinity"]) {
      assert.throws(() => parseNumber(text), InvalidArgumentError);
    }
  });
});

describe("parseMemoryAmount", () => {
  it("reads a share, or an amount", () => {
    assert.deepEqual(parseMemoryAmount("60%"), { share: 0.6 });
    assert.deepEqual(parseMemoryAmount(" 12.5 % "), { share: 0.125 });
    assert.deepEqual(parseMemoryAmount("2GiB"), { bytes: 2 ** 31 });
  });
  for (const text of ["0%", "101%", "%", "60 percent", ""]) {
    it(`refuses "${text}"`, () => assert.throws(() => parseMemoryAmount(text), InvalidArgumentError));
  }
});
