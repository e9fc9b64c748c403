import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { StowageError } from "../errors.ts";
import { checkBody } from "./check-body.ts";
import { chatRequest } from "./schemas/chat.ts";
import { completionRequest } from "./schemas/completion.ts";

const user = { role: "user", content: "Hello" };

/** What is said of a request that is right but for these fields. */
function refusal(schema: typeof chatRequest | typeof completionRequest, fields: object): string {
  const right = schema === chatRequest ? { model: "m", messages: [user] } : { model: "m", prompt: "Hello" };
  try {
    checkBody<unknown>(schema, { ...right, ...fields });
  } catch (error) {
    assert.ok(error instanceof StowageError);
    assert.equal(error.code, "request_invalid");
    return error.message;
  }
  return "";
}

describe("what is said of a body that cannot be", () => {
  const chats: [fields: object, message: string][] = [
    [{ model: undefined }, "model: it is missing; it has to be a string."],
    [{ model: 7 }, "model: it has to be a string, not 7."],
    [{ n: 0 }, "n: it has to be at least 1, not 0."],
    [{ n: 1e300 }, "n: it has to be at most 16, not 1e+300."],
    [{ seed: 1e300, n: 1e300 }, "seed: it has to be at most 9007199254740991, not 1e+300."],
    [{ n: -1e300 }, "n: it has to be at least 1, not -1e+300."],
    [{ n: 1.5 }, "n: it has to be a whole number, not 1.5."],
    [{ temperature: Number.POSITIVE_INFINITY }, "temperature: it has to be a number, not Infinity."],
    [{ stream: "yes" }, 'stream: it has to be true or false, not "yes".'],
    [{ messages: [] }, "messages: it has to be a list of at least 1 item, not an empty list."],
    [
      { messages: [user, {}] },
      'messages[1].role: it is missing; it has to be one of "system", "developer", "user", "assistant", "tool".',
    ],
    [
      { messages: [{ role: "user", content: 5 }] },
      "messages[0].content: it has to be a string or a list, not 5.",
    ],
    [
      { messages: [{ role: "user", content: [{ type: "image_url" }] }] },
      'messages[0].content[0].type: it has to be "text", not "image_url".',
    ],
    [{ stop: "" }, 'stop: it has to be a string of at least 1 character, not "".'],
    [{ stop: Array(20).fill("a") }, "stop: it has to be a list of at most 16 items, not a list of 20."],
    [{ stop: ["a", "\ud800"] }, String.raw`stop[1]: it has a lone surrogate; it is "\ud800".`],
    [{ keep_alive: {} }, "keep_alive: it has to be a number or a string, not an object."],
    [
      { keep_alive: "1 d" },
      'keep_alive: it has to be a duration such as "90s", "10m" or "1.5h", or seconds, or -1, not "1 d".',
    ],
    [
      { user: "x".repeat(600) },
      `user: it has to be a string of at most 512 characters, not "${"x".repeat(79)}… of 600 characters.`,
    ],
    [{ functions: [{}] }, "functions: not supported yet: functions; it is a list of 1."],
    [{ tools: [{}] }, 'tools[0].type: it is missing; it has to be "function".'],
  ];
  for (const [fields, message] of chats)
    it(message, () => assert.equal(refusal(chatRequest, fields), message));

  const prompts: [prompt: unknown, message: string][] = [
    [undefined, "prompt: it is missing; it has to be a string or a list."],
    [{}, "prompt: it has to be a string or a list, not an object."],
    [[], "prompt: it has to be a list of at least 1 item, not an empty list."],
    [[1, "a"], 'prompt[1]: it has to be a number, not "a".'],
    [["a", 1], "prompt[1]: it has to be a string, not 1."],
    [[[1], [2, -3]], "prompt[1][1]: it has to be at least 0, not -3."],
    [[{}], "prompt[0]: it has to be a number or a string or a list, not an object."],
  ];
  for (const [prompt, message] of prompts) {
    it(message, () => assert.equal(refusal(completionRequest, { prompt }), message));
  }

  it("body: it has to be an object, not a list of 1.", () => {
    assert.throws(() => checkBody(chatRequest, [1]), {
      message: "body: it has to be an object, not a list of 1.",
    });
  });
});
