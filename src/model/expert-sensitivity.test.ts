import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { openExpertModel, tinyExperts } from "../../test/expert-models.ts";
import { hasCode } from "../../test/has-code.ts";
import { openGguf } from "../gguf/read.ts";
import { measureSensitivity } from "./expert-sensitivity.ts";
import type { Importance } from "./importance.ts";
import { Random } from "./random.ts";
import { writeSyntheticModel } from "./synth.ts";

const experts = 4;
const layers = 3;
const width = 256;
const names = ["ffn_gate_exps.weight", "ffn_up_exps.weight", "ffn_down_exps.weight"];
let folder: string;
const at = (name: string) => join(folder, `${name}.gguf`);

before(async () => {
  folder = mkdtempSync(join(tmpdir(), "stowage-sensitivity-"));
  for (const [name, seed] of [
    ["model", 7],
    ["other", 8],
  ] as const) {
    await writeSyntheticModel(at(name), { ...tinyExperts, type: "F32", downType: "F32", seed });
  }
});
after(() => rmSync(folder, { recursive: true, force: true }));

/** Sums of squares of made-up activations; expert 2 of layer 1 was never used. */
function importance(): Importance {
  const random = new Random(5);
  const entries = new Map(
    Array.from({ length: layers }, (_, layer) =>
      names.map((name) => {
        const sums = Float32Array.from({ length: width * experts }, () => random.below(100) / 10);
        if (layer === 1) sums.fill(0, 2 * width, 3 * width);
        return [`blk.${layer}.${name}`, { sums, counts: new Float32Array(experts).fill(1) }] as const;
      }),
    ).flat(),
  );
  return { entries, datasets: [], chunks: 1, chunkTokens: 1 };
}

test("is the change of every product, column by column, as a share of what the expert gives", async () => {
  const { file, layout, backend } = await openExpertModel(at("model"));
  try {
    const other = await openGguf(at("other"));
    const known = importance();
    const found = await measureSensitivity(file, other, layout, known);
    const bytes = { model: readFileSync(at("model")), other: readFileSync(at("other")) };
    for (let layer = 0; layer < layers; layer++) {
      for (let expert = 0; expert < experts; expert++) {
        let [shares, output] = [0, 0];
        for (const weight of names) {
          const name = `blk.${layer}.${weight}`;
          let [squares, changes] = [0, 0];
          for (let row = 0; row < width; row++) {
            for (let column = 0; column < width; column++) {
              const place = 4 * (column + width * (row + width * expert));
              const value = bytes.model.readFloatLE(file.tensors.get(name)!.offset + place);
              const change = value - bytes.other.readFloatLE(other.tensors.get(name)!.offset + place);
              const square = known.entries.get(name)!.sums[expert * width + column]!;
              squares += square * value ** 2;
              changes += square * change ** 2;
            }
          }
          shares += squares > 0 ? changes / squares : 0;
          output = squares;
        }
        const expected = shares * output;
        assert.ok(Math.abs(found[layer]![expert]! - expected) <= 1e-6 * expected, `${layer}, ${expert}`);
      }
    }
    assert.equal(found[1]![2], 0, "an expert that is never used");
  } finally {
    backend.dispose();
  }
});

test("copies that are no different cost nothing; an importance matrix of another model is refused", async () => {
  const { file, layout, backend } = await openExpertModel(at("model"));
  try {
    const none = Array.from({ length: layers }, () => Array<number>(experts).fill(0));
    assert.deepEqual(await measureSensitivity(file, file, layout, importance()), none);
    const without = { ...importance(), entries: new Map() };
    await assert.rejects(measureSensitivity(file, file, layout, without), hasCode("sensitivity_imatrix"));
  } finally {
    backend.dispose();
  }
});
