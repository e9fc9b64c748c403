import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  duration,
  durationOrForever,
  expertMemory,
  type Form,
  type Kind,
  machineBytes,
  memory,
  oneOf,
  onOff,
  texts,
  wholeNumber,
} from "./kinds.ts";

const keys = texts("keys", /^\S+$/);

/** Reads `raw` and expects `value`; undefined: it is refused. */
const cases: readonly [string, Kind<unknown>, Form, unknown, unknown][] = [
  ["whole number", wholeNumber(1, 9), "text", "9", 9],
  ["whole number", wholeNumber(1, 9), "text", "0", undefined],
  ["whole number", wholeNumber(1, 9), "text", "10", undefined],
  ["whole number", wholeNumber(1, 9), "text", "1.5", undefined],
  ["whole number", wholeNumber(1, 9), "text", "", undefined],
  ["whole number", wholeNumber(1, 9), "text", "0x3", undefined],
  ["whole number", wholeNumber(1, 9), "toml", 9, 9],
  ["whole number", wholeNumber(1, 9), "toml", "9", undefined],
  ["whole number", wholeNumber(1, 9), "toml", 1.5, undefined],
  ["whole number", wholeNumber(1, 9), "toml", true, undefined],
  ["choice", oneOf(["a", "b"]), "text", "a", "a"],
  ["choice", oneOf(["a", "b"]), "text", "A", undefined],
  ["switch", onOff, "text", true, true],
  ["switch", onOff, "toml", false, false],
  ["switch", onOff, "toml", "true", undefined],
  ["keys", keys, "text", "a, b", ["a", "b"]],
  ["keys", keys, "text", ["a,b"], ["a,b"]],
  ["keys", keys, "text", "a,,b", undefined],
  ["keys", keys, "toml", "a,b", ["a,b"]],
  ["keys", keys, "toml", ["a", "b"], ["a", "b"]],
  ["keys", keys, "toml", ["a", 1], undefined],
  ["keys", keys, "toml", 1, undefined],
  ["memory", memory, "text", "1GiB", 2 ** 30],
  ["memory", memory, "text", "100%", machineBytes()],
  ["memory", memory, "text", "101%", undefined],
  ["memory", memory, "toml", 4096, 4096],
  ["memory", memory, "toml", 0, undefined],
  ["memory", memory, "toml", "much", undefined],
  ["expert memory", expertMemory, "text", "50 %", "50%"],
  ["expert memory", expertMemory, "toml", "3MiB", 3 * 2 ** 20],
  ["expert memory", expertMemory, "toml", "200%", undefined],
  ["duration", duration, "text", "30", 30],
  ["duration", duration, "text", "30s", 30],
  ["duration", duration, "text", "2m", 120],
  ["duration", duration, "text", "1.5h", 5400],
  ["duration", duration, "text", "250ms", 0.25],
  ["duration", duration, "text", "1d", 86_400],
  ["duration", duration, "text", "0", 0],
  ["duration", duration, "text", "-1", undefined],
  ["duration", duration, "text", "2 weeks", undefined],
  ["duration", duration, "text", "400d", undefined],
  ["duration", duration, "toml", 2.5, 2.5],
  ["duration", duration, "toml", -1, undefined],
  ["duration", duration, "toml", Number.POSITIVE_INFINITY, undefined],
  ["duration", duration, "toml", Number.NaN, undefined],
  ["duration or forever", durationOrForever, "text", "forever", Number.POSITIVE_INFINITY],
  ["duration or forever", durationOrForever, "text", "-1", Number.POSITIVE_INFINITY],
  ["duration or forever", durationOrForever, "text", "-2", undefined],
  ["duration or forever", durationOrForever, "text", "0", 0],
  ["duration or forever", durationOrForever, "toml", -1, Number.POSITIVE_INFINITY],
  ["duration or forever", durationOrForever, "toml", "5m", 300],
];

describe("kinds of settings", () => {
  for (const [name, kind, form, raw, value] of cases) {
    const what = `${JSON.stringify(raw)} as ${form}`;
    it(`${name}: ${value === undefined ? "refuses" : "reads"} ${what}`, () =>
      assert.deepEqual(kind.read(raw, form), value));
  }
});
