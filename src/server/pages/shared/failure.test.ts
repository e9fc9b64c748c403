import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { ApiError, failureFrom, failureIn, failureOf } from "./failure.ts";
import { formatAge, formatBytes, formatMs, formatRate } from "./format.ts";

describe("failures", () => {
  it("are read from the API's errors", async () => {
    const error = { message: "No.", type: "server_error", param: null, code: "busy", next: "Wait." };
    const response = Response.json({ error }, { status: 503, headers: { "retry-after": "3" } });
    assert.deepEqual(await failureOf(response), {
      message: "No.",
      code: "busy",
      next: "Wait.",
      status: 503,
      retryAfter: 3,
    });
  });

  it("are named where the answer says nothing", async () => {
    const response = new Response("<html>", { status: 502, statusText: "Bad Gateway" });
    assert.deepEqual(await failureOf(response), {
      message: "The server answered 502 Bad Gateway",
      status: 502,
    });
    for (const body of [undefined, null, 7, {}, { error: 7 }, { error: { message: 7 } }]) {
      assert.deepEqual(failureFrom(body, "So."), { message: "So." });
    }
    assert.deepEqual(failureFrom({ error: "As text" }, "So."), { message: "As text" });
  });

  it("are found behind what was thrown", () => {
    assert.deepEqual(failureIn(new ApiError({ message: "No." })), { message: "No." });
    assert.match(failureIn(new TypeError("Failed to fetch")).message, /cannot be reached/);
    assert.deepEqual(failureIn(new Error("Other")), { message: "Other" });
  });
});

describe("numbers for people", () => {
  it("are short", () => {
    assert.deepEqual([0, 1023, 25_165_824, 2 ** 40].map(formatBytes), [
      "0 B",
      "1023 B",
      "24.0 MiB",
      "1.0 TiB",
    ]);
    assert.deepEqual([0, 0.123, 45.67, 1234.5].map(formatRate), ["0", "0.12", "45.7", "1,235"]);
    assert.deepEqual([0, 0.5, 95, 1500, 90_000].map(formatMs), [
      "0 ms",
      "0.5 ms",
      "95 ms",
      "1.50 s",
      "1 min 30 s",
    ]);
    assert.deepEqual([-5, 59_999, 3_600_000, 90_000_000].map(formatAge), [
      "0 s",
      "59 s",
      "1 h 0 min",
      "1 d 1 h",
    ]);
  });
});
