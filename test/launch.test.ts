import assert from "node:assert/strict";
import { type SpawnOptions, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { pathToFileURL } from "node:url";
import { outsideEnv, outsideNode, outsideNodeIsOld } from "./outside.ts";

const root = join(import.meta.dirname, "..");
const launcher = pathToFileURL(join(root, "bin/launch.js")).href;

describe("the launcher", () => {
  let folder: string;
  before(() => {
    folder = mkdtempSync(join(tmpdir(), "stowage-launch-"));
  });
  after(() => rmSync(folder, { recursive: true }));

  /** Writes a script and returns the command that launches it, from the Node that a user has. */
  function command(script: string): [string, string[]] {
    const path = join(folder, "script.ts");
    writeFileSync(path, script);
    const call = `import(${JSON.stringify(launcher)}).then(({ launch }) => launch(${JSON.stringify(path)}, ["a b", "--c"]))`;
    return [outsideNode, ["-e", call]];
  }

  const launch = (script: string, options: { input?: string; env?: NodeJS.ProcessEnv } = {}) =>
    spawnSync(...command(script), { env: outsideEnv, encoding: "utf8", ...options });

  it("runs TypeScript on Node 24 or newer, with the same arguments, stdin and exit code", () => {
    const { status, stdout } = launch(
      `import { readFileSync } from "node:fs";
       const words: string[] = process.argv.slice(2);
       console.log(JSON.stringify([Number.parseInt(process.versions.node) >= 24, words, readFileSync(0, "utf8")]));
       process.exitCode = 7;`,
      { input: "hello" },
    );
    assert.deepEqual(JSON.parse(stdout), [true, ["a b", "--c"], "hello"]);
    assert.equal(status, 7);
  });

  it("sets the size of the thread pool, unless the user has", () => {
    const script = "console.log(process.env.UV_THREADPOOL_SIZE)";
    const { UV_THREADPOOL_SIZE: _, ...env } = outsideEnv;
    assert.equal(launch(script, { env }).stdout, "8\n");
    assert.equal(launch(script, { env: { ...env, UV_THREADPOOL_SIZE: "3" } }).stdout, "3\n");
  });

  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    it(`forwards ${signal}, and ends as the script ends`, async () => {
      const options: SpawnOptions = { env: outsideEnv, stdio: ["ignore", "pipe", "ignore"] };
      const script = `process.on("${signal}", () => process.exit(5)); setInterval(() => {}, 1000); console.log("up");`;
      const child = spawn(...command(script), options);
      await once(child.stdout!, "data");
      child.kill(signal);
      assert.deepEqual(await once(child, "exit"), [5, null]);
    });
  }

  it("ends by the signal that ended the script", () => {
    assert.equal(launch(`process.kill(process.pid, "SIGKILL");`).signal, "SIGKILL");
  });

  it("says which Node it needs when there is none", {
    skip: !outsideNodeIsOld && "this machine's Node is new",
  }, () => {
    mkdirSync(join(folder, "bin"));
    for (const file of ["launch.js", "stowage"])
      copyFileSync(join(root, "bin", file), join(folder, "bin", file));
    writeFileSync(join(folder, "package.json"), `{"type":"module"}`);
    const { status, stderr } = spawnSync(outsideNode, [join(folder, "bin/stowage")], { encoding: "utf8" });
    assert.equal(status, 2);
    assert.match(stderr, /^error: Stowage needs Node 24 or newer; this is Node \d+.+\nnext: Install Node 24/);
  });
});

describe("scripts/run.mjs", () => {
  /** A checkout with one dependency, a folder beside it, so that npm needs no network; removed after `use`. */
  function inCheckout(use: (folder: string, start: () => ReturnType<typeof spawnSync>) => void) {
    const folder = mkdtempSync(join(tmpdir(), "stowage-run-"));
    for (const name of ["scripts", "bin", "local"]) mkdirSync(join(folder, name));
    copyFileSync(join(root, "scripts/run.mjs"), join(folder, "scripts/run.mjs"));
    copyFileSync(join(root, "bin/launch.js"), join(folder, "bin/launch.js"));
    writeFileSync(join(folder, "local/package.json"), `{"name":"local","version":"1.0.0"}`);
    const manifest = { name: "x", version: "1.0.0", type: "module", dependencies: { local: "file:local" } };
    writeFileSync(join(folder, "package.json"), JSON.stringify(manifest));
    writeFileSync(
      join(folder, "main.js"),
      `import "local/package.json" with { type: "json" }; console.log("ran");`,
    );
    const npm = ["install", "--package-lock-only", "--offline", "--no-audit"];
    assert.equal(spawnSync("npm", npm, { cwd: folder, env: outsideEnv }).status, 0);
    try {
      // Not the user's Node: outside this checkout there is no other that is new enough.
      const args = ["scripts/run.mjs", "main.js"];
      use(folder, () =>
        spawnSync(process.execPath, args, { cwd: folder, env: outsideEnv, encoding: "utf8" }),
      );
    } finally {
      rmSync(folder, { recursive: true });
    }
  }

  it("installs what is missing, once", () => {
    inCheckout((_, start) => {
      const first = start();
      assert.equal(first.stdout, "ran\n", String(first.stderr));
      assert.match(String(first.stderr), /dependencies are not installed; running npm ci/);
      const second = start();
      assert.deepEqual([second.stdout, second.stderr], ["ran\n", ""]);
    });
  });

  it("says plainly that the installation failed", () => {
    inCheckout((folder, start) => {
      writeFileSync(
        join(folder, "package.json"),
        `{"name":"x","dependencies":{"local":"file:gone","other":"1.0.0"}}`,
      );
      const { status, stdout, stderr } = start();
      assert.deepEqual([status, stdout], [1, ""]);
      assert.match(String(stderr), /^error: The dependencies could not be installed: .+\nnext: /m);
    });
  });

  it("leaves a linked node_modules alone", () => {
    inCheckout((folder, start) => {
      mkdirSync(join(folder, "elsewhere/local"), { recursive: true });
      copyFileSync(join(folder, "local/package.json"), join(folder, "elsewhere/local/package.json"));
      symlinkSync("elsewhere", join(folder, "node_modules"));
      const { stdout, stderr } = start();
      assert.equal(stdout, "ran\n");
      assert.match(String(stderr), /install there/);
    });
  });
});
