import type { Model } from "../engine/model.ts";
import { formatNumber } from "../workload/format.ts";
import { answer } from "./answer.ts";

/** The beginnings that the sample model goes on from: a story, and some code. */
const beginnings = ["The captain looked at the sea, and", "for (let i = 0; i <"];

/** The same draws every time. */
const generation = { maxTokens: 48, temperature: 0.5, repeatPenalty: 1.1, seed: 2 };

/** Shows what a model does where nobody can type: a few texts as they are generated, and the speed. */
export async function demonstrate(model: Model, signal: AbortSignal): Promise<void> {
  let decode = 0;
  for (const prompt of beginnings) {
    process.stdout.write(`\n> ${prompt}`);
    const { speed } = await answer(model, { ...generation, prompt, signal }, { json: false, stats: false });
    decode = Math.max(decode, speed.decode ?? 0);
  }
  process.stdout.write(`\n${formatNumber(decode)} tokens/s. In a terminal, the same command opens a chat.\n`);
}
