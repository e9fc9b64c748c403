import assert from "node:assert/strict";
import { copyFileSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { openExpertModel, splitModel, tinyExperts } from "../../test/expert-models.ts";
import { samplePath, withoutSample } from "../../test/sample-model.ts";
import { GgufStore } from "../experts/gguf-store.ts";
import { classOf } from "../experts/layout.ts";
import { prepare } from "../experts/prepare.ts";
import { preparedFormat } from "../experts/prepared-file.ts";
import { PreparedStore } from "../experts/prepared-store.ts";
import { AlignedMemory } from "../ggml/aligned.ts";
import { type SyntheticModel, writeSyntheticModel } from "./synth.ts";
import { ModelWeights } from "./weights.ts";

describe("records of experts, prepared and converted on arrival", () => {
  let folder: string;
  before(() => {
    folder = mkdtempSync(join(tmpdir(), "stowage-conversion-"));
  });
  after(() => rmSync(folder, { recursive: true }));

  const shapes: Record<string, Partial<SyntheticModel>> = {
    "Q4_K with Q6_K": {},
    "Q6_K with Q4_0": { type: "Q6_K", downType: "Q4_0" },
    Q8_0: { type: "Q8_0", downType: "Q8_0" },
    "plain F16": { type: "F16", downType: "F16" },
    "matrices that are no multiple of a block of the disk": {
      type: "Q4_0",
      downType: "Q4_0",
      width: 96,
      expertWidth: 32,
      experts: 5,
    },
  };
  for (const [name, change] of Object.entries(shapes)) {
    it(`are the bytes of the resident model: ${name}`, async () => {
      const path = join(folder, "model.gguf");
      await writeSyntheticModel(path, { ...tinyExperts, ...change });
      await compare(path);
    });
  }

  it("are the bytes of the resident model: one in two files", async () => {
    const path = join(folder, "whole.gguf");
    await writeSyntheticModel(path, tinyExperts);
    await compare(await splitModel(path, folder));
  });

  it("are the bytes of the resident model: the sample", { skip: withoutSample }, async () => {
    const path = join(folder, "sample.gguf");
    copyFileSync(samplePath, path);
    await compare(path);
  });
});

/** Compares every record of both stores with the tensors that the resident model converts, padding included. */
async function compare(path: string): Promise<void> {
  const { file, weights, layout, backend, records } = await openExpertModel(path);
  const resident = new ModelWeights(file, weights, backend);
  await resident.convert(Number.POSITIVE_INFINITY);
  await prepare(file, layout, backend, { force: true });
  const stores = [
    await PreparedStore.open(await preparedFormat(file, layout, backend)),
    await GgufStore.open(file, layout, backend),
  ];
  const memory = new AlignedMemory(Math.max(...layout.classes.map(({ recordBytes }) => recordBytes)));
  for (const [layer, expert] of records) {
    const { matrices, recordBytes } = classOf(layout, layer);
    const expected = new Uint8Array(recordBytes);
    for (const { weights: names, offset, bytes } of matrices) {
      const { tensor } = resident.layers[layer]!.weight(names[0]!);
      expected.set(tensor.bytes().subarray(expert * bytes, (expert + 1) * bytes), offset);
    }
    for (const store of stores) {
      const record = memory.bytes.subarray(0, recordBytes).fill(0xaa);
      await store.read(layer, expert, record);
      assert.ok(Buffer.from(expected).equals(record), `${store.kind}: expert ${expert} of layer ${layer}`);
    }
  }
  for (const { counters } of stores) assert.equal(counters.reads, records.length);
  for (const store of stores) await store.close();
  for (const resource of [memory, resident, backend]) resource.dispose();
}
