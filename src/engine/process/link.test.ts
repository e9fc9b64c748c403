import assert from "node:assert/strict";
import { once } from "node:events";
import { duplexPair } from "node:stream";
import { describe, test } from "node:test";
import fc from "fast-check";
import { z } from "zod";
import type { StowageError } from "../../errors.ts";
import { Link } from "./link.ts";

const schema = z.object({ type: z.literal("say"), text: z.string() });
type Say = z.infer<typeof schema>;

/** A link whose other side is bytes. */
function linked() {
  const [stream, other] = duplexPair();
  const heard: Say[] = [];
  const faults: StowageError[] = [];
  let closings = 0;
  const link = new Link<Say, Say>(stream, schema, {
    message: (message) => heard.push(message),
    malformed: (error) => faults.push(error),
    closed: () => closings++,
  });
  return { link, stream, other, heard, faults, closings: () => closings };
}

describe("a link", () => {
  test("gives every message, however its bytes are cut", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.string({ unit: "binary" }), { maxLength: 8 }),
        fc.integer({ min: 1, max: 9 }),
        async (texts, size) => {
          const { stream, other, heard, faults } = linked();
          const bytes = Buffer.from(
            texts.map((text) => `${JSON.stringify({ type: "say", text })}\n`).join(""),
          );
          for (let from = 0; from < bytes.length; from += size)
            other.write(bytes.subarray(from, from + size));
          other.end();
          await once(stream, "close");
          assert.deepEqual(faults, []);
          assert.deepEqual(
            heard.map(({ text }) => text),
            texts.map((text) => text.toWellFormed()),
          );
        },
      ),
      { numRuns: 50 },
    );
  });

  test("sends one line a message", async () => {
    const { link, other } = linked();
    link.send({ type: "say", text: "two\nlines" });
    const [bytes] = await once(other, "data");
    assert.equal(String(bytes), `{"type":"say","text":"two\\nlines"}\n`);
  });

  for (const [what, line, said] of [
    ["no JSON", "hello", /no JSON: hello/],
    ["another type", `{"type":"shout","text":"x"}`, /type: /],
    ["a wrong field", `{"type":"say","text":7}`, /text: .*string/],
    ["no object", "7", /it: .*object/],
    ["nothing", "", /no JSON/],
  ] as const) {
    test(`${what}: the stream ends, and nothing after it is heard`, async () => {
      const { stream, other, heard, faults, closings } = linked();
      other.write(`{"type":"say","text":"before"}\n${line}\n{"type":"say","text":"after"}\n`);
      await once(stream, "close");
      assert.deepEqual(heard, [{ type: "say", text: "before" }]);
      assert.equal(faults.length, 1);
      assert.equal(faults[0]!.code, "message_malformed");
      assert.match(faults[0]!.message, said);
      assert.equal(closings(), 1);
    });
  }

  test("sending to a side that is gone does nothing", async () => {
    const { link, stream } = linked();
    link.close();
    await once(stream, "close");
    link.send({ type: "say", text: "to nobody" });
  });
});
