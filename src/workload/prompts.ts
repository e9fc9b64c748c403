import { Random } from "./random.ts";
import type { PlannedRequest } from "./traces/shape.ts";
import { words } from "./words.ts";

/** What a request sends: token ids, or text. */
export type Prompt = string | readonly number[];

/** Makes the prompt of the request with this index. The same index gives the same prompt. */
export type MakePrompt = (request: PlannedRequest, index: number) => Prompt;

/** Prompts of exactly as many tokens as are asked for, drawn from `pool`, tokens that mean some text. */
export function tokenPrompts(pool: readonly number[], seed: number): MakePrompt {
  return ({ inputTokens, blocks, blockTokens = 0 }, index) => {
    const own = new Random(seed, 2, index);
    return draw(pool, inputTokens, own, parts(seed, blocks, blockTokens));
  };
}

/** How many tokens a text of words becomes: so many whatever the text, and so many for each word. */
export interface TextScale {
  readonly fixedTokens: number;
  readonly tokensPerWord: number;
}

/** Prompts of words, of about as many tokens as are asked for, and of at least one word. */
export function textPrompts({ fixedTokens, tokensPerWord }: TextScale, seed: number): MakePrompt {
  return ({ inputTokens, blocks, blockTokens = 0 }, index) => {
    const count = Math.max(1, Math.round((inputTokens - fixedTokens) / tokensPerWord));
    const own = new Random(seed, 2, index);
    return draw(words, count, own, parts(seed, blocks, blockTokens / tokensPerWord)).join(" ");
  };
}

/** A text of so many words. */
export function textOfWords(count: number, seed: number): string {
  return draw(words, count, new Random(seed), []).join(" ");
}

/** The beginning of a prompt that others may have as well: up to `end`, it is drawn from `random`. */
interface Part {
  readonly end: number;
  readonly random: Random;
}

/** A part for each block, drawn by its id: prompts whose first blocks are the same begin the same. */
function parts(seed: number, blocks: readonly number[] = [], blockSize: number): Part[] {
  return blocks.map((id, place) => ({
    end: Math.round((place + 1) * blockSize),
    random: new Random(seed, 1, id),
  }));
}

/** `count` members of `pool`: first those of the shared parts, then the prompt's own. */
function draw<Piece>(pool: readonly Piece[], count: number, own: Random, shared: readonly Part[]): Piece[] {
  const pieces: Piece[] = [];
  for (const { end, random } of [...shared, { end: count, random: own }])
    while (pieces.length < Math.min(end, count)) pieces.push(pool[random.integer(0, pool.length - 1)]!);
  return pieces;
}
