import { loadEngine } from "../engine/load.ts";
import { topicalTokens } from "../model/topics.ts";
import { ChatPrompt } from "../tokenizer/chat-prompt.ts";
import { ownPrompts } from "../workload/own-prompts.ts";
import type { ExpertsModel } from "./expert-budget.ts";
import { encodePrompt } from "./lab-routing.ts";

/** A prompt, and the tokens after it that every policy is given, whatever its logits say. */
export interface Stream {
  readonly prompt: readonly number[];
  readonly forced: readonly number[];
}

/** What policies are run on. */
export interface Streams {
  /** What the tokens are, for people. */
  readonly kind: string;
  /** Those that policies learn from, before what is measured. */
  readonly settling: readonly Stream[];
  readonly measured: readonly Stream[];
}

interface Wishes {
  /** Tokens after prompts, in all. */
  readonly settling: number;
  readonly steps: number;
  readonly threads: number;
  readonly expertMemory: number;
}

/** Of topical text. */
const promptTokens = 16;
/** Of an answer to a prompt. */
const answerTokens = 48;

/**
 * Tokens for a model: text of the topics that a synthetic one was made for; else prompts of our own and its answers to them,
 * which are drawn with seeds: the same again each time.
 * @throws StowageError what loading and computing throw
 */
export async function streamsFor(model: ExpertsModel, wishes: Wishes): Promise<Streams> {
  const { settling, steps } = wishes;
  if (model.text.topics > 1) {
    const most = model.contextTokens - promptTokens - 1;
    const next = (seed: number, count: number) => topical(model, seed, Math.min(most, count));
    return {
      kind: `text of ${model.text.topics} topics`,
      settling: divided(settling, most, (count, index) => next(100 + index, count)),
      measured: divided(steps, most, (count, index) => next(200 + index, count)),
    };
  }
  const answers = await answersOf(model, settling + steps, wishes);
  const { first, rest } = split(answers, settling);
  return { kind: "answers to our own prompts", settling: first, measured: rest };
}

function topical({ text }: ExpertsModel, seed: number, count: number): Stream {
  const tokens = topicalTokens(seed, promptTokens + count, text);
  return { prompt: tokens.slice(0, promptTokens), forced: tokens.slice(promptTokens) };
}

/** Streams of at most so many tokens each. */
function divided(total: number, most: number, stream: (count: number, index: number) => Stream): Stream[] {
  const streams: Stream[] = [];
  for (let left = total; left > 0; left -= most) streams.push(stream(Math.min(most, left), streams.length));
  return streams;
}

/** Answers of so many tokens together; prompts come again, with other draws, when all were answered. */
async function answersOf(
  { path, contextTokens }: ExpertsModel,
  total: number,
  { threads, expertMemory }: Wishes,
): Promise<Stream[]> {
  const model = await loadEngine(path, { threads, contextTokens, maxSequences: 1, expertMemory });
  try {
    const { engine, tokenizer } = model;
    const chat = await ChatPrompt.of(tokenizer);
    const streams: Stream[] = [];
    for (let index = 0, left = total; left > 0; index++) {
      const text = ownPrompts[index % ownPrompts.length]!;
      const prompt = await encodePrompt(text, tokenizer, chat);
      const sampling = { seed: index + 1, temperature: 0.8 };
      const forced: number[] = [];
      const maxTokens = Math.min(answerTokens, left);
      for await (const event of engine.submit({ prompt, maxTokens, sampling, ignoreEnd: true })) {
        if (event.type === "token") forced.push(event.token);
      }
      streams.push({ prompt, forced });
      left -= forced.length;
    }
    return streams;
  } finally {
    await model.dispose();
  }
}

/** The first tokens, so many after prompts, and the others; a stream on both sides goes with what comes first. */
function split(streams: readonly Stream[], count: number): { first: Stream[]; rest: Stream[] } {
  const first: Stream[] = [];
  const rest: Stream[] = [];
  let left = count;
  for (const { prompt, forced } of streams) {
    const taken = forced.slice(0, Math.max(0, left));
    left -= forced.length;
    if (taken.length > 0) first.push({ prompt, forced: taken });
    if (taken.length < forced.length) {
      rest.push({ prompt: [...prompt, ...taken], forced: forced.slice(taken.length) });
    }
  }
  return { first, rest };
}
