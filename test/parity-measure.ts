import type { KvRun } from "../src/kv/cache.ts";
import { defaultKvTypes, type KvTypes } from "../src/kv/types.ts";
import type { AdapterOption } from "../src/model/lora/adapters.ts";
import { OwnModel } from "./parity-own.ts";
import { PeerModel } from "./parity-peer.ts";
import { routingMargins } from "./routing-margins.ts";

/** Prompt lengths: the experts of 8 tokens run together, those of 48 apart. */
const promptLengths = [8, 48];
const decodeSteps = 8;
/** Tokens of a greedy output. */
export const greedyTokens = 64;
/** Lengths of the prompts that join a batch, by step; those that are there decode beside them. */
const joining = [[5, 3], [1, 8], [48, 17, 30, 12], [], [], []];
const cellsEach = 256;

/** Where greedy outputs part. */
export interface Divergence {
  /** Equal tokens before it. */
  readonly after: number;
  /** Between libllama's logits of its own choice and of ours, over their standard deviation. */
  readonly gap: number;
}

/** The logits after one token. */
export interface Row {
  /** How far ours are from libllama's: the largest difference over the standard deviation of libllama's. */
  readonly difference: number;
  /** By how much the router prefers what it chose for this token, see {@link routingMargins}. */
  readonly margin: number;
}

/** What came of the comparison, by kind of step. */
export interface Parity {
  readonly prefill: readonly Row[];
  readonly decode: readonly Row[];
  /** Eight sequences that join and decode side by side; libllama runs each alone. */
  readonly batch: readonly Row[];
  /** Of the greedy outputs of two prompts, those that are not the same to the end. */
  readonly divergences: readonly Divergence[];
}

/**
 * Below this margin two experts are all but equal, and rounding decides between them: libllama's logits differ from
 * its own there by as much as from ours, when it is given the tokens in other steps.
 */
export const tieMargin = 0.02;

/** The largest difference of the rows where the router is no tie. */
export function worst(rows: readonly Row[], tie = tieMargin): number {
  const clear = rows.filter((row) => isClear(row, tie));
  return Math.max(0, ...clear.map(({ difference }) => difference));
}

export function isClear({ margin }: Row, tie = tieMargin): boolean {
  return margin >= tie;
}

/** Gives `count` tokens; others for another `seed`, a whole number. */
export type TokenSource = (count: number, seed: number) => number[];

/** How both sides are set up. */
export interface ParityOptions {
  /** Whether our weights are in the layout of the fast kernels, as libllama's are, or still as in the file. Default true. */
  readonly converted?: boolean;
  /** Of keys and values, on both sides. Default F16. */
  readonly kvTypes?: KvTypes;
  /** What every sequence is computed with, on both sides. */
  readonly lora?: readonly Required<AdapterOption>[];
}

/**
 * Compares the project's forward pass with libllama's on one file.
 * @param tokensFor called once the model is there
 */
export async function measureParity(
  path: string,
  tokensFor: (own: OwnModel, peer: PeerModel) => Promise<TokenSource>,
  { converted = true, kvTypes = defaultKvTypes, lora = [] }: ParityOptions = {},
): Promise<Parity> {
  const own = await OwnModel.load(path, {
    sequences: joining.flat().length,
    cellsEach,
    converted,
    kvTypes,
    lora,
  });
  const peer = await PeerModel.load(path, cellsEach, { kvTypes, lora });
  try {
    const source = await tokensFor(own, peer);
    const alone = await compareAlone(own, peer, source);
    const batch = await compareBatch(own, peer, source);
    const divergences: Divergence[] = [];
    for (const length of promptLengths) {
      const divergence = await compareGreedy(own, peer, source(length, length));
      if (divergence) divergences.push(divergence);
    }
    return { ...alone, batch, divergences };
  } finally {
    own.dispose();
    peer.dispose();
  }
}

async function compareAlone(own: OwnModel, peer: PeerModel, source: TokenSource) {
  const prefill: Row[] = [];
  const decode: Row[] = [];
  for (const length of promptLengths) {
    const steps = [source(length, length), ...source(decodeSteps, length + 1).map((token) => [token])];
    own.begin();
    const logits: Float32Array[] = [];
    for (const tokens of steps) logits.push(await own.next(tokens));
    own.end();
    const [first, ...others] = await compareTrack(own, peer, steps, logits);
    prefill.push(first!);
    decode.push(...others);
  }
  return { prefill, decode };
}

/** What one sequence did in the batch: the tokens of each step, and the logits after them. */
interface Track {
  readonly run: KvRun;
  readonly steps: (readonly number[])[];
  readonly logits: Float32Array[];
}

