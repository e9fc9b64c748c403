import { StowageError } from "../errors.ts";
import { localUrl } from "./config/server-options.ts";

/** How long whoever holds a port may take to say who it is, ms. */
const askMs = 2000;

/** What an error of `listen` means; any other is given back as it is. */
export async function meaningOfListenError(error: unknown, host: string, port: number): Promise<unknown> {
  const { code } = error as NodeJS.ErrnoException;
  const options = { cause: error };
  switch (code) {
    case "EADDRINUSE": {
      const isOurs = await isStowage(localUrl(host, port));
      const holder = isOurs ? "another Stowage" : "another program";
      const remedy = isOurs ? "End it with `stowage stop`" : "End that program";
      return new StowageError("port_taken", { port, host, holder, remedy }, options);
    }
    case "EACCES":
      return new StowageError("port_forbidden", { port, host }, options);
    case "EADDRNOTAVAIL":
      return new StowageError(
        "host_unavailable",
        { host, reason: "it is no address of this machine" },
        options,
      );
    case "ENOTFOUND":
    case "EAI_AGAIN":
      return new StowageError(
        "host_unavailable",
        { host, reason: "no address is known for this name" },
        options,
      );
    default:
      return error;
  }
}

/** `/health` needs no key. */
async function isStowage(url: string): Promise<boolean> {
  try {
    const response = await fetch(`${url}/health`, { signal: AbortSignal.timeout(askMs), redirect: "error" });
    const health = (await response.json()) as { status?: unknown; models?: unknown } | null;
    return typeof health?.status === "string" && Array.isArray(health.models);
  } catch {
    return false;
  }
}
