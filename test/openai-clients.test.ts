/** The clients that people have: OpenAI's own package, and the AI SDK. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { APICallError, generateText, jsonSchema, streamText, type ToolSet } from "ai";
import OpenAI, { APIError, APIUserAbortError } from "openai";
import { withoutSample } from "./sample-model.ts";
import { steadyOffered, TestServer } from "./server.ts";

const story = [{ role: "user" as const, content: "Tell me a story about a cat." }];
const chat = { model: "sample", messages: story, max_tokens: 24, temperature: 0 };
const completion = { model: "sample", prompt: "Once upon a time", max_tokens: 24, temperature: 0 };

/** Goes on for as long as the context has room. */
const endless = { max_tokens: 480, ignore_eos: true };

let server: TestServer;

/** Without retries, which would hide what the server said. */
function clientOf(apiKey = "none", { url } = server): OpenAI {
  return new OpenAI({ baseURL: `${url}/v1`, apiKey, maxRetries: 0 });
}

async function nothingLives(): Promise<void> {
  await server.until(({ requests, models }) => requests.live.length + (models[0]?.running ?? 0) === 0);
}

/** What a call throws. */
async function failureOf(call: PromiseLike<unknown>): Promise<unknown> {
  try {
    await call;
  } catch (error) {
    return error;
  }
  throw new Error("it did not fail");
}

/** The tokens of a text, by the server. */
async function tokensOf(prompt: string): Promise<{ tokens: number[] }> {
  const body = JSON.stringify({ model: "sample", prompt, add_special_tokens: false });
  const headers = { "content-type": "application/json" };
  return (await (await fetch(`${server.url}/tokenize`, { method: "POST", headers, body })).json()) as never;
}

async function allOf<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}

before(async () => {
  if (!withoutSample) server = await TestServer.start({ models: [steadyOffered] });
});
after(() => server?.close());

