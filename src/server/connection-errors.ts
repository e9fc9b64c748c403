import { type Server, type ServerResponse, STATUS_CODES } from "node:http";
import type { Duplex } from "node:stream";
import { StowageError } from "../errors.ts";
import { httpErrorOf } from "./http-errors.ts";

/** Longest head of a request, bytes. */
export const headerLimit = 16 * 1024;
/** How long a request may take to arrive, s. */
export const arrivalSeconds = 60;

/** What Node says of bytes that are no request; `reason` is its parser's. */
type ConnectionError = Error & { code?: string; reason?: string };

/** Answers what never becomes a request in the same form as every other error, and ends the connection. */
export function answerConnectionErrors(server: Server): void {
  const responses = new WeakMap<Duplex, ServerResponse>();
  server.on("request", (request, response) => responses.set(request.socket, response));
  server.on("clientError", (error: ConnectionError, socket) => {
    const response = responses.get(socket);
    // In the middle of an answer, another one would be read as part of it.
    const within = response?.headersSent && !response.writableFinished;
    if (within || !socket.writable || error.code === "ECONNRESET") socket.destroy();
    else answer(socket, meaningOf(error));
  });
  server.on("connect", (_, socket: Duplex) =>
    answer(socket, new StowageError("http_malformed", { reason: "it asks for a tunnel" })),
  );
  // What a client expects beyond 100-continue is not promised, and does not keep it from its answer.
  server.on("checkExpectation", (request, response) => server.emit("request", request, response));
}

function answer(socket: Duplex, error: StowageError): void {
  const { status, body } = httpErrorOf(error);
  const text = JSON.stringify(body);
  socket.on("error", () => {});
  socket.end(
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n` +
      `content-type: application/json; charset=utf-8\r\ncontent-length: ${Buffer.byteLength(text)}\r\nconnection: close\r\n\r\n${text}`,
  );
}

function meaningOf(error: ConnectionError): StowageError {
  switch (error.code) {
    case "HPE_HEADER_OVERFLOW":
    case "HPE_CHUNK_EXTENSIONS_OVERFLOW":
      return new StowageError("headers_too_large", { limit: headerLimit });
    case "ERR_HTTP_REQUEST_TIMEOUT":
      return new StowageError("http_timeout", { seconds: arrivalSeconds });
    default:
      return new StowageError("http_malformed", { reason: error.reason ?? error.code ?? "unreadable" });
  }
}
