import assert from "node:assert/strict";
import { it } from "node:test";
import { samplePath, withoutSample } from "../../test/sample-model.ts";
import { allRecordBytes, allRecords, classOf, recordAlignment } from "../experts/layout.ts";
import { Backend } from "../ggml/backend.ts";
import { loadNative } from "../ggml/library.ts";
import { openGguf } from "../gguf/read.ts";
import { planExpertRecords } from "./expert-records.ts";
import { familyOf } from "./families.ts";
import { planWeights } from "./layout.ts";

it("holds every byte of every expert in aligned records", { skip: withoutSample }, async () => {
  const file = await openGguf(samplePath);
  const backend = new Backend(loadNative(), { threads: 1 });
  const layout = planExpertRecords(planWeights(file, familyOf("qwen3moe"), backend))!;
  backend.dispose();
  assert.deepEqual([layout.layers, layout.experts], [6, 32]);
  const inFile = [...file.tensors.values()]
    .filter(({ name }) => /_exps\.weight$/.test(name))
    .reduce((total, { bytes }) => total + bytes, 0);
  const inRecords = allRecords(layout).reduce(
    (total, [layer]) => total + classOf(layout, layer).matrices.reduce((sum, { bytes }) => sum + bytes, 0),
    0,
  );
  assert.equal(inRecords, inFile);
  assert.ok(allRecordBytes(layout) >= inFile);
  for (const { matrices, recordBytes } of layout.classes) {
    assert.equal(recordBytes % recordAlignment, 0);
    assert.deepEqual(matrices.flatMap(({ weights }) => weights).sort(), [
      "ffn_down_exps.weight",
      "ffn_gate_exps.weight",
      "ffn_up_exps.weight",
    ]);
  }
});