describe("chats by the openai package", { skip: withoutSample }, () => {
  it("are answered", async () => {
    const { choices, usage, ...head } = await clientOf().chat.completions.create(chat);
    assert.equal(head.object, "chat.completion");
    assert.equal(head.model, "sample");
    assert.match(head.id, /^chatcmpl-/);
    assert.equal(choices.length, 1);
    assert.equal(choices[0]!.message.role, "assistant");
    assert.ok(choices[0]!.message.content!.length > 0);
    assert.equal(choices[0]!.finish_reason, "length");
    assert.equal(usage!.completion_tokens, chat.max_tokens);
    assert.equal(usage!.total_tokens, usage!.prompt_tokens + usage!.completion_tokens);
  });

  it("say the same in a stream, whose first delta has the role and whose last has the reason", async () => {
    const whole = await clientOf().chat.completions.create(chat);
    const chunks = [];
    for await (const chunk of await clientOf().chat.completions.create({ ...chat, stream: true })) {
      chunks.push(chunk);
    }
    assert.equal(new Set(chunks.map(({ id }) => id)).size, 1);
    assert.ok(chunks.every(({ usage }) => usage === undefined));
    const deltas = chunks.map(({ choices }) => choices[0]!.delta);
    assert.equal(deltas[0]!.role, "assistant");
    assert.equal(deltas.map(({ content }) => content ?? "").join(""), whole.choices[0]!.message.content);
    const reasons = chunks.map(({ choices }) => choices[0]!.finish_reason);
    assert.ok(reasons.slice(0, -1).every((reason) => reason === null));
    assert.equal(reasons.at(-1), "length");
  });

  it("are put together by the package's own helper", async () => {
    const whole = await clientOf().chat.completions.create(chat);
    const stream = clientOf().chat.completions.stream({ ...chat, stream_options: { include_usage: true } });
    assert.equal(await stream.finalContent(), whole.choices[0]!.message.content);
    assert.deepEqual((await stream.totalUsage()).total_tokens, whole.usage!.total_tokens);
  });

  it("tell the usage at the end of a stream, and what was there already of a prompt that is sent again", async () => {
    const request = { ...chat, stream: true as const, stream_options: { include_usage: true } };
    const messages = [
      { role: "user" as const, content: "Where do the seven penguins of the harbour sleep at night?" },
    ];
    const usages = [];
    for (let round = 0; round < 2; round++) {
      const chunks = await allOf(await clientOf().chat.completions.create({ ...request, messages }));
      assert.ok(chunks.slice(0, -1).every(({ usage }) => usage === null));
      assert.deepEqual(chunks.at(-1)!.choices, []);
      usages.push(chunks.at(-1)!.usage!);
    }
    const [first, second] = usages;
    assert.equal(second!.prompt_tokens, first!.prompt_tokens);
    // All but the last token, whose logits are needed.
    assert.equal(second!.prompt_tokens_details!.cached_tokens, first!.prompt_tokens - 1);
  });

  it("report log-probabilities, of which the chosen token has the highest at temperature 0", async () => {
    const request = { ...chat, logprobs: true, top_logprobs: 5 };
    const { choices } = await clientOf().chat.completions.create(request);
    const content = choices[0]!.logprobs!.content!;
    assert.equal(content.length, chat.max_tokens);
    for (const { token, logprob, bytes, top_logprobs } of content) {
      assert.equal(top_logprobs.length, 5);
      assert.equal(top_logprobs[0]!.token, token);
      assert.equal(top_logprobs[0]!.logprob, logprob);
      assert.ok(logprob <= 0);
      assert.deepEqual(Buffer.from(bytes!).toString(), token);
      const order = top_logprobs.map((other) => other.logprob);
      assert.deepEqual(
        order,
        order.toSorted((a, b) => b - a),
      );
    }
    assert.equal(content.map(({ token }) => token).join(""), choices[0]!.message.content);
    const streamed = await allOf(await clientOf().chat.completions.create({ ...request, stream: true }));
    const tokens = streamed.flatMap((chunk) => chunk.choices[0]!.logprobs?.content ?? []);
    assert.deepEqual(
      tokens.map(({ token }) => token),
      content.map(({ token }) => token),
    );
  });

  it("have several choices, each with its index, whole and in a stream", async () => {
    const request = { ...chat, n: 3, temperature: 1, seed: 5 };
    const { choices, usage } = await clientOf().chat.completions.create(request);
    assert.deepEqual(
      choices.map(({ index }) => index),
      [0, 1, 2],
    );
    const texts = choices.map(({ message }) => message.content);
    assert.equal(new Set(texts).size, 3);
    assert.ok(usage!.completion_tokens > chat.max_tokens);
    const streamed = ["", "", ""];
    for await (const chunk of await clientOf().chat.completions.create({ ...request, stream: true })) {
      for (const { index, delta } of chunk.choices) streamed[index] += delta.content ?? "";
    }
    assert.ok(streamed.every((text) => text.length > 0));
  });

  it("end before what stops them", async () => {
    const whole = (await clientOf().chat.completions.create(chat)).choices[0]!.message.content!;
    const stop = whole.slice(8, 14);
    const { choices } = await clientOf().chat.completions.create({ ...chat, stop });
    assert.equal(choices[0]!.message.content, whole.slice(0, whole.indexOf(stop)));
    assert.equal(choices[0]!.finish_reason, "stop");
    const streamed = await allOf(
      await clientOf().chat.completions.create({ ...chat, stop: [stop, "never said"], stream: true }),
    );
    const text = streamed.map((chunk) => chunk.choices[0]!.delta.content ?? "").join("");
    assert.equal(text, whole.slice(0, whole.indexOf(stop)));
  });

  it("are drawn the same again with one seed, and not with another", async () => {
    const textOf = async (seed: number) => {
      const request = { ...chat, temperature: 1.5, seed };
      return (await clientOf().chat.completions.create(request)).choices[0]!.message.content;
    };
    const first = await textOf(42);
    assert.equal(await textOf(42), first);
    assert.notEqual(await textOf(43), first);
  });

  it("take parts of texts and the newer names", async () => {
    const { choices, usage } = await clientOf().chat.completions.create({
      model: "sample",
      messages: [
        { role: "developer", content: "Be kind." },
        {
          role: "user",
          content: [
            { type: "text", text: "Tell me " },
            { type: "text", text: "a story." },
          ],
        },
      ],
      max_completion_tokens: 3,
    });
    assert.equal(choices.length, 1);
    assert.equal(usage!.completion_tokens, 3);
  });
});

