import type { FastifyReply } from "fastify";
import type { z } from "zod";
import type { Gateway } from "../gateway/gateway.ts";

/** What endpoints work with. */
export interface ServerContext {
  readonly gateway: Gateway;
  readonly version: string;
  /** Unix ms. */
  readonly startedAt: number;
  readonly pid: number;
  /** Has the server end, as SIGTERM does. */
  stop(): void;
}

/** One call of an endpoint. */
export interface Call<Body> {
  readonly context: ServerContext;
  readonly body: Body;
  readonly params: Readonly<Record<string, string>>;
  readonly id: string;
  readonly reply: FastifyReply;
  /** Aborted when the client is gone. */
  readonly signal: AbortSignal;
}

/** A response that is no JSON. */
export interface OtherContent {
  readonly contentType: string;
  readonly schema?: z.ZodType;
}

/** One endpoint: what it takes, what it gives, and what it does. The OpenAPI document is made from these. */
export interface Endpoint<Body = unknown> {
  readonly method: "GET" | "POST";
  /** With parameters as `{name}`. */
  readonly path: string;
  readonly summary: string;
  readonly tag: "OpenAI" | "Tokens" | "Server";
  /** Needs no API key. */
  readonly open?: boolean;
  readonly body?: z.ZodType<Body>;
  /** What it answers with 200. */
  readonly response?: z.ZodType;
  /** The same in another form: events of a stream, or text. */
  readonly other?: OtherContent;
  /** Statuses other than 200 that are no errors. */
  readonly statuses?: Readonly<Record<number, z.ZodType>>;
  handle(call: Call<Body>): unknown;
}

/** Keeps the type of the body between schema and handler. */
export function endpoint<Body>(definition: Endpoint<Body>): Endpoint {
  return definition as Endpoint;
}
