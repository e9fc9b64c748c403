import assert from "node:assert/strict";
import { test } from "node:test";
import { hasCode } from "../../test/has-code.ts";
import { loadNative } from "./library.ts";
import { checkStructs, tensorLayout, threadpoolLayout } from "./struct.ts";
import { rowBytes, type TensorType, tensorTypeOf, tensorTypes } from "./types.ts";

const native = loadNative();

for (const [name, { id, block, bytes }] of Object.entries(tensorTypes)) {
  test(`${name} has the library's block and size`, () => {
    assert.equal(Number(native.ggml.ggml_blck_size(id)), block);
    assert.equal(Number(native.ggml.ggml_type_size(id)), bytes);
    assert.equal(tensorTypeOf(id), name);
    assert.equal(rowBytes(name as TensorType, 3 * block), 3 * bytes);
  });
}

test("a number that is no type has no name", () => {
  for (const id of [-1, 4, 5, 31, 999]) assert.equal(tensorTypeOf(id), undefined);
});

test("the structs have the fields where they are read", () => {
  checkStructs(native);
});

for (const [name, layout] of Object.entries({ tensorLayout, threadpoolLayout })) {
  for (const [field, offset] of Object.entries(layout)) {
    if (name === "threadpoolLayout" && field === "size") continue;
    test(`${name}.${field} at another offset is refused`, () => {
      const writable: Record<string, number> = layout;
      writable[field] = offset + 8;
      try {
        assert.throws(() => checkStructs(native), hasCode("native_version_mismatch"));
      } finally {
        writable[field] = offset;
      }
    });
  }
}
