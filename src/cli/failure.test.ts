import assert from "node:assert/strict";
import { afterEach, describe, it } from "node:test";
import { CommanderError } from "commander";
import { errorCatalogue, StowageError } from "../errors.ts";
import { exitCodeOf, formatError } from "./failure.ts";

const native = () => new StowageError("native_disposed", { what: "tensor x" });

describe("exitCodeOf", () => {
  it("is 1 for a failure of ours, 2 for a bad command line, 0 for --help", () => {
    assert.equal(exitCodeOf(native()), 1);
    assert.equal(exitCodeOf(new Error("x")), 1);
    assert.equal(exitCodeOf("x"), 1);
    assert.equal(exitCodeOf(new CommanderError(1, "commander.unknownOption", "x")), 2);
    assert.equal(exitCodeOf(new CommanderError(0, "commander.helpDisplayed", "x")), 0);
  });

  it("is 2 for the errors of the catalogue that are the caller's fault", () => {
    for (const [code, { status }] of Object.entries(errorCatalogue)) {
      const expected = status >= 500 || status === 429 ? 1 : 2;
      assert.equal(exitCodeOf(new StowageError(code as keyof typeof errorCatalogue)), expected, code);
    }
  });
});

describe("formatError", () => {
  afterEach(() => {
    delete process.env.STOWAGE_DEBUG;
  });

  it("says what failed and what to try next", () => {
    const lines = formatError(native()).split("\n");
    assert.equal(lines[0], "error: tensor x was used after it was disposed.");
    assert.equal(lines[1], `next: ${errorCatalogue.native_disposed.next}`);
    assert.equal(lines.length, 3);
  });

  it("shows the stack only with STOWAGE_DEBUG=1", () => {
    assert.doesNotMatch(formatError(new Error("boom")), /failure\.test\.ts/);
    process.env.STOWAGE_DEBUG = "1";
    assert.match(formatError(new Error("boom")), /failure\.test\.ts/);
  });
});
