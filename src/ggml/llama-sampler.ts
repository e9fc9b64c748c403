import koffi from "koffi";
import { StowageError } from "../errors.ts";
import type { Pointer } from "./bindings.ts";
import { type Llama, loadLlama } from "./llama.ts";
import type { LlamaModel } from "./llama-model.ts";

/** One sampler of libllama, by its name there, and what it takes. */
export type LlamaSamplerSpec =
  | {
      readonly kind: "logit_bias";
      readonly bias: Readonly<Record<string, number>>;
      readonly vocabulary: number;
    }
  | {
      readonly kind: "penalties";
      readonly vocabulary: number;
      readonly lastN: number;
      readonly repeat: number;
      readonly frequency: number;
      readonly presence: number;
    }
  | {
      readonly kind: "dry";
      readonly model: LlamaModel;
      readonly multiplier: number;
      readonly base: number;
      readonly allowedLength: number;
      readonly lastN: number;
      readonly breakers: readonly string[];
    }
  | { readonly kind: "top_n_sigma"; readonly n: number }
  | { readonly kind: "top_k"; readonly k: number }
  | { readonly kind: "typical" | "top_p" | "min_p"; readonly p: number }
  | { readonly kind: "xtc"; readonly probability: number; readonly threshold: number; readonly seed: number }
  | { readonly kind: "temp"; readonly temperature: number }
  | { readonly kind: "dist"; readonly seed: number }
  | {
      readonly kind: "mirostat" | "mirostat_v2";
      readonly tau: number;
      readonly eta: number;
      readonly vocabulary: number;
      readonly seed: number;
    };

/** What a chain made of logits. */
export interface LlamaCandidates {
  /** Tokens that are left, by their logits as the chain changed them; those that it set to -Infinity are not there. */
  readonly logits: ReadonlyMap<number, number>;
  /** The token that the last sampler chose, where it chooses. */
  readonly chosen: number | undefined;
}

const entryBytes = 12;
/** Tokens that version 1 of Mirostat fits its exponent to, as libllama's own tools have it. */
const mirostatFitted = 100;

/** A chain of libllama's samplers: the peer of the engine's in tests. Freed by `dispose`. */
export class LlamaSampler {
  readonly #llama: Llama;
  #chain: Pointer | undefined;

  constructor(specs: readonly LlamaSamplerSpec[]) {
    this.#llama = loadLlama();
    const { functions } = this.#llama;
    this.#chain = functions.llama_sampler_chain_init(
      functions.llama_sampler_chain_default_params(),
    ) as Pointer;
    for (const spec of specs) functions.llama_sampler_chain_add(this.#chain, samplerOf(this.#llama, spec));
  }

  /** Tells it a token of the sequence. */
  accept(token: number): void {
    this.#llama.functions.llama_sampler_accept(this.#alive(), token);
  }

  /** Runs the chain over the logits of a whole vocabulary. */
  apply(logits: Float32Array): LlamaCandidates {
    const chain = this.#alive();
    const data: Pointer = koffi.alloc("uint8", entryBytes * logits.length);
    const list: Pointer = koffi.alloc("uint64", 4);
    const entries = new DataView(koffi.view(data, entryBytes * logits.length));
    const head = new BigInt64Array(koffi.view(list, 32));
    logits.forEach((logit, token) => {
      entries.setInt32(entryBytes * token, token, true);
      entries.setFloat32(entryBytes * token + 4, logit, true);
    });
    // Where the entries are, how many, which is chosen, and whether they are sorted.
    head.set([data, BigInt(logits.length), -1n, 0n]);
    this.#llama.functions.llama_sampler_apply(chain, list);

    // A sampler may have moved the beginning.
    const first = Number(head[0]! - data);
    const left = new Map<number, number>();
    for (let index = 0; index < Number(head[1]); index++) {
      const logit = entries.getFloat32(first + entryBytes * index + 4, true);
      if (logit !== -Infinity) left.set(entries.getInt32(first + entryBytes * index, true), logit);
    }
    const chosen = head[2]! < 0n ? undefined : entries.getInt32(first + entryBytes * Number(head[2]), true);
    koffi.free(data);
    koffi.free(list);
    return { logits: left, chosen };
  }

  dispose(): void {
    if (this.#chain !== undefined) this.#llama.functions.llama_sampler_free(this.#chain);
    this.#chain = undefined;
  }

  #alive(): Pointer {
    if (this.#chain === undefined) throw new StowageError("native_disposed", { what: "A llama sampler" });
    return this.#chain;
  }
}

function samplerOf({ functions: f }: Llama, spec: LlamaSamplerSpec): Pointer {
  switch (spec.kind) {
    case "logit_bias": {
      const entries = Object.entries(spec.bias);
      const pairs = new DataView(new ArrayBuffer(8 * entries.length));
      entries.forEach(([token, bias], index) => {
        pairs.setInt32(8 * index, Number(token), true);
        pairs.setFloat32(8 * index + 4, bias, true);
      });
      return f.llama_sampler_init_logit_bias(spec.vocabulary, entries.length, new Uint8Array(pairs.buffer));
    }
    case "penalties":
      return f.llama_sampler_init_penalties(
        spec.vocabulary,
        spec.lastN,
        spec.repeat,
        spec.frequency,
        spec.presence,
      );
    case "dry": {
      const { model, multiplier, base, allowedLength, lastN, breakers } = spec;
      return f.llama_sampler_init_dry(
        ...[f.llama_model_get_vocab(model.pointer), multiplier, base, allowedLength, lastN],
        ...[breakers, breakers.length],
      );
    }
    case "top_n_sigma":
      return f.llama_sampler_init_top_n_sigma(spec.n);
    case "top_k":
      return f.llama_sampler_init_top_k(spec.k);
    case "typical":
      return f.llama_sampler_init_typical(spec.p, 0);
    case "top_p":
      return f.llama_sampler_init_top_p(spec.p, 0);
    case "min_p":
      return f.llama_sampler_init_min_p(spec.p, 0);
    case "xtc":
      return f.llama_sampler_init_xtc(spec.probability, spec.threshold, 0, spec.seed);
    case "temp":
      return f.llama_sampler_init_temp(spec.temperature);
    case "dist":
      return f.llama_sampler_init_dist(spec.seed);
    case "mirostat":
      return f.llama_sampler_init_mirostat(spec.vocabulary, spec.seed, spec.tau, spec.eta, mirostatFitted);
    case "mirostat_v2":
      return f.llama_sampler_init_mirostat_v2(spec.seed, spec.tau, spec.eta);
  }
}
