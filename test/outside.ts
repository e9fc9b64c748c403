import { spawnSync } from "node:child_process";
import { delimiter } from "node:path";

/** The environment of someone who has not installed Stowage: no folder of installed packages on the PATH. */
export const outsideEnv: NodeJS.ProcessEnv = {
  ...process.env,
  PATH: (process.env.PATH ?? "")
    .split(delimiter)
    .filter((folder) => !folder.includes("node_modules"))
    .join(delimiter),
};
// A process started with it must not take itself for one of node:test's own.
delete outsideEnv.NODE_TEST_CONTEXT;

/** The Node that such a user has; this one when there is none. */
export const outsideNode =
  spawnSync("node", ["-p", "process.execPath"], { env: outsideEnv, encoding: "utf8" }).stdout?.trim() ||
  process.execPath;

/** Whether that Node is too old to run Stowage. */
export const outsideNodeIsOld =
  Number.parseInt(spawnSync(outsideNode, ["-p", "process.versions.node"], { encoding: "utf8" }).stdout, 10) <
  24;
