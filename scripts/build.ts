/** `npm run build`: compiles `src/` into `dist/`, JavaScript with type declarations, for the published package. */
import { spawnSync } from "node:child_process";
import { rmSync } from "node:fs";
import { join } from "node:path";

const root = join(import.meta.dirname, "..");

// What was compiled from a file that is no longer there must not be published.
rmSync(join(root, "dist"), { recursive: true, force: true });
const compiler = join(root, "node_modules/.bin/tsc");
const { status } = spawnSync(compiler, ["--project", "tsconfig.build.json"], { cwd: root, stdio: "inherit" });
process.exitCode = status ?? 1;
