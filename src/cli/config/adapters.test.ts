import assert from "node:assert/strict";
import { test } from "node:test";
import { adapters, parseAdapter } from "./adapters.ts";

test("an adapter is a path, with a name before it and a scale behind it", () => {
  assert.deepEqual(parseAdapter("poet=a/b.gguf"), { name: "poet", path: "a/b.gguf" });
  assert.deepEqual(parseAdapter("poet=a/b.gguf,0.5"), { name: "poet", path: "a/b.gguf", scale: 0.5 });
  assert.deepEqual(parseAdapter("a/b.gguf,-2"), { name: "b", path: "a/b.gguf", scale: -2 });
  assert.deepEqual(parseAdapter("poet=C:/x=y.gguf"), { name: "poet", path: "C:/x=y.gguf" });
  for (const text of ["", "poet=", ",1", "a.gguf,", "a.gguf,x", "a.gguf,1,2"]) {
    assert.equal(parseAdapter(text), undefined, text);
  }
});

test("a list of the file or of flags, and a variable with commas", () => {
  const both = [
    { name: "poet", path: "a.gguf", scale: 0.5 },
    { name: "bard", path: "b.gguf" },
  ];
  assert.deepEqual(adapters.read(["poet=a.gguf,0.5", "bard=b.gguf"], "toml"), both);
  assert.deepEqual(adapters.read(["poet=a.gguf,0.5", "bard=b.gguf"], "text"), both);
  assert.deepEqual(adapters.read("poet=a.gguf,0.5, bard=b.gguf", "text"), both);
  assert.deepEqual(adapters.read("poet=a.gguf,0.5", "toml"), [both[0]]);
  assert.equal(adapters.show(both), "poet=a.gguf,0.5, bard=b.gguf");
  for (const raw of [1, true, [1], ["poet="], "poet=a.gguf,", ",", [{ path: "a.gguf" }]]) {
    assert.equal(adapters.read(raw, "toml"), undefined, JSON.stringify(raw));
  }
});
