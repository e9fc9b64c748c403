import assert from "node:assert/strict";
import { it } from "node:test";
import fc from "fast-check";
import { groupByExpert } from "./expert-groups.ts";

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
