import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { findPackageJSON } from "node:module";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { loadNative } from "./library.ts";

const native = loadNative();
const platform = basename(native.directory);
const library = /^(lib)?ggml-base\./;
const metadata = "_nlcBuildMetadata.json";
let root: string;
before(() => {
  root = mkdtempSync(join(tmpdir(), "stowage-library-"));
});
after(() => rmSync(root, { recursive: true }));

/**
 * An installation of this folder's code with a library package of its own, in which `change` may give files other
 * content. All other files are the real ones.
 */
function install(name: string, change: (file: string, content: Buffer) => Buffer | undefined): string {
  const home = join(root, name);
  const source = dirname(fileURLToPath(import.meta.url));
  cpSync(source, join(home, "src/ggml"), { recursive: true });
  cpSync(join(source, "../errors.ts"), join(home, "src/errors.ts"));
  mkdirSync(join(home, "node_modules"));
  symlinkSync(dirname(findPackageJSON("koffi", import.meta.url)!), join(home, "node_modules/koffi"));

  const realPackage = join(native.directory, "../..");
  const ownPackage = join(home, "node_modules/@node-llama-cpp", platform);
  const bins = join(ownPackage, "bins", platform);
  mkdirSync(bins, { recursive: true });
  for (const part of ["package.json", "dist"])
    cpSync(join(realPackage, part), join(ownPackage, part), { recursive: true });
  for (const file of readdirSync(native.directory)) {
    const real = join(native.directory, file);
    const content = library.test(file) || file === metadata ? change(file, readFileSync(real)) : undefined;
    if (content) writeFileSync(join(bins, file), content);
    else symlinkSync(real, join(bins, file));
  }
  return home;
}

/** Loads the library of an installation, in a process that reports what it met and ends by itself. */
function load(home: string): { loaded?: string; code?: string; message?: string } {
  const script = `
    const { loadNative } = await import(${JSON.stringify(join(home, "src/ggml/library.ts"))});
    try {
      console.log(JSON.stringify({ loaded: loadNative().directory }));
    } catch ({ code, message }) {
      console.log(JSON.stringify({ code, message }));
    }`;
  const child = spawnSync(process.execPath, ["--input-type=module", "--eval", script], {
    encoding: "utf8",
    env: { ...process.env, XDG_CACHE_HOME: join(home, "cache") },
  });
  assert.equal(child.status, 0, `${child.signal} ${child.stderr}`);
  return JSON.parse(child.stdout);
}

test("a library as it was installed is tried, loaded and remembered", () => {
  const home = install("whole", () => undefined);
  const directory = join(home, "node_modules/@node-llama-cpp", platform, "bins", platform);
  assert.equal(load(home).loaded, directory);
  assert.equal(readdirSync(join(home, "cache/stowage")).length, 1);
  assert.equal(load(home).loaded, directory);
});

test("a library that is no library fails its trial run, not the process that asked", () => {
  const home = install("garbage", (file, content) =>
    library.test(file) ? Buffer.alloc(content.length, 7) : undefined,
  );
  const { code, message } = load(home);
  assert.equal(code, "native_probe_failed", message);
});

test("a library whose code kills its process fails its trial run, not the process that asked", () => {
  const home = install("deadly", (file, content) => {
    if (!library.test(file)) return undefined;
    const breakpoint = 0xcc;
    return content.fill(breakpoint, Math.floor(content.length / 3), Math.floor((content.length * 2) / 3));
  });
  const { code, message } = load(home);
  assert.equal(code, "native_probe_failed", message);
  assert.match(message!, /ended by SIG/);
  assert.equal(load(home).code, "native_probe_failed", "a failure is not remembered as a success");
});

test("a library of another release is refused", () => {
  const home = install("release", (file, content) =>
    file === metadata ? Buffer.from(content.toString().replace(native.release, "v9.9.9")) : undefined,
  );
  const { code, message } = load(home);
  assert.equal(code, "native_version_mismatch", message);
  assert.match(message!, /v9\.9\.9/);
});

test("a missing library is refused, by name", () => {
  const home = install("missing", () => undefined);
  rmSync(join(home, "node_modules/@node-llama-cpp"), { recursive: true });
  const { code, message } = load(home);
  assert.equal(code, "native_library_missing");
  assert.match(message!, new RegExp(platform));
});
