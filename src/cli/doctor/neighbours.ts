/** Who else is there: other engines on this machine, and whoever has the server's port. */
import { readdirSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { StowageError } from "../../errors.ts";
import { formatBytes } from "../../workload/format.ts";
import { meaningOfListenError } from "../listen-errors.ts";
import { type Finding, failed, ok, systemText, warn } from "./finding.ts";

const host = "127.0.0.1";

/** Programs that keep models in memory, by what their command line has. */
const programs: readonly (readonly [name: string, pattern: RegExp])[] = [
  ["Stowage", /engine\/process\/main\.[tj]s/],
  ["llama.cpp", /(^|\/)llama-(server|cli|bench|perplexity|imatrix|quantize)(\s|$)/],
  ["Ollama", /(^|\/)ollama(\s|$)/],
  ["vLLM", /vllm/],
  ["LM Studio", /lm-?studio/i],
  ["KoboldCpp", /koboldcpp/i],
];

/** @param root the folder in which `proc` is */
export function checkEngines(root = "/"): Finding {
  const check = "other engines";
  const found = new Map<string, { count: number; bytes: number }>();
  for (const { command, bytes } of processes(root)) {
    const name = programs.find(([, pattern]) => pattern.test(command))?.[0];
    if (name === undefined) continue;
    const { count, bytes: earlier } = found.get(name) ?? { count: 0, bytes: 0 };
    found.set(name, { count: count + 1, bytes: earlier + bytes });
  }
  if (found.size === 0) return ok(check, "none");
  const list = [...found].map(([name, { count, bytes }]) => `${count} of ${name}, ${formatBytes(bytes)}`);
  // Those of Stowage share the processors among themselves.
  if (found.size === 1 && found.has("Stowage")) return ok(check, list.join("; "));
  const next =
    "They take memory and processors from Stowage: end them, or leave room with --memory and --threads.";
  return warn(check, list.join("; "), next);
}

function processes(root: string): { command: string; bytes: number }[] {
  let names: string[];
  try {
    names = readdirSync(join(root, "proc"));
  } catch {
    return [];
  }
  return names
    .filter((name) => /^\d+$/.test(name) && name !== String(process.pid))
    .map((name) => {
      const command = (systemText(root, `proc/${name}/cmdline`) ?? "").replaceAll("\0", " ").trim();
      const resident = /^VmRSS:\s+(\d+) kB/m.exec(systemText(root, `proc/${name}/status`) ?? "")?.[1];
      return { command, bytes: Number(resident ?? 0) * 1024 };
    });
}

/** Whether a server could listen. */
export async function checkPort(port: number): Promise<Finding> {
  const check = "port";
  try {
    await listen(port);
    return ok(check, `${port} is free`);
  } catch (error) {
    const meaning = await meaningOfListenError(error, host, port);
    const taken = meaning instanceof StowageError && meaning.code === "port_taken";
    if (taken && meaning.details.holder === "another Stowage")
      return ok(check, `a Stowage server answers at ${port}`);
    if (taken)
      return warn(check, `${port} is taken by another program`, "Start the server with another --port.");
    return failed(check, meaning, "Start the server with another --port.");
  }
}

function listen(port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(port, host, () => server.close(() => resolve()));
  });
}
