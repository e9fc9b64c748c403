import type { GatewayOptions } from "../gateway/options.ts";

export interface ServerOptions extends GatewayOptions {
  /** Address to listen at; one that is not loopback needs `apiKeys`. */
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
  /** Keys of which requests have to bring one; none: no key is asked for. */
  readonly apiKeys: readonly string[];
  /** How long running requests may take to end after SIGTERM, seconds. */
  readonly drainTimeoutSeconds: number;
  readonly logLevel: "silent" | "error" | "warn" | "info" | "debug";
}

/** A server that listens. */
export interface RunningServer {
  /** Such as http://127.0.0.1:8321 */
  readonly url: string;
  readonly port: number;
  /** Settled when the models that are loaded at the start are there, or have failed. */
  readonly loaded: Promise<void>;
  /** Settled when everything it held is given back: after `close`, or after a request to stop. */
  readonly closed: Promise<void>;
  /** Takes no more requests, lets those that run end within the drain timeout, ends the engines. */
  close(): Promise<void>;
}
