/** Our side of a benchmark, as a process: the engine as users have it, driven through its requests. */
import { type LoadedModel, loadEngine } from "../engine/load.ts";
import type { Sequence } from "../engine/sequence.ts";
import { loadLlama } from "../ggml/llama.ts";
import { type Subject, serveSide } from "../workload/serve-side.ts";
import type { DecodeSamples, FirstToken, SideOptions } from "../workload/side-messages.ts";

/** Steps before the first that is measured, as on the other side. */
const warmupSteps = 8;

class Stowage implements Subject {
  readonly #options: SideOptions;
  #loaded: LoadedModel | undefined;

  constructor(options: SideOptions) {
    this.#options = options;
  }

  async loadToFirstToken(prompt: readonly number[]): Promise<FirstToken> {
    await this.#loaded?.dispose();
    this.#loaded = undefined;
    const started = performance.now();
    const token = await this.#firstToken(await this.#model(), prompt);
    return { milliseconds: performance.now() - started, token };
  }

  async prefill(prompt: readonly number[]): Promise<FirstToken> {
    const model = await this.#model();
    await model.engine.settled;
    model.engine.clearCache();
    await this.#firstToken(model, prompt);
    model.engine.clearCache();
    const started = performance.now();
    const token = await this.#firstToken(model, prompt);
    return { milliseconds: performance.now() - started, token };
  }

  /** A step's time is from its beginning to the beginning of the next: planning, sampling and telling included. */
  async decode(prompts: readonly (readonly number[])[], steps: number): Promise<DecodeSamples> {
    const { engine } = await this.#model();
    await engine.settled;
    engine.clearCache();
    const first = engine.records.total;
    const sequences = prompts.map((prompt) =>
      engine.submit({
        prompt,
        maxTokens: warmupSteps + steps + 2,
        ignoreEnd: true,
        sampling: { temperature: 0 },
      }),
    );
    const tokens = await Promise.all(sequences.map(tokensOf));
    const records = engine.records
      .list()
      .slice(first - engine.records.total)
      .filter(
        ({ prefillTokens, decodeSequences }) => prefillTokens === 0 && decodeSequences === prompts.length,
      );
    const times = records.slice(1).map(({ at }, index) => at - records[index]!.at);
    return { stepMilliseconds: times.slice(warmupSteps, warmupSteps + steps), tokens };
  }

  async #firstToken({ engine }: LoadedModel, prompt: readonly number[]): Promise<number> {
    const sequence = engine.submit({
      prompt,
      maxTokens: 1,
      ignoreEnd: true,
      sampling: { temperature: 0 },
    });
    const [token] = await tokensOf(sequence);
    return token!;
  }

  async #model(): Promise<LoadedModel> {
    const { modelPath, threads, contextTokens, sequences } = this.#options;
    this.#loaded ??= await loadEngine(modelPath, {
      threads,
      contextTokens: contextTokens / sequences,
      maxSequences: sequences,
      kvTokens: contextTokens,
    });
    return this.#loaded;
  }
}

async function tokensOf(sequence: Sequence): Promise<number[]> {
  const tokens: number[] = [];
  for await (const event of sequence) if (event.type === "token") tokens.push(event.token);
  return tokens;
}

serveSide((options) => {
  loadLlama();
  return new Stowage(options);
});
