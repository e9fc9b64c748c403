import { StowageError } from "../errors.ts";
import type { ErrorBody } from "./schemas/common.ts";

type ErrorType = ErrorBody["error"]["type"];

/** An error as a client gets it: status, headers and body. */
export interface HttpError {
  readonly status: number;
  readonly headers: Record<string, string>;
  readonly body: ErrorBody;
}

/** What any error means to a client. One that is not of the catalogue is ours, and its text is for the log alone. */
export function httpErrorOf(error: unknown): HttpError {
  const known =
    error instanceof StowageError
      ? error
      : new StowageError("engine_fault", { reason: "an error inside the server" });
  const { retryAfter, field } = known.details;
  return {
    status: known.status,
    headers: {
      ...(retryAfter !== undefined && { "retry-after": String(retryAfter) }),
      ...(known.status === 401 && { "www-authenticate": "Bearer" }),
    },
    body: {
      error: {
        message: known.message,
        type: typeOf(known.status),
        param: typeof field === "string" && field !== "body" ? field : null,
        code: known.code,
        next: known.next,
      },
    },
  };
}

function typeOf(status: number): ErrorType {
  switch (status) {
    case 401:
      return "authentication_error";
    case 403:
      return "permission_error";
    case 404:
      return "not_found_error";
    case 429:
      return "rate_limit_error";
    default:
      return status < 500 ? "invalid_request_error" : "server_error";
  }
}
