/**
 * Why a stream did not come to its `[DONE]`.
 *
 * - `refused`: the answer was not a stream of events; `code` and `message` are the server's, where it gave any.
 * - `error`: an error was sent as an event of the stream.
 * - `broken`: the connection ended, or what came was no stream of events.
 * - `unreachable`: no connection, or it was lost before an answer.
 * - `timeout`: the next event did not come in time.
 * - `cancelled`: by this side.
 */
export interface StreamFault {
  readonly kind: "refused" | "error" | "broken" | "unreachable" | "timeout" | "cancelled";
  /** What faults are counted by, such as "503 overloaded", "ECONNREFUSED". */
  readonly code: string;
  readonly message: string;
  /** What the server's `Retry-After` said. */
  readonly retryAfter?: string;
}

/** Makes each kind of fault. */
export const streamFault = {
  refused(status: number, body: string, retryAfter: string | undefined): StreamFault {
    const error = errorOf(parsed(body));
    const code = [String(status), error?.code].filter((part) => part !== undefined).join(" ");
    const message = error?.message ?? (body.slice(0, 200) || "the answer is empty");
    return { kind: "refused", code, message, ...(retryAfter !== undefined && { retryAfter }) };
  },
  broken(error: NodeJS.ErrnoException): StreamFault {
    return { kind: "broken", code: error.code ?? "", message: error.message };
  },
  unreachable(error: NodeJS.ErrnoException): StreamFault {
    return { kind: "unreachable", code: error.code ?? "", message: error.message || String(error) };
  },
  timeout(limitMs: number): StreamFault {
    return { kind: "timeout", code: "", message: `nothing came for ${limitMs} ms` };
  },
  cancelled(): StreamFault {
    return { kind: "cancelled", code: "", message: "it was cancelled" };
  },
};

/** The error that an event carries: with the type `error`, or as its `error` member. Undefined when there is none. */
export function errorIn(data: string, type: string): StreamFault | undefined {
  // Within text, quotes are escaped: this is rare enough to keep JSON.parse out of the way of the tokens.
  if (type !== "error" && !data.includes('"error"')) return undefined;
  const value = parsed(data);
  const error = errorOf(value) ?? (type === "error" ? describe(value) : undefined);
  if (error === undefined && type !== "error") return undefined;
  return { kind: "error", code: error?.code ?? "", message: error?.message ?? data.slice(0, 200) };
}

interface ErrorFacts {
  readonly code: string | undefined;
  readonly message: string | undefined;
}

/** The `error` member of an answer, in any of the forms that servers give it. */
function errorOf(value: unknown): ErrorFacts | undefined {
  const error = memberOf(value, "error");
  if (typeof error === "string") return { code: undefined, message: error };
  return describe(error);
}

function describe(error: unknown): ErrorFacts | undefined {
  if (typeof error !== "object" || error === null) return undefined;
  const message = memberOf(error, "message");
  const code = memberOf(error, "code") ?? memberOf(error, "type");
  return {
    code: typeof code === "string" || typeof code === "number" ? String(code) : undefined,
    message: typeof message === "string" ? message : undefined,
  };
}

function memberOf(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>)[name] : undefined;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