describe("completions by the openai package", { skip: withoutSample }, () => {
  it("are given whole and in a stream, with usage and with the prompt itself", async () => {
    const whole = await clientOf().completions.create({ ...completion, echo: true });
    assert.equal(whole.object, "text_completion");
    assert.ok(whole.choices[0]!.text.startsWith(completion.prompt));
    assert.equal(whole.usage!.completion_tokens, completion.max_tokens);
    const request = {
      ...completion,
      echo: true,
      stream: true as const,
      stream_options: { include_usage: true },
    };
    const chunks = await allOf(await clientOf().completions.create(request));
    assert.equal(chunks.map(({ choices }) => choices[0]?.text ?? "").join(""), whole.choices[0]!.text);
    assert.equal(chunks.at(-2)!.choices[0]!.finish_reason, "length");
    assert.equal(chunks.at(-1)!.usage!.completion_tokens, completion.max_tokens);
  });

  it("report log-probabilities with where each token begins", async () => {
    const { choices } = await clientOf().completions.create({ ...completion, logprobs: 2 });
    const { tokens, token_logprobs, top_logprobs, text_offset } = choices[0]!.logprobs!;
    assert.equal(tokens!.length, completion.max_tokens);
    assert.equal(token_logprobs!.length, completion.max_tokens);
    assert.equal(top_logprobs!.length, completion.max_tokens);
    for (const [index, token] of tokens!.entries()) {
      assert.ok(choices[0]!.text.startsWith(token, text_offset![index]));
      assert.equal(top_logprobs![index]![token], token_logprobs![index]);
    }
  });

  it("report what was drawn beside the most likely tokens", async () => {
    const drawn = { ...completion, temperature: 2, seed: 3, logprobs: 0 };
    const { tokens, token_logprobs, top_logprobs } = (await clientOf().completions.create(drawn)).choices[0]!
      .logprobs!;
    for (const [index, token] of tokens!.entries()) {
      assert.deepEqual(top_logprobs![index], { [token]: token_logprobs![index] });
    }
  });

  it("favour and avoid the tokens of a bias, of the vocabulary alone", async () => {
    const distinct = async (logit_bias: Record<string, number>) => {
      const { choices } = await clientOf().completions.create({ ...completion, logit_bias, logprobs: 0 });
      return new Set(choices[0]!.logprobs!.tokens!);
    };
    assert.ok((await distinct({})).has(","));
    assert.equal((await distinct({ 300: 100 })).size, 1);
    const { tokens } = await tokensOf(",");
    assert.ok(!(await distinct({ [tokens.at(-1)!]: -100 })).has(","));
    const error = await failureOf(
      clientOf().completions.create({ ...completion, logit_bias: { 1: 1, 8192: 5 } }),
    );
    assert.ok(error instanceof OpenAI.BadRequestError);
    assert.equal(error.param, "logit_bias");
    assert.match(error.message, /for the token 8192.*below 8192/);
  });

  it("are n for each of several prompts, texts or tokens", async () => {
    const prompt = ["Once upon a time", "The cat"];
    const { choices } = await clientOf().completions.create({ ...completion, prompt, n: 2, echo: true });
    assert.deepEqual(
      choices.map(({ index }) => index),
      [0, 1, 2, 3],
    );
    for (const { index, text } of choices) assert.ok(text.startsWith(prompt[index >> 1]!));
    const ofTokens = await clientOf().completions.create({ ...completion, prompt: [[1, 2], [3]] });
    assert.equal(ofTokens.choices.length, 2);
  });

  it("end before what stops them, and are drawn the same again with one seed", async () => {
    const whole = (await clientOf().completions.create(completion)).choices[0]!.text;
    const stop = whole.slice(8, 14);
    const stopped = await clientOf().completions.create({ ...completion, stop });
    assert.equal(stopped.choices[0]!.text, whole.slice(0, whole.indexOf(stop)));
    const drawn = { ...completion, temperature: 1.5, seed: 9 };
    const [one, two] = [
      await clientOf().completions.create(drawn),
      await clientOf().completions.create(drawn),
    ];
    assert.equal(one.choices[0]!.text, two.choices[0]!.text);
  });
});

