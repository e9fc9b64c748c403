import { StowageError } from "../errors.ts";
import type { LiveRequest } from "../gateway/live-request.ts";
import type { Call } from "./endpoint.ts";
import { EventStream } from "./event-stream.ts";
import {
  type ChoiceResult,
  type ChunkFormat,
  type choicesOf,
  collectChoices,
  type GenerationFields,
  keepAliveSeconds,
  streamChoices,
} from "./generation.ts";

import { type AdaptedBody, adaptersOf } from "./lora.ts";

/** What the bodies of all generation endpoints hold. */
interface GenerationBody extends GenerationFields, AdaptedBody {
  readonly stream?: boolean | null | undefined;
  readonly stream_options?: { readonly include_usage?: boolean | null | undefined } | null | undefined;
}

/** How an endpoint words its answer. */
export interface Wording {
  /** What an answer and each of its chunks begin with. */
  readonly head: object;
  chunks(withUsage: boolean): ChunkFormat;
  choice(result: ChoiceResult, index: number): object;
}

/**
 * The way of every generation endpoint from its checked body to its answer: lets the request in, has the choices generated, and words them,
 * whole or as a stream.
 * @param plain the choices, by the model as it is
 * @param wording asked for once the model is there
 */
export async function answer(
  { context, body, id, reply, signal }: Call<GenerationBody>,
  endpoint: string,
  plain: ReturnType<typeof choicesOf>,
  wording: (live: LiveRequest) => Promise<Wording>,
): Promise<unknown> {
  if (body.stream_options && !body.stream) {
    throw new StowageError("request_invalid", {
      field: "stream_options",
      reason: "it needs stream to be true",
    });
  }
  const { stream } = body;
  const { model, lora } = adaptersOf(context.gateway, body);
  const choices = lora ? plain.map((choice) => ({ ...choice, lora })) : plain;
  const keepAlive = keepAliveSeconds(body.keep_alive);
  const live = await context.gateway.open(
    {
      ...{ id, model, endpoint, stream: stream === true, sequences: choices.length },
      ...(keepAlive !== undefined && { keepAliveSeconds: keepAlive }),
    },
    signal,
  );
  try {
    const { head, chunks, choice } = await wording(live);
    if (stream) {
      const withUsage = body.stream_options?.include_usage === true;
      return await streamChoices(live, choices, new EventStream(reply, live), chunks(withUsage));
    }
    const { results, usage } = await collectChoices(live, choices);
    return { ...head, choices: results.map(choice), usage };
  } finally {
    live.close();
  }
}

/** @param prefix of the id, by which OpenAI's clients know the kind of answer */
export function headOf({ context, body, id }: Call<GenerationBody>, prefix: string, object: string): object {
  return {
    id: `${prefix}-${id}`,
    object,
    created: Math.floor(Date.now() / 1000),
    model: body.model,
    system_fingerprint: `stowage-${context.version}`,
  };
}
