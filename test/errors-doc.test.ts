import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { it } from "node:test";
import { errorsPage, errorsPagePath } from "../scripts/errors-doc.ts";

it("docs/errors.md is what the error catalogue says", () => {
  assert.equal(
    readFileSync(errorsPagePath, "utf8"),
    errorsPage(),
    "run `npm run docs` and commit docs/errors.md",
  );
});
