import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type LoadOptions, loadEngine } from "../engine/load.ts";
import { readRoutingTrace } from "../experts/trace/reader.ts";
import type { RoutingLog } from "../experts/trace/routing-log.ts";
import { ChatPrompt } from "../tokenizer/chat-prompt.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import { Progress } from "./progress.ts";

/** What a model is given to have its routing seen. */
export interface RoutingRun {
  readonly prompts: readonly string[];
  /** Tokens that it answers each with, at most. */
  readonly answerTokens: number;
  readonly threads?: number;
}

/** A request as it ran. */
export interface AnsweredRequest {
  readonly prompt: readonly number[];
  readonly answer: readonly number[];
}

/** What came of a run. */
export interface RecordedRequests {
  readonly log: RoutingLog;
  readonly requests: readonly AnsweredRequest[];
}

/**
 * Has a model answer prompts one by one, in its chat template where it has one, and records its routing. Prompts that
 * leave no room for an answer in the model's context are left out. Draws are seeded: the same again for the same prompts.
 * @throws StowageError what loading and recording throw
 */
export async function routingOfPrompts(path: string, run: RoutingRun): Promise<RecordedRequests> {
  const folder = await mkdtemp(join(tmpdir(), "stowage-lab-"));
  try {
    const recordRouting = join(folder, "routing");
    const options: LoadOptions = {
      recordRouting,
      maxSequences: 1,
      ...(run.threads === undefined ? {} : { threads: run.threads }),
    };
    const model = await loadEngine(path, options);
    let requests: AnsweredRequest[];
    try {
      requests = await answerAll(model, run);
    } finally {
      await model.dispose();
    }
    const log = await readRoutingTrace(recordRouting);
    return { log: { ...log, model: path }, requests };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function answerAll(
  { engine, tokenizer }: Awaited<ReturnType<typeof loadEngine>>,
  { prompts, answerTokens }: RoutingRun,
): Promise<AnsweredRequest[]> {
  const requests: AnsweredRequest[] = [];
  const chat = await ChatPrompt.of(tokenizer);
  const progress = new Progress({ label: "Recording", total: prompts.length, unit: "requests" });
  for (const [index, text] of prompts.entries()) {
    const prompt = await encodePrompt(text, tokenizer, chat);
    if (prompt.length + answerTokens <= engine.limits.contextTokens) {
      const sampling = { seed: index + 1, temperature: 0.8 };
      const answer: number[] = [];
      for await (const event of engine.submit({ prompt, maxTokens: answerTokens, sampling })) {
        if (event.type === "token") answer.push(event.token);
      }
      requests.push({ prompt, answer });
    }
    progress.update(index + 1);
  }
  progress.finish();
  return requests;
}

/** A prompt's tokens, in the model's chat template where it has one. */
export async function encodePrompt(
  text: string,
  tokenizer: Tokenizer,
  chat: ChatPrompt | undefined,
): Promise<number[]> {
  const tokens = chat
    ? await chat.encode([{ role: "user", content: text }])
    : tokenizer.encode(text, { addSpecial: true, parseSpecial: false });
  return Array.from(tokens);
}
