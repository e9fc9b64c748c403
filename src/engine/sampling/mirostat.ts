/**
 * Mirostat (Basu et al., "Mirostat: A Neural Text Decoding Algorithm that Directly Controls Perplexity", ICLR 2021)
 * and its simpler second version, as in llama.cpp: a truncation whose reach mu follows the surprise of what was drawn.
 *
 * The surprise of a token is -log2 of its probability at the request's temperature. After each draw
 * mu ← mu - eta · (surprise - tau), from mu = 2 · tau on.
 * - Version 1 fits a Zipf exponent s to the 100 most likely tokens and keeps the k most likely of all, with
 *   k = ((s - 1) · 2^mu / (1 - N^(1 - s)))^(1/s) for a vocabulary of N tokens.
 * - Version 2 keeps the tokens whose surprise is at most mu, and at least one.
 */
import { Draw } from "./draw.ts";
import { expNegative } from "./exp.ts";
import { MassCut } from "./mass-cut.ts";
import type { ResolvedSampling } from "./params.ts";
import type { Xoshiro128 } from "./random.ts";
import { argmax, selectTop } from "./select.ts";

/** Tokens that the Zipf exponent is fitted to. */
const fitted = 100;

export class Mirostat {
  readonly #version: number;
  readonly #temperature: number;
  readonly #tau: number;
  readonly #eta: number;
  readonly #draw: Draw;
  readonly #scores: Float32Array;
  readonly #tokens: Int32Array;
  #cut: MassCut | undefined;
  #mu: number;

  constructor(params: ResolvedSampling, vocabSize: number, random: Xoshiro128) {
    this.#version = params.mirostat;
    this.#temperature = params.temperature;
    this.#tau = params.mirostatTau;
    this.#eta = params.mirostatEta;
    this.#mu = 2 * params.mirostatTau;
    this.#draw = new Draw(params.temperature, random, vocabSize);
    this.#scores = new Float32Array(vocabSize);
    this.#tokens = new Int32Array(vocabSize);
  }

  /** Draws a token, and learns from it. */
  next(logits: Float32Array): number {
    const { best, count } = this.select(logits);
    const index = this.#draw.next(this.#scores, count, best);
    this.learn(this.#draw.probability);
    return this.#tokens[index]!;
  }

  /** Moves mu by the surprise of a draw of this probability. */
  learn(probability: number): void {
    this.#mu -= this.#eta * (-Math.log2(probability) - this.#tau);
  }

  /** The tokens that the next draw may choose from, in an order that follows from the logits alone. */
  select(logits: Float32Array): { tokens: Int32Array; count: number; best: number } {
    const best = logits[argmax(logits)]!;
    const count =
      this.#version === 1 ? this.#selectMostLikely(logits, best) : this.#selectUnsurprising(logits, best);
    return { tokens: this.#tokens.subarray(0, count), count, best };
  }

  #selectMostLikely(logits: Float32Array, best: number): number {
    const found = selectTop(logits, Math.min(fitted, logits.length), this.#scores, this.#tokens);
    const k = this.#keep(this.#zipfExponent(found), logits.length);
    if (k <= found) return k;
    const count = this.#gather(logits, -Number.MAX_VALUE);
    const list = { scores: this.#scores, tokens: this.#tokens, count, best };
    this.#cut ??= new MassCut(logits.length);
    return this.#cut.most(list, k);
  }

  /** Least squares through the origin of ln(p_i / p_i+1) on ln((i + 1) / i). */
  #zipfExponent(found: number): number {
    let products = 0;
    let squares = 0;
    for (let i = 0; i < Math.min(found, fitted) - 1; i++) {
      const step = Math.log((i + 2) / (i + 1));
      products += (step * (this.#scores[i]! - this.#scores[i + 1]!)) / this.#temperature;
      squares += step * step;
    }
    return products / squares;
  }

  #keep(s: number, vocabSize: number): number {
    const k = (((s - 1) * 2 ** this.#mu) / (1 - vocabSize ** (1 - s))) ** (1 / s);
    // Not a number where all of the probabilities are equal, or there is one alone.
    if (!(k < vocabSize)) return vocabSize;
    return Math.max(Math.trunc(k), 1);
  }

  #selectUnsurprising(logits: Float32Array, best: number): number {
    let total = 0;
    for (let i = 0; i < logits.length; i++) total += expNegative((best - logits[i]!) / this.#temperature);
    const reach = this.#temperature * (this.#mu * Math.LN2 - Math.log(total));
    // The first of the best, where not even that is expected enough.
    return reach < 0 ? this.#gather(logits, best, 1) : this.#gather(logits, best - reach);
  }

  /** Collects the logits from `floor` on, at most so many. */
  #gather(logits: Float32Array, floor: number, most = logits.length): number {
    let count = 0;
    for (let i = 0; i < logits.length && count < most; i++) {
      if (logits[i]! < floor) continue;
      this.#scores[count] = logits[i]!;
      this.#tokens[count++] = i;
    }
    return count;
  }
}
