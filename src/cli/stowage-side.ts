/** Our side of a benchmark, as a process: the engine as users have it, driven through its requests. */
import { type LoadedModel, loadEngine } from "../engine/load.ts";
import type { Sequence } from "../engine/sequence.ts";
import { policyNames } from "../experts/policies/policies.ts";
import { loadLlama } from "../ggml/llama.ts";
import { diskBytes, type Subject, serveSide } from "../workload/serve-side.ts";
import type {
  DecodeSamples,
  ExpertDecisions,
  ExpertReads,
  FirstToken,
  ReplayPart,
  ReplaySamples,
  SideOptions,
} from "../workload/side-messages.ts";
import { expertDecisionsOf, expertReadsOf } from "./expert-engine.ts";

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

  /** One sequence that is given its tokens. A step's time is from the token before it to its own. */
  async replay(prompt: readonly number[], forced: readonly number[]): Promise<ReplaySamples> {
    const model = await this.#model();
    await model.engine.settled;
    model.engine.clearCache();
    const begin = snapshot(model);
    let prefilled = begin;
    let last = begin.at;
    const best: number[] = [];
    const steps: number[] = [];
    const sequence = model.engine.submit({
      prompt,
      forced,
      maxTokens: forced.length + 1,
      ignoreEnd: true,
      sampling: { temperature: 0, logprobs: 1 },
    });
    for await (const event of sequence) {
      if (event.type !== "token") continue;
      best.push(event.top?.[0]?.token ?? event.token);
      const now = performance.now();
      if (best.length === 1) prefilled = snapshot(model);
      else steps.push(now - last);
      last = now;
    }
    const prefill = between(begin, prefilled);
    const decode = { ...between(prefilled, snapshot(model)), milliseconds: steps };
    const policy = model.experts?.policy.says;
    return { prefill, decode, best, ...(policy !== undefined && { policy }) };
  }

  get planned() {
    return this.#loaded ? { planBytes: this.#loaded.plan.total } : {};
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
    const { modelPath, threads, contextTokens, sequences, expertMemory, device } = this.#options;
    const expertPolicy = policyNames.find((name) => name === this.#options.expertPolicy);
    this.#loaded ??= await loadEngine(modelPath, {
      threads,
      contextTokens: contextTokens / sequences,
      maxSequences: sequences,
      kvTokens: contextTokens,
      learnt: "none",
      // A step of one token a sequence is measured, as the other side has it.
      speculate: "off",
      ...(expertMemory === undefined ? {} : { expertMemory }),
      ...(expertPolicy === undefined ? {} : { expertPolicy }),
      ...(device === undefined ? {} : { device }),
    });
    return this.#loaded;
  }
}

/** What was done and read by now. */
interface Snapshot {
  readonly at: number;
  readonly disk: number;
  readonly reads: ExpertReads | undefined;
  readonly decisions: ExpertDecisions | undefined;
}

function snapshot(model: LoadedModel): Snapshot {
  return {
    at: performance.now(),
    disk: diskBytes(),
    reads: expertReadsOf(model),
    decisions: expertDecisionsOf(model),
  };
}

function between(before: Snapshot, after: Snapshot): ReplayPart {
  const milliseconds = [after.at - before.at];
  const diskBytes = after.disk - before.disk;
  if (!before.reads || !after.reads || !before.decisions || !after.decisions) {
    return { milliseconds, diskBytes };
  }
  return {
    milliseconds,
    diskBytes,
    experts: difference(after.reads, before.reads),
    decisions: difference(after.decisions, before.decisions),
  };
}

function difference<T extends { readonly [key in keyof T]: number }>(after: T, before: T): T {
  const entries = Object.entries<number>(after).map(([key, value]) => [key, value - before[key as keyof T]]);
  return Object.fromEntries(entries) as T;
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
