import type { CharacterRange } from "./expression.ts";

/** Bytes of one place in a character's UTF-8, both ends included. */
export type ByteRange = readonly [low: number, high: number];

/** Where the number of bytes changes, and the surrogates, which UTF-8 does not have. */
const spans: readonly CharacterRange[] = [
  [0, 0x7f],
  [0x80, 0x7ff],
  [0x800, 0xd7ff],
  [0xe000, 0xffff],
  [0x10000, 0x10ffff],
];

/** Sequences of byte ranges that together are the UTF-8 of the characters from `first` to `last`, and of no others. */
export function utf8Sequences([first, last]: CharacterRange): ByteRange[][] {
  return spans.flatMap(([spanFirst, spanLast]) => {
    const low = Math.max(first, spanFirst);
    const high = Math.min(last, spanLast);
    return low > high ? [] : split(low, high);
  });
}

/** Both ends have as many bytes: cut until only the last places of a sequence run over all that they can be. */
function split(first: number, last: number): ByteRange[][] {
  const low = encode(first);
  const high = encode(last);
  for (let place = 1; place < low.length; place++) {
    const mask = (1 << (6 * place)) - 1;
    if (first >> (6 * place) === last >> (6 * place)) break;
    if ((first & mask) !== 0) return [...split(first, first | mask), ...split((first | mask) + 1, last)];
    if ((last & mask) !== mask) return [...split(first, (last & ~mask) - 1), ...split(last & ~mask, last)];
  }
  return [low.map((byte, place) => [byte, high[place]!] as const)];
}

function encode(code: number): number[] {
  if (code < 0x80) return [code];
  if (code < 0x800) return [0xc0 | (code >> 6), 0x80 | (code & 0x3f)];
  if (code < 0x10000) return [0xe0 | (code >> 12), 0x80 | ((code >> 6) & 0x3f), 0x80 | (code & 0x3f)];
  return [
    0xf0 | (code >> 18),
    0x80 | ((code >> 12) & 0x3f),
    0x80 | ((code >> 6) & 0x3f),
    0x80 | (code & 0x3f),
  ];
}
