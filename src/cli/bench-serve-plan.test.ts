import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import type { StowageError } from "../errors.ts";
import type { ServeFlags } from "./bench-serve-arguments.ts";
import { planOf } from "./bench-serve-plan.ts";

function plan(flags: Partial<ServeFlags> = {}) {
  const url = new URL("http://127.0.0.1:8321");
  return planOf({ url, endpoint: "completions", timeout: 1, warmup: 0, seed: 1, ...flags });
}

describe("planOf", () => {
  let trace: string;
  before(() => {
    trace = join(mkdtempSync(join(tmpdir(), "stowage-plan-")), "trace.csv");
    const rows = ["03.0,100,10", "04.0,200,20", "06.0,300,0", "06.0,400,40"];
    const lines = rows.map((row) => `2023-11-16 18:17:${row}`);
    writeFileSync(trace, ["TIMESTAMP,ContextTokens,GeneratedTokens", ...lines].join("\n"));
  });
  after(() => rmSync(join(trace, ".."), { recursive: true }));

  it("has a hundred requests, four at any time, unless flags say otherwise", async () => {
    const { requests, count, concurrency, durationMs, settings } = await plan();
    assert.deepEqual([count, [...requests].length, concurrency, durationMs], [100, 100, 4, undefined]);
    assert.deepEqual([...requests][7], { at: 0, inputTokens: 256, outputTokens: 64 });
    assert.deepEqual(settings, { concurrency: 4, input_tokens: "256", output_tokens: "64" });
  });

  it("goes on until the time is over when only that is given", async () => {
    const { requests, count, durationMs } = await plan({ duration: 5 });
    const [first] = requests;
    assert.deepEqual([count, durationMs, first?.inputTokens], [undefined, 5000, 256]);
  });

  it("gives requests the times of a rate, the same whenever they are gone through", async () => {
    const lengths = { least: 5, most: 50 };
    const { requests, concurrency, settings } = await plan({
      rate: 10,
      arrivals: "gamma",
      requests: 50,
      inputTokens: lengths,
    });
    const list = [...requests];
    assert.deepEqual([...requests], list);
    assert.ok(list.at(-1)!.at > 1000 && new Set(list.map(({ inputTokens }) => inputTokens)).size > 10);
    assert.deepEqual([concurrency, settings.arrivals, settings.cv], [undefined, "gamma", 2]);
    assert.notDeepEqual([...(await plan({ rate: 10, requests: 50, seed: 2 })).requests], list);
  });

  it("takes lengths from a trace, and its times where no flag gives others", async () => {
    const { requests, count, settings } = await plan({ trace, maxInput: 150, scaleRate: 2 });
    assert.deepEqual(
      [...requests].map(({ at, inputTokens, outputTokens }) => [Math.round(at), inputTokens, outputTokens]),
      [
        [0, 100, 10],
        [500, 150, 20],
        [1500, 150, 40],
      ],
    );
    const { clipped_inputs, clipped_outputs, trace_without_tokens, scale_rate } = settings;
    assert.deepEqual([count, clipped_inputs, clipped_outputs], [3, 2, undefined]);
    assert.deepEqual([trace_without_tokens, scale_rate], [1, 2]);
    const even = await plan({ trace, rate: 4, arrivals: "constant" });
    assert.deepEqual(
      [...even.requests].map(({ at }) => at),
      [0, 250, 500],
    );
    assert.equal((await plan({ trace, concurrency: 2, requests: 1 })).count, 1);
  });

  for (const [flags, refused] of [
    [{ rate: 1, concurrency: 2 }, "--rate and --concurrency together"],
    [{ cv: 3, rate: 1 }, "--cv"],
    [{ arrivals: "gamma" }, "--arrivals"],
    [{ maxInput: 5 }, "--max-input"],
    [{ trace: "x", rate: 1, scaleRate: 2 }, "--scale-rate"],
    [{ trace: "x", outputTokens: { least: 1, most: 1 } }, "--input-tokens and --output-tokens"],
  ] as const) {
    it(`refuses ${refused}`, async () => {
      await assert.rejects(plan(flags), (error: StowageError) => {
        assert.deepEqual([error.code, error.details.flags], ["load_flags", refused]);
        return true;
      });
    });
  }
});
