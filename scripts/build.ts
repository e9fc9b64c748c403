/**
 * `npm run build`: compiles `src/` into `dist/` for the published package: JavaScript with type declarations, and the
 * pages for the browser.
 */
import { spawnSync } from "node:child_process";
import { cpSync, globSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";

const root = join(import.meta.dirname, "..");
const pages = "server/pages";

/** Runs the compiler on a project; returns whether it succeeded. */
function compile(project: string): boolean {
  const compiler = join(root, "node_modules/.bin/tsc");
  return spawnSync(compiler, ["--project", project], { cwd: root, stdio: "inherit" }).status === 0;
}

/** Copies what the pages have beside their code. */
function copyPages(): void {
  for (const name of globSync("**/*.{html,css,svg}", { cwd: join(root, "src", pages) })) {
    const from = join(root, "src", pages, name);
    const to = join(root, "dist", pages, name);
    mkdirSync(dirname(to), { recursive: true });
    if (name.endsWith(".html")) writeFileSync(to, withCompiledScripts(readFileSync(from, "utf8")));
    else cpSync(from, to);
  }
}

/** Names the compiled scripts, as the compiler does in imports. */
function withCompiledScripts(html: string): string {
  return html.replace(/(<script\b[^>]*\bsrc="[^"]+)\.ts"/g, '$1.js"');
}

// What was compiled from a file that is no longer there must not be published.
rmSync(join(root, "dist"), { recursive: true, force: true });
const compiled = compile("tsconfig.build.json") && compile(`src/${pages}/tsconfig.build.json`);
if (compiled) copyPages();
process.exitCode = compiled ? 0 : 1;
