import type { FastifyReply } from "fastify";
import type { z } from "zod";
import { StowageError } from "../errors.ts";
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

/**
 * Checks a request's body.
 * @throws StowageError request_invalid naming the field, what it is and what it may be
 */
export function checkBody<Body>(schema: z.ZodType<Body>, body: unknown): Body {
  const result = schema.safeParse(body, { reportInput: true });
  if (result.success) return result.data;
  const issue = deepest(result.error.issues[0]!, body);
  throw new StowageError("request_invalid", {
    field: issue.path.length === 0 ? "body" : pathText(issue.path),
    reason: `${plain(issue.message)}${received(issue.input)}`,
  });
}

type Issue = z.core.$ZodIssue;

/** Where none of several forms fits, the one that came furthest tells most. */
function deepest(issue: Issue, body: unknown): Issue {
  if (issue.code !== "invalid_union" || issue.errors.length === 0) return issue;
  const branches = issue.errors.map((branch) => branch[0]!).filter((inner) => inner !== undefined);
  const best = branches.reduce((a, b) => (b.path.length > a.path.length ? b : a));
  if (best.path.length === 0) {
    const expected = branches.map((inner) => plain(inner.message).replace(/^expected /, ""));
    const message =
      best.code === "invalid_type" ? `expected ${[...new Set(expected)].join(" or ")}` : best.message;
    return { ...best, message, path: issue.path, input: issue.input } as Issue;
  }
  return deepest({ ...best, path: [...issue.path, ...best.path] } as Issue, body);
}

function pathText(path: readonly PropertyKey[]): string {
  return path
    .map((key, index) =>
      typeof key === "number" ? `[${key}]` : index === 0 ? String(key) : `.${String(key)}`,
    )
    .join("")
    .slice(0, 200);
}

/** Without what is said once already: that it is invalid, and of which type it is. */
function plain(message: string): string {
  return message.replace(/^Invalid (input|option): /, "").replace(/, received \S+$/, "");
}

const shownLength = 80;

/** What stood there, where that is short enough to be of help. */
function received(input: unknown): string {
  if (input === undefined) return "";
  if (typeof input === "object" && input !== null)
    return `; received ${Array.isArray(input) ? "a list" : "an object"}`;
  const text = JSON.stringify(input) ?? typeof input;
  return `; received ${text.length > shownLength ? `${text.slice(0, shownLength)}…` : text}`;
}
