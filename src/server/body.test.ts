import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { depthLimit, parseBody } from "./body.ts";

const parse = (text: string) => parseBody(Buffer.from(text));

describe("a request's body", () => {
  it("is JSON in UTF-8, with or without a mark that says so", () => {
    assert.deepEqual(parse('{"a":["ä€😀",1,null]}'), { a: ["ä€😀", 1, null] });
    assert.deepEqual(parse('\ufeff{"a":1}'), { a: 1 });
    assert.deepEqual(parse(' \r\n\t{"a":1} '), { a: 1 });
  });

  it("may be nested to the limit, and no deeper", () => {
    const nested = (depth: number) => "[".repeat(depth) + "]".repeat(depth);
    parse(nested(depthLimit));
    const tooDeep = { code: "body_invalid", message: /more than 32 deep/ };
    assert.throws(() => parse(nested(depthLimit + 1)), tooDeep);
    assert.throws(() => parse('{"a":'.repeat(depthLimit + 1)), tooDeep);
    assert.throws(() => parse("[".repeat(4_000_000)), tooDeep);
  });

  it("may hold any number of brackets in strings, and one after the other", () => {
    const brackets = "[{".repeat(1000);
    assert.deepEqual(parse(JSON.stringify([brackets])), [brackets]);
    assert.deepEqual(parse(JSON.stringify({ [brackets]: `"\\${brackets}\\"` })), {
      [brackets]: `"\\${brackets}\\"`,
    });
    assert.equal((parse(JSON.stringify(Array(1000).fill([[]]))) as unknown[]).length, 1000);
  });

  it("counts brackets after a string that ends in an escaped backslash", () => {
    assert.throws(() => parse(`["\\\\",${"[".repeat(depthLimit)}`), { message: /more than 32 deep/ });
  });

  it("gets no other prototype from a key", () => {
    const body = parse('{"__proto__":{"polluted":true},"constructor":1}') as Record<string, unknown>;
    assert.equal(Object.getPrototypeOf(body), Object.prototype);
    assert.equal(({} as Record<string, unknown>).polluted, undefined);
  });

  const refused: [what: string, bytes: Buffer, reason: RegExp][] = [
    ["nothing", Buffer.alloc(0), /it is empty/],
    ["white space", Buffer.from(" \n\t"), /it is empty/],
    ["a mark alone", Buffer.from("\ufeff"), /it is empty/],
    ["Latin-1", Buffer.from('{"a":"ä"}', "latin1"), /not UTF-8/],
    ["half a character", Buffer.from('{"a":"ä"}').subarray(0, 7), /not UTF-8/],
    ["a surrogate in UTF-8", Buffer.from([0x22, 0xed, 0xa0, 0x80, 0x22]), /not UTF-8/],
    ["an overlong character", Buffer.from([0x22, 0xc0, 0xaf, 0x22]), /not UTF-8/],
    ["UTF-16 with its mark", Buffer.from('\ufeff{"a":1}', "utf16le"), /not UTF-8/],
    ["UTF-16", Buffer.from('{"a":1}', "utf16le"), /cannot be read/],
    ["a word", Buffer.from("hello"), /cannot be read/],
    ["half an object", Buffer.from('{"a":1'), /cannot be read/],
    ["an object and more", Buffer.from('{"a":1}}'), /cannot be read/],
    ["JavaScript", Buffer.from("{a:1}"), /cannot be read/],
    ["NaN", Buffer.from('{"a":NaN}'), /cannot be read/],
    ["a comma too many", Buffer.from('{"a":1,}'), /cannot be read/],
    ["a control character in a string", Buffer.from('{"a":"\u0001"}'), /cannot be read/],
  ];
  for (const [what, bytes, message] of refused) {
    it(`is not ${what}`, () => assert.throws(() => parseBody(bytes), { code: "body_invalid", message }));
  }
});
