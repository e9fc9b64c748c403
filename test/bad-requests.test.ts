import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import fc from "fast-check";
import { errorSchema } from "../src/server/schemas/common.ts";
import type { Status } from "../src/server/schemas/status.ts";
import {
  badMessages,
  chatTable,
  completionTable,
  detokenizeTable,
  embeddingsTable,
  type Field,
  type FieldTable,
  type Json,
  tokenizeTable,
  unloadTable,
  values,
} from "./bad-fields.ts";
import {
  type BadRequest,
  badEncodings,
  badHeaders,
  badMethods,
  badModels,
  badPaths,
  badTypes,
  brokenJson,
  hugeBodies,
  posts,
  rawRequests,
} from "./bad-http.ts";
import { type Answer, answersIn, HttpClient, type Request, sendRaw } from "./http-client.ts";
import { withoutSample } from "./sample-model.ts";
import { steadyOffered, TestServer } from "./server.ts";

const inFlight = 32;
const wanted = 2000;
const tables = [chatTable, completionTable, embeddingsTable, tokenizeTable, detokenizeTable, unloadTable];

/** A request's body with one field as this text, and the others right. */
function bodyWith({ right }: FieldTable, field: string, text: string): string {
  const others = Object.entries(right).filter(([name]) => name !== field);
  return `{${[...others.map(([name, value]) => `${JSON.stringify(name)}:${JSON.stringify(value)}`), `"${field}":${text}`].join()}}`;
}

function postOf(path: string, body: string): Request {
  return { method: "POST", path, headers: { "content-type": "application/json" }, body };
}

/** Strings that are no model's name are as right as any: there is just no such model. */
function refusalOf(table: FieldTable, { name, allows }: Field, text: string): BadRequest | undefined {
  const value = JSON.parse(text) as Json;
  if (allows(value)) return undefined;
  const isName = name === "model" && typeof value === "string" && [...value].length <= 512;
  return {
    ...postOf(table.path, bodyWith(table, name, text)),
    status: isName ? 404 : 400,
    code: isName ? "model_not_found" : "",
    param: name,
  };
}

function isThere<T>(value: T | undefined): value is T {
  return value !== undefined;
}

function badFields(table: FieldTable): BadRequest[] {
  const refusals = (field: Field, texts: readonly string[]) =>
    texts.map((text) => refusalOf(table, field, text)).filter(isThere);
  return table.fields.flatMap((field) => [
    ...refusals(field, values),
    ...(field.name === "messages" && table === chatTable ? refusals(field, badMessages) : []),
    ...(table.right[field.name] === undefined || field.name === "max_tokens"
      ? []
      : [missing(table, field.name)]),
  ]);
}

function missing({ path, right }: FieldTable, name: string): BadRequest {
  const body = JSON.stringify({ ...right, [name]: undefined });
  return { ...postOf(path, body), status: 400, code: "request_invalid", param: name };
}

/** Whatever a generator of JSON comes up with. */
function randomFields(count: number): BadRequest[] {
  const cases = fc.tuple(
    fc.constantFrom(...tables.flatMap((table) => table.fields.map((field) => ({ table, field })))),
    fc.jsonValue({ maxDepth: 4 }),
  );
  return fc
    .sample(cases, { seed: 7, numRuns: count })
    .map(([{ table, field }, value]) => refusalOf(table, field, JSON.stringify(value)))
    .filter(isThere);
}

/** Of a field that is there twice, the last one counts. */
function twice(): BadRequest[] {
  return [chatTable, completionTable].flatMap(({ path, right }) =>
    ["n", "seed", "stop", "stream"].map((field) => ({
      ...postOf(path, `${JSON.stringify({ ...right, [field]: null }).slice(0, -1)},"${field}":{}}`),
      status: 400,
      code: "request_invalid",
      param: field,
    })),
  );
}

function badBodies(): BadRequest[] {
  const noObjects = values.filter((text) => !text.startsWith("{"));
  return posts.flatMap((path) =>
    noObjects.map((body) => ({ ...postOf(path, body), status: 400, code: "request_invalid" })),
  );
}

