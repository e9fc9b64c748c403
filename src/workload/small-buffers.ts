import { spawn, spawnSync } from "node:child_process";

/** Marks a process that runs where connections have small buffers. */
const marker = "STOWAGE_SMALL_BUFFERS";
/** Least, usual and most bytes of a connection's buffer, as Linux wants them. */
const sendBuffer = "4096 16384 65536";
const receiveBuffer = "4096 65536 65536";

/** What makes them: only in a network namespace of its own, so that this machine's settings stay as they are. */
const setup = [
  "ip link set lo up",
  `echo "${sendBuffer}" > /proc/sys/net/ipv4/tcp_wmem`,
  `echo "${receiveBuffer}" > /proc/sys/net/ipv4/tcp_rmem`,
].join(" && ");

export const hasSmallBuffers = process.env[marker] !== undefined;

/**
 * Runs this very command again where a connection of the loopback holds some 130 kB on its way, as one over a network does;
 * the loopback's own 4 MB would take a whole answer, and no reader would ever be slow.
 * @returns the exit code of that run; undefined where this user may not have such a place (Linux and root only)
 */
export async function runWithSmallBuffers(): Promise<number | undefined> {
  if (hasSmallBuffers || process.platform !== "linux") return undefined;
  if (spawnSync("unshare", ["-n", "sh", "-c", setup], { stdio: "ignore" }).status !== 0) return undefined;
  const command = [process.execPath, ...process.execArgv, ...process.argv.slice(1)];
  const child = spawn("unshare", ["-n", "sh", "-c", `${setup} && exec "$@"`, "sh", ...command], {
    stdio: "inherit",
    env: { ...process.env, [marker]: "1" },
  });
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", (code) => resolve(code ?? 2));
  });
}
