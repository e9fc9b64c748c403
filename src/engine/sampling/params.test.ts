import assert from "node:assert/strict";
import { test } from "node:test";
import { StowageError } from "../../errors.ts";
import { resolveSampling, type SamplingParams } from "./params.ts";

function refused(params: object, field: string, value: string): void {
  assert.throws(
    () => resolveSampling(params as SamplingParams),
    (error) => {
      assert.ok(error instanceof StowageError);
      assert.equal(error.code, "sampling_param");
      assert.equal(error.status, 400);
      assert.equal(error.details.field, field);
      assert.equal(error.details.value, value);
      assert.match(error.message, /must be (a|an|well-formed) /);
      return true;
    },
  );
}

test("defaults are those of the documentation, and the seed is drawn", () => {
  const { seed, ...rest } = resolveSampling();
  assert.deepEqual(rest, {
    temperature: 0.8,
    topK: 40,
    topP: 0.95,
    minP: 0.05,
    repeatPenalty: 1,
    frequencyPenalty: 0,
    presencePenalty: 0,
    penaltyLastN: 64,
    logprobs: undefined,
    stop: [],
  });
  assert.ok(Number.isSafeInteger(seed));
  assert.notEqual(seed, resolveSampling().seed);
});

const ranges: [keyof SamplingParams, number, number, number][] = [
  ["temperature", 0, 10, 1e-6],
  ["topK", 0, 1_000_000, 1],
  ["topP", 0, 1, 1e-6],
  ["minP", 0, 1, 1e-6],
  ["repeatPenalty", 0.01, 100, 1e-6],
  ["frequencyPenalty", -2, 2, 1e-6],
  ["presencePenalty", -2, 2, 1e-6],
  ["penaltyLastN", 0, 131_072, 1],
  ["seed", Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER, 1],
  ["logprobs", 0, 20, 1],
];

for (const [field, min, max, outside] of ranges) {
  test(`${field} is taken from ${min} to ${max}, and nothing else`, () => {
    assert.equal(resolveSampling({ [field]: min })[field], min);
    assert.equal(resolveSampling({ [field]: max })[field], max);
    refused({ [field]: min - outside }, field, String(min - outside));
    refused({ [field]: max + outside }, field, String(max + outside));
    refused({ [field]: NaN }, field, "NaN");
    refused({ [field]: "1" }, field, '"1"');
    refused({ [field]: null }, field, "null");
    refused({ [field]: true }, field, "true");
    if (outside === 1) refused({ [field]: 1.5 }, field, "1.5");
  });
}

test("stop takes up to 16 strings of 1 to 256 units", () => {
  const most = Array.from({ length: 16 }, (_, i) => String.fromCharCode(97 + i).repeat(256));
  assert.deepEqual(resolveSampling({ stop: most }).stop, most);
  refused({ stop: [...most, "x"] }, "stop", '"a list of 17"');
  refused({ stop: ["ok", ""] }, "stop[1]", '""');
  refused({ stop: ["x".repeat(257)] }, "stop[0]", '"257 units long"');
  refused({ stop: ["\ud83d"] }, "stop[0]", '"\\ud83d"');
  refused({ stop: [7] }, "stop[0]", "7");
  refused({ stop: "###" }, "stop", '"###"');
});