describe("errors in the openai package", { skip: withoutSample }, () => {
  it("are its NotFoundError for a model that is not there", async () => {
    const error = await failureOf(clientOf().chat.completions.create({ ...chat, model: "gpt-9" }));
    assert.ok(error instanceof OpenAI.NotFoundError);
    assert.equal(error.status, 404);
    assert.equal(error.code, "model_not_found");
    assert.equal(error.param, "model");
    assert.match(error.message, /gpt-9/);
    assert.ok((await failureOf(clientOf().models.retrieve("gpt-9"))) instanceof OpenAI.NotFoundError);
  });

  const long = "word ".repeat(600);
  const bad: [what: string, call: () => PromiseLike<unknown>, param: string, code: string][] = [
    [
      "a temperature",
      () => clientOf().chat.completions.create({ ...chat, temperature: 11 }),
      "temperature",
      "request_invalid",
    ],
    [
      "no messages",
      () => clientOf().chat.completions.create({ ...chat, messages: [] }),
      "messages",
      "request_invalid",
    ],
    [
      "a long chat",
      () => clientOf().chat.completions.create({ ...chat, messages: [{ role: "user", content: long }] }),
      "messages",
      "request_too_long",
    ],
    [
      "a long prompt",
      () => clientOf().completions.create({ ...completion, prompt: long }),
      "prompt",
      "request_too_long",
    ],
    [
      "a long prompt in a stream",
      () => clientOf().completions.create({ ...completion, prompt: long, stream: true }),
      "prompt",
      "request_too_long",
    ],
    [
      "tools",
      () =>
        clientOf().chat.completions.create({
          ...chat,
          tools: [{ type: "function", function: { name: "clock", parameters: { not: {} } } }],
        }),
      "tools",
      "schema_unsupported",
    ],
    [
      "JSON",
      () => clientOf().chat.completions.create({ ...chat, response_format: { type: "xml" } as never }),
      "response_format.type",
      "request_invalid",
    ],
    [
      "biases",
      () => clientOf().completions.create({ ...completion, logit_bias: { 5: 101 } }),
      "logit_bias.5",
      "request_invalid",
    ],
  ];
  for (const [what, call, param, code] of bad) {
    it(`are its BadRequestError, naming the field, for ${what}`, async () => {
      const error = await failureOf(call());
      assert.ok(error instanceof OpenAI.BadRequestError);
      assert.equal(error.param, param);
      assert.equal(error.code, code);
      assert.equal(error.type, "invalid_request_error");
    });
  }

  it("come in the middle of a stream when the engine dies, which then comes back", async () => {
    const [model] = (await server.status()).models;
    const stream = await clientOf().chat.completions.create({ ...chat, ...endless, stream: true });
    let chunks = 0;
    const reading = (async () => {
      for await (const _ of stream) if (++chunks === 5) process.kill(model!.pid!, "SIGKILL");
    })();
    const error = await failureOf(reading);
    assert.ok(error instanceof APIError);
    assert.equal(error.code, "engine_lost");
    assert.equal(error.type, "server_error");
    assert.ok(chunks >= 5);
    const restarted = await server.until(({ models }) => models[0]!.state === "ready");
    assert.equal(restarted.models[0]!.restarts, 1);
    assert.notEqual(restarted.models[0]!.pid, model!.pid);
    assert.equal((await clientOf().chat.completions.create(chat)).choices.length, 1);
  });

  it("are its APIError when the engine dies before it said anything, for those who wait for all of it", async () => {
    const [model] = (await server.status()).models;
    const waiting = failureOf(clientOf().completions.create({ ...completion, ...endless }));
    await server.until(({ requests }) => requests.live.some(({ phase }) => phase === "decode"));
    process.kill(model!.pid!, "SIGKILL");
    const error = await waiting;
    assert.ok(error instanceof OpenAI.InternalServerError);
    assert.equal(error.status, 502);
    assert.equal(error.code, "engine_lost");
    await server.until(({ models }) => models[0]!.state === "ready");
  });

  it("do not reach a caller that leaves the retries on", async () => {
    const [model] = (await server.status()).models;
    const patient = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: "none", maxRetries: 5 });
    process.kill(model!.pid!, "SIGKILL");
    assert.equal((await patient.chat.completions.create(chat)).choices.length, 1);
  });
});