/** What only the engine can say is wrong. */
function badPrompts(): BadRequest[] {
  const long = "word ".repeat(600);
  const chat = (content: string) =>
    JSON.stringify({ ...chatTable.right, messages: [{ role: "user", content }] });
  const prompt = (text: unknown, others = {}) =>
    JSON.stringify({ ...completionTable.right, prompt: text, ...others });
  const withField = (name: string, value: unknown) => JSON.stringify({ ...chatTable.right, [name]: value });
  const withFormat = (schema: unknown) =>
    withField("response_format", { type: "json_schema", json_schema: { name: "a", schema } });
  const input = (text: unknown, others = {}) => JSON.stringify({ model: "sample", input: text, ...others });
  const bad = (path: string, body: string, param: string, code: string) => ({
    ...postOf(path, body),
    status: 400,
    param,
    code,
  });
  return [
    bad("/v1/chat/completions", chat(long), "messages", "request_too_long"),
    bad("/v1/chat/completions", withField("grammar", "root = x"), "grammar", "grammar_syntax"),
    bad("/v1/chat/completions", withField("grammar", "root ::= root"), "grammar", "grammar_empty"),
    bad("/v1/chat/completions", withField("json_schema", { not: {} }), "json_schema", "schema_unsupported"),
    bad("/v1/chat/completions", withFormat({ type: "strin" }), "response_format", "schema_invalid"),
    bad("/v1/chat/completions", withFormat({ if: {} }), "response_format", "schema_unsupported"),
    ...badTools(),
    bad("/v1/completions", prompt("a", { grammar: 'root ::= "' }), "grammar", "grammar_syntax"),
    bad("/v1/completions", prompt("a", { grammar: "a", json_schema: {} }), "json_schema", "request_invalid"),
    bad("/v1/completions", prompt(long), "prompt", "request_too_long"),
    bad("/v1/completions", prompt(["a", long]), "prompt[1]", "request_too_long"),
    bad("/v1/completions", prompt([[1], Array(600).fill(1)]), "prompt[1]", "request_too_long"),
    bad("/v1/completions", prompt(""), "prompt", "request_empty"),
    bad("/v1/completions", prompt(["a", ""]), "prompt[1]", "request_empty"),
    bad("/v1/completions", prompt([8192]), "prompt", "token_invalid"),
    bad("/v1/completions", prompt([[1], [2 ** 40]]), "prompt[1]", "token_invalid"),
    bad("/v1/embeddings", input(long), "input", "embedding_too_long"),
    bad("/v1/embeddings", input(["a", long]), "input[1]", "embedding_too_long"),
    bad("/v1/embeddings", input([[1], [8192]]), "input[1]", "token_invalid"),
    bad("/v1/embeddings", input(""), "input", "request_invalid"),
    bad("/v1/embeddings", input(["a", ""]), "input[1]", "request_invalid"),
    bad("/v1/embeddings", input(Array(2049).fill("a")), "input", "request_invalid"),
    bad("/v1/embeddings", input("a", { dimensions: 257 }), "dimensions", "embedding_dimensions"),
    bad("/detokenize", JSON.stringify({ model: "sample", tokens: [1, 8192] }), "tokens", "token_invalid"),
  ];
}

/** Tools that cannot be called, or are not there. */
function badTools(): BadRequest[] {
  const tool = (name: string, parameters?: object) => ({ type: "function", function: { name, parameters } });
  const bad = (fields: object, param: string, code = "request_invalid") => ({
    ...postOf(chatTable.path, JSON.stringify({ ...chatTable.right, ...fields })),
    status: 400,
    param,
    code,
  });
  const tools = [tool("a")];
  return [
    bad({ tool_choice: "required" }, "tool_choice"),
    bad({ tools, tool_choice: { type: "function", function: { name: "b" } } }, "tool_choice"),
    bad({ tools: [tool("a b")] }, "tools"),
    bad({ tools: [tool("a"), tool("a")] }, "tools"),
    bad({ tools: [{ type: "retrieval" }] }, "tools"),
    bad({ tools: [tool("a", { type: "string" })] }, "tools", "schema_invalid"),
    bad({ tools: [tool("a", { not: {} })] }, "tools", "schema_unsupported"),
    bad({ tools, response_format: { type: "json_object" } }, "response_format"),
    bad({ tools, grammar: 'root ::= "a"' }, "tools"),
    bad({ messages: [{ role: "tool", content: "a" }] }, "messages"),
  ];
}

