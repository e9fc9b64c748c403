/**
 * Runs a script of this checkout: `node scripts/run.mjs FILE [ARGUMENTS]`. Installs the dependencies first when
 * they are missing or are not those of package-lock.json, then runs FILE with a new enough Node. Plain JavaScript, without
 * dependencies: in a fresh clone nothing else is there.
 */
import { spawnSync } from "node:child_process";
import { lstatSync, readFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { launch } from "../bin/launch.js";

const root = join(import.meta.dirname, "..");

/** What keeps the installed packages from being those of the lock; undefined when nothing does. */
function whatIsMissing() {
  const locked = JSON.parse(readFileSync(join(root, "package-lock.json"), "utf8")).packages;
  let installed;
  try {
    installed = JSON.parse(readFileSync(join(root, "node_modules/.package-lock.json"), "utf8")).packages;
  } catch {
    return "dependencies are not installed";
  }
  for (const [path, entry] of Object.entries(locked)) {
    if (path === "" || !fitsThisMachine(entry)) continue;
    const found = installed[path]?.version;
    if (found !== entry.version) return `${path} is ${found ?? "missing"}, the lock says ${entry.version}`;
  }
  return undefined;
}

function fitsThisMachine({ os, cpu, libc }) {
  const fits = (allowed, value) => allowed === undefined || [allowed].flat().includes(value);
  return (
    fits(os, process.platform) && fits(cpu, process.arch) && (libc === undefined || fits(libc, libcName()))
  );
}

function libcName() {
  return process.report.getReport().header.glibcVersionRuntime === undefined ? "musl" : "glibc";
}

function install(reason) {
  if (lstatSync(join(root, "node_modules"), { throwIfNoEntry: false })?.isSymbolicLink()) {
    console.error(`stowage: ${reason}, but node_modules is a link to another checkout's: install there.`);
    return;
  }
  console.error(`stowage: ${reason}; running npm ci (some 100 MB, the first time only)`);
  // npm must not run on the very Node that it is about to replace.
  const path = process.env.PATH.split(delimiter).filter((folder) => !folder.includes("node_modules"));
  const { status, error } = spawnSync("npm", ["ci", "--loglevel=error", "--no-audit", "--no-fund"], {
    cwd: root,
    stdio: ["ignore", 2, 2],
    env: { ...process.env, PATH: path.join(delimiter) },
    shell: process.platform === "win32",
  });
  if (status === 0) return;
  const why = error?.message ?? `npm ci ended with status ${status}`;
  console.error(`error: The dependencies could not be installed: ${why}.
next: Read npm's message above; check the connection to the npm registry and the free disk space (1 GB), then run it again.`);
  process.exit(1);
}

const reason = whatIsMissing();
if (reason !== undefined) install(reason);
const [file, ...args] = process.argv.slice(2);
launch(join(root, file), args);
