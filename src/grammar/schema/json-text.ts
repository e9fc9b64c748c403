/** JSON as expressions: what every schema is made of. */
import {
  type CharacterRange,
  characters,
  choice,
  commonRanges,
  type Expression,
  joinRanges,
  lastCodePoint,
  optional,
  repeat,
  rule,
  sequence,
  text,
} from "../expression.ts";

/** Characters that stand for themselves in a JSON string. */
const plain: readonly CharacterRange[] = [
  [0x20, 0x21],
  [0x23, 0x5b],
  [0x5d, lastCodePoint],
];
/** The others, each with the one way in which it is written here. */
const escaped: ReadonlyMap<number, string> = new Map(
  [...Array(0x20).keys(), 0x22, 0x5c].map((code) => [
    code,
    JSON.stringify(String.fromCharCode(code)).slice(1, -1),
  ]),
);

const digit = characters([0x30, 0x39]);
const hexDigit = characters([0x30, 0x39], [0x41, 0x46], [0x61, 0x66]);
const digits = (least: number, most: number) => repeat(digit, least, most);

export const comma = sequence(text(","), rule("space"));

/** Between the parts of objects and lists: nothing, a space, or a new line with its indentation. */
const space = optional(choice(text(" "), sequence(text("\n"), repeat(characters([9, 9], [32, 32]), 0, 20))));

/** `\uXXXX` of a character that is no half of another, or of both halves: each time one character. */
const unicodeEscape = choice(
  sequence(
    choice(
      sequence(characters([0x30, 0x39], [0x41, 0x43], [0x45, 0x46], [0x61, 0x63], [0x65, 0x66]), hexDigit),
      sequence(characters([0x44, 0x44], [0x64, 0x64]), characters([0x30, 0x37])),
    ),
    repeat(hexDigit, 2, 2),
  ),
  sequence(
    characters([0x44, 0x44], [0x64, 0x64]),
    characters([0x38, 0x39], [0x41, 0x42], [0x61, 0x62]),
    repeat(hexDigit, 2, 2),
    text("\\u"),
    characters([0x44, 0x44], [0x64, 0x64]),
    characters([0x43, 0x46], [0x63, 0x66]),
    repeat(hexDigit, 2, 2),
  ),
);

const item = rule("value");
const pair = sequence(rule("string"), text(":"), optional(text(" ")), item);

/** Rules that every grammar of JSON has; those that a schema does not use cost nothing. */
export const jsonRules: ReadonlyMap<string, Expression> = new Map<string, Expression>([
  ["space", space],
  [
    "character",
    choice(
      characters(...plain),
      sequence(
        text("\\"),
        choice(
          characters(
            ...[...'"\\/bfnrt'].map((one): CharacterRange => [one.charCodeAt(0), one.charCodeAt(0)]),
          ),
          sequence(text("u"), unicodeEscape),
        ),
      ),
    ),
  ],
  ["string", sequence(text('"'), repeat(rule("character"), 0, Number.POSITIVE_INFINITY), text('"'))],
  ["integer", sequence(optional(text("-")), wholePart(15))],
  [
    "number",
    sequence(
      optional(text("-")),
      wholePart(16),
      optional(sequence(text("."), digits(1, 16))),
      optional(
        sequence(
          characters([0x45, 0x45], [0x65, 0x65]),
          optional(characters([0x2b, 0x2b], [0x2d, 0x2d])),
          digits(1, 2),
        ),
      ),
    ),
  ],
  ["boolean", choice(text("true"), text("false"))],
  ["null", text("null")],
  ["array", list([], item, 0, Number.POSITIVE_INFINITY)],
  ["object", braces(listOf(pair, 0, Number.POSITIVE_INFINITY))],
  ["value", choice(...["string", "number", "boolean", "null", "array", "object"].map(rule))],
]);

/** JavaScript's numbers hold so many digits; more would change as they are read. */
function wholePart(most: number): Expression {
  return choice(text("0"), sequence(characters([0x31, 0x39]), digits(0, most - 1)));
}

/** A character of these ranges as it stands in a JSON string. */
export function characterText(ranges: readonly CharacterRange[]): Expression {
  if (ranges.every(([first, last]) => first > 0x5c || (first > 0x22 && last < 0x5c)))
    return characters(...ranges);
  const options: Expression[] = [];
  const unescaped = commonRanges(joinRanges(ranges), plain);
  if (unescaped.length > 0) options.push(characters(...unescaped));
  for (const [code, written] of escaped) {
    if (ranges.some(([first, last]) => first <= code && code <= last)) options.push(text(written));
  }
  return choice(...options);
}

/** `inner` in braces, or braces alone where `inner` may be nothing. */
export function braces(inner: Expression): Expression {
  return sequence(text("{"), rule("space"), inner, rule("space"), text("}"));
}

/** `part`, `part` … with commas between. */
export function listOf(part: Expression, least: number, most: number): Expression {
  if (most === 0) return { kind: "sequence", parts: [] };
  const some = sequence(part, repeat(sequence(comma, part), Math.max(0, least - 1), most - 1));
  return least === 0 ? optional(some) : some;
}

/** A JSON list: `first` in their order, then any number of `rest`, from `least` to `most` items in all. */
export function list(
  first: readonly Expression[],
  rest: Expression | undefined,
  least: number,
  most: number,
): Expression {
  const named = first.slice(0, most);
  // From the last to the first: what may follow an item, whichever of them the list ends with.
  let tail = rest
    ? repeat(sequence(comma, rest), Math.max(0, least - named.length), most - named.length)
    : nothingIf(least <= named.length);
  for (let index = named.length - 1; index > 0; index--) {
    const next = sequence(comma, named[index]!, tail);
    tail = least <= index ? optional(next) : next;
  }
  const all =
    named.length > 0 ? sequence(named[0]!, tail) : rest ? listOf(rest, Math.max(1, least), most) : choice();
  const inner = most === 0 ? nothingIf(least === 0) : least === 0 ? optional(all) : all;
  return sequence(text("["), rule("space"), inner, rule("space"), text("]"));
}

/** The empty text, or no text at all. */
function nothingIf(allowed: boolean): Expression {
  return allowed ? { kind: "sequence", parts: [] } : { kind: "choice", options: [] };
}
