import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { StowageError } from "../errors.ts";
import { canQuantize, dequantizeRows, quantizeRows } from "./quantize.ts";
import { rowBytes, type TensorType, tensorTypes } from "./types.ts";

const hasCode = (code: string) => (error: unknown) => error instanceof StowageError && error.code === code;

/** Waves of all sizes: no two values of a block are alike. */
const values = Float32Array.from(
  { length: 8 * 256 },
  (_, index) => Math.sin(index * 1.7) * (1 + (index % 13)),
);

async function roundTrip(type: TensorType): Promise<Float32Array> {
  const packed = new Uint8Array(rowBytes(type, values.length));
  await quantizeRows(type, values, 256, packed);
  const back = new Float32Array(values.length);
  await dequantizeRows(type, packed, back);
  return back;
}

describe("quantizeRows and dequantizeRows", () => {
  // Root mean square of the error over that of the values; about half of it for each bit more.
  const bounds: [TensorType, number, number][] = [
    ["F32", 0, 0],
    ["F16", 1e-5, 5e-4],
    ["BF16", 1e-4, 4e-3],
    ["Q8_0", 1e-3, 8e-3],
    ["Q6_K", 5e-3, 0.03],
    ["Q5_K", 0.01, 0.05],
    ["Q4_K", 0.03, 0.1],
    ["Q4_0", 0.03, 0.12],
    ["IQ4_NL", 0.03, 0.12],
    ["Q2_K", 0.1, 0.5],
  ];
  for (const [type, low, high] of bounds) {
    it(`${type}: the error is that of its bits`, async () => {
      const back = await roundTrip(type);
      const square = (sum: number, value: number) => sum + value * value;
      const error = back.map((value, index) => value - values[index]!).reduce(square, 0);
      const relative = Math.sqrt(error / values.reduce(square, 0));
      assert.ok(relative >= low && relative <= high, `${type}: ${relative}`);
    });
  }

  it("knows which types it can make", () => {
    const names = Object.keys(tensorTypes) as TensorType[];
    const cannot = names.filter((type) => !canQuantize(type));
    assert.deepEqual(cannot, ["IQ2_XXS", "IQ2_XS", "IQ1_S", "I8", "I16", "I32", "I64", "F64"]);
  });

  it("several run at once, and the event loop turns", async () => {
    let turns = 0;
    const timer = setInterval(() => turns++, 1);
    const large = new Float32Array(1 << 21).map((_, index) => Math.sin(index));
    const packed = [0, 1, 2].map(() => new Uint8Array(rowBytes("Q4_K", large.length)));
    await Promise.all(packed.map((target) => quantizeRows("Q4_K", large, 1024, target)));
    clearInterval(timer);
    assert.ok(turns > 2, `${turns} turns`);
    assert.deepEqual(packed[1], packed[0]);
    assert.deepEqual(packed[2], packed[0]);
  });

  it("refuses what ggml would end the process for", async () => {
    const room = (bytes: number) => new Uint8Array(bytes);
    await assert.rejects(quantizeRows("I32", values, 256, room(8192)), hasCode("quantize_type"));
    await assert.rejects(quantizeRows("Q4_K", values, 128, room(1152)), hasCode("quantize_row"));
    await assert.rejects(quantizeRows("Q4_K", values, 256, room(1151)), hasCode("quantize_row"));
    await assert.rejects(dequantizeRows("Q4_0", room(17), new Float32Array(32)), hasCode("quantize_row"));
    await assert.rejects(dequantizeRows("F64", room(256), new Float32Array(32)), hasCode("quantize_type"));
  });
});