describe("aborts by the openai package", { skip: withoutSample }, () => {
  it("end a stream in the middle", async () => {
    const stream = await clientOf().chat.completions.create({ ...chat, ...endless, stream: true });
    let chunks = 0;
    for await (const _ of stream) if (++chunks === 5) break;
    await nothingLives();
  });

  it("end an answer that is waited for", async () => {
    const abort = new AbortController();
    const call = clientOf().chat.completions.create({ ...chat, ...endless }, { signal: abort.signal });
    const failed = failureOf(call);
    await server.until(({ requests }) => requests.live.some(({ phase }) => phase === "decode"));
    abort.abort();
    assert.ok((await failed) instanceof APIUserAbortError);
    await nothingLives();
  });

  it("end what waits in the queue before its first token", async () => {
    const others = Array.from({ length: 8 }, () =>
      clientOf().completions.create({ ...completion, ...endless, stream: true }),
    );
    const streams = await Promise.all(others);
    const abort = new AbortController();
    const call = clientOf().chat.completions.create({ ...chat, ...endless, n: 4 }, { signal: abort.signal });
    const failed = failureOf(call);
    await server.until(({ requests }) => requests.live.length === 9);
    abort.abort();
    assert.ok((await failed) instanceof APIUserAbortError);
    await server.until(({ requests }) => requests.live.length <= 8);
    for (const stream of streams) stream.controller.abort();
    await nothingLives();
    assert.equal((await server.status()).models[0]!.waiting, 0);
  });

  it("end what was aborted as soon as it was sent", async () => {
    for (let ms = 0; ms < 10; ms++) {
      const signal = AbortSignal.timeout(ms);
      const call = clientOf().chat.completions.create({ ...chat, ...endless }, { signal });
      assert.ok((await failureOf(call)) instanceof APIUserAbortError);
    }
    await nothingLives();
  });
});

describe("models and keys in the openai package", { skip: withoutSample }, () => {
  it("are listed and described", async () => {
    const models = await allOf(clientOf().models.list());
    assert.deepEqual(
      models.map(({ id, object }) => [id, object]),
      [["sample", "model"]],
    );
    assert.deepEqual(await clientOf().models.retrieve("sample"), models[0]);
  });

  it("open a server that asks for one, or are its AuthenticationError", async () => {
    const keyed = await TestServer.start({ apiKeys: ["right-1", "right-2"] }, { until: "listening" });
    try {
      const error = await failureOf(clientOf("wrong", keyed).models.list());
      assert.ok(error instanceof OpenAI.AuthenticationError);
      assert.equal(error.status, 401);
      assert.equal(error.code, "key_missing");
      const refused = await failureOf(clientOf("wrong", keyed).chat.completions.create(chat));
      assert.ok(refused instanceof OpenAI.AuthenticationError);
      assert.equal((await clientOf("right-2", keyed).models.list()).data.length, 1);
      assert.equal((await clientOf("right-1", keyed).chat.completions.create(chat)).choices.length, 1);
    } finally {
      await keyed.close();
    }
  });
});

describe("embeddings by the openai package", { skip: withoutSample }, () => {
  const texts = ["A cat sat on the mat.", "The dog barked.", "const answer = 42;"];
  const lengthOf = (vector: readonly number[]) => Math.hypot(...vector);
  const create = (fields: Partial<OpenAI.EmbeddingCreateParams> = {}) =>
    clientOf().embeddings.create({ model: "sample", input: texts, ...fields });

  it("are one of each text, in their order, and of length 1", async () => {
    const { data, usage, object, model } = await create();
    assert.deepEqual([object, model], ["list", "sample"]);
    assert.deepEqual(
      data.map(({ index }) => index),
      [0, 1, 2],
    );
    for (const { embedding } of data) assert.ok(Math.abs(lengthOf(embedding) - 1) < 1e-6);
    assert.ok(usage.prompt_tokens >= texts.length);
    assert.equal(usage.total_tokens, usage.prompt_tokens);
    assert.equal(new Set(data.map(({ embedding }) => String(embedding))).size, texts.length);
  });

  it("are the same as numbers and as bytes, of text and of its tokens", async () => {
    // The package asks for bytes by itself.
    const bytes = (await create()).data.map(({ embedding }) => embedding);
    const numbers = (await create({ encoding_format: "float" })).data.map(({ embedding }) => embedding);
    // The texts may share their steps otherwise the second time, and so be rounded otherwise.
    for (const [index, vector] of numbers.entries()) {
      assert.equal(vector.length, bytes[index]!.length);
      for (const [place, value] of vector.entries())
        assert.ok(Math.abs(value - bytes[index]![place]!) < 1e-3);
    }
    const response = await server.post("/tokenize", { model: "sample", prompt: texts[0] });
    const { tokens } = (await response.json()) as { tokens: number[] };
    const ofTokens = await create({ input: tokens });
    const dot = ofTokens.data[0]!.embedding.reduce((sum, value, index) => sum + value * bytes[0]![index]!, 0);
    assert.ok(dot > 0.999, `${dot}`);
  });

  it("are shorter where that is asked for, and of length 1 again", async () => {
    const whole = (await create({ input: texts[0]! })).data[0]!.embedding;
    const short = (await create({ input: texts[0]!, dimensions: 16 })).data[0]!.embedding;
    assert.equal(short.length, 16);
    assert.ok(Math.abs(lengthOf(short) - 1) < 1e-6);
    const scale = lengthOf(whole.slice(0, 16));
    for (const [index, value] of short.entries()) assert.ok(Math.abs(value - whole[index]! / scale) < 1e-3);
  });

  it("of hundreds of texts, beside a chat, leave nothing behind", async () => {
    const many = Array.from({ length: 300 }, (_, index) => `Text number ${index}`);
    const [{ data }, said] = await Promise.all([
      create({ input: many }),
      clientOf().chat.completions.create(chat),
    ]);
    assert.equal(data.length, many.length);
    assert.equal(said.usage!.completion_tokens, chat.max_tokens);
    await nothingLives();
  });

  it("end when their client goes away", async () => {
    const abort = new AbortController();
    const many = Array.from({ length: 2000 }, (_, index) => `${index} `.repeat(60));
    const asked = clientOf().embeddings.create({ model: "sample", input: many }, { signal: abort.signal });
    await server.until(({ requests }) => requests.live.some(({ endpoint }) => endpoint === "embeddings"));
    abort.abort();
    assert.ok((await failureOf(asked)) instanceof APIUserAbortError);
    await nothingLives();
  });
});

