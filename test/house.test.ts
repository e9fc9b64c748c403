import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { describe, it } from "node:test";
import { checkHouse } from "../scripts/house.ts";

/** The faults found in a tree with these files. */
function faults(files: Record<string, string>): string[] {
  const root = mkdtempSync(join(tmpdir(), "stowage-house-"));
  try {
    for (const [path, source] of Object.entries(files)) {
      mkdirSync(dirname(join(root, path)), { recursive: true });
      writeFileSync(join(root, path), source);
    }
    return checkHouse(root);
  } finally {
    rmSync(root, { recursive: true });
  }
}

describe("the folder order", () => {
  it("holds in this checkout", () => {
    assert.deepEqual(checkHouse(join(import.meta.dirname, "..")), []);
  });

  it("lets arrows go down, to the own folder and to the error catalogue", () => {
    const found = faults({
      "src/cli/run.ts": `import { x } from "../engine/step.ts";\nimport "./progress.ts";\nimport "../errors.ts";`,
      "src/engine/step.ts": `import type { T } from "../ggml/types.ts";\nimport { p } from "../scheduler/plan.ts";`,
      "src/ggml/library.ts": `import koffi from "koffi";`,
      "src/index.ts": `export { step } from "./engine/step.ts";\nexport * from "./errors.ts";`,
      "src/ggml/library.test.ts": `import { x } from "../../test/helper.ts";`,
      "src/ggml/comment.ts": `// import "../cli/run.ts"\n/* import "../cli/run.ts" */\nexport const x = 1;`,
    });
    assert.deepEqual(found, []);
  });

  for (const [what, source] of Object.entries({
    "a static import": `import { a } from "../cli/run.ts";`,
    "an import over several lines": `import {\n  a,\n  b,\n} from "../cli/run.ts";`,
    "a type import": `import type { A } from "../cli/run.ts";`,
    "a side effect": `import "../cli/run.ts";`,
    "a re-export": `export * from "../cli/run.ts";`,
    "a dynamic import": `const run = await import("../cli/run.ts");`,
  })) {
    it(`catches ${what} that goes up`, () => {
      assert.deepEqual(faults({ "src/ggml/bad.ts": source }), [
        "src/ggml/bad.ts imports src/cli/run.ts: src/cli is above it",
      ]);
    });
  }

  for (const [file, source, reason] of [
    ["src/engine/a.ts", `import koffi from "koffi";`, "only src/ggml may"],
    ["src/engine/a.ts", `import { x } from "../../scripts/x.ts";`, "outside src"],
    ["src/engine/a.ts", `import { x } from "../../test/x.ts";`, "outside src"],
    ["src/engine/a.ts", `import { x } from "../index.ts";`, "users of the library"],
    ["src/engine/a.ts", `import { x } from "../misc/x.ts";`, "no place"],
    ["src/misc/a.ts", `import { x } from "../engine/x.ts";`, "no place"],
    ["src/index.ts", `export { x } from "./server/x.ts";`, "above it"],
    ["src/errors.ts", `import { x } from "./gguf/x.ts";`, "imports nothing"],
    ["src/kv/a.test.ts", `import { x } from "../engine/x.ts";`, "above it"],
  ] as const) {
    it(`catches ${source} in ${file}`, () => {
      const found = faults({ [file]: source });
      assert.equal(found.length, 1);
      assert.match(found[0] ?? "", new RegExp(reason));
    });
  }

  it("catches a circle among folders of one line, but lets a test close one", () => {
    const down = {
      "src/model/a.ts": `import "../experts/b.ts";`,
      "src/experts/b.ts": `import "../kv/c.ts";`,
    };
    assert.equal(faults({ ...down, "src/kv/c.ts": `import "../model/a.ts";` }).length, 3);
    assert.deepEqual(faults({ ...down, "src/kv/c.test.ts": `import "../model/a.ts";` }), []);
  });
});
