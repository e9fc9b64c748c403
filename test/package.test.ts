/** The published package: packed, installed in an empty folder, and used the way its users use it. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { outsideEnv, outsideNode } from "./outside.ts";

const root = join(import.meta.dirname, "..");
/** Where the installed package keeps its sample model. */
const samplePath = "node_modules/stowage/models/sample-moe.gguf";
const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { version: string };

/** Runs a program and returns its stdout; fails with everything it wrote if it does not succeed. */
function succeed(cwd: string, program: string, ...args: string[]): string {
  const { status, stdout, stderr, error } = spawnSync(program, args, {
    cwd,
    env: outsideEnv,
    encoding: "utf8",
  });
  assert.equal(status, 0, `${program} ${args.join(" ")}: ${error?.message ?? ""}\n${stdout}\n${stderr}`);
  return stdout;
}

describe("the published package", () => {
  let folder: string;
  let files: string[];

  before(() => {
    folder = mkdtempSync(join(tmpdir(), "stowage-package-"));
    const packed = succeed(root, "npm", "pack", "--silent", "--json", "--pack-destination", folder);
    // The build that npm runs first may write lines of its own.
    const [tarball] = JSON.parse(packed.slice(packed.indexOf("[\n"))) as [
      { filename: string; files: { path: string }[] },
    ];
    files = tarball.files.map(({ path }) => path);
    writeFileSync(join(folder, "package.json"), `{"private":true,"type":"module"}`);
    const quiet = ["--no-audit", "--no-fund", "--prefer-offline", "--ignore-scripts"];
    succeed(folder, "npm", "install", ...quiet, join(folder, tarball.filename));
  });
  after(() => rmSync(folder, { recursive: true }));

  it("holds what users need, and neither tests nor sources", () => {
    for (const path of [
      "LICENSE",
      "README.md",
      "bin/stowage",
      "bin/launch.js",
      "dist/index.d.ts",
      "dist/cli/main.js",
      "dist/server/pages/chat.html",
      "dist/server/pages/chat/main.js",
      "dist/server/pages/dashboard/dashboard.css",
      "models/sample-moe.gguf",
    ]) {
      assert.ok(files.includes(path), path);
    }
    assert.deepEqual(
      files.filter((path) => /^(src|test|scripts)\/|\.test\.|(?<!\.d)\.ts$/.test(path)),
      [],
    );
  });

  it("runs as npx stowage", () => {
    assert.equal(succeed(folder, "npx", "stowage", "--version"), `${version}\n`);
  });

  it("runs from the Node that the user has", () => {
    const command = join(folder, "node_modules/stowage/bin/stowage");
    assert.equal(succeed(folder, outsideNode, command, "--version"), `${version}\n`);
    assert.match(succeed(folder, outsideNode, command, "help", "bench"), /^Usage: stowage bench/);
  });

  it("generates text with the packed sample model", () => {
    const limits = ["--raw", "--max-tokens", "8", "--temperature", "0", "--threads", "1"];
    const stdout = succeed(folder, "npx", "stowage", "run", samplePath, "Once upon a time", ...limits);
    assert.match(stdout, /^.{10,}/);
  });

  it("can be imported", () => {
    const program = `
      import { errorCatalogue, StowageError } from "stowage";
      const error = new StowageError("native_disposed", { what: "tensor x" });
      console.log(error.code in errorCatalogue, error.message);`;
    writeFileSync(join(folder, "program.js"), program);
    assert.equal(
      succeed(folder, outsideNode, "program.js"),
      "true tensor x was used after it was disposed.\n",
    );
  });

  it("generates text for a program, on the Node that the user has", () => {
    const program = `
      import { loadModel } from "stowage";
      const model = await loadModel("${samplePath}", { contextTokens: 256, threads: 1 });
      const messages = [{ role: "user", content: "Continue this story: It was a dark night" }];
      for (const input of [{ prompt: "Once upon a time" }, { messages }]) {
        let text = "";
        for await (const part of model.generate({ ...input, maxTokens: 8, temperature: 0 })) {
          text += part.text;
          if (part.type === "finish") console.log(JSON.stringify({ text, ...part.usage }));
        }
      }
      await model.dispose();`;
    writeFileSync(join(folder, "generate.js"), program);
    const lines = succeed(folder, outsideNode, "generate.js").trim().split("\n");
    assert.equal(lines.length, 2);
    for (const line of lines) {
      const { text, completionTokens } = JSON.parse(line);
      assert.ok(text.length > 0 && completionTokens > 0 && completionTokens <= 8, line);
    }
  });

  it("holds pages that refer to nothing that is not served", () => {
    const program = `
      import { createRequire } from "node:module";
      const root = new URL("node_modules/stowage/", import.meta.url);
      const { fastify } = createRequire(new URL("package.json", root))("fastify");
      const { pageUrls, registerPages } = await import(new URL("dist/server/pages.js", root));
      const app = fastify();
      registerPages(app);
      const served = new Set(pageUrls());
      for (const url of served) {
        const { body } = await app.inject(url);
        const reference = url.startsWith("/pages/") ? /^import\\b[^;]*?"([^"]+)";/gm : / (?:src|href)="([^"#]+)"/g;
        for (const [, link] of body.matchAll(reference)) {
          const { pathname } = new URL(link, "http://host" + url);
          if (!served.has(pathname)) console.log(url, link);
        }
      }
      console.log(served.has("/pages/chat/main.js"), served.has("/pages/chat/main.ts"));`;
    writeFileSync(join(folder, "pages.js"), program);
    assert.equal(succeed(folder, outsideNode, "pages.js"), "true false\n");
  });

  it("has types that TypeScript finds", () => {
    const options = { module: "nodenext", target: "es2023", strict: true, noEmit: true, types: ["node"] };
    writeFileSync(
      join(folder, "tsconfig.json"),
      JSON.stringify({ compilerOptions: options, files: ["program.ts"] }),
    );
    mkdirSync(join(folder, "node_modules/@types"), { recursive: true });
    symlinkSync(join(root, "node_modules/@types/node"), join(folder, "node_modules/@types/node"));
    const source = (code: string) =>
      `import { StowageError } from "stowage";\nnew StowageError("${code}").status.toFixed();`;
    const check = () =>
      spawnSync(process.execPath, [join(root, "node_modules/typescript/bin/tsc")], {
        cwd: folder,
        encoding: "utf8",
      });
    writeFileSync(join(folder, "program.ts"), source("native_disposed"));
    const good = check();
    assert.equal(good.status, 0, good.stdout);
    writeFileSync(join(folder, "program.ts"), source("no_such_code"));
    assert.match(check().stdout, /program\.ts\(2,\d+\): error TS2345/);
  });
});
