/** Requests that are wrong before anybody reads their body, and bodies that nobody can read. */
import { Random } from "../src/model/random.ts";
import type { Request } from "./http-client.ts";

/** A request and what it has to get. */
export interface BadRequest extends Request {
  readonly status: number;
  readonly code: string;
  /** What `param` begins with. */
  readonly param?: string;
}

const json = { "content-type": "application/json" };
const completion = JSON.stringify({ model: "sample", prompt: "Once upon", max_tokens: 1, stop: ["ä", "😀"] });
export const posts = [
  "/v1/chat/completions",
  "/v1/completions",
  "/v1/embeddings",
  "/tokenize",
  "/detokenize",
  "/api/models/unload",
  "/api/stop",
];
const gets = [
  "/v1/models",
  "/v1/models/sample",
  "/health",
  "/metrics",
  "/api/status",
  "/api/models/sample/experts",
  "/openapi.json",
];

const post = (path: string, body: string | Buffer, headers: Record<string, string> = json): Request => ({
  method: "POST",
  path,
  headers,
  body,
});

/** Cut, with something in between, or with something taken out: as long as it is no JSON any more. */
export function brokenJson(count: number): BadRequest[] {
  const random = new Random(1);
  const breakers = ["}", "]", '"', ",", ":", "\\", "\0", "NaN", "'", "//", "\n", "undefined", "\u2028"];
  const requests: BadRequest[] = [];
  while (requests.length < count) {
    const at = random.below(completion.length);
    const rest = requests.length % 3 === 0 ? "" : completion.slice(at + (requests.length % 3) - 1);
    const body =
      completion.slice(0, at) + (rest === "" ? "" : breakers[random.below(breakers.length)]) + rest;
    if (!isJson(body)) requests.push({ ...post("/v1/completions", body), status: 400, code: "body_invalid" });
  }
  return requests;
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/** Bytes that are no UTF-8, anywhere; other encodings, said and unsaid; nesting; nothing. */
export function badEncodings(): BadRequest[] {
  const bytes = Buffer.from(completion);
  const wrong = [[0xff], [0xc0, 0xaf], [0xed, 0xa0, 0x80], [0xf5, 0x80, 0x80, 0x80], [0x80]];
  const inserted = Array.from({ length: 120 }, (_, index) => {
    const at = Math.floor((index * bytes.length) / 120);
    return Buffer.concat([
      bytes.subarray(0, at),
      Buffer.from(wrong[index % wrong.length]!),
      bytes.subarray(at),
    ]);
  });
  const utf16 = Buffer.from(completion, "utf16le");
  const others = [utf16, Buffer.from(utf16).swap16(), Buffer.from(`\ufeff${completion}`, "utf16le")];
  const nested = [
    "[".repeat(33),
    '{"a":'.repeat(40),
    `${completion.slice(0, -1)},"x":${"[".repeat(100_000)}`,
  ];
  const empty = ["", " ", "\ufeff", "\r\n\r\n"];
  return posts.flatMap((path) => [
    ...[...others, ...nested, ...empty, ...(path === "/v1/completions" ? inserted : [])].map((body) => ({
      ...post(path, body),
      status: 400,
      code: "body_invalid",
    })),
    ...["gzip", "br", "deflate", "zstd", "gzip, identity", "x"].map((encoding) => ({
      ...post(path, completion, { ...json, "content-encoding": encoding }),
      status: 415,
      code: "body_encoding",
    })),
  ]);
}

/** What an HTML form can send, and what is nearly right. */
export function badTypes(): BadRequest[] {
  const types = [
    ...["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/json"],
    ...["application/jsonx", "application/json+x", "application/ld+json", "application", "/", "json", "*/*"],
    ...["application/xml", "application/octet-stream", "text/plain; application/json", "a".repeat(1000)],
  ];
  return posts.flatMap((path) => [
    ...types.map((type) => ({
      ...post(path, completion, { "content-type": type }),
      status: 415,
      code: "body_type",
    })),
    { ...post(path, completion, {}), status: 415, code: "body_type" },
    { method: "POST", path, headers: {}, status: 400, code: "request_invalid" },
  ]);
}

export function badMethods(): BadRequest[] {
  const refused = (methods: string[], paths: string[]) =>
    methods.flatMap((method) =>
      paths.map((path) => ({ method, path, headers: {}, status: 405, code: "method_unknown" })),
    );
  const others = ["PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND", "SEARCH", "TRACE", "PURGE"];
  return [
    ...refused([...others, "GET", "HEAD"], posts),
    ...refused([...others, "POST"], gets),
    ...refused(["PUT", "POST"], ["/v1/models/a%2fb", "/v1/models/", "/v1/models/..%2f..?x=1"]),
  ];
}

export function badPaths(): BadRequest[] {
  const unknown = [
    ...["/v1", "/v1/", "/v2/models", "//", "///", "/.", "/..", "/v1/models/a/b", "/V1/models", "/v1/Models"],
    ...["/v1/chat", "/v1/chat/completions/", "/v1//chat/completions", "/v1/chat/completions/../completions"],
    ...["/../../etc/passwd", "/..%2f..%2fetc%2fpasswd", "/%2e%2e/%2e%2e/etc/passwd", "/v1%2fmodels"],
    ...["/.env", "/.git/config", "/package.json", "/src/server/app.ts", "/models/sample-moe.gguf"],
    ...[
      "/v1/completions%00",
      "/health%20",
      "/health;x",
      "/health:",
      "/metrics/..",
      "/api",
      "/api/",
      "/api/stop/",
    ],
    ...[
      "/__proto__",
      "/constructor",
      "/toString",
      "/api/__proto__",
      `/${"a".repeat(8000)}`,
      `/${"a/".repeat(4000)}`,
    ],
    ...["/v1?/models", "/\\..\\..\\windows", "/~root", "/*", "/:model", "/{model}", "/%7Bmodel%7D"],
  ];
  const malformed = [
    "/v1/models/%",
    "/v1/models/%zz",
    "/v1/models/%f",
    "/%ff%fe",
    "/v1/models/%c0%af",
    "/%u002e",
  ];
  return ["GET", "POST", "DELETE"].flatMap((method) => [
    ...unknown.map((path) => ({ method, path, headers: {}, status: 404, code: "path_unknown" })),
    ...malformed.map((path) => ({ method, path, headers: {}, status: 400, code: "http_malformed" })),
  ]);
}

/** Names of models that would lead elsewhere if they were paths. */
export function badModels(): BadRequest[] {
  const names = [
    ...[
      "",
      " ",
      "sample ",
      " sample",
      "Sample",
      "SAMPLE",
      "sample\0",
      "sample/",
      "./sample",
      "sample/../sample",
    ],
    ...[
      "../sample",
      "../../etc/passwd",
      "/etc/passwd",
      "C:\\sample",
      "\\\\host\\share",
      "file:///etc/passwd",
    ],
    ...[
      "http://localhost/",
      "sample-moe.gguf",
      "models/sample-moe.gguf",
      "sample.gguf",
      "~/sample",
      "*",
      "s?mple",
    ],
    ...[
      "__proto__",
      "constructor",
      "hasOwnProperty",
      "%00",
      "%2e%2e",
      "sample%00",
      "sample\n",
      "sаmple",
      "sample\u200b",
    ],
    ...[
      "$(id)",
      "`id`",
      "sample;ls",
      "|ls",
      "' OR 1=1",
      "{{7*7}}",
      "\ud800",
      "\u202esample",
      "s".repeat(512),
    ],
  ];
  const asked = names.flatMap((model) => {
    const chat = { messages: [{ role: "user", content: "Hello" }], max_tokens: 1 };
    const prompt = { prompt: "a", max_tokens: 1 };
    const bodies = [chat, prompt, { input: "a" }, { prompt: "a" }, { tokens: [1] }, {}];
    return bodies.map((body, index) => post(posts[index]!, JSON.stringify({ model, ...body })));
  });
  // In a path the empty name and half a surrogate cannot stand.
  const inPaths = [...names.filter((name) => name.isWellFormed()), "s".repeat(3000)].map((name) => ({
    method: "GET",
    path: `/v1/models/${encodeURIComponent(name)}`,
    headers: {},
  }));
  return [...asked, ...inPaths].map((request) => ({
    ...request,
    status: 404,
    code: "model_not_found",
    param: "model",
  }));
}

/** Whom a browser may have been led here by, and headers without measure. */
export function badHeaders(): BadRequest[] {
  const hosts = [
    ...["evil.example", "evil.example:80", "localhost.evil.example", "127.0.0.1.evil.example", "localhost."],
    ...["user@localhost", "localhost@evil.example", "evil.example#localhost", "[evil.example]", "a b", "::1"],
    ...["localhost:99999999", "localhost:x", "http://localhost", ",", "localhost, evil.example"],
  ];
  const origins = [
    ...[
      "http://evil.example",
      "https://localhost",
      "null",
      "http://localhost:1",
      "http://localhost.evil.example",
    ],
    ...["file://", "chrome-extension://abcdef", "http://user@evil.example", "http://[::1]:1", "garbage", ""],
  ];
  const huge: Record<string, string>[] = [
    { "x-huge": "a".repeat(20_000) },
    { authorization: `Bearer ${"k".repeat(17_000)}` },
    Object.fromEntries(Array.from({ length: 2000 }, (_, index) => [`x-${index}`, "some value"])),
  ];
  const send = (headers: Record<string, string>, path: string): Request =>
    posts.includes(path) ? post(path, "[]", { ...json, ...headers }) : { method: "GET", path, headers };
  return [...posts, ...gets, "/nowhere"].flatMap((path) => [
    ...hosts.map((host) => ({ ...send({ host }, path), status: 403, code: "host_refused" })),
    ...origins.map((origin) => ({ ...send({ origin }, path), status: 403, code: "origin_refused" })),
    ...huge.map((headers) => ({ ...send(headers, path), status: 431, code: "headers_too_large" })),
  ]);
}

/** Larger than the limit, whether its length is told before or not. */
export function hugeBodies(): BadRequest[] {
  const huge = Buffer.alloc(2 * 1024 * 1024 + 1, " ");
  return ["/v1/completions", "/detokenize"].flatMap((path) =>
    [false, true].map((chunked) => ({ ...post(path, huge), chunked, status: 413, code: "body_too_large" })),
  );
}

/** Bytes of a connection, and the statuses of the answers that they have to get. */
export interface RawRequest {
  readonly what: string;
  readonly bytes: string | Buffer;
  readonly statuses: readonly number[];
  /** Nothing more is said to follow. */
  readonly end?: boolean;
}

const host = "Host: localhost\r\n";
const typed = `${host}Content-Type: application/json\r\n`;
const chunked = "Transfer-Encoding: chunked\r\n";
const smuggled = `0\r\n\r\nGET /api/status HTTP/1.1\r\n${host}\r\n`;
const postHead = `POST /v1/completions HTTP/1.1\r\n${typed}`;

/** One 400 and the end of the connection, so that nothing after it is taken for a request. */
const refusedHeads: [what: string, bytes: string][] = [
  ["both lengths", `${postHead}Content-Length: 5\r\n${chunked}\r\n${smuggled}`],
  ["both lengths, the other way round", `${postHead}${chunked}Content-Length: 5\r\n\r\n${smuggled}`],
  ["two lengths", `${postHead}Content-Length: 5\r\nContent-Length: 6\r\n\r\n${smuggled}`],
  ["two lengths in one", `${postHead}Content-Length: 5, 6\r\n\r\n${smuggled}`],
  ["a negative length", `${postHead}Content-Length: -5\r\n\r\n${smuggled}`],
  ["a length with a sign", `${postHead}Content-Length: +5\r\n\r\n${smuggled}`],
  ["a length in hexadecimal", `${postHead}Content-Length: 0x5\r\n\r\n${smuggled}`],
  ["a length beyond all numbers", `${postHead}Content-Length: ${"9".repeat(30)}\r\n\r\n`],
  ["an unknown coding", `${postHead}Transfer-Encoding: xchunked\r\n\r\n${smuggled}`],
  ["a coding after chunks", `${postHead}Transfer-Encoding: chunked, identity\r\n\r\n${smuggled}`],
  ["chunks twice", `${postHead}Transfer-Encoding: chunked, chunked\r\n\r\n${smuggled}`],
  ["a coding with a space before the colon", `${postHead}Transfer-Encoding : chunked\r\n\r\n${smuggled}`],
  ["a coding with a control character", `${postHead}Transfer-Encoding: \x0bchunked\r\n\r\n${smuggled}`],
  ["a chunk of no size", `${postHead}${chunked}\r\nzz\r\n{}\r\n`],
  ["a chunk of a negative size", `${postHead}${chunked}\r\n-2\r\n{}\r\n`],
  ["a chunk that is longer than it says", `${postHead}${chunked}\r\n1\r\n{}\r\n0\r\n\r\n`],
  ["lines that end without CR", "GET /v1/models HTTP/1.1\nHost: localhost\n\n"],
  ["one line that ends without CR", `GET /v1/models HTTP/1.1\r\nHost: localhost\nX: y\r\n\r\n`],
  ["lines that end without LF", "GET /v1/models HTTP/1.1\rHost: localhost\r\r"],
  ["a folded header", `GET /v1/models HTTP/1.1\r\n${host}X: y\r\n z\r\n\r\n`],
  ["a header without a colon", `GET /v1/models HTTP/1.1\r\n${host}nothing\r\n\r\n`],
  ["a header without a name", `GET /v1/models HTTP/1.1\r\n${host}: nothing\r\n\r\n`],
  ["a header with NUL", `GET /v1/models HTTP/1.1\r\n${host}X: y\0z\r\n\r\n`],
  ["a header name with a space", `GET /v1/models HTTP/1.1\r\n${host}X Y: z\r\n\r\n`],
  ["no version, as in HTTP/0.9", "GET /v1/models\r\n\r\n"],
  ["HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"],
  ["HTTP/3.7", `GET /v1/models HTTP/3.7\r\n${host}\r\n`],
  ["HTTP/1.10", `GET /v1/models HTTP/1.10\r\n${host}\r\n`],
  ["TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"],
  ["an unknown method", `BREW /v1/models HTTP/1.1\r\n${host}\r\n`],
  ["a method in lower case", `get /v1/models HTTP/1.1\r\n${host}\r\n`],
  ["a path without a slash", `GET v1/models HTTP/1.1\r\n${host}\r\n`],
  ["a path that is not encoded", `GET /v1/models/é HTTP/1.1\r\n${host}\r\n`],
  ["a space in the path", `GET /v1/mod els HTTP/1.1\r\n${host}\r\n`],
  ["no host", "GET /v1/models HTTP/1.1\r\nConnection: close\r\n\r\n"],
  ["no host in HTTP/1.0", "GET /v1/models HTTP/1.0\r\n\r\n"],
  ["two hosts", `GET /v1/models HTTP/1.1\r\n${host}Host: evil.example\r\nConnection: close\r\n\r\n`],
  ["the same host twice", `GET /v1/models HTTP/1.1\r\n${host}${host}Connection: close\r\n\r\n`],
  [
    "a coding that nobody reads",
    `${postHead}Connection: close\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n`,
  ],
  ["a tunnel", "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n"],
];

export const rawRequests: readonly RawRequest[] = [
  ...refusedHeads.map(([what, bytes]) => ({ what, bytes: Buffer.from(bytes), statuses: [400] })),
  { what: "a first line that ends early", bytes: "GET /v1/mod", statuses: [400], end: true },
  { what: "a head that ends early", bytes: `GET /v1/models HTTP/1.1\r\n${host}`, statuses: [400], end: true },
  {
    what: "a body that ends early",
    bytes: `${postHead}Content-Length: 50\r\n\r\n{"model":`,
    statuses: [400],
    end: true,
  },
  {
    what: "chunks that end early",
    bytes: `${postHead}${chunked}\r\n5\r\n{"mod`,
    statuses: [400],
    end: true,
  },
  {
    what: "a body that is longer than it says",
    bytes: `${postHead}Content-Length: 2\r\n\r\n{}{"model":"sample"}`,
    statuses: [400],
  },
  {
    what: "a path without end",
    bytes: `GET /${"a".repeat(20_000)} HTTP/1.1\r\n${host}\r\n`,
    statuses: [431],
  },
  {
    what: "headers without end",
    bytes: `GET /v1/models HTTP/1.1\r\n${host}${"X: a\r\n".repeat(5000)}\r\n`,
    statuses: [431],
  },
  {
    what: "a chunk's extension without end",
    bytes: `${postHead}${chunked}\r\n2;${"a".repeat(20_000)}\r\n{}\r\n0\r\n\r\n`,
    statuses: [431],
  },
  {
    what: "a length beyond the limit, and no body",
    bytes: `${postHead}Content-Length: 9000000\r\n\r\n`,
    statuses: [413],
  },
  {
    what: "a length beyond the limit that waits to be asked for",
    bytes: `${postHead}Expect: 100-continue\r\nContent-Length: 9000000\r\n\r\n`,
    statuses: [413],
  },
  {
    what: "an expectation that nobody knows, of a body that is wrong",
    bytes: `${postHead}Expect: miracles\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}`,
    statuses: [400],
  },
  {
    what: "an upgrade of what is not there",
    bytes: `GET /nowhere HTTP/1.1\r\n${host}Connection: close, Upgrade\r\nUpgrade: websocket\r\n\r\n`,
    statuses: [404],
  },
  {
    what: "another server's address",
    bytes: "GET http://localhost/v1/models HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n",
    statuses: [403],
  },
  {
    what: "a host without a name",
    bytes: "GET /v1/models HTTP/1.1\r\nHost:\r\nConnection: close\r\n\r\n",
    statuses: [403],
  },
  {
    what: "a path out of the root",
    bytes: `GET /v1/../../../etc/passwd HTTP/1.1\r\n${host}Connection: close\r\n\r\n`,
    statuses: [404],
  },
  {
    what: "all that there is",
    bytes: `OPTIONS * HTTP/1.1\r\n${host}Connection: close\r\n\r\n`,
    statuses: [404],
  },
  {
    what: "three at once, the last of them wrong",
    bytes: `${`GET /nowhere HTTP/1.1\r\n${host}\r\n`.repeat(2)}GARBAGE\r\n\r\n`,
    statuses: [400],
  },
];
