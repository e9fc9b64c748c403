import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Dry, type DryBreakers, driesRepeats } from "./dry.ts";
import { resolveSampling } from "./params.ts";

const vocab = 6;

/** What each token would cost, as the definition reads: every place of the window is compared with its end. */
function penaltiesOf(
  seen: readonly number[],
  breakers: DryBreakers,
  { multiplier, base, allowed, lastN }: Record<"multiplier" | "base" | "allowed" | "lastN", number>,
): number[] {
  const window = lastN < 0 ? seen : seen.slice(Math.max(seen.length - lastN, 0));
  const costs = new Array<number>(vocab).fill(0);
  const since = sinceBreaker(window, breakers);
  if (window.length <= allowed || since < allowed) return costs;
  const longest = new Map<number, number>();
  for (let next = 1; next < window.length; next++) {
    let length = 0;
    while (length < Math.min(since, next) && window[next - 1 - length] === window.at(-1 - length)) length++;
    if (length >= allowed) longest.set(window[next]!, Math.max(longest.get(window[next]!) ?? 0, length));
  }
  for (const [token, length] of longest) {
    const breaks = breakers.get(token)?.some((rest) => rest.length === 0);
    if (!breaks) costs[token] = multiplier * base ** (length - allowed);
  }
  return costs;
}

/** Tokens after the breaker that begins last. */
function sinceBreaker(window: readonly number[], breakers: DryBreakers): number {
  for (let at = window.length - 1; at >= 0; at--) {
    const fitting = (breakers.get(window[at]!) ?? [])
      .filter((rest) => rest.every((token, index) => window[at + 1 + index] === token))
      .map((rest) => rest.length);
    if (fitting.length > 0) return window.length - 1 - at - Math.max(...fitting);
  }
  return window.length;
}

const someBreakers = fc
  .array(fc.tuple(fc.nat(vocab - 1), fc.array(fc.nat(vocab - 1), { maxLength: 2 })), { maxLength: 3 })
  .map((pairs): DryBreakers => {
    const breakers = new Map<number, number[][]>();
    for (const [token, rest] of pairs) breakers.set(token, [...(breakers.get(token) ?? []), rest]);
    return breakers;
  });

test("penalties agree with the definition, after every token", () => {
  fc.assert(
    fc.property(
      fc.array(fc.nat(vocab - 1), { maxLength: 40 }),
      someBreakers,
      fc.integer({ min: 0, max: 4 }),
      fc.constantFrom(-1, 1, 5, 20),
      fc.constantFrom(1, 1.75, 3),
      (seen, breakers, allowed, lastN, base) => {
        const params = resolveSampling({
          ...{ dryMultiplier: 0.5, dryBase: base, dryAllowedLength: allowed, dryPenaltyLastN: lastN },
        });
        const dry = new Dry(params, breakers);
        for (let n = 0; n <= seen.length; n++) {
          const logits = new Float32Array(vocab);
          dry.apply(logits);
          const costs = penaltiesOf(seen.slice(0, n), breakers, { multiplier: 0.5, base, allowed, lastN });
          assert.deepEqual(
            [...logits],
            costs.map((cost) => (cost === 0 ? 0 : Math.fround(-cost))),
          );
          if (n < seen.length) dry.accept(seen[n]!);
        }
      },
    ),
    { numRuns: 2000, seed: 5 },
  );
});

test("a repetition of any length costs no more than an F32 holds", () => {
  const dry = new Dry(resolveSampling({ dryMultiplier: 1, dryBase: 100 }), new Map());
  for (let i = 0; i < 1000; i++) dry.accept(1);
  const logits = new Float32Array(2);
  dry.apply(logits);
  assert.ok(logits[1]! < -9e37 && Number.isFinite(logits[1]!), `${logits[1]}`);
});

test("only parameters that change something do anything", () => {
  assert.equal(driesRepeats(resolveSampling()), false);
  assert.equal(driesRepeats(resolveSampling({ dryMultiplier: 1 })), true);
  assert.equal(driesRepeats(resolveSampling({ dryMultiplier: 1, dryPenaltyLastN: 0 })), false);
});
