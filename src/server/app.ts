import { randomUUID } from "node:crypto";
import fastify, {
  type FastifyBaseLogger,
  type FastifyError,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  LogController,
} from "fastify";
import type { Logger } from "pino";
import { StowageError } from "../errors.ts";
import { bodyLimit, parseBody } from "./body.ts";
import { checkBody } from "./check-body.ts";
import { answerConnectionErrors, arrivalSeconds, headerLimit } from "./connection-errors.ts";
import type { Endpoint, ServerContext } from "./endpoint.ts";
import { endpoints } from "./endpoints/all.ts";
import type { Guard } from "./guard.ts";
import { httpErrorOf } from "./http-errors.ts";
import { openApiDocument } from "./openapi.ts";
import { registerPages } from "./pages.ts";

const documentItself = { method: "GET", path: "/openapi.json" };

/** The HTTP face: checks every request, hands it to its endpoint, and words every error. */
export function makeApp(context: ServerContext, guard: Guard, logger: Logger): FastifyInstance {
  const app = fastify({
    loggerInstance: logger as FastifyBaseLogger,
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit,
    requestTimeout: arrivalSeconds * 1000,
    // Host is asked for by the guard, which says so.
    http: { maxHeaderSize: headerLimit, requireHostHeader: false },
    // Names are compared with those of the models, whatever their length.
    routerOptions: { maxParamLength: headerLimit },
    // See answerConnectionErrors.
    clientErrorHandler: () => {},
    genReqId: () => randomUUID().replaceAll("-", ""),
    // Until the last answer is given, requests are refused by the gateway, in its words.
    return503OnClosing: false,
    exposeHeadRoutes: true,
    frameworkErrors: (error, request, reply) => sendError(reply, meaningOf(error, request)),
  });
  answerConnectionErrors(app.server);
  readJsonOnly(app);
  app.addHook("onRequest", async (request, reply) => {
    reply.header("x-request-id", request.id);
    guard.checkFraming(request);
    guard.checkOrigin(request);
  });
  app.setErrorHandler((error: FastifyError, request, reply) => {
    const meaning = meaningOf(error, request);
    const { status } = httpErrorOf(meaning);
    if (!(meaning instanceof StowageError)) request.log.error({ err: error, url: request.url }, "failed");
    else if (status >= 500) request.log.warn({ code: meaning.code, url: request.url }, meaning.message);
    return sendError(reply, meaning);
  });
  app.setNotFoundHandler((request, reply) => sendError(reply, nothingThere(request, reply)));
  for (const endpoint of endpoints) register(app, endpoint, context, guard);
  registerPages(app);
  const document = openApiDocument(endpoints, context.version);
  app.get(documentItself.path, () => document);
  return app;
}

function register(app: FastifyInstance, endpoint: Endpoint, context: ServerContext, guard: Guard): void {
  const { body: schema } = endpoint;
  app.route({
    method: endpoint.method,
    url: endpoint.path.replaceAll(/\{(\w+)\}/g, ":$1"),
    ...(!endpoint.open && { onRequest: async (request: FastifyRequest) => guard.checkKey(request) }),
    handler: async (request, reply) => {
      const call = {
        context,
        body: schema ? checkBody(schema, request.body) : undefined,
        params: request.params as Record<string, string>,
        id: request.id,
        reply,
        signal: goneSignal(reply),
      };
      const result = await endpoint.handle(call);
      return reply.raw.headersSent ? reply : result;
    },
  });
}

/** Aborted when the client goes before it has its answer. */
function goneSignal(reply: FastifyReply): AbortSignal {
  const abort = new AbortController();
  reply.raw.once("close", () => {
    if (!reply.raw.writableFinished) abort.abort();
  });
  return abort.signal;
}

/** Only JSON under its own name: forms and plain text are what a foreign page can send without being asked. */
function readJsonOnly(app: FastifyInstance): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser("application/json", { parseAs: "buffer" }, ({ headers }, bytes, done) => {
    try {
      checkEncoding(headers["content-encoding"]);
      done(null, parseBody(bytes as Buffer));
    } catch (error) {
      done(error as Error);
    }
  });
}

function checkEncoding(encoding = "identity"): void {
  if (encoding.toLowerCase() === "identity") return;
  throw new StowageError("body_encoding", { encoding: encoding.slice(0, 200) });
}

function sendError(reply: FastifyReply, error: unknown): FastifyReply {
  const { status, headers, body } = httpErrorOf(error);
  return reply.status(status).headers(headers).send(body);
}

/** What the framework throws has a code of its own. */
function meaningOf(error: FastifyError | StowageError, { headers }: FastifyRequest): unknown {
  switch (error.code) {
    case "FST_ERR_CTP_BODY_TOO_LARGE":
      return new StowageError("body_too_large", { limit: bodyLimit });
    case "FST_ERR_CTP_INVALID_MEDIA_TYPE":
    case "FST_ERR_CTP_INVALID_CONTENT_TYPE":
      return new StowageError("body_type", { type: headers["content-type"]?.slice(0, 200) ?? "none" });
    case "FST_ERR_CTP_INVALID_CONTENT_LENGTH":
    case "FST_ERR_CTP_EMPTY_JSON_BODY":
    case "FST_ERR_BAD_URL":
    case "FST_ERR_ASYNC_CONSTRAINT":
      return new StowageError("http_malformed", { reason: error.message });
    case "ECONNRESET":
      return new StowageError("request_cancelled", {});
    default:
      return error;
  }
}

/** Of paths with this form, where a parameter is one part. */
function pathPattern(path: string): RegExp {
  return new RegExp(`^${path.replaceAll(".", "\\.").replaceAll(/\{\w+\}/g, "[^/]*")}$`);
}

function nothingThere(request: FastifyRequest, reply: FastifyReply): StowageError {
  const path = request.url.split("?")[0]!.slice(0, 200);
  const allowed = [...endpoints, documentItself]
    .filter((endpoint) => pathPattern(endpoint.path).test(path))
    .map(({ method }) => method);
  if (allowed.length === 0) return new StowageError("path_unknown", { method: request.method, path });
  reply.header("allow", allowed.join(", "));
  return new StowageError("method_unknown", { method: request.method, path, allowed: allowed.join(", ") });
}
