import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { ExpertHeat } from "./expert-heat.ts";

describe("how hot experts are", () => {
  test("is the share of the steps that used them, from the first step on", () => {
    const heat = new ExpertHeat(4);
    assert.equal(heat.share(0), 0);
    for (let step = 1; step <= 400; step++) {
      heat.used(0, step % 2 === 0 ? [0, 1] : [0]);
      heat.used(1, [2]);
      assert.ok(Math.abs(heat.share(0) - 1) < 1e-9);
    }
    assert.ok(Math.abs(heat.share(1) - 0.5) < 0.02, `${heat.share(1)}`);
    assert.equal(heat.share(3), 0);
  });

  test("halves in 32 steps without a use", () => {
    const heat = new ExpertHeat(2);
    for (let step = 0; step < 1000; step++) heat.used(0, [0]);
    for (let step = 0; step < 32; step++) heat.used(0, [1]);
    assert.ok(Math.abs(heat.share(0) - 0.5) < 1e-6, `${heat.share(0)}`);
  });

  test("the latest step goes on as long as the layers follow each other", () => {
    const heat = new ExpertHeat(4);
    heat.used(0, [0]);
    heat.used(1, [2]);
    assert.deepEqual(
      [0, 1, 2, 3].map((id) => heat.isLatest(id)),
      [true, false, true, false],
    );
    heat.used(0, [1]);
    assert.deepEqual(
      [0, 1, 2, 3].map((id) => heat.isLatest(id)),
      [false, true, false, false],
    );
  });
});
