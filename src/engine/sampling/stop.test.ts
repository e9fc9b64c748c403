import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { StopMatcher } from "./stop.ts";

/** The whole text searched at once: the lowest start wins, then the longest. */
function search(text: string, stops: readonly string[]): { before: string; stop: string | undefined } {
  for (let at = 0; at < text.length; at++) {
    const here = stops.filter((stop) => text.startsWith(stop, at));
    here.sort((a, b) => b.length - a.length);
    if (here.length > 0) return { before: text.slice(0, at), stop: here[0] };
  }
  return { before: text, stop: undefined };
}

const letters = (options: { minLength?: number; maxLength: number }) =>
  fc.string({ unit: fc.constantFrom("a", "b", "é"), ...options });
const deltas = fc.array(letters({ maxLength: 4 }), { maxLength: 12 });
const someStops = fc.array(letters({ minLength: 1, maxLength: 5 }), { maxLength: 4 });

test("emitted text and stop string agree with a search of the whole text, for every cutting", () => {
  fc.assert(
    fc.property(deltas, someStops, (deltas, stops) => {
      const matcher = new StopMatcher(stops);
      const emitted = deltas.map((delta) => matcher.push(delta).emit).join("") + matcher.flush();
      const { before, stop } = search(deltas.join(""), stops);
      assert.equal(emitted, before);
      assert.equal(matcher.stopped, stop);
    }),
    { numRuns: 20_000 },
  );
});

test("no more is held back than what some continuation needs", () => {
  fc.assert(
    fc.property(deltas, someStops, (deltas, stops) => {
      const matcher = new StopMatcher(stops);
      let text = "";
      let emitted = "";
      for (const delta of deltas) {
        text += delta;
        const { emit, stopped } = matcher.push(delta);
        emitted += emit;
        if (stopped !== undefined) return;
        const held = text.slice(emitted.length);
        assert.ok(held === "" || stops.some((stop) => stop !== held && stop.startsWith(held)), held);
      }
    }),
    { numRuns: 5000 },
  );
});

test("text goes out at once when it cannot begin a stop string", () => {
  const matcher = new StopMatcher(["\n\nUser:", "</s>"]);
  assert.deepEqual(matcher.push("Hello"), { emit: "Hello" });
  assert.deepEqual(matcher.push(" <"), { emit: " " });
  assert.deepEqual(matcher.push("b>\n"), { emit: "<b>" });
  assert.deepEqual(matcher.push("\nUs"), { emit: "" });
  assert.deepEqual(matcher.push("er: what"), { emit: "", stopped: "\n\nUser:" });
  assert.deepEqual(matcher.push("more"), { emit: "", stopped: "\n\nUser:" });
  assert.equal(matcher.flush(), "");
});

test("flush hands out what was held, once", () => {
  const matcher = new StopMatcher(["</s>"]);
  assert.deepEqual(matcher.push("a </"), { emit: "a " });
  assert.equal(matcher.flush(), "</");
  assert.equal(matcher.flush(), "");
});

test("a match waits for a longer one, and flush settles it", () => {
  const longer = new StopMatcher(["ab", "abc"]);
  assert.deepEqual(longer.push("xab"), { emit: "x" });
  assert.deepEqual(longer.push("c"), { emit: "", stopped: "abc" });

  const shorter = new StopMatcher(["ab", "abc"]);
  assert.deepEqual(shorter.push("xab"), { emit: "x" });
  assert.equal(shorter.flush(), "");
  assert.equal(shorter.stopped, "ab");

  const earlier = new StopMatcher(["bc", "abcd"]);
  assert.deepEqual(earlier.push("abc"), { emit: "" });
  assert.deepEqual(earlier.push("x"), { emit: "a", stopped: "bc" });
});
