import assert from "node:assert/strict";
import { Ajv2020, type ValidateFunction } from "ajv/dist/2020.js";
import addFormats from "ajv-formats";

type Json = { readonly [key: string]: unknown };

export interface MediaType {
  readonly schema: Json;
  readonly "x-event-schema"?: Json;
}

interface Content {
  readonly content: { readonly [type: string]: MediaType };
}

export interface Operation {
  readonly operationId: string;
  readonly summary: string;
  readonly tags: readonly string[];
  readonly security?: readonly Json[];
  readonly parameters?: readonly Json[];
  readonly requestBody?: Content & { readonly required: boolean };
  readonly responses: { readonly [status: string]: Content & { readonly description: string } };
}

export interface OpenApi {
  readonly openapi: string;
  readonly info: Json;
  readonly security: readonly Json[];
  readonly paths: { readonly [path: string]: { readonly [method: string]: Operation } };
  readonly components: { readonly [kind: string]: { readonly [name: string]: Json } };
}

/** An operation as `GET /v1/models`. */
export function operationsOf({ paths }: OpenApi): [name: string, operation: Operation][] {
  return Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]): [string, Operation] => [
      `${method.toUpperCase()} ${path}`,
      operation,
    ]),
  );
}

/** A part of a document with every reference replaced by what it leads to; one that leads nowhere fails. */
export function resolved<T>(document: OpenApi, part: T): T {
  return resolve(document, part) as T;
}

function resolve(document: OpenApi, node: unknown): unknown {
  if (Array.isArray(node)) return node.map((item) => resolve(document, item));
  if (typeof node !== "object" || node === null) return node;
  if ("$ref" in node) return resolve(document, target(document, String(node.$ref)));
  return Object.fromEntries(Object.entries(node).map(([key, value]) => [key, resolve(document, value)]));
}

function target(document: unknown, reference: string): unknown {
  assert.ok(reference.startsWith("#/"), reference);
  const steps = reference
    .slice(2)
    .split("/")
    .map((step) => step.replaceAll("~1", "/").replaceAll("~0", "~"));
  const found = steps.reduce((at, step) => (at as Json | undefined)?.[step], document);
  assert.ok(found !== undefined, `${reference} leads nowhere`);
  return found;
}

/** What a call came to, after it was checked. */
export interface Checked {
  readonly status: number;
  // biome-ignore lint/suspicious/noExplicitAny: what it may be is what is checked here
  readonly body: any;
  /** Of a stream, the data of its events but `[DONE]`. */
  // biome-ignore lint/suspicious/noExplicitAny: the same
  readonly events: readonly any[];
}

/** Calls a server and holds everything that it takes and says against its own document. */
export class OpenApiCheck {
  /** As `POST /v1/completions 200 text/event-stream`. */
  readonly seen = new Set<string>();
  readonly #document: OpenApi;
  readonly #ajv = new Ajv2020({ strict: true, allErrors: true, allowUnionTypes: true });
  readonly #validators = new Map<Json, ValidateFunction>();

  constructor(document: OpenApi) {
    this.#document = resolved(document, document);
    addFormats.default(this.#ajv);
  }

  /** @throws when the schema is none */
  compile(schema: Json): ValidateFunction {
    let validate = this.#validators.get(schema);
    if (!validate) {
      validate = this.#ajv.compile(schema);
      this.#validators.set(schema, validate);
    }
    return validate;
  }

  /** Compiles every schema there is; returns how many. */
  compileAll(): number {
    for (const [, { requestBody, responses }] of operationsOf(this.#document)) {
      for (const { content } of [...(requestBody ? [requestBody] : []), ...Object.values(responses)]) {
        for (const { schema, "x-event-schema": event } of Object.values(content)) {
          this.compile(schema);
          if (event) this.compile(event);
        }
      }
    }
    return this.#validators.size;
  }

  /** @param operation such as `GET /v1/models/{model}`; `path` is what is really asked for */
  async call(url: string, operation: string, init: RequestInit = {}, path?: string): Promise<Checked> {
    const [method = "", template = ""] = operation.split(" ");
    const response = await fetch(`${url}${path ?? template}`, { method, ...init });
    return this.check(operation, response, init.body);
  }

  /** Posts JSON. */
  post(url: string, operation: string, body: unknown, init: RequestInit = {}): Promise<Checked> {
    const headers = { "content-type": "application/json", ...(init.headers as Record<string, string>) };
    return this.call(url, operation, { ...init, headers, body: JSON.stringify(body) });
  }

  async check(operation: string, response: Response, sent?: unknown): Promise<Checked> {
    const [method = "", path = ""] = operation.split(" ");
    const described = this.#document.paths[path]?.[method.toLowerCase()];
    assert.ok(described, `${operation} is not in the document`);
    const { status } = response;
    if (status === 200 && described.requestBody && typeof sent === "string")
      this.#hold(described.requestBody.content["application/json"]!.schema, JSON.parse(sent), operation);
    const type = (response.headers.get("content-type") ?? "").split(";")[0]!;
    this.seen.add(`${operation} ${status} ${type}`);
    const media = (described.responses[status] ?? described.responses.default!).content[type];
    const text = await response.text();
    assert.ok(media, `${operation} answers ${status} in ${type}: ${text.slice(0, 300)}`);
    if (media["x-event-schema"])
      return { status, body: text, events: this.#checkEvents(operation, media, text) };
    const body = type === "application/json" ? JSON.parse(text) : text;
    this.#hold(media.schema, body, operation);
    return { status, body, events: [] };
  }

  /** All are as described, and the last is `[DONE]` or an error. */
  #checkEvents(operation: string, media: MediaType, text: string): unknown[] {
    assert.ok(text.endsWith("\n\n"));
    const blocks = text.slice(0, -2).split("\n\n");
    const data = blocks
      .filter((block) => !block.startsWith(":"))
      .map((block) => block.slice("data: ".length));
    const last = data.at(-1);
    const events = data.filter((event) => event !== "[DONE]").map((event) => JSON.parse(event));
    const failed = "error" in (events.at(-1) ?? {});
    assert.equal(last === "[DONE]", !failed, `${operation} ends with ${last}`);
    const chunks = failed ? events.slice(0, -1) : events;
    for (const event of chunks) this.#hold(media["x-event-schema"]!, event, operation);
    if (failed) this.#hold(this.#document.components.schemas!.Error!, events.at(-1), operation);
    return events;
  }

  #hold(schema: Json, value: unknown, operation: string): void {
    const validate = this.compile(schema);
    const fits = validate(value);
    assert.ok(
      fits,
      `${operation}: ${this.#ajv.errorsText(validate.errors)} in ${JSON.stringify(value)?.slice(0, 1000)}`,
    );
  }
}
