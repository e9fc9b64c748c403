/** What went wrong, in the shape of the API's errors. */
export interface Failure {
  readonly message: string;
  /** The next thing to try. */
  readonly next?: string;
  readonly code?: string;
  /** The parameter at fault. */
  readonly param?: string;
  /** HTTP status; none when there was no answer at all. */
  readonly status?: number;
  /** Seconds after which the server wants to be asked again. */
  readonly retryAfter?: number;
}

export class ApiError extends Error {
  readonly failure: Failure;
  constructor(failure: Failure) {
    super(failure.message);
    this.failure = failure;
  }
}

/** Reads `{error: {message, next, code, param}}`; `fallback` is the message where there is none. */
export function failureFrom(body: unknown, fallback: string): Failure {
  const error = fieldOf(body, "error");
  const text = (key: string) => {
    const value = fieldOf(error, key);
    return typeof value === "string" && value !== "" ? { [key]: value } : {};
  };
  const message = typeof error === "string" && error !== "" ? error : fallback;
  return { message, ...text("message"), ...text("next"), ...text("code"), ...text("param") };
}

/** The failure of an answer that is not ok. */
export async function failureOf(response: Response): Promise<Failure> {
  const body: unknown = await response.json().catch(() => undefined);
  const failure = failureFrom(
    body,
    `The server answered ${response.status} ${response.statusText}`.trimEnd(),
  );
  const seconds = Number(response.headers.get("retry-after") ?? Number.NaN);
  return {
    ...failure,
    status: response.status,
    ...(Number.isFinite(seconds) && { retryAfter: Math.max(0, seconds) }),
  };
}

/** The failure behind anything that was thrown. */
export function failureIn(error: unknown): Failure {
  if (error instanceof ApiError) return error.failure;
  if (error instanceof TypeError) {
    return {
      message: "The server cannot be reached.",
      next: "Check that it is still running, then try again.",
    };
  }
  return { message: error instanceof Error ? error.message : String(error) };
}

function fieldOf(value: unknown, key: string): unknown {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>)[key] : undefined;
}
