/** What the server tells of itself, and how it is steered. */
import { z } from "zod";
import { StowageError } from "../../errors.ts";
import { endpoint } from "../endpoint.ts";
import { statusSchema } from "../schemas/status.ts";
import { statusOf } from "../status.ts";

const health = z.object({
  status: z.enum(["ready", "loading", "degraded", "draining"]),
  models: z.array(
    z.object({
      name: z.string(),
      state: z.enum(["unloaded", "loading", "ready", "restarting", "failed"]),
      /** Why it is not ready. */
      problem: z.string().nullable(),
    }),
  ),
});

export const healthCheck = endpoint({
  method: "GET",
  path: "/health",
  summary: "Whether the server can work: 200, or 503 while it loads, has lost an engine or stops",
  tag: "Server",
  open: true,
  response: health,
  statuses: { 503: health },
  handle: ({ context, reply }) => {
    const status = context.gateway.health();
    reply.status(status === "ready" ? 200 : 503);
    if (status !== "ready") reply.header("retry-after", "1");
    return {
      status,
      models: context.gateway.models.map(({ name, state, problem }) => ({
        name,
        state,
        problem: problem?.message ?? null,
      })),
    };
  },
});

export const metrics = endpoint({
  method: "GET",
  path: "/metrics",
  summary: "Metrics in Prometheus' text format, named as vLLM's",
  tag: "Server",
  other: { contentType: "text/plain" },
  handle: async ({ context, reply }) => {
    const { registry } = context.gateway.telemetry;
    reply.type(registry.contentType);
    return registry.metrics();
  },
});

export const status = endpoint({
  method: "GET",
  path: "/api/status",
  summary: "Models, memory, live requests and latencies",
  tag: "Server",
  response: statusSchema,
  handle: ({ context }) => statusOf(context),
});

export const unload = endpoint({
  method: "POST",
  path: "/api/models/unload",
  summary: "Gives a model's memory back; it loads again at its next request",
  tag: "Server",
  body: z.object({ model: z.string().max(512) }),
  response: z.object({ model: z.string(), state: z.string() }),
  handle: async ({ context, body }) => {
    const model = context.gateway.model(body.model);
    if (model.leases > 0 || model.state === "loading") {
      throw new StowageError("model_in_use", { model: model.name, requests: model.leases });
    }
    await model.unload();
    return { model: model.name, state: model.state };
  },
});

export const stop = endpoint({
  method: "POST",
  path: "/api/stop",
  summary: "Ends the server: what runs may end within the drain timeout",
  tag: "Server",
  body: z.object({}),
  response: z.object({ stopping: z.literal(true) }),
  handle: ({ context, reply }) => {
    reply.raw.once("finish", () => context.stop());
    return { stopping: true };
  },
});
