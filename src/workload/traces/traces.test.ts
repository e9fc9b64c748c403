import assert from "node:assert/strict";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { StowageError } from "../../errors.ts";
import { type ReadOptions, readTrace } from "./read.ts";
import { shapeTrace } from "./shape.ts";

const azureHead = "TIMESTAMP,ContextTokens,GeneratedTokens";
const burstHead =
  "Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type";

let folder: string;
before(() => {
  folder = mkdtempSync(join(tmpdir(), "stowage-traces-"));
});
after(() => rmSync(folder, { recursive: true }));

function read(lines: readonly string[], options?: ReadOptions) {
  const path = join(folder, "trace");
  writeFileSync(path, lines.join("\n"));
  return readTrace(path, options);
}

describe("readTrace", () => {
  it("reads Azure's, in the order of their times", async () => {
    const trace = await read([
      `\ufeff${azureHead}\r`,
      "2023-11-16 18:17:04.0319600,3180,8\r",
      "2023-11-16 18:17:03.9799600,4808,10\r",
      "",
      "2024-05-10 00:00:00.5+00:00,1,2\r",
    ]);
    const [first, second, third] = trace.requests;
    assert.equal(trace.format, "azure");
    assert.deepEqual(first, { at: 0, inputTokens: 4808, outputTokens: 10 });
    assert.ok(Math.abs(second!.at - 52) < 1e-3, String(second!.at));
    assert.equal(third!.inputTokens, 1);
  });

  it("reads BurstGPT's, without those that failed", async () => {
    const trace = await read([
      burstHead,
      "5,7,1.5,ChatGPT,472,18,490,Conversation log",
      "45.25,8,2,GPT-4,1087.0,230.0,1317,API log",
      "118,9,0,GPT-4,417,0,417,API log",
    ]);
    assert.deepEqual([trace.format, trace.dropped], ["burstgpt", 1]);
    assert.deepEqual(trace.requests, [
      { at: 0, inputTokens: 472, outputTokens: 18 },
      { at: 40250, inputTokens: 1087, outputTokens: 230 },
    ]);
    const older = ["Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type", "1,a,2,3,5,b"];
    assert.equal((await read(older)).requests[0]!.inputTokens, 2);
  });

  it("reads Mooncake's, with the blocks of their inputs", async () => {
    const line = '{"timestamp": 27, "input_length": 513, "output_length": 5, "hash_ids": [0, 14]}';
    assert.deepEqual(await read([line, ""]), {
      format: "mooncake",
      requests: [{ at: 0, inputTokens: 513, outputTokens: 5, blocks: [0, 14] }],
      dropped: 0,
    });
  });

  it("reads no further than it was asked to", async () => {
    const { requests } = await read([burstHead, "1,1,1,m,2,3,5,x", "2,1,1,m,2,3,5,x", "broken"], {
      limit: 2,
    });
    assert.equal(requests.length, 2);
  });

  const day = "2023-11-16 18:17:03";
  const mooncakeOf = (fields: object) =>
    JSON.stringify({ timestamp: 0, input_length: 5, output_length: 5, hash_ids: [0], ...fields });
  for (const [lines, line, field, value] of [
    [[azureHead, `${day},1,2`, `${day},-1,2`], 3, "ContextTokens", '"-1"'],
    [[azureHead, `${day},1,2.5`], 2, "GeneratedTokens", '"2.5"'],
    [[azureHead, "2023-13-99 18:17:03,1,2"], 2, "TIMESTAMP", '"2023-13-99 18:17:03"'],
    [[azureHead, `${day},1`], 2, "the number of columns", "2"],
    [["when,ContextTokens,GeneratedTokens", `${day},1,2`], 1, "the column", '"TIMESTAMP"'],
    [[burstHead, "soon,1,1,m,2,3,5,x"], 2, "Timestamp", '"soon"'],
    [[burstHead, "1,1,1,m,,3,5,x"], 2, "Request tokens", '""'],
    [[burstHead, "1,1,1,m,3,1e3,5,x"], 2, "Response tokens", '"1e3"'],
    [[burstHead, "", "1,1,1,m,2"], 3, "the number of columns", "5"],
    [[mooncakeOf({}), '{"timestamp": 0'], 2, "the line", '"{\\"timestamp\\": 0"'],
    [[mooncakeOf({}), "[]"], 2, "the line", '"[]"'],
    [[mooncakeOf({ timestamp: "1" })], 1, "timestamp", '"1"'],
    [[mooncakeOf({ input_length: 1.5 })], 1, "input_length", "1.5"],
    [[mooncakeOf({ output_length: undefined })], 1, "output_length", "missing"],
    [[mooncakeOf({ hash_ids: [0, -1] })], 1, "hash_ids", "[0,-1]"],
    [[mooncakeOf({ hash_ids: [0, 1] })], 1, "the number of hash_ids", "2"],
  ] as const) {
    it(`names line, field and value: ${field} ${value}`, async () => {
      await assert.rejects(read(lines), (error: unknown) => {
        assert.ok(error instanceof StowageError);
        const { line: foundLine, field: foundField, value: foundValue } = error.details;
        assert.equal(error.code, "trace_invalid");
        assert.deepEqual([foundLine, foundField, foundValue], [line, field, value]);
        return true;
      });
    });
  }

  it("refuses unknown formats, empty files and files that are not there", async () => {
    await assert.rejects(read(["a,b,c"]), { code: "trace_unknown" });
    await assert.rejects(read(["a,b,c"], { format: "azure" }), { code: "trace_invalid" });
    await assert.rejects(read([""]), { code: "trace_empty" });
    await assert.rejects(read([azureHead, `${day},5,0`]), { code: "trace_empty" });
    await assert.rejects(readTrace(join(folder, "gone")), { code: "trace_unreadable" });
    await assert.rejects(readTrace(folder), { code: "trace_unreadable" });
  });
});

describe("shapeTrace", () => {
  const requests = [
    { at: 0, inputTokens: 1024, outputTokens: 10, blocks: [0, 1] },
    { at: 1000, inputTokens: 3, outputTokens: 100 },
  ];

  it("scales times and lengths, and shared blocks with them", () => {
    assert.deepEqual(shapeTrace(requests, { scaleRate: 4, scaleLength: 0.125 }), {
      requests: [
        { at: 0, inputTokens: 128, outputTokens: 1, blocks: [0, 1], blockTokens: 64 },
        { at: 250, inputTokens: 1, outputTokens: 13 },
      ],
      clippedInputs: 0,
      clippedOutputs: 0,
    });
  });

  it("cuts what is too long and counts it", () => {
    const shaped = shapeTrace(requests, { maxInput: 1000, maxOutput: 10 });
    const lengths = shaped.requests.map(({ inputTokens, outputTokens }) => [inputTokens, outputTokens]);
    assert.deepEqual(lengths, [
      [1000, 10],
      [3, 10],
    ]);
    assert.deepEqual([shaped.clippedInputs, shaped.clippedOutputs], [1, 1]);
  });
});

describe("published traces", () => {
  const shared =
    process.env.STOWAGE_TRACES ?? fileURLToPath(new URL("../../../../shared/data", import.meta.url));
  for (const [file, count] of [
    ["azure-code-2023.csv", 8819],
    ["mooncake-conversation.jsonl", 12031],
  ] as const) {
    const path = join(shared, file);
    const skip = existsSync(path)
      ? false
      : `there is no ${file} in ${shared}; STOWAGE_TRACES names another folder`;
    it(`reads every request of ${file}`, { skip }, async () => {
      const { requests, dropped } = await readTrace(path);
      assert.equal(requests.length + dropped, count);
    });
  }
});
