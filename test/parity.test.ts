import assert from "node:assert/strict";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it, type TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import { writeSyntheticModel } from "../src/model/synth.ts";
import { boundOf, clearTokens, grouped, parityCases, typeName, writeCase } from "./parity-cases.ts";
import {
  isClear,
  measureLong,
  measureParity,
  type Parity,
  type TokenSource,
  worst,
} from "./parity-measure.ts";
import type { OwnModel } from "./parity-own.ts";
import type { PeerModel } from "./parity-peer.ts";
import { samplePath, withoutSample } from "./sample-model.ts";
import { sampleTexts } from "./texts.ts";
import { tinyShapes } from "./tiny-model.ts";

/** More layers to carry a rounding on, and experts whose weights were trained to be sharp. Worst measured 7.1e-2. */
const sampleBound = 0.1;

/** As of the case "gemma3" in F32. */
const windowBound = 4e-3;

describe("logits and greedy output equal libllama's on the same file and tokens", () => {
  let folder: string;
  before(() => {
    folder = mkdtempSync(join(tmpdir(), "stowage-parity-"));
  });
  after(() => rmSync(folder, { recursive: true }));

  for (const parityCase of parityCases) {
    for (const type of parityCase.types) {
      it(`${parityCase.name}: ${typeName(type)}`, async (t) => {
        const path = join(folder, "model.gguf");
        await writeCase(path, parityCase, type);
        const { kvTypes } = parityCase;
        const parity = await measureParity(path, clearTokens, kvTypes && { kvTypes });
        const { tie } = parityCase;
        check(t, parity, {
          bound: boundOf(parityCase, type.type),
          clearShare: tie ? 0.85 : 0.9,
          ...(tie && { tie }),
        });
      });
    }
  }
});

// The token after 512 others begins a step of keys, and its window reaches into the one before.
it("windows far into a long context: logits equal libllama's, alone and side by side", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "stowage-parity-"));
  const path = join(folder, "model.gguf");
  const shape = { ...tinyShapes.gemma3!, ...grouped, context: 1024 };
  await writeSyntheticModel(path, { ...shape, type: "F32", seed: 7 });
  const differences = await measureLong(path, { context: 1024, prompts: [512, 700, 300], decoded: 4 });
  rmSync(folder, { recursive: true });
  t.diagnostic(`largest ${Math.max(...differences).toExponential(1)}, bound ${windowBound}`);
  assert.ok(Math.max(...differences) <= windowBound, `${differences}`);
});

describe("logits and greedy output equal libllama's before weights are converted", () => {
  let folder: string;
  before(() => {
    folder = mkdtempSync(join(tmpdir(), "stowage-parity-"));
  });
  after(() => rmSync(folder, { recursive: true }));

  for (const parityCase of parityCases.filter(({ name }) => ["qwen3moe", "llama, dense"].includes(name))) {
    for (const type of ["Q4_0", "Q4_K"] as const) {
      it(`${parityCase.name}: ${type}`, async (t) => {
        const path = join(folder, "model.gguf");
        await writeCase(path, parityCase, { type });
        const parity = await measureParity(path, clearTokens, { converted: false });
        check(t, parity, { bound: boundOf(parityCase, type), clearShare: 0.9 });
      });
    }
  }
});

describe("the sample model agrees with libllama on real text", () => {
  const packed = fileURLToPath(new URL("../models/sample-moe.gguf", import.meta.url));
  const withoutPacked = existsSync(packed) ? false : "there is no models/sample-moe.gguf";
  const models = [
    ["Q8_0", samplePath, withoutSample],
    ["as it is packed", packed, withoutPacked],
  ] as const;
  for (const [name, path, skip] of models) {
    it(name, { skip }, async (t) => {
      const parity = await measureParity(path, textTokens);
      check(t, parity, { bound: sampleBound, clearShare: 0.55 });
    });
  }
});

/**
 * @param limits.clearShare of the rows, so many at least have to be no tie of the router, and so be compared
 * @param limits.tie margins below this are ties
 */
function check(
  t: TestContext,
  parity: Parity,
  limits: { bound: number; clearShare: number; tie?: number },
): void {
  const { bound, clearShare, tie } = limits;
  const { divergences, ...rows } = parity;
  const all = Object.values(rows).flat();
  const clear = all.filter((row) => isClear(row, tie)).length;
  const differences = Object.entries(rows).map(([step, compared]) => [step, worst(compared, tie)] as const);
  const shown = differences.map(([step, value]) => `${step} ${value.toExponential(1)}`);
  t.diagnostic(
    `${shown.join(", ")}, bound ${bound}; ${clear} of ${all.length} rows; ${divergences.length} of 2 greedy outputs differ`,
  );
  assert.ok(clear >= clearShare * all.length, `only ${clear} of ${all.length} rows can be compared`);
  for (const [step, value] of differences) {
    assert.ok(
      value <= bound,
      `logits at ${step} differ by ${value} of their deviation; the bound is ${bound}`,
    );
  }
  for (const { after, gap } of divergences) {
    assert.ok(gap <= bound, `greedy output differs after ${after} tokens, at a gap of ${gap} deviations`);
  }
}

/** Stretches of prose, code, mathematics and other scripts. */
async function textTokens(_: OwnModel, { model }: PeerModel): Promise<TokenSource> {
  const text = Buffer.from(sampleTexts(16).join("\n"));
  const tokens = [...model.vocabulary.tokenize(text, { addSpecial: false, parseSpecial: false })];
  return (count, seed) => {
    const from = (seed * 37) % (tokens.length - count);
    return tokens.slice(from, from + count);
  };
}
