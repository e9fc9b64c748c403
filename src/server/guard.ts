import { createHash, timingSafeEqual } from "node:crypto";
import { isIP } from "node:net";
import type { FastifyRequest } from "fastify";
import { StowageError } from "../errors.ts";

/** Who may speak to a server: which names it goes by, and which keys it takes. */
export class Guard {
  readonly #keys: readonly Buffer[];
  readonly #names: ReadonlySet<string>;

  constructor({ host, apiKeys }: { host: string; apiKeys: readonly string[] }) {
    this.#keys = apiKeys.map(digest);
    this.#names = new Set(["localhost", host.toLowerCase()]);
  }

  /**
   * Whoever stands between a client and this server may read another host, or another end of the body, out of a
   * request that leaves room for it: such a one is not taken.
   * @throws StowageError http_malformed
   */
  checkFraming({ raw }: Pick<FastifyRequest, "raw">): void {
    const { length } = raw.headersDistinct.host ?? [];
    if (length === 0) throw malformed("it has no header Host");
    if (length > 1) throw malformed(`it has the header Host ${length} times`);
    const coding = raw.headers["transfer-encoding"] ?? "chunked";
    if (coding.toLowerCase() !== "chunked")
      throw malformed(`Transfer-Encoding is ${coding.slice(0, 200)}, not chunked`);
  }

  /**
   * A page elsewhere can make a browser call this server: under a name of its own that leads here (DNS rebinding), or
   * across origins. Neither is let in. A key says more than a name, so with keys every name will do.
   * @throws StowageError host_refused, origin_refused
   */
  checkOrigin({ headers }: Pick<FastifyRequest, "headers">): void {
    const host = headers.host ?? "";
    if (this.#keys.length === 0 && !this.#isOurs(host)) {
      throw new StowageError("host_refused", { host: JSON.stringify(host.slice(0, 200)) });
    }
    const { origin } = headers;
    if (origin === undefined || hostOf(origin) === host.toLowerCase()) return;
    if (this.#keys.length === 0) throw new StowageError("origin_refused", { origin: origin.slice(0, 200) });
  }

  /** @throws StowageError key_missing */
  checkKey({ headers }: Pick<FastifyRequest, "headers">): void {
    if (this.#keys.length === 0) return;
    const [, key] = /^Bearer +(\S+)$/i.exec(headers.authorization ?? "") ?? [];
    if (key === undefined) throw new StowageError("key_missing", { what: "none" });
    const given = digest(key);
    // All are compared, each in constant time: how long it takes tells nothing of the keys.
    const matches = this.#keys.map((known) => timingSafeEqual(known, given));
    if (!matches.includes(true)) throw new StowageError("key_missing", { what: "another" });
  }

  /** A rebound name is a name; an address is what the client really meant. */
  #isOurs(host: string): boolean {
    const name = nameOf(host);
    return name !== undefined && (isIP(name) > 0 || this.#names.has(name) || name.endsWith(".localhost"));
  }
}

function malformed(reason: string): StowageError {
  return new StowageError("http_malformed", { reason });
}

function digest(key: string): Buffer {
  return createHash("sha256").update(key).digest();
}

/** `host:port` without the port, in lower case; undefined where it is neither. */
function nameOf(host: string): string | undefined {
  const [, six, other] = /^(?:\[([0-9a-f:.]+)\]|([^:[\]/@\s]+))(?::\d{1,5})?$/i.exec(host) ?? [];
  return (six ?? other)?.toLowerCase();
}

function hostOf(origin: string): string | undefined {
  try {
    return new URL(origin).host;
  } catch {
    return undefined;
  }
}
