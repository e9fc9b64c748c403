/**
 * The folder order of `src/`: who may import whom. A file imports from its own folder, from folders on lines
 * below, and from `src/errors.ts`. Folders on one line may import each other as long as they form no circle.
 *
 * - `workload` (traces, load, reports) and `store` (durable state) know nothing of models, so they are on the lowest line.
 * - `src/index.ts`, the library's front door, stands on the line of `engine`; nothing imports it.
 * - Only `src/ggml` touches native code: only there may `koffi` be imported.
 * - Tests beside a file obey the order too, but may close a circle on their line, and share the helpers in `test/`.
 */
import { globSync, readFileSync } from "node:fs";
import { join, posix } from "node:path";

const lines = [
  ["cli"],
  ["server"],
  ["gateway"],
  ["batches", "scheduler", "engine"],
  ["model", "experts", "kv"],
  ["grammar", "tokenizer", "gguf", "ggml", "store", "workload"],
];
const nativePackages = new Set(["koffi"]);

interface Import {
  /** The importing file, relative to the root, with `/`. */
  readonly file: string;
  /** What it imports, as written. */
  readonly target: string;
}

/** Checks every TypeScript file of `root`/src; returns one sentence for each import that breaks the order. */
export function checkHouse(root: string): string[] {
  const files = globSync("src/**/*.ts", { cwd: root }).map((file) => file.replaceAll("\\", "/"));
  const imports = files.sort().flatMap((file) => importsOf(file, readFileSync(join(root, file), "utf8")));
  return [...imports.map(faultOf).filter((fault) => fault !== undefined), ...circles(imports)];
}

/** The modules that `source` imports: static, re-exported, types only, and dynamic with a literal. */
function importsOf(file: string, source: string): Import[] {
  const code = source.replace(/\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm, "");
  const statement = /^\s*(?:import|export)\b(?:[^;"'`]*\bfrom)?\s*["']([^"']+)["']/gm;
  const expression = /\b(?:import|require)\(\s*["'`]([^"'`]+)["'`]/g;
  return [statement, expression].flatMap((pattern) =>
    [...code.matchAll(pattern)].map((match) => ({ file, target: match[1] ?? "" })),
  );
}

function faultOf({ file, target }: Import): string | undefined {
  const from = folderOf(file);
  if (!target.startsWith(".")) {
    const isNative = nativePackages.has(target.split("/")[0] ?? "");
    return isNative && from !== "ggml" ? `${file} imports ${target}: only src/ggml may` : undefined;
  }
  const path = posix.join(posix.dirname(file), target);
  if (path.startsWith("test/") && file.endsWith(".test.ts")) return undefined;
  if (!path.startsWith("src/")) return `${file} imports ${path}: it is outside src`;
  if (path === "src/errors.ts") return undefined;
  if (path === "src/index.ts") return `${file} imports ${path}: it is for users of the library only`;
  const to = folderOf(path);
  if (from === to && from !== "") return undefined;
  if (file === "src/errors.ts") return `${file} imports ${path}: the error catalogue imports nothing`;
  if (lineOf(to) === -1) return `${file} imports ${path}: src/${to} has no place in the folder order`;
  if (lineOf(from) === -1) return `${file}: it has no place in the folder order`;
  return lineOf(to) < lineOf(from) ? `${file} imports ${path}: src/${to} is above it` : undefined;
}

/** Folder below `src` that holds the file; "" for a file at the root of `src`. */
function folderOf(path: string): string {
  return path.split("/").length > 2 ? (path.split("/")[1] ?? "") : "";
}

/** Index of the folder's line, from the top; the root of `src` is `index.ts`. */
function lineOf(folder: string): number {
  return lines.findIndex((line) => line.includes(folder === "" ? "engine" : folder));
}

/** One sentence for each arrow of a circle among the folders of a line. */
function circles(imports: Import[]): string[] {
  const edges = new Map<string, Map<string, Import>>();
  for (const entry of imports) {
    if (entry.file.endsWith(".test.ts") || !entry.target.startsWith(".")) continue;
    const from = folderOf(entry.file);
    const to = folderOf(posix.join(posix.dirname(entry.file), entry.target));
    if (from === "" || to === "" || from === to || lineOf(from) !== lineOf(to)) continue;
    if (!edges.has(from)) edges.set(from, new Map());
    edges.get(from)?.set(to, entry);
  }
  const faults: string[] = [];
  for (const [from, targets] of edges) {
    for (const [to, { file, target }] of targets) {
      if (reaches(edges, to, from))
        faults.push(`${file} imports ${target}: src/${to} imports src/${from} in turn`);
    }
  }
  return faults;
}

function reaches(edges: Map<string, Map<string, Import>>, from: string, goal: string): boolean {
  const seen = new Set([from]);
  for (const folder of seen) for (const next of edges.get(folder)?.keys() ?? []) seen.add(next);
  return seen.has(goal);
}

if (import.meta.main) {
  const faults = checkHouse(join(import.meta.dirname, ".."));
  for (const fault of faults) console.error(fault);
  process.exitCode = faults.length === 0 ? 0 : 1;
}
