import { z } from "zod";
import type { Endpoint } from "./endpoint.ts";
import { errorSchema } from "./schemas/common.ts";

type Json = Record<string, unknown>;

/** The OpenAPI 3.1 document of these endpoints, made from the schemas that check them. */
export function openApiDocument(endpoints: readonly Endpoint[], version: string): Json {
  const paths: Record<string, Json> = {};
  for (const endpoint of endpoints) {
    paths[endpoint.path] ??= {};
    paths[endpoint.path]![endpoint.method.toLowerCase()] = operation(endpoint);
  }
  return {
    openapi: "3.1.0",
    info: {
      title: "Stowage",
      version,
      description: "OpenAI's API for chats and completions, and what the server tells of itself.",
      license: { name: "Apache-2.0", identifier: "Apache-2.0" },
    },
    servers: [{ url: "/" }],
    security: [{}, { key: [] }],
    paths,
    components: {
      securitySchemes: { key: { type: "http", scheme: "bearer" } },
      schemas: { Error: jsonSchema(errorSchema, "output") },
      responses: {
        Error: {
          description: "What failed, and the next thing to try. In a stream it comes as its last event.",
          content: { "application/json": { schema: { $ref: "#/components/schemas/Error" } } },
        },
      },
    },
  };
}

function operation(endpoint: Endpoint): Json {
  const { path, method, summary, tag, body, open } = endpoint;
  const parameters = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => ({
    name,
    in: "path",
    required: true,
    schema: { type: "string" },
  }));
  return {
    operationId: `${method.toLowerCase()}${path.replace(/\W+(\w?)/g, (_, next: string) => next.toUpperCase())}`,
    summary,
    tags: [tag],
    ...(open && { security: [] }),
    ...(parameters.length > 0 && { parameters }),
    ...(body && {
      requestBody: { required: true, content: { "application/json": { schema: jsonSchema(body, "input") } } },
    }),
    responses: responsesOf(endpoint),
  };
}

function responsesOf({ response, other, statuses }: Endpoint): Json {
  const content: Json = {};
  if (response) content["application/json"] = { schema: jsonSchema(response, "output") };
  if (other) content[other.contentType] = otherContent(other);
  const more = Object.entries(statuses ?? {}).map(([status, schema]) => [
    status,
    {
      description: "The same, where all is not well.",
      content: { "application/json": { schema: jsonSchema(schema, "output") } },
    },
  ]);
  return {
    200: { description: "All went well.", content },
    ...Object.fromEntries(more),
    default: { $ref: "#/components/responses/Error" },
  };
}

/** Of a stream, the schema is that of each event's data but the last, `[DONE]`. */
function otherContent({ schema }: NonNullable<Endpoint["other"]>): Json {
  return schema
    ? { schema: { type: "string" }, "x-event-schema": jsonSchema(schema, "output") }
    : { schema: { type: "string" } };
}

function jsonSchema(schema: z.ZodType, io: "input" | "output"): Json {
  const { $schema: _, ...json } = z.toJSONSchema(schema, { io, target: "draft-2020-12" }) as Json;
  return json;
}
