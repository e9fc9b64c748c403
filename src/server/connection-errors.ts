import type { Socket } from "node:net";
import { StowageError } from "../errors.ts";
import { httpErrorOf } from "./http-errors.ts";

/** Longest head of a request, bytes. */
export const headerLimit = 16 * 1024;
/** How long a request may take to arrive, s. */
export const arrivalSeconds = 60;

/** Answers what is no request at all, in the same form as every other error, and ends the connection. */
export function answerConnectionError(error: Error & { code?: string }, socket: Socket): void {
  if (!socket.writable || error.code === "ECONNRESET") {
    socket.destroy();
    return;
  }
  const { status, body } = httpErrorOf(meaningOf(error));
  const text = JSON.stringify(body);
  socket.end(
    `HTTP/1.1 ${status} ${status === 431 ? "Request Header Fields Too Large" : "Bad Request"}\r\n` +
      `content-type: application/json; charset=utf-8\r\ncontent-length: ${Buffer.byteLength(text)}\r\nconnection: close\r\n\r\n${text}`,
  );
}

function meaningOf(error: Error & { code?: string }): StowageError {
  switch (error.code) {
    case "HPE_HEADER_OVERFLOW":
    case "HPE_CHUNK_EXTENSIONS_OVERFLOW":
      return new StowageError("headers_too_large", { limit: headerLimit });
    case "ERR_HTTP_REQUEST_TIMEOUT":
      return new StowageError("http_timeout", { seconds: arrivalSeconds });
    default:
      return new StowageError("http_malformed", { reason: error.code ?? "unreadable" });
  }
}
