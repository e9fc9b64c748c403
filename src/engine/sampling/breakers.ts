/**
 * The sequence breakers of DRY as tokens, as in llama.cpp. A token that has all of a breaker in it breaks alone. One
 * that ends with the beginning of a breaker breaks when the tokens of the rest follow.
 */
import type { Tokenizer } from "../../tokenizer/tokenizer.ts";
import type { DryBreakers } from "./dry.ts";
import type { ResolvedSampling } from "./params.ts";

/** Tokens of the rest of a breaker that are compared. */
const maxRest = 20;
/** Breakers whose tokens are remembered, for each tokenizer. */
const maxKnown = 64;

type Places = readonly { readonly token: number; readonly rest: readonly number[] }[];

interface Vocabulary {
  readonly bytes: Buffer;
  readonly starts: Int32Array;
  readonly known: Map<string, Places>;
}

const vocabularies = new WeakMap<Tokenizer, Vocabulary>();

/**
 * Where the breakers of `params` are in the vocabulary. The first call for a tokenizer reads all of its tokens: about
 * a microsecond for each.
 */
export function breakersOf(tokenizer: Tokenizer, params: ResolvedSampling): DryBreakers {
  const vocabulary = vocabularies.get(tokenizer) ?? readVocabulary(tokenizer);
  vocabularies.set(tokenizer, vocabulary);
  const breakers = new Map<number, (readonly number[])[]>();
  for (const breaker of params.drySequenceBreakers) {
    for (const { token, rest } of placesOf(tokenizer, vocabulary, breaker)) {
      const rests = breakers.get(token) ?? [];
      if (!rests.some((other) => String(other) === String(rest))) rests.push(rest);
      breakers.set(token, rests);
    }
  }
  return breakers;
}

function readVocabulary(tokenizer: Tokenizer): Vocabulary {
  const { bytes, starts } = tokenizer.allPieces();
  return { bytes: Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length), starts, known: new Map() };
}

function placesOf(tokenizer: Tokenizer, vocabulary: Vocabulary, breaker: string): Places {
  const { known } = vocabulary;
  const places = known.get(breaker) ?? findPlaces(tokenizer, vocabulary, Buffer.from(breaker));
  known.set(breaker, places);
  if (known.size > maxKnown) known.delete(known.keys().next().value!);
  return places;
}

function findPlaces(tokenizer: Tokenizer, { bytes, starts }: Vocabulary, breaker: Buffer): Places {
  const rests = Array.from(breaker, (_, from) => restFrom(tokenizer, breaker, from));
  const places: { token: number; rest: readonly number[] }[] = [];
  let found = -1;
  for (let token = 0; token + 1 < starts.length; token++) {
    const [start, end] = [starts[token]!, starts[token + 1]!];
    // The next one in all of the bytes, which may be far behind this token, or reach from one token into another.
    if (found < start && found < bytes.length) {
      found = bytes.indexOf(breaker, start);
      if (found < 0) found = bytes.length;
    }
    if (found + breaker.length <= end) {
      places.push({ token, rest: [] });
      continue;
    }
    for (let length = 1; length < breaker.length && length <= end - start; length++) {
      const rest = rests[length];
      if (bytes[end - 1] !== breaker[length - 1] || !rest) continue;
      if (breaker.compare(bytes, end - length, end, 0, length) === 0) places.push({ token, rest });
    }
  }
  return places;
}

/** The tokens of a breaker's bytes from `from` on; undefined inside a character. */
function restFrom(tokenizer: Tokenizer, breaker: Buffer, from: number): readonly number[] | undefined {
  if ((breaker[from]! & 0xc0) === 0x80) return undefined;
  const options = { addSpecial: false, parseSpecial: false };
  return Array.from(tokenizer.encode(breaker.toString("utf8", from), options)).slice(0, maxRest);
}