/** An error in the form of OpenAI's, that helps and gives nothing away. */
function checkError({ status, headers, text }: Answer, expected: Partial<BadRequest>): void {
  assert.match(String(headers["content-type"]), /^application\/json/);
  const { error } = errorSchema.parse(JSON.parse(text));
  assert.deepEqual(Object.keys(error), ["message", "type", "param", "code", "next"]);
  assert.ok(status >= 400 && status < 500);
  if (expected.code) assert.equal(error.code, expected.code);
  assert.ok(error.message.length > 10 && error.message.length < 1000, error.message);
  assert.match(error.next, /\.$/);
  assert.doesNotMatch(
    `${error.message} ${error.next}`,
    /Invalid input|undefined|\[object|node_modules|\?\.|\.\.$/,
  );
  if (expected.param === undefined) return;
  assert.ok(error.param?.startsWith(expected.param), `${error.param} instead of ${expected.param}`);
  if (error.code !== "request_invalid") return;
  assert.ok(error.message.startsWith(`${error.param}: `), error.message);
  assert.match(
    error.message,
    /has to be|is missing|not supported|it needs|lone surrogate|does not go together/,
  );
}

describe("bad requests", { skip: withoutSample }, () => {
  let server: TestServer;
  let client: HttpClient;
  let atStart: Status;
  let sent = 0;

  before(async () => {
    server = await TestServer.start({ models: [steadyOffered] });
    client = new HttpClient(server.port, inFlight);
    atStart = await server.status();
  });
  after(async () => {
    client.close();
    await server.close();
  });

  async function checkOne(request: BadRequest): Promise<void> {
    const answer = await client.send(request);
    sent++;
    try {
      assert.equal(answer.status, request.status);
      if (request.method !== "HEAD") checkError(answer, request);
    } catch (error) {
      const { method, path, body = "" } = request;
      const shown = `${method} ${path.slice(0, 100)} ${JSON.stringify(request.headers).slice(0, 200)} ${body.toString().slice(0, 300)}`;
      throw new Error(`${shown}\ngot ${answer.status} ${answer.text.slice(0, 500)}`, { cause: error });
    }
  }

  async function checkAll(requests: readonly BadRequest[]): Promise<void> {
    const left = [...requests];
    const work = async () => {
      for (let next = left.pop(); next; next = left.pop()) await checkOne(next);
    };
    await Promise.all(Array.from({ length: inFlight }, work));
  }

  for (const table of tables) {
    it(`with every field of ${table.path} as it may not be`, () => checkAll(badFields(table)));
  }
  it("with fields of any JSON", () => checkAll(randomFields(600)));
  it("with fields that are there twice", () => checkAll(twice()));
  it("with bodies that are no objects", () => checkAll(badBodies()));
  it("with prompts that the model cannot take", () => checkAll(badPrompts()));
  it("with broken JSON", () => checkAll(brokenJson(240)));
  it("with wrong encodings, nested too deep, or empty", () => checkAll(badEncodings()));
  it("with bodies of other types", () => checkAll(badTypes()));
  it("with other methods", () => checkAll(badMethods()));
  it("to paths that lead nowhere", () => checkAll(badPaths()));
  it("for models that are not there", () => checkAll(badModels()));
  it("under other names, from other pages, with headers without measure", () => checkAll(badHeaders()));

  it("with bodies without measure", async () => {
    // Who is still writing when the answer comes may see the end of the connection first.
    for (const request of hugeBodies()) {
      await checkOne(request).catch((error) => {
        if (error.code !== "ECONNRESET" && error.code !== "EPIPE") throw error;
        sent++;
      });
    }
  });

  for (const { what, bytes, statuses, end } of rawRequests) {
    it(`with ${what}`, async () => {
      const answers = answersIn(await sendRaw(server.port, bytes, end));
      sent++;
      assert.deepEqual(
        answers.map(({ status }) => status),
        statuses,
      );
      for (const answer of answers) checkError(answer, {});
    });
  }

  it("are none where a field is at its limits, or as good as not there", async () => {
    const answers = tables.flatMap((table) =>
      table.fields.flatMap(({ name, good }) =>
        good.map(async (value) => {
          const body = bodyWith(table, name, JSON.stringify(value));
          const { status, text } = await client.send(postOf(table.path, body));
          assert.equal(status, 200, `${table.path} ${body}: ${text}`);
        }),
      ),
    );
    await Promise.all(answers);
  });

  it("do not break into the answer to another", async () => {
    const body = JSON.stringify({
      ...completionTable.right,
      max_tokens: 200,
      ignore_eos: true,
      stream: true,
    });
    const head = `POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n`;
    const text = await sendRaw(server.port, `${head}${body}`, false, {
      after: "data: ",
      bytes: "GARBAGE\r\n\r\n",
    });
    assert.equal(text.match(/HTTP\/1\.1/g)?.length, 1);
    assert.doesNotMatch(text, /http_malformed/);
  });

  it("leave nothing behind", async () => {
    assert.ok(sent >= wanted, `${sent} were sent`);
    const answer = await client.send(postOf("/v1/completions", JSON.stringify(completionTable.right)));
    assert.equal(answer.status, 200);
    const now = await server.until(({ requests, models }) => requests.live.length + models[0]!.running === 0);
    assert.equal(now.state, "ready");
    const [model] = now.models;
    assert.equal(model!.pid, atStart.models[0]!.pid);
    assert.equal(model!.restarts, 0);
    assert.equal(model!.waiting, 0);
    assert.equal(model!.kv_cells_used, 0);
    assert.equal(({} as Record<string, unknown>).polluted, undefined);
  });
});
