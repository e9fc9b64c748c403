import { ApiError, failureOf } from "./failure.ts";
import { askForKey } from "./key-dialog.ts";
import { read } from "./storage.ts";

/** Where the API key is kept in the browser. */
export const apiKeyName = "stowage.api-key";

/**
 * Asks the server, with the API key if there is one. Where a key is wanted, the reader is asked for it, and the
 * request is sent again.
 *
 * @throws ApiError when the answer is an error; TypeError when there is none.
 */
export async function ask(path: string, init: RequestInit = {}): Promise<Response> {
  for (;;) {
    const response = await fetch(path, withKey(init));
    if (response.ok) return response;
    const failure = await failureOf(response);
    if (response.status !== 401 || !(await askForKey(failure, apiKeyName))) throw new ApiError(failure);
    init.signal?.throwIfAborted();
  }
}

/** What a request with this JSON body needs. */
export function post(body: unknown, signal?: AbortSignal): RequestInit {
  const headers = { "content-type": "application/json" };
  return { method: "POST", headers, body: JSON.stringify(body), ...(signal && { signal }) };
}

function withKey(init: RequestInit): RequestInit {
  const key = read(apiKeyName);
  const headers = new Headers(init.headers);
  if (key !== null) headers.set("authorization", `Bearer ${key}`);
  return { ...init, headers };
}
