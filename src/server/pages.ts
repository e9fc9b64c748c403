/**
 * The pages that the server serves: the chat at `/`, the dashboard at `/dashboard`, and what they load below
 * `/pages/`. Every file has a route of its own, made at the start: no path of a request reaches the file system.
 *
 * In a checkout the browser gets the `.ts` files, their types blanked out; the published package holds the `.js` files
 * that the build made of them.
 */
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import nodeModule, { createRequire } from "node:module";
import { dirname, extname, join } from "node:path";
import { pathToFileURL } from "node:url";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";

/** A file that is served. */
interface PageFile {
  readonly url: string;
  readonly path: string;
  readonly type: string;
}

/** What is sent of a file; made when it is first asked for. */
interface Content {
  readonly body: string;
  readonly etag: string;
}

const folder = join(import.meta.dirname, "pages");

const types: Record<string, string> = {
  ".html": "text/html; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".svg": "image/svg+xml",
  ".js": "text/javascript; charset=utf-8",
  ".ts": "text/javascript; charset=utf-8",
};

/** All that a page loads comes from this server; `frame-ancestors` keeps it out of frames of others. */
const policy = "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'";

const headers = {
  "content-security-policy": policy,
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
  // A page may be kept, but is asked for again: after an update nobody runs an old page with a new server.
  "cache-control": "no-cache",
};

/** Serves the pages. They hold no data, so they are open even where the API asks for a key. */
export function registerPages(app: FastifyInstance): void {
  for (const file of pageFiles()) {
    let content: Content | undefined;
    app.get(file.url, (request, reply) => {
      content ??= contentOf(file.path);
      return send(request, reply, file.type, content);
    });
  }
}

/** The URLs that `registerPages` answers. */
export function pageUrls(): string[] {
  return pageFiles().map(({ url }) => url);
}

function send(request: FastifyRequest, reply: FastifyReply, type: string, { body, etag }: Content) {
  reply.headers({ ...headers, etag });
  const known = request.headers["if-none-match"]?.split(",").map((tag) => tag.trim().replace(/^W\//, ""));
  if (known?.includes(etag) || known?.includes("*")) return reply.code(304).send();
  return reply.type(type).send(body);
}

function pageFiles(): PageFile[] {
  const own = readdirSync(folder, { recursive: true, encoding: "utf8" })
    .map((name) => name.replaceAll("\\", "/"))
    .filter((name) => extname(name) in types && !/\.(test|d)\.ts$/.test(name) && !name.endsWith(".html"))
    .map((name) => fileAt(`/pages/${name}`, join(folder, name)));
  const charts = dirname(createRequire(import.meta.url).resolve("uplot"));
  return [
    fileAt("/", join(folder, "chat.html")),
    fileAt("/dashboard", join(folder, "dashboard.html")),
    ...own,
    ...["uPlot.esm.js", "uPlot.min.css"].map((name) => fileAt(`/pages/vendor/${name}`, join(charts, name))),
  ];
}

function fileAt(url: string, path: string): PageFile {
  return { url, path, type: types[extname(path)]! };
}

function contentOf(path: string): Content {
  const source = readFileSync(path, "utf8");
  const body = extname(path) === ".ts" ? withoutTypes(source, path) : source;
  return { body, etag: `"${createHash("sha256").update(body).digest("base64url").slice(0, 22)}"` };
}

/** Blanks the types out, so that lines and columns stay those of the source. */
function withoutTypes(source: string, path: string): string {
  const warn = process.emitWarning;
  // It is said once per process that stripping is experimental. The Node that runs this does it for every file of ours.
  process.emitWarning = () => {};
  try {
    return nodeModule.stripTypeScriptTypes(source, { mode: "strip" });
  } catch (cause) {
    throw new Error(`${pathToFileURL(path)} is not TypeScript that can be stripped`, { cause });
  } finally {
    process.emitWarning = warn;
  }
}
