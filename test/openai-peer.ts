/** A server that speaks as much of the OpenAI API as a load client needs, with timings and faults that a test sets. */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { TestContext } from "node:test";
import { setTimeout as wait } from "node:timers/promises";

/** What a client asked for. */
export interface PeerRequest {
  readonly model: string;
  readonly prompt?: string | readonly number[];
  readonly messages?: readonly { readonly role: string; readonly content: string }[];
  readonly max_tokens: number;
  readonly ignore_eos: boolean;
}

/** `refuse` with status 503, `break` the stream after one token, send an `error` event, or `stall` after one token. */
export type PeerFault = "refuse" | "break" | "error" | "stall";

export interface PeerOptions {
  /** Ms before the first token, and before each further one. */
  readonly firstMs?: number;
  readonly tokenMs?: number;
  /** Whether there is `/tokenize`, where each word is one token. Default: yes. */
  readonly tokenizes?: boolean;
  readonly faultOf?: (index: number) => PeerFault | undefined;
  /** The bearer token that it wants. */
  readonly key?: string;
}

/** What it was asked, in the order of arrival. */
export interface Peer {
  readonly url: string;
  readonly requests: readonly PeerRequest[];
  /** Requests under way at the same time, at most. */
  readonly mostAtOnce: () => number;
}

/** Starts one for a test. */
export async function openAiPeer(test: TestContext, options: PeerOptions = {}): Promise<Peer> {
  const requests: PeerRequest[] = [];
  let running = 0;
  let most = 0;
  const server = createServer(async (request, response) => {
    const answer = (value: unknown, status = 200, headers = {}) => {
      response
        .writeHead(status, { "content-type": "application/json", ...headers })
        .end(JSON.stringify(value));
    };
    const { authorization } = request.headers;
    if (options.key !== undefined && authorization !== `Bearer ${options.key}`)
      return answer({ error: { code: "invalid_api_key", message: "wrong key" } }, 401);
    if (request.url === "/v1/models") return answer({ data: [{ id: "peer-model" }] });
    const body = JSON.parse((await request.toArray()).join(""));
    if (request.url === "/tokenize" && options.tokenizes !== false) return answer(tokensOf(body.prompt));
    if (!request.url?.startsWith("/v1/")) return answer({ error: { message: "no such path" } }, 404);
    requests.push(body);
    const fault = options.faultOf?.(requests.length - 1);
    if (fault === "refuse")
      return answer({ error: { code: "overloaded", message: "full" } }, 503, { "retry-after": "1" });
    most = Math.max(most, ++running);
    await stream(request, response, body, options, fault).finally(() => running--);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  test.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return { url, requests, mostAtOnce: () => most };
}

function tokensOf(prompt: string) {
  const tokens = prompt.split(" ").map((_, index) => 100 + index);
  return { count: tokens.length, tokens, max_model_len: 4096 };
}

async function stream(
  request: IncomingMessage,
  response: ServerResponse,
  body: PeerRequest,
  { firstMs = 0, tokenMs = 0 }: PeerOptions,
  fault: PeerFault | undefined,
): Promise<void> {
  const isChat = request.url === "/v1/chat/completions";
  const send = (value: unknown) => response.write(`data: ${JSON.stringify(value)}\n\n`);
  response.writeHead(200, { "content-type": "text/event-stream" });
  if (isChat) send({ choices: [{ delta: { role: "assistant", content: "" } }] });
  for (let token = 0; token < body.max_tokens; token++) {
    await wait(token === 0 ? firstMs : tokenMs);
    if (token > 0 && fault === "break") return void response.destroy();
    if (token > 0 && fault === "stall") return;
    if (token > 0 && fault === "error") return void response.end('data: {"error":{"code":"lost"}}\n\n');
    send({ choices: [isChat ? { delta: { content: " word" } } : { text: " word" }] });
  }
  const usage = { prompt_tokens: lengthOf(body), completion_tokens: body.max_tokens };
  send({ choices: [], usage: { ...usage, prompt_tokens_details: { cached_tokens: 1 } } });
  response.end("data: [DONE]\n\n");
}

/** A token each word, and 7 for the form of a chat. */
function lengthOf({ prompt, messages }: PeerRequest): number {
  if (messages) return 7 + messages[0]!.content.split(" ").length;
  return typeof prompt === "string" ? prompt.split(" ").length : prompt!.length;
}
