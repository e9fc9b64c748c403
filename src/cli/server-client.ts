import type { Command } from "commander";
import type { z } from "zod";
import { StowageError } from "../errors.ts";
import { type Status, statusSchema } from "../server/schemas/status.ts";
import { readConfigFile } from "./config/config-file.ts";
import { givenTo, resolveAll } from "./config/layers.ts";
import { localUrl } from "./config/server-options.ts";
import { serverSettings } from "./config/settings.ts";

/** How long a server may take to answer, ms. */
const answerMs = 10_000;

/** Adds the flags that say which server is asked. */
export function addServerFlags(command: Command): void {
  command
    .option("--url <url>", "the server (default: where `stowage serve` would listen with the settings here)")
    .option("--api-key <key>", "key that the server asks for");
}

/** A running server, asked over HTTP. */
export class ServerClient {
  readonly url: string;
  readonly #key: string | undefined;

  constructor(url: string, key: string | undefined) {
    this.url = url;
    this.#key = key;
  }

  /**
   * The server that flags and variables name, or else the one of the settings here.
   * @throws StowageError setting_invalid; config_* of the file with the settings
   */
  static of(command: Command): ServerClient {
    const { flags, environment } = givenTo(command);
    const url = flags.values.url ?? environment.values.url;
    const { host, port, apiKey } = serverSettings;
    if (url !== undefined) {
      const keys = resolveAll({ apiKey }, [flags, environment]).apiKey.value;
      return new ServerClient(checkUrl(String(url)), keys[0]);
    }
    const file = readConfigFile(process.env.STOWAGE_CONFIG || undefined, {
      cwd: process.cwd(),
      env: process.env,
    });
    const { STOWAGE_HOST, STOWAGE_PORT } = process.env;
    const variables = {
      ...environment.values,
      ...(STOWAGE_HOST && { host: STOWAGE_HOST }),
      ...(STOWAGE_PORT && { port: STOWAGE_PORT }),
    };
    const layers = [flags, { ...environment, values: variables }, ...(file ? [file.top] : [])];
    const settings = resolveAll({ host, port, apiKey }, layers);
    return new ServerClient(localUrl(settings.host.value, settings.port.value), settings.apiKey.value[0]);
  }

  /** @throws StowageError server_unreachable, server_foreign, server_answer */
  status(): Promise<Status> {
    return this.ask("/api/status", statusSchema);
  }

  /**
   * One request; a POST where there is a body.
   * @throws StowageError server_unreachable, server_foreign, server_answer
   */
  async ask<T>(path: string, schema: z.ZodType<T>, body?: object): Promise<T> {
    const response = await this.#fetch(path, body);
    const text = await response.text().catch((error) => {
      throw this.#unreachable(error);
    });
    const answer = parseJson(text);
    if (!response.ok) throw this.#refused(response.status, answer);
    const result = schema.safeParse(answer);
    if (result.success) return result.data;
    const { path: field, message } = result.error.issues[0]!;
    throw this.#foreign(`${field.length > 0 ? `${field.join(".")}: ` : ""}${message}`);
  }

  async #fetch(path: string, body: object | undefined): Promise<Response> {
    try {
      return await fetch(`${this.url}${path}`, {
        signal: AbortSignal.timeout(answerMs),
        redirect: "manual",
        headers: {
          ...(this.#key !== undefined && { authorization: `Bearer ${this.#key}` }),
          ...(body && { "content-type": "application/json" }),
        },
        ...(body && { method: "POST", body: JSON.stringify(body) }),
      });
    } catch (error) {
      throw this.#unreachable(error as Error);
    }
  }

  #unreachable(error: Error): StowageError {
    const cause = error.cause as NodeJS.ErrnoException | undefined;
    const reason =
      error.name === "TimeoutError"
        ? `no answer within ${answerMs / 1000} s`
        : cause?.code === "ECONNREFUSED"
          ? "the connection was refused"
          : (cause?.code ?? cause?.message ?? error.message);
    return new StowageError("server_unreachable", { url: this.url, reason }, { cause: error });
  }

  #refused(status: number, answer: unknown): StowageError {
    const { message, next } =
      (answer as { error?: { message?: unknown; next?: unknown } } | null)?.error ?? {};
    if (typeof message !== "string" || typeof next !== "string") return this.#foreign(`status ${status}`);
    const remedy = status === 401 ? "Give its key with --api-key KEY or STOWAGE_API_KEY." : next;
    return new StowageError("server_answer", { url: this.url, status, message, remedy });
  }

  #foreign(reason: string): StowageError {
    return new StowageError("server_foreign", { url: this.url, reason });
  }
}

/** @throws StowageError setting_invalid */
function checkUrl(text: string): string {
  const url = URL.parse(text);
  if (url && /^https?:$/.test(url.protocol)) return url.href.replace(/\/$/, "");
  const allowed = "a URL such as http://127.0.0.1:8321";
  throw new StowageError("setting_invalid", { setting: "--url", value: JSON.stringify(text), allowed });
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
