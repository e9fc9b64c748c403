import type { ServerResponse } from "node:http";
import type { FastifyReply } from "fastify";
import type { LiveRequest } from "../gateway/live-request.ts";
import { httpErrorOf } from "./http-errors.ts";

/** Of one reader, so many bytes wait in this process before its request is put aside; what the system buffers comes on top. */
const bufferBytes = 64 * 1024;
/** A reader that took nothing for so long is gone, ms. */
const stalledMs = 10 * 60_000;
/** Proxies cut what is silent: while a request is in the queue it says that it lives, ms. */
const silentMs = 15_000;

/**
 * Server-sent events to one client. Ends with `[DONE]` or an error event, always. A reader that is slower than the model
 * has its request paused until it has caught up.
 */
export class EventStream {
  readonly #reply: FastifyReply;
  readonly #response: ServerResponse;
  readonly #live: LiveRequest;
  /** Events from before the answer began. */
  readonly #early: string[] = [];
  #open = false;
  #ended = false;
  #stalled: NodeJS.Timeout | undefined;
  #silence: NodeJS.Timeout | undefined;

  constructor(reply: FastifyReply, live: LiveRequest) {
    this.#reply = reply;
    this.#response = reply.raw;
    this.#live = live;
  }

  /** Sends the headers: from here on errors are events. */
  open(): void {
    this.#reply.hijack();
    this.#open = true;
    this.#response.writeHead(200, {
      "content-type": "text/event-stream; charset=utf-8",
      "cache-control": "no-cache",
      "x-accel-buffering": "no",
      "x-request-id": this.#live.id,
    });
    this.#response.on("drain", () => this.#drained());
    this.#response.once("close", () => this.#stopTimers());
    this.#silence = setInterval(() => this.#breakSilence(), silentMs);
    if (this.#early.length > 0) this.#write(this.#early.splice(0).join(""));
    else this.#response.flushHeaders();
  }

  /** @param json one line */
  send(json: string): void {
    if (!this.#open) this.#early.push(`data: ${json}\n\n`);
    else this.#write(`data: ${json}\n\n`);
  }

  done(): void {
    this.#end("data: [DONE]\n\n");
  }

  fail(error: unknown): void {
    this.#end(`data: ${JSON.stringify(httpErrorOf(error).body)}\n\n`);
  }

  #write(text: string): void {
    if (this.#ended || this.#response.destroyed) return;
    this.#response.write(text);
    if (this.#response.writableLength > bufferBytes) this.#stall();
  }

  #end(text: string): void {
    if (this.#ended) return;
    this.#ended = true;
    clearInterval(this.#silence);
    this.#response.end(text);
    // Node lets a reader that takes nothing hold the rest for ever.
    if (!this.#response.writableFinished) this.#stalled ??= this.#giveUpLater();
  }

  #stall(): void {
    if (this.#stalled) return;
    this.#live.pause();
    this.#stalled = this.#giveUpLater();
  }

  #drained(): void {
    clearTimeout(this.#stalled);
    this.#stalled = undefined;
    this.#live.resume();
  }

  #giveUpLater(): NodeJS.Timeout {
    return setTimeout(() => this.#response.destroy(), stalledMs).unref();
  }

  #breakSilence(): void {
    if (this.#live.phase === "queued" || this.#live.phase === "prefill") this.#write(": waiting\n\n");
  }

  #stopTimers(): void {
    clearTimeout(this.#stalled);
    clearInterval(this.#silence);
  }
}
