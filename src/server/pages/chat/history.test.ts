import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { AnswerClock } from "./answer-clock.ts";
import {
  askAt,
  dropLastAnswer,
  lastQuestion,
  newConversation,
  requestBody,
  titleOf,
} from "./conversation.ts";
import { History, isHistoryKey, type Store } from "./history.ts";

/** A store in memory, for so many characters. */
function storeOf(entries: Record<string, string> = {}, room = Number.POSITIVE_INFINITY): Store {
  const map = new Map(Object.entries(entries));
  return {
    keys: () => [...map.keys()],
    read: (key) => map.get(key) ?? null,
    write: (key, value) => value.length <= room && map.set(key, value) !== undefined,
    remove: (key) => map.delete(key),
  };
}

function conversation(id: string, updatedAt: number) {
  const made = newConversation(id, updatedAt, "m", { system: "Be brief.", seed: 1 });
  askAt(made, 0, `Question ${id}`);
  made.messages.push({ role: "assistant", content: "Answer", model: "m", end: "stop" });
  return made;
}

describe("History", () => {
  it("keeps conversations, the latest first", () => {
    const history = new History(storeOf());
    for (const [id, time] of [
      ["a", 1],
      ["b", 3],
      ["c", 2],
    ] as const)
      history.save(conversation(id, time));
    assert.deepEqual(
      history.list().map(({ id }) => id),
      ["b", "c", "a"],
    );
    assert.deepEqual(history.get("a"), conversation("a", 1));
    history.remove("b");
    assert.equal(history.get("b"), undefined);
    assert.equal(history.list().length, 2);
  });

  it("renames, but not to nothing", () => {
    const history = new History(storeOf());
    history.save(conversation("a", 1));
    history.rename("a", "  New ");
    history.rename("a", "   ");
    history.rename("b", "None");
    assert.equal(history.get("a")?.title, "New");
    assert.equal(history.list().length, 1);
  });

  it("passes over what it cannot read", () => {
    const key = (id: string) => `stowage.conversation.${id}`;
    const { messages, ...rest } = conversation("x", 1);
    const history = new History(
      storeOf({
        [key("1")]: "{",
        [key("2")]: "null",
        [key("3")]: "[]",
        [key("4")]: JSON.stringify({ ...rest, messages: [null] }),
        [key("5")]: JSON.stringify({ ...rest, messages: [{ role: "tool", content: "x" }] }),
        [key("6")]: JSON.stringify({ ...rest, messages, settings: 1 }),
        other: JSON.stringify({ ...rest, messages }),
        "stowage.defaults": "7",
      }),
    );
    assert.deepEqual(history.list(), []);
    assert.deepEqual(history.defaults, { model: "", settings: { system: "" } });
  });

  it("says when there is no more room", () => {
    assert.equal(new History(storeOf({}, 10)).save(conversation("a", 1)), false);
  });

  it("exports one conversation, or all", () => {
    const history = new History(storeOf());
    history.save(conversation("a", 1));
    history.save(conversation("b", 2));
    const exported = (id?: string) => JSON.parse(history.export(id)).conversations;
    assert.deepEqual(exported("a"), [conversation("a", 1)]);
    assert.deepEqual(exported(), [conversation("b", 2), conversation("a", 1)]);
    assert.deepEqual(exported("none"), []);
  });

  it("keeps what the next conversation begins with", () => {
    const history = new History(storeOf());
    history.defaults = { model: "m", settings: { system: "s", top_k: 4 } };
    assert.deepEqual(history.defaults, { model: "m", settings: { system: "s", top_k: 4 } });
  });

  it("knows its keys, and that null means all were cleared", () => {
    assert.deepEqual([null, "stowage.conversation.a", "stowage.theme"].map(isHistoryKey), [
      true,
      true,
      false,
    ]);
  });
});

describe("a conversation", () => {
  it("drops what came after a question that is changed", () => {
    const one = conversation("a", 1);
    askAt(one, 2, "More");
    askAt(one, 0, "Changed");
    assert.deepEqual(one.messages, [{ role: "user", content: "Changed" }]);
    assert.equal(one.title, "Question a");
  });

  it("answers the last question again", () => {
    const one = conversation("a", 1);
    assert.equal(dropLastAnswer(one), true);
    assert.equal(lastQuestion(one), 0);
    assert.equal(one.messages.length, 1);
    assert.equal(dropLastAnswer(newConversation("b", 1, "m", { system: "" })), false);
  });

  it("is sent with its system prompt and settings, without empty answers", () => {
    const one = conversation("a", 1);
    one.messages.push({ role: "assistant", content: "", model: "m", end: "failed" });
    assert.deepEqual(requestBody(one), {
      model: "m",
      messages: [
        { role: "system", content: "Be brief." },
        { role: "user", content: "Question a" },
        { role: "assistant", content: "Answer" },
      ],
      stream: true,
      stream_options: { include_usage: true },
      seed: 1,
    });
    one.settings = { system: "  " };
    assert.equal(requestBody(one).messages[0]?.role, "user");
  });

  it("has the beginning of its first question as its title", () => {
    assert.equal(titleOf("  one\n two "), "one two");
    assert.equal(titleOf(`${"word ".repeat(20)}`), `${"word ".repeat(12).trimEnd()}…`);
    assert.equal(titleOf("x".repeat(100)).length, 61);
  });
});

describe("AnswerClock", () => {
  it("takes the first token out of the rate", () => {
    const clock = new AnswerClock(0);
    clock.restart(100);
    for (const time of [300, 400, 500]) clock.piece(time);
    const usage = { promptTokens: 9, cachedTokens: 4, generatedTokens: 5 };
    assert.deepEqual(clock.stats(600, usage), {
      total: 500,
      timeToFirstToken: 200,
      tokensPerSecond: 20,
      usage,
    });
    assert.equal(clock.stats(600, undefined).tokensPerSecond, 10);
  });

  it("has no rate without two tokens", () => {
    assert.deepEqual(new AnswerClock(0).stats(10, undefined), { total: 10 });
    const clock = new AnswerClock(0);
    clock.piece(5);
    assert.deepEqual(clock.stats(10, undefined), { total: 10, timeToFirstToken: 5 });
  });
});
