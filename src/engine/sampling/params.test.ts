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
    typicalP: 1,
    topNSigma: -1,
    xtcProbability: 0,
    xtcThreshold: 0.1,
    dryMultiplier: 0,
    dryBase: 1.75,
    dryAllowedLength: 2,
    dryPenaltyLastN: -1,
    drySequenceBreakers: ["\n", ":", '"', "*"],
    mirostat: 0,
    mirostatTau: 5,
    mirostatEta: 0.1,
    logitBias: {},
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
  ["typicalP", 0, 1, 1e-6],
  ["topNSigma", -1, 100, 1e-6],
  ["xtcProbability", 0, 1, 1e-6],
  ["xtcThreshold", 0, 1, 1e-6],
  ["dryMultiplier", 0, 100, 1e-6],
  ["dryBase", 1, 100, 1e-6],
  ["dryAllowedLength", 0, 131_072, 1],
  ["dryPenaltyLastN", -1, 131_072, 1],
  ["mirostat", 0, 2, 1],
  ["mirostatTau", 0, 100, 1e-6],
  ["mirostatEta", 0, 1, 1e-6],
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

test("drySequenceBreakers takes up to 16 strings of 1 to 40 units", () => {
  refused({ drySequenceBreakers: [""] }, "drySequenceBreakers[0]", '""');
  refused(
    { drySequenceBreakers: ["x".repeat(41)] },
    "drySequenceBreakers[0]",
    JSON.stringify("x".repeat(41)),
  );
  refused({ drySequenceBreakers: Array(17).fill("x") }, "drySequenceBreakers", '"a list of 17"');
  assert.deepEqual(resolveSampling({ drySequenceBreakers: [] }).drySequenceBreakers, []);
});

test("logitBias takes numbers from -100 to 100 by token id", () => {
  assert.deepEqual(resolveSampling({ logitBias: { 7: -100, 0: 0.5 } }).logitBias, { 7: -100, 0: 0.5 });
  refused({ logitBias: { 7: 101 } }, "logitBias.7", "101");
  refused({ logitBias: { 7: "1" } }, "logitBias.7", '"1"');
  refused({ logitBias: { 7: Number.NaN } }, "logitBias.7", "NaN");
  refused({ logitBias: { hello: 1 } }, "logitBias", '"for hello"');
  refused({ logitBias: { "-1": 1 } }, "logitBias", '"for -1"');
  refused({ logitBias: { "1e3": 1 } }, "logitBias", '"for 1e3"');
  refused({ logitBias: [] }, "logitBias", "[]");
  refused({ logitBias: null }, "logitBias", "null");
  const many = Object.fromEntries(Array.from({ length: 1025 }, (_, token) => [token, 1]));
  refused({ logitBias: many }, "logitBias", '"an object of 1025"');
});
