import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Progress } from "./progress.ts";

const mebi = 1024 * 1024;

/** A progress line on a terminal 100 columns wide, with a clock set by hand; `lines` are what stood there. */
function terminal(options: { total?: number; unit: "bytes" | "tokens" | "requests" }, isTTY = true) {
  const written: string[] = [];
  const clock = { ms: 0 };
  const stream = { isTTY, columns: 100, write: (text: string) => written.push(text) };
  const progress = new Progress({ label: "Reading", ...options, stream, now: () => clock.ms });
  return { progress, clock, written, lines: () => written.map((text) => text.replace("\r\x1b[2K", "")) };
}

describe("Progress", () => {
  it("shows amount, share, rate and time left", () => {
    const { progress, clock, lines } = terminal({ total: 100 * mebi, unit: "bytes" });
    clock.ms = 2000;
    progress.update(20 * mebi);
    assert.deepEqual(lines(), ["Reading  20.0 MiB of 100 MiB  20 %  10.0 MiB/s  0:08 left"]);
  });

  it("counts tokens, and leaves out what it cannot know without a total", () => {
    const { progress, clock, lines } = terminal({ unit: "tokens" });
    clock.ms = 4000;
    progress.update(50);
    assert.deepEqual(lines(), ["Reading  50 tokens  12.5 tokens/s"]);
  });

  it("counts requests", () => {
    const { progress, clock, lines } = terminal({ total: 40, unit: "requests" });
    clock.ms = 4000;
    progress.update(10);
    assert.deepEqual(lines(), ["Reading  10 requests of 40 requests  25 %  2.5 requests/s  0:12 left"]);
  });

  it("takes the rate from the last seconds, not from the start", () => {
    const { progress, clock, lines } = terminal({ total: 1000, unit: "tokens" });
    for (let second = 1; second <= 20; second++) {
      clock.ms = 1000 * second;
      progress.update(second <= 10 ? second : 10 + (second - 10) * 10);
    }
    assert.match(lines().at(-1) ?? "", / 10\.0 tokens\/s {2}1:29 left$/);
  });

  it("redraws at most ten times a second, but always shows the end", () => {
    const { progress, clock, lines } = terminal({ total: 1000, unit: "tokens" });
    for (let done = 1; done <= 1000; done++) {
      clock.ms = done;
      progress.update(done);
    }
    assert.ok(lines().length <= 12, `${lines().length} lines`);
    assert.match(lines().at(-1) ?? "", /1000 tokens of 1000 tokens {2}100 %/);
  });

  it("clears its line at the end", () => {
    const { progress, clock, written } = terminal({ unit: "tokens" });
    clock.ms = 500;
    progress.update(1);
    progress.finish();
    assert.equal(written.at(-1), "\r\x1b[2K");
  });

  it("writes nothing where there is no terminal", () => {
    const { progress, clock, written } = terminal({ total: 10, unit: "tokens" }, false);
    clock.ms = 500;
    progress.update(5);
    progress.finish();
    assert.deepEqual(written, []);
  });
});
