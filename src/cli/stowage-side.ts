/** Our side of a benchmark, as a process: the engine as users have it, driven through its requests. */
import { type LoadedModel, loadEngine } from "../engine/load.ts";
import type { Sequence } from "../engine/sequence.ts";
import { loadLlama } from "../ggml/llama.ts";
import { diskBytes, type Subject, serveSide } from "../workload/serve-side.ts";
import type {
  DecodeSamples,
  ExpertReads,
  FirstToken,
  ReplayPart,
  ReplaySamples,
  SideOptions,
} from "../workload/side-messages.ts";
import { expertOptions, expertReadsOf } from "./expert-engine.ts";

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

  /**
   * Each given token is a request of its own, whose prompt is all before it: the keys and values of that are there
   * still, so that it takes one step of one token.
   */
  async replay(prompt: readonly number[], forced: readonly number[]): Promise<ReplaySamples> {
    const model = await this.#model();
    await model.engine.settled;
    model.engine.clearCache();
    const best: number[] = [];
    const tokens = [...prompt];
    const prefill = await this.#part(model, async () => {
      best.push(await this.#firstToken(model, tokens));
    });
    const steps: number[] = [];
    const decode = await this.#part(model, async () => {
      for (const token of forced) {
        tokens.push(token);
        const started = performance.now();
        best.push(await this.#firstToken(model, tokens));
        steps.push(performance.now() - started);
      }
    });
    return { prefill, decode: { ...decode, milliseconds: steps }, best };
  }

  get planned() {
    return this.#loaded ? { planBytes: this.#loaded.plan.total } : {};
  }

  /** Measures what `work` takes. */
  async #part(model: LoadedModel, work: () => Promise<void>): Promise<ReplayPart> {
    const before = { disk: diskBytes(), reads: expertReadsOf(model) };
    const started = performance.now();
    await work();
    const milliseconds = [performance.now() - started];
    const reads = expertReadsOf(model);
    return {
      milliseconds,
      diskBytes: diskBytes() - before.disk,
      ...(reads && before.reads && { experts: difference(reads, before.reads) }),
    };
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
    const { modelPath, threads, contextTokens, sequences, expertMemory } = this.#options;
    this.#loaded ??= await loadEngine(modelPath, {
      threads,
      contextTokens: contextTokens / sequences,
      maxSequences: sequences,
      kvTokens: contextTokens,
      ...expertOptions(expertMemory),
    });
    return this.#loaded;
  }
}

function difference(after: ExpertReads, before: ExpertReads): ExpertReads {
  return {
    bytes: after.bytes - before.bytes,
    demandBytes: after.demandBytes - before.demandBytes,
    demandMs: after.demandMs - before.demandMs,
    computeMs: after.computeMs - before.computeMs,
  };
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