const weather = {
  type: "function" as const,
  function: {
    name: "get_weather",
    description: "The weather of a place",
    parameters: {
      type: "object",
      properties: { city: { type: "string", maxLength: 10 }, unit: { enum: ["C", "F"] } },
      required: ["city", "unit"],
      additionalProperties: false,
    },
  },
};
const clock = { type: "function" as const, function: { name: "now" } };

function isWeather(text: string): boolean {
  const { city, unit, ...others } = JSON.parse(text) as { city: string; unit: string };
  return typeof city === "string" && ["C", "F"].includes(unit) && Object.keys(others).length === 0;
}

describe("answers of a given form by the openai package", { skip: withoutSample }, () => {
  it("are valid by their schema, whole and in a stream", async () => {
    const schema = {
      type: "object",
      properties: {
        title: { type: "string", maxLength: 8 },
        stars: { type: "integer", minimum: 1, maximum: 5 },
      },
      required: ["title", "stars"],
      additionalProperties: false,
    };
    const response_format = {
      type: "json_schema" as const,
      json_schema: { name: "review", schema, strict: true },
    };
    const request = { ...chat, max_tokens: 100, temperature: 1, seed: 2, response_format };
    const check = (content: string) => {
      const review = JSON.parse(content) as { title: string; stars: number };
      assert.deepEqual(Object.keys(review), ["title", "stars"]);
      assert.ok([...review.title].length <= 8 && [1, 2, 3, 4, 5].includes(review.stars));
    };
    const { choices } = await clientOf().chat.completions.create(request);
    check(choices[0]!.message.content!);
    assert.equal(choices[0]!.finish_reason, "stop");
    const chunks = await allOf(await clientOf().chat.completions.create({ ...request, stream: true }));
    check(chunks.map((chunk) => chunk.choices[0]?.delta.content ?? "").join(""));
  });

  it("are objects where that is asked, and follow a grammar on both endpoints", async () => {
    const object = await clientOf().chat.completions.create({
      ...chat,
      max_tokens: 200,
      temperature: 0.2,
      response_format: { type: "json_object" },
    });
    const { message, finish_reason } = object.choices[0]!;
    assert.match(message.content!, /^\{/);
    if (finish_reason === "stop") assert.equal(typeof JSON.parse(message.content!), "object");
    const grammar = 'root ::= "yes" | "no"';
    const said = await clientOf().chat.completions.create({ ...chat, grammar } as never);
    assert.match((said as never as typeof object).choices[0]!.message.content!, /^(yes|no)$/);
    const text = await clientOf().completions.create({ ...completion, json_schema: { enum: [7] } } as never);
    const { choices } = text as never as OpenAI.Completion;
    assert.deepEqual([choices[0]!.text, choices[0]!.finish_reason], ["7", "stop"]);
  });
});

describe("calls of tools by the openai package", { skip: withoutSample }, () => {
  const request = {
    ...chat,
    max_tokens: 150,
    temperature: 1,
    seed: 1,
    tools: [weather],
    tool_choice: "required" as const,
    parallel_tool_calls: false,
  };

  it("are forced, with arguments that are valid by their schema", async () => {
    const { choices } = await clientOf().chat.completions.create(request);
    const { message, finish_reason } = choices[0]!;
    assert.equal(finish_reason, "tool_calls");
    assert.equal(message.content, null);
    const [call, ...others] = message.tool_calls! as OpenAI.ChatCompletionMessageFunctionToolCall[];
    assert.equal(others.length, 0);
    assert.equal(call!.type, "function");
    assert.match(call!.id, /^\w{9}$/);
    assert.equal(call!.function.name, "get_weather");
    assert.ok(isWeather(call!.function.arguments), call!.function.arguments);

    // The talk goes on with what the tool answered.
    const answered = await clientOf().chat.completions.create({
      ...chat,
      tools: [weather],
      tool_choice: "none",
      messages: [...story, message, { role: "tool", tool_call_id: call!.id, content: "12 degrees" }],
    });
    assert.ok(answered.choices[0]!.message.content!.length > 0);
    assert.ok(answered.usage!.prompt_tokens > 60);
  });

  it("come in a stream: first whose they are, then the arguments piece by piece", async () => {
    const chunks = await allOf(await clientOf().chat.completions.create({ ...request, stream: true }));
    const deltas = chunks.flatMap((chunk) => chunk.choices[0]?.delta.tool_calls ?? []);
    assert.deepEqual(
      [deltas[0]!.index, deltas[0]!.function!.name, deltas[0]!.type],
      [0, "get_weather", "function"],
    );
    assert.ok(deltas.slice(1).every(({ id, index }) => id === undefined && index === 0));
    assert.ok(isWeather(deltas.map((delta) => delta.function?.arguments ?? "").join("")));
    assert.ok(deltas.length > 3);
    assert.equal(chunks.at(-1)!.choices[0]!.finish_reason, "tool_calls");
    assert.equal(chunks.map((chunk) => chunk.choices[0]!.delta.content ?? "").join(""), "");
  });

  it("are of the one that is asked for, several at once, or none", async () => {
    const tools = [weather, clock];
    const named = await clientOf().chat.completions.create({
      ...request,
      tools,
      tool_choice: { type: "function", function: { name: "now" } },
    });
    const [call] = named.choices[0]!.message.tool_calls! as OpenAI.ChatCompletionMessageFunctionToolCall[];
    assert.deepEqual([call!.function.name, call!.function.arguments.replace(/\s/g, "")], ["now", "{}"]);
    const several = await clientOf().chat.completions.create({
      ...request,
      tools: [clock],
      parallel_tool_calls: true,
      n: 4,
    });
    for (const { message } of several.choices) {
      assert.ok(message.tool_calls!.length >= 1);
      assert.equal(new Set(message.tool_calls!.map(({ id }) => id)).size, message.tool_calls!.length);
    }
    const none = await clientOf().chat.completions.create({ ...chat, tools, tool_choice: "none" });
    assert.equal(none.choices[0]!.message.tool_calls, undefined);
    assert.equal(
      none.choices[0]!.message.content,
      (await clientOf().chat.completions.create(chat)).choices[0]!.message.content,
    );
    const free = await clientOf().chat.completions.create({ ...chat, tools });
    assert.equal(typeof free.choices[0]!.message.content, "string");
  });

  it("are cut like any answer", async () => {
    const { choices } = await clientOf().chat.completions.create({ ...request, max_tokens: 4 });
    assert.equal(choices[0]!.finish_reason, "length");
  });
});

describe("the AI SDK", { skip: withoutSample }, () => {
  const providerOf = () =>
    createOpenAICompatible({ name: "stowage", baseURL: `${server.url}/v1`, includeUsage: true });
  const settings = { maxRetries: 0, temperature: 0, maxOutputTokens: 24 };

  it("gets chats, whole and in a stream", async () => {
    const request = { ...settings, model: providerOf().chatModel("sample"), messages: story };
    const whole = await generateText(request);
    assert.equal(whole.text, (await clientOf().chat.completions.create(chat)).choices[0]!.message.content);
    assert.equal(whole.finishReason, "length");
    assert.equal(whole.usage.outputTokens, 24);
    const stream = streamText(request);
    assert.equal((await allOf(stream.textStream)).join(""), whole.text);
    const usage = await stream.usage;
    assert.equal(usage.outputTokens, 24);
    assert.equal(usage.inputTokenDetails.cacheReadTokens, usage.inputTokens! - 1);
    assert.equal(await stream.finishReason, "length");
  });

  it("gets completions, whole and in a stream", async () => {
    const request = {
      ...settings,
      model: providerOf().completionModel("sample"),
      prompt: "Once upon a time",
    };
    const whole = await generateText(request);
    assert.ok(whole.text.length > 0);
    const stream = streamText(request);
    assert.equal((await allOf(stream.textStream)).join(""), whole.text);
    assert.equal((await stream.usage).outputTokens, whole.usage.outputTokens);
  });

  it("gets the same again with a seed, and ends before what stops it", async () => {
    const request = { ...settings, model: providerOf().chatModel("sample"), messages: story };
    const drawn = { ...request, temperature: 1.5, seed: 3 };
    assert.equal((await generateText(drawn)).text, (await generateText(drawn)).text);
    const whole = (await generateText(request)).text;
    const stopped = await generateText({ ...request, stopSequences: [whole.slice(8, 14)] });
    assert.equal(stopped.text, whole.slice(0, whole.indexOf(whole.slice(8, 14))));
    assert.equal(stopped.finishReason, "stop");
  });

  it("gets calls of tools, whole and in a stream", async () => {
    const { description, parameters } = weather.function;
    const request = {
      ...settings,
      model: providerOf().chatModel("sample"),
      messages: story,
      maxOutputTokens: 150,
      temperature: 1,
      seed: 1,
      tools: { get_weather: { description, inputSchema: jsonSchema(parameters as never) } } as ToolSet,
      toolChoice: "required" as const,
      providerOptions: { stowage: { parallel_tool_calls: false } },
    };
    const { toolCalls, finishReason } = await generateText(request);
    assert.equal(finishReason, "tool-calls");
    assert.equal(toolCalls[0]!.toolName, "get_weather");
    assert.ok(isWeather(JSON.stringify(toolCalls[0]!.input)));
    const stream = streamText(request);
    const parts = await allOf(stream.fullStream);
    assert.ok(parts.some(({ type }) => type === "tool-call"));
    assert.ok(isWeather(JSON.stringify((await stream.toolCalls)[0]!.input)));
  });

  it("has errors that it can read", async () => {
    const request = { ...settings, messages: story };
    const unknown = await failureOf(generateText({ ...request, model: providerOf().chatModel("gpt-9") }));
    assert.ok(APICallError.isInstance(unknown));
    assert.equal(unknown.statusCode, 404);
    assert.match(unknown.message, /gpt-9/);
    assert.equal(unknown.isRetryable, false);
    const model = providerOf().chatModel("sample");
    const bad = await failureOf(generateText({ ...request, model, temperature: 11 }));
    assert.ok(APICallError.isInstance(bad));
    assert.equal(bad.statusCode, 400);
    assert.match(bad.message, /temperature/);
  });

  it("hears in the middle of a stream that the engine died", async () => {
    const { pid } = (await server.status()).models[0]!;
    const model = providerOf().chatModel("sample");
    const errors: unknown[] = [];
    const stream = streamText({
      ...settings,
      model,
      messages: story,
      maxOutputTokens: 480,
      providerOptions: { stowage: { ignore_eos: true } },
      onError: ({ error }) => {
        errors.push(error);
      },
    });
    let parts = 0;
    for await (const _ of stream.textStream) if (++parts === 5) process.kill(pid!, "SIGKILL");
    assert.equal(errors.length, 1);
    assert.match(JSON.stringify(errors[0]) + String(errors[0]), /engine_lost|ended while it worked/);
    await server.until(({ models }) => models[0]!.state === "ready");
  });

  it("aborts in the middle of a stream", async () => {
    const abort = new AbortController();
    const stream = streamText({
      ...settings,
      model: providerOf().chatModel("sample"),
      messages: story,
      maxOutputTokens: 480,
      providerOptions: { stowage: { ignore_eos: true } },
      abortSignal: abort.signal,
      onError: () => {},
    });
    let parts = 0;
    for await (const _ of stream.textStream) if (++parts === 5) abort.abort();
    await nothingLives();
  });
});
