/** The streams that `bench gateway` opens. */
import { type ClientRequest, request as httpRequest } from "node:http";
import { StowageError } from "../errors.ts";
import { hasSmallBuffers } from "../workload/small-buffers.ts";
import { openStream, type streamAgent } from "../workload/stream-client.ts";

export interface StreamPlan {
  readonly url: string;
  readonly model: string;
  readonly agent: ReturnType<typeof streamAgent>;
  readonly streams: number;
  readonly tokens: number;
}

/** Opens streams side by side, and reads all to their `[DONE]`. @returns the gaps between the tokens of each, ms */
export async function gapsOfStreams(plan: StreamPlan): Promise<number[]> {
  const streams = Array.from({ length: plan.streams }, (_, index) => gapsOfStream(plan, index));
  return (await Promise.all(streams)).flat();
}

async function gapsOfStream({ url, model, agent, tokens }: StreamPlan, index: number): Promise<number[]> {
  const times: number[] = [];
  const end = await openStream({
    url: new URL("/v1/completions", url),
    agent,
    body: JSON.stringify({ ...bodyOf(model, tokens), prompt: promptOf(index), stream: true }),
    onEvent: (data, at) => {
      if (!data.includes(`"finish_reason":"`)) times.push(at);
    },
  });
  if (end.fault)
    throw new StowageError("side_failed", { task: "a stream", reason: JSON.stringify(end.fault) });
  // The first event opens the choice; the second is the first token.
  return times.slice(2).map((at, position) => at - times[position + 1]!);
}

/** What a sequence is asked for, by HTTP and directly. */
export function promptOf(index: number): string {
  return `Chapter ${index}. The captain looked at the sea, and`;
}

function bodyOf(model: string, tokens: number) {
  return { model, max_tokens: tokens, ignore_eos: true, seed: 1 };
}

/** Choices of an answer that is longer than what the system takes for a reader, by the size of its buffers. */
const stalledChoices = hasSmallBuffers ? 1 : 16;

/** Opens streams of long answers that nobody reads. @returns what ends them */
export function stallStreams({ url, model, streams, tokens }: StreamPlan): () => void {
  const requests: ClientRequest[] = [];
  for (let index = 0; index < streams; index++) {
    const body = JSON.stringify({
      ...bodyOf(model, tokens),
      messages: [{ role: "user", content: promptOf(index) }],
      stream: true,
      logprobs: true,
      top_logprobs: 20,
      n: stalledChoices,
    });
    const request = httpRequest(new URL("/v1/chat/completions", url), {
      method: "POST",
      agent: false,
      headers: { "content-type": "application/json", "content-length": Buffer.byteLength(body) },
    });
    request.on("error", () => {});
    request.on("response", (response) => {
      response.on("error", () => {});
      response.pause();
    });
    request.end(body);
    requests.push(request);
  }
  return () => {
    for (const request of requests) request.destroy();
  };
}

export interface OpenedStreams {
  /** The most that were open at one time: headers received, `[DONE]` not. */
  readonly mostOpen: number;
  /** Those that came to their `[DONE]`. */
  readonly completed: number;
}

/** Opens all streams at once, and reads them to their ends. */
export async function openTogether({
  url,
  model,
  agent,
  streams,
  tokens,
}: StreamPlan): Promise<OpenedStreams> {
  let open = 0;
  let mostOpen = 0;
  let completed = 0;
  await Promise.all(
    Array.from({ length: streams }, async (_, index) => {
      let isOpen = false;
      const end = await openStream({
        url: new URL("/v1/completions", url),
        agent,
        body: JSON.stringify({ ...bodyOf(model, tokens), prompt: promptOf(index), stream: true }),
        onEvent: () => {
          if (isOpen) return;
          isOpen = true;
          open++;
          mostOpen = Math.max(mostOpen, open);
        },
      });
      if (isOpen) open--;
      if (!end.fault) completed++;
    }),
  );
  return { mostOpen, completed };
}
