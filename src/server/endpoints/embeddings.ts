import type { EmbeddingMessage } from "../../gateway/engine-process.ts";
import type { LiveRequest } from "../../gateway/live-request.ts";
import { about } from "../about-field.ts";
import { type Call, endpoint } from "../endpoint.ts";
import { type Input, keepAliveSeconds } from "../generation.ts";
import { inputsIn } from "../inputs.ts";
import { type EmbeddingsRequest, embeddingsRequest, embeddingsResponse } from "../schemas/embeddings.ts";

/** Texts of one request that the engine has at a time: enough for full steps, and others get their turn. */
const inFlight = 16;

export const embeddings = endpoint({
  method: "POST",
  path: "/v1/embeddings",
  summary: "Vectors of texts",
  tag: "OpenAI",
  body: embeddingsRequest,
  response: embeddingsResponse,
  handle,
});

async function handle({ context, body, id, signal }: Call<EmbeddingsRequest>): Promise<unknown> {
  const { model } = body;
  const inputs = inputsIn("input", body.input);
  const keepAlive = keepAliveSeconds(body.keep_alive);
  const live = await context.gateway.open(
    {
      ...{ id, model, endpoint: "embeddings", stream: false, sequences: Math.min(inputs.length, inFlight) },
      ...(keepAlive !== undefined && { keepAliveSeconds: keepAlive }),
    },
    signal,
  );
  try {
    const results = await embedAll(live, inputs, body.dimensions ?? undefined);
    const prompt_tokens = results.reduce((sum, { promptTokens }) => sum + promptTokens, 0);
    const cached_tokens = results.reduce((sum, { cachedTokens }) => sum + cachedTokens, 0);
    return {
      object: "list",
      data: results.map(({ vector }, index) => ({
        object: "embedding",
        index,
        embedding: body.encoding_format === "base64" ? vector : numbersOf(vector),
      })),
      model,
      usage: { prompt_tokens, total_tokens: prompt_tokens, prompt_tokens_details: { cached_tokens } },
    };
  } finally {
    live.close();
  }
}

/** In the order of the inputs; the first that fails ends them all. */
async function embedAll(
  live: LiveRequest,
  inputs: readonly Input[],
  dimensions: number | undefined,
): Promise<EmbeddingMessage[]> {
  const results: EmbeddingMessage[] = [];
  let next = 0;
  const work = async () => {
    while (next < inputs.length) {
      const index = next++;
      const { input, field } = inputs[index]!;
      const call = { input, ...(dimensions !== undefined && { dimensions }) };
      results[index] = await about(field, live.embed(call));
    }
  };
  await Promise.all(Array.from({ length: Math.min(inputs.length, inFlight) }, work));
  return results;
}

/** Nine digits tell every F32 from its neighbours. */
function numbersOf(vector: string): number[] {
  const bytes = Buffer.from(vector, "base64");
  return Array.from({ length: bytes.length / 4 }, (_, index) =>
    Number(bytes.readFloatLE(4 * index).toPrecision(9)),
  );
}
