import assert from "node:assert/strict";
import { test } from "node:test";
import { ThreadShares } from "./thread-shares.ts";

test("engines that work share the processors, and get them back", () => {
  const told: string[] = [];
  const engine = (name: string) => ({ useThreads: (count: number) => told.push(`${name}${count}`) });
  const news = () => told.splice(0).join(" ");
  const [a, b, c] = [engine("a"), engine("b"), engine("c")];
  const shares = new ThreadShares(4);
  const first = shares.begin(a);
  assert.equal(news(), "a4");
  const second = shares.begin(a);
  assert.equal(news(), "", "nothing new to say");
  const third = shares.begin(b);
  assert.equal(news(), "a2 b2");
  const fourth = shares.begin(c);
  assert.equal(news(), "a1 b1 c1");
  first();
  assert.equal(news(), "", "a still works");
  second();
  assert.equal(news(), "b2 c2");
  third();
  assert.equal(news(), "c4");
  fourth();
  assert.equal(news(), "");
  shares.begin(a);
  assert.equal(news(), "a4", "whoever begins anew is told");
});

test("nobody gets less than one", () => {
  const shares = new ThreadShares(2);
  const told: number[] = [];
  for (let engine = 0; engine < 5; engine++) shares.begin({ useThreads: (count) => told.push(count) });
  assert.deepEqual(told.slice(-3), [1, 1, 1]);
});
