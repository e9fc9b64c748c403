import assert from "node:assert/strict";
import { it } from "node:test";
import fc from "fast-check";
import { greatestShares, groupByExpert } from "./expert-groups.ts";

/** A ranking of all experts for each of some tokens, and how many of them are used. */
const routings = fc
  .record({ experts: fc.integer({ min: 1, max: 12 }), tokens: fc.integer({ min: 1, max: 40 }) })
  .chain(({ experts, tokens }) => {
    const all = Array.from({ length: experts }, (_, expert) => expert);
    const ranking = fc.shuffledSubarray(all, { minLength: experts, maxLength: experts });
    return fc.record({
      experts: fc.constant(experts),
      expertsUsed: fc.integer({ min: 1, max: experts }),
      rankings: fc.array(ranking, { minLength: tokens, maxLength: tokens }),
    });
  });

it("pairs of token and rank are grouped by expert, in the order of tokens, and found again", () => {
  fc.assert(
    fc.property(routings, ({ experts, expertsUsed, rankings }) => {
      const tokens = rankings.length;
      const groups = groupByExpert(Int32Array.from(rankings.flat()), tokens, experts, expertsUsed);

      const naive = Array.from({ length: experts }, (_, expert) =>
        rankings.flatMap((ranking, token) =>
          ranking.slice(0, expertsUsed).includes(expert) ? [{ token, rank: ranking.indexOf(expert) }] : [],
        ),
      );
      const starts = naive.map((_, expert) => naive.slice(0, expert).flat().length);
      assert.deepEqual([...groups.starts], [...starts, tokens * expertsUsed]);
      assert.deepEqual(
        [...groups.tokensByExpert],
        naive.flat().map(({ token }) => token),
      );
      const places = new Array(tokens * expertsUsed);
      for (const [place, { token, rank }] of naive.flat().entries())
        places[token * expertsUsed + rank] = place;
      assert.deepEqual([...groups.places], places);
    }),
  );
});

it("experts that no token chose have no pairs; one expert can have all", () => {
  const ranking = Int32Array.from([2, 0, 1, 2, 1, 0]);
  const { starts, tokensByExpert, places } = groupByExpert(ranking, 2, 3, 1);
  assert.deepEqual([...starts], [0, 0, 0, 2]);
  assert.deepEqual([...tokensByExpert], [0, 1]);
  assert.deepEqual([...places], [0, 1]);
});

it("takes the greatest share that a token gives an expert, of weights of any sum", () => {
  const ranking = Int32Array.of(2, 0, 1, 3, 0, 3, 2, 1);
  const weights = Float32Array.of(3, 1, 0.25, 0.25);
  const shares = greatestShares(ranking, weights, { tokens: 2, experts: 4, used: 2 });
  assert.deepEqual([...shares], [0.5, 0, 0.75, 0.5]);
});

it("counts an expert as all of its token where no weight says otherwise", () => {
  const shares = greatestShares(Int32Array.of(1, 0), new Float32Array(1), { tokens: 1, experts: 2, used: 1 });
  assert.deepEqual([...shares], [0, 1]);
});
