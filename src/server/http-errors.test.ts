import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type ErrorCode, errorCatalogue, StowageError } from "../errors.ts";
import { httpErrorOf } from "./http-errors.ts";
import { errorSchema } from "./schemas/common.ts";

describe("an error as clients get it", () => {
  it("has one form, whatever the error", () => {
    for (const code of Object.keys(errorCatalogue) as ErrorCode[]) {
      const { status, body } = httpErrorOf(new StowageError(code));
      assert.equal(status, errorCatalogue[code].status);
      assert.equal(body.error.code, code);
      assert.equal(errorSchema.safeParse(body).success, true);
      assert.equal(body.error.type === "server_error", status >= 500);
    }
  });

  it("names the field, but not the body itself", () => {
    const paramOf = (field: string) =>
      httpErrorOf(new StowageError("request_invalid", { field })).body.error.param;
    assert.equal(paramOf("messages[0].role"), "messages[0].role");
    assert.equal(paramOf("body"), null);
    assert.equal(httpErrorOf(new StowageError("request_empty")).body.error.param, null);
  });

  it("says when to come back, and how to ask", () => {
    assert.deepEqual(httpErrorOf(new StowageError("queue_full", { retryAfter: 7 })).headers, {
      "retry-after": "7",
    });
    assert.deepEqual(httpErrorOf(new StowageError("key_missing")).headers, { "www-authenticate": "Bearer" });
    assert.deepEqual(httpErrorOf(new StowageError("request_empty")).headers, {});
  });

  for (const [code, type] of [
    ["request_invalid", "invalid_request_error"],
    ["key_missing", "authentication_error"],
    ["origin_refused", "permission_error"],
    ["model_not_found", "not_found_error"],
    ["queue_full", "server_error"],
  ] as const) {
    it(`has the type ${type} for ${code}`, () => {
      assert.equal(httpErrorOf(new StowageError(code)).body.error.type, type);
    });
  }

  it("keeps what is not of the catalogue to itself", () => {
    for (const thrown of [
      new Error("secret"),
      new TypeError("secret"),
      "secret",
      undefined,
      null,
      { secret: 1 },
    ]) {
      const { status, body } = httpErrorOf(thrown);
      assert.equal(status, 500);
      assert.equal(body.error.code, "engine_fault");
      assert.doesNotMatch(JSON.stringify(body), /secret/);
    }
  });
});
