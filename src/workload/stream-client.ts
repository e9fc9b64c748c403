import {
  type ClientRequest,
  Agent as HttpAgent,
  request as httpRequest,
  type IncomingMessage,
} from "node:http";
import { Agent as HttpsAgent, request as httpsRequest } from "node:https";
import { SseParser } from "./sse-parser.ts";
import { errorIn, type StreamFault, streamFault } from "./stream-fault.ts";

/** One request whose answer is a stream of server-sent events, as the OpenAI API gives with `stream: true`. */
export interface StreamRequest {
  /** Where to, such as http://127.0.0.1:8321/v1/completions. */
  readonly url: URL;
  /** The body, JSON. */
  readonly body: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Holds the connections; see {@link streamAgent}. Default: Node's own. */
  readonly agent?: HttpAgent | HttpsAgent;
  /** Aborting it drops the connection; the outcome is then `cancelled`. */
  readonly signal?: AbortSignal;
  /** The longest wait for the next event, ms; comments that keep the connection alive do not count. Default: no limit. */
  readonly idleMs?: number;
  /** Called for each event, not for `[DONE]` nor an error, with its time of arrival by `performance.now`. */
  readonly onEvent: (data: string, at: number) => void;
}

/** How a stream has ended. */
export interface StreamEnd {
  /** Undefined when the stream came to its `[DONE]`. */
  readonly fault: StreamFault | undefined;
  /** HTTP status; undefined when no answer came. */
  readonly status: number | undefined;
  /** When the request was written and when its last event came, or it failed, by `performance.now`. */
  readonly sentAt: number;
  readonly endedAt: number;
}

/** After `[DONE]`, ms that a server has to end its answer, so that the connection can be used again. */
const graceMs = 1000;
/** The most characters of an answer that is no stream which are kept, to tell what is wrong. */
const refusalLimit = 16 * 1024;

/** Connections for requests to `url`: kept alive, and as many as there are requests. `destroy()` closes them. */
export function streamAgent(url: URL): HttpAgent | HttpsAgent {
  const options = { keepAlive: true, maxSockets: Number.POSITIVE_INFINITY, maxFreeSockets: 4096 };
  return url.protocol === "https:" ? new HttpsAgent(options) : new HttpAgent(options);
}

/** Sends the request and reads its answer to the end. Never rejects: what goes wrong is the `fault`. */
export async function openStream(request: StreamRequest): Promise<StreamEnd> {
  const sentAt = performance.now();
  const first = await new Exchange(request, sentAt).ended;
  // A server may close an idle connection at the very moment that it is used again: the request was not read then.
  return first.isStale ? (await new Exchange(request, sentAt).ended).end : first.end;
}

interface Ended {
  readonly end: StreamEnd;
  /** Whether a connection of an earlier request was found closed. */
  readonly isStale: boolean;
}

/** One request on one connection. */
class Exchange {
  readonly ended: Promise<Ended>;
  readonly #request: StreamRequest;
  readonly #sentAt: number;
  readonly #sent: ClientRequest;
  readonly #idle: NodeJS.Timeout | undefined;
  #resolve!: (ended: Ended) => void;
  #response: IncomingMessage | undefined;
  #fault: StreamFault | undefined;
  #isDone = false;
  #isOver = false;
  #lastAt: number | undefined;

  constructor(request: StreamRequest, sentAt: number) {
    this.#request = request;
    this.#sentAt = sentAt;
    this.ended = new Promise((resolve) => {
      this.#resolve = resolve;
    });
    if (request.idleMs !== undefined) this.#idle = setTimeout(() => this.#onIdle(), request.idleMs);
    this.#sent = this.#send();
  }

  #send(): ClientRequest {
    const { url, body, headers, agent, signal } = this.#request;
    const send = url.protocol === "https:" ? httpsRequest : httpRequest;
    const sent = send(url, {
      method: "POST",
      headers: {
        accept: "text/event-stream",
        "content-type": "application/json",
        "content-length": Buffer.byteLength(body),
        ...headers,
      },
      ...(agent && { agent }),
      ...(signal && { signal }),
    });
    sent.on("response", (response) => this.#onResponse(response));
    sent.on("error", (error: NodeJS.ErrnoException) => this.#onBroken(error));
    sent.end(body);
    return sent;
  }

  #onResponse(response: IncomingMessage): void {
    this.#response = response;
    response.on("error", (error) => this.#onBroken(error));
    response.on("close", () => this.#onBroken(new Error("the connection ended before [DONE]")));
    const isStream = response.headers["content-type"]?.includes("event-stream") ?? false;
    if (response.statusCode === 200 && isStream) this.#readEvents(response);
    else this.#readRefusal(response);
  }

  #readEvents(response: IncomingMessage): void {
    let at = 0;
    const parser = new SseParser((data, type) => this.#onEvent(data, type, at));
    response.on("data", (chunk: Buffer) => {
      at = performance.now();
      try {
        parser.push(chunk);
      } catch (error) {
        if (!(error instanceof RangeError)) throw error;
        this.#onBroken(error);
      }
    });
    response.on("end", () => {
      if (this.#isDone || this.#fault) this.#finish();
    });
  }

  #onEvent(data: string, type: string, at: number): void {
    if (this.#isDone || this.#fault || this.#isOver) return;
    this.#lastAt = at;
    if (data === "[DONE]") {
      this.#isDone = true;
      this.#awaitEnd();
      return;
    }
    this.#fault = errorIn(data, type);
    if (this.#fault) {
      this.#awaitEnd();
      return;
    }
    this.#idle?.refresh();
    this.#request.onEvent(data, at);
  }

  /** The answer is complete; the connection is given a moment to end it and become free. */
  #awaitEnd(): void {
    clearTimeout(this.#idle);
    const timer = setTimeout(() => this.#finish(), graceMs);
    this.#response!.once("close", () => clearTimeout(timer));
  }

  #readRefusal(response: IncomingMessage): void {
    let text = "";
    response.setEncoding("utf8");
    response.on("data", (chunk: string) => {
      if (text.length < refusalLimit) text += chunk.slice(0, refusalLimit - text.length);
    });
    response.on("end", () => {
      this.#fault ??= streamFault.refused(response.statusCode ?? 0, text, response.headers["retry-after"]);
      this.#finish();
    });
  }

  #onIdle(): void {
    this.#fault ??= streamFault.timeout(this.#request.idleMs!);
    this.#finish();
  }

  #onBroken(error: NodeJS.ErrnoException): void {
    if (this.#isOver) return;
    const isStale = !this.#response && this.#sent.reusedSocket && error.code === "ECONNRESET";
    if (this.#request.signal?.aborted) this.#fault ??= streamFault.cancelled();
    else if (!this.#isDone)
      this.#fault ??= this.#response ? streamFault.broken(error) : streamFault.unreachable(error);
    this.#finish(isStale);
  }

  #finish(isStale = false): void {
    if (this.#isOver) return;
    this.#isOver = true;
    clearTimeout(this.#idle);
    const isComplete = this.#response?.complete ?? false;
    if (!isComplete) this.#sent.destroy();
    const isFailed = this.#fault !== undefined && this.#fault.kind !== "error";
    const endedAt = isFailed ? performance.now() : (this.#lastAt ?? performance.now());
    const end = { fault: this.#fault, status: this.#response?.statusCode, sentAt: this.#sentAt, endedAt };
    this.#resolve({ end, isStale: isStale && !this.#request.signal?.aborted });
  }
}
