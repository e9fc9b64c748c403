import { z } from "zod";
import type { ServedModel } from "../../gateway/served-model.ts";
import { endpoint, type ServerContext } from "../endpoint.ts";
import { count } from "../schemas/common.ts";

const model = z.object({
  id: z.string(),
  object: z.literal("model"),
  /** When the server began to offer it, Unix s. */
  created: count,
  owned_by: z.literal("stowage"),
  /** Longest prompt and answer together, tokens; null until it was loaded once. */
  max_model_len: count.nullable(),
  /** Of a model with an adapter, the model; null otherwise. */
  parent: z.string().nullable(),
  state: z.enum(["unloaded", "loading", "ready", "restarting", "failed"]),
});

const list = z.object({ object: z.literal("list"), data: z.array(model) });

export const models = endpoint({
  method: "GET",
  path: "/v1/models",
  summary: "Lists the models that are offered, loaded or not, each also with each of its adapters",
  tag: "OpenAI",
  response: list,
  handle: ({ context }) => ({
    object: "list",
    data: context.gateway.models.flatMap((served) => [
      describe(served, context),
      ...context.gateway.adapters(served.name).map((adapter) => describe(served, context, adapter)),
    ]),
  }),
});

export const oneModel = endpoint({
  method: "GET",
  path: "/v1/models/{model}",
  summary: "Tells of one model",
  tag: "OpenAI",
  response: model,
  handle: ({ context, params }) => {
    const { model, adapter } = context.gateway.resolve(params.model!);
    return describe(context.gateway.model(model), context, adapter);
  },
});

function describe(
  served: ServedModel,
  { startedAt }: ServerContext,
  adapter?: string,
): z.infer<typeof model> {
  return {
    id: adapter === undefined ? served.name : `${served.name}:${adapter}`,
    object: "model",
    created: Math.floor(startedAt / 1000),
    owned_by: "stowage",
    max_model_len: served.info?.contextTokens ?? null,
    parent: adapter === undefined ? null : served.name,
    state: served.state,
  };
}
