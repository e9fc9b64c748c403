import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { cornerOf, labelStep, mapLayout, placeAt } from "./map-layout.ts";

describe("the layout of a map of experts", () => {
  for (const [layers, experts, width, isUpright, hasBars, cell] of [
    [6, 32, 900, true, true, 24],
    [6, 32, 300, true, false, 8],
    [48, 128, 1280, true, true, 9],
    [48, 128, 860, true, false, 6],
    // A phone: 128 columns would be too small to see.
    [48, 128, 320, false, false, 6],
    [32, 8, 320, true, false, 24],
    [2, 2, 10, true, false, 4],
  ] as const) {
    it(`of ${layers} x ${experts} in ${width} pixels`, () => {
      const layout = mapLayout(layers, experts, width);
      assert.deepEqual([layout.isUpright, layout.hasBars, layout.cell], [isUpright, hasBars, cell]);
      assert.ok(width < 100 || layout.width <= width);
      for (const place of [
        { layer: 0, expert: 0 },
        { layer: layers - 1, expert: experts - 1 },
      ]) {
        const [x, y] = cornerOf(layout, place);
        assert.ok(x + cell <= layout.width && y + cell <= layout.height);
        assert.deepEqual(placeAt(layout, x, y), place);
        assert.deepEqual(placeAt(layout, x + cell - 1, y + cell - 1), place);
      }
      assert.ok(placeAt(layout, 0, 0).layer < 0);
    });
  }

  it("has numbers as far apart as they are long", () => {
    assert.deepEqual(
      [24, 9, 4].map((cell) => labelStep(cell, 24)),
      [1, 4, 8],
    );
  });
});