/** Sequences join a running batch; each is compared with libllama running it alone. */
async function compareBatch(own: OwnModel, peer: PeerModel, source: TokenSource): Promise<Row[]> {
  const tracks: Track[] = [];
  for (const [step, lengths] of joining.entries()) {
    const decoding = source(tracks.length, 100 + step).map((token) => [token]);
    const prompts = lengths.map((length, index) => source(length, 200 + 10 * step + index));
    for (const _ of lengths) tracks.push({ run: own.open(), steps: [], logits: [] });
    const entries = [...decoding, ...prompts].map((tokens, index) => ({ run: tracks[index]!.run, tokens }));
    const rows = await own.step(entries);
    for (const [index, { tokens }] of entries.entries()) {
      tracks[index]!.steps.push(tokens);
      tracks[index]!.logits.push(rows[index]!);
    }
  }
  for (const { run } of tracks) own.close(run);
  const compared: Row[] = [];
  for (const { steps, logits } of tracks) compared.push(...(await compareTrack(own, peer, steps, logits)));
  return compared;
}

/** A row for each step of a sequence, whose logits are ours. */
async function compareTrack(
  own: OwnModel,
  peer: PeerModel,
  steps: readonly (readonly number[])[],
  logits: readonly Float32Array[],
): Promise<Row[]> {
  const margins = await routingMargins(own.runtime, steps.flat());
  const rows: Row[] = [];
  let tokens = 0;
  peer.begin();
  for (const [index, step] of steps.entries()) {
    tokens += step.length;
    const difference = distance(logits[index]!, await peer.next(step));
    rows.push({ difference, margin: margins[tokens - 1]! });
  }
  return rows;
}

/**
 * Sequences with long prompts, each prefilled alone, that then decode side by side; libllama runs each alone.
 * @returns how far each row of logits is from libllama's
 */
export async function measureLong(
  path: string,
  { context, prompts, decoded }: { context: number; prompts: readonly number[]; decoded: number },
): Promise<number[]> {
  const own = await OwnModel.load(path, { sequences: prompts.length, cellsEach: context, converted: true });
  const peer = await PeerModel.load(path, context);
  try {
    const { vocabulary } = own.runtime.weights.layout;
    const tokensOf = (count: number, seed: number) =>
      Array.from({ length: count }, (_, index) => 3 + ((index * 7919 + seed * 104_729) % (vocabulary - 3)));
    const tracks: Track[] = [];
    for (const [index, length] of prompts.entries()) {
      const run = own.open();
      const tokens = tokensOf(length, index);
      // The most that a step of this model takes.
      const chunks = [tokens.slice(0, 500), tokens.slice(500)].filter((chunk) => chunk.length > 0);
      const logits: Float32Array[] = [];
      for (const chunk of chunks) logits.push(...(await own.step([{ run, tokens: chunk }])));
      tracks.push({ run, steps: chunks, logits });
    }
    for (let step = 0; step < decoded; step++) {
      const next = tracks.map(({ run }, index) => ({ run, tokens: tokensOf(1, 10 * step + index) }));
      for (const [index, row] of (await own.step(next)).entries()) {
        tracks[index]!.steps.push(next[index]!.tokens);
        tracks[index]!.logits.push(row);
      }
    }
    const differences: number[] = [];
    for (const { steps, logits } of tracks) {
      peer.begin();
      for (const [index, step] of steps.entries()) {
        differences.push(distance(logits[index]!, await peer.next(step)));
      }
    }
    return differences;
  } finally {
    own.dispose();
    peer.dispose();
  }
}

/** Each side goes on with its own best token until the two part. */
async function compareGreedy(
  own: OwnModel,
  peer: PeerModel,
  prompt: readonly number[],
): Promise<Divergence | undefined> {
  own.begin();
  peer.begin();
  let latest: readonly number[] = prompt;
  for (let after = 0; after < greedyTokens; after++) {
    const mine = best(await own.next(latest));
    const logits = await peer.next(latest);
    const theirs = best(logits);
    if (mine !== theirs) return { after, gap: (logits[theirs]! - logits[mine]!) / deviation(logits) };
    latest = [theirs];
  }
  return undefined;
}

function distance(own: Float32Array, expected: Float32Array): number {
  // Math.max keeps a NaN, so that one fails every bound.
  const largest = expected.reduce((most, value, index) => Math.max(most, Math.abs(value - own[index]!)), 0);
  return largest / deviation(expected);
}

function deviation(row: Float32Array): number {
  const mean = row.reduce((sum, value) => sum + value, 0) / row.length;
  return Math.sqrt(row.reduce((sum, value) => sum + (value - mean) ** 2, 0) / row.length);
}

function best(row: Float32Array): number {
  return row.reduce((found, value, index) => (value > row[found]! ? index : found), 0);
}
