import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { MoeInfinity } from "./moe-infinity.ts";
import type { PolicyShape } from "./policy.ts";

describe("moe-infinity", () => {
  const shape: PolicyShape = { layers: 3, experts: 4, used: 1, slots: 6 };
  /** Runs a token of which every layer uses the same expert. @returns what was wanted when it began, and after each layer */
  function run(policy: MoeInfinity, request: number, position: number, expert: number) {
    const seen = { request, token: 1, position };
    const wanted = [policy.began([seen], { tick: 0, layer: -1 })];
    for (let layer = 0; layer < shape.layers; layer++) {
      policy.used(layer * shape.experts + expert);
      const tokens = [{ ...seen, chosen: [expert] }];
      wanted.push(policy.routed({ layer, decoding: true, tokens }, { tick: 0, layer }));
    }
    return wanted;
  }

  function request(policy: MoeInfinity, request: number, experts: readonly number[]): void {
    for (const [position, expert] of experts.entries()) run(policy, request, position, expert);
  }

  it("reads ahead what the request most like this one activated, by share and distance", () => {
    const policy = new MoeInfinity(shape);
    // One request uses expert 0 three times in four and 1 else; another expert 2 alone.
    request(policy, 1, [0, 0, 0, 1]);
    request(policy, 2, [2, 2, 2, 2]);
    assert.deepEqual(run(policy, 3, 0, 0)[0], [], "nothing is like a request that has done nothing");
    // Weights of the layers from before the first: 3/4, 2/4, 1/4; of shares 3/4 and 1/4.
    assert.deepEqual(run(policy, 3, 1, 0), [[0, 4, 1, 8, 5, 9], [4, 8, 5, 9], [8, 9], []]);
  });

  it("keeps what is probable, used often, and of a first layer", () => {
    const policy = new MoeInfinity(shape);
    request(policy, 1, [0, 0, 0, 1]);
    run(policy, 2, 0, 0);
    run(policy, 2, 1, 0);
    const near = (expert: number, worth: number) =>
      assert.ok(Math.abs(policy.worth(expert) - worth) < 1e-4, `${policy.worth(expert)} of ${worth}`);
    // Decay 1, 3/4, 2/4; share 3/4 or 1/4; used five times or once.
    near(0, 3.75);
    near(1, 0.25);
    near(4, 2.8125);
    near(8, 1.875);
  });

  it("takes a position that does not rise for another request, and goes on to know the first", () => {
    const policy = new MoeInfinity(shape);
    run(policy, 1, 0, 3);
    run(policy, 1, 1, 3);
    run(policy, 1, 0, 3);
    assert.deepEqual(run(policy, 1, 1, 3)[0], [3, 7, 11]);
  });

  it("keeps no more than so many requests", () => {
    const policy = new MoeInfinity({ ...shape, experts: 256 });
    const before = process.memoryUsage().arrayBuffers;
    for (let request = 0; request < 2000; request++) run(policy, request, request % 3, request % 256);
    const taken = process.memoryUsage().arrayBuffers - before;
    assert.ok(taken < 40e6, `${taken} bytes`);
  });
});
