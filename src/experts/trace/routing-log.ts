import type { RoutingTrace } from "../locality.ts";

/** What a trace was recorded on. */
export interface RoutingSource {
  /** Name or path of the model, for people. */
  readonly model: string;
  /** Layers that have experts, in their order; layer numbers of a trace count these alone. */
  readonly layers: number;
  /** Experts of each layer. */
  readonly experts: number;
  /** Experts of each token in a layer. */
  readonly used: number;
}

/**
 * The routing of many tokens, in the order in which they ran. Arrays hold one value, or one row, a token. Tokens of one
 * step ran together; those of one request are in order, with those of others between them.
 */
export interface RoutingLog extends RoutingSource {
  readonly count: number;
  /** Whose token it is. */
  readonly request: Uint32Array;
  readonly position: Uint32Array;
  /** Id in the vocabulary. */
  readonly token: Int32Array;
  readonly step: Uint32Array;
  /** 1 where the token was decoded, 0 where it is of a prompt. */
  readonly decoded: Uint8Array;
  /** Chosen experts by falling rank, [layers][used] a token. */
  readonly chosen: Uint16Array;
  /**
   * What the next layer's router would choose for this layer's residual stream, [layers][used] a token: a guess of the
   * next layer's experts, 0 for the last layer. Where the source tells.
   */
  readonly guessed: Uint16Array | undefined;
  /** What the layer's own router would choose for the residual stream before its attention, [layers][used] a token. */
  readonly early: Uint16Array | undefined;
  /** What the router said of all experts, where the source tells; see {@link RouterScores}. */
  readonly scores: RouterScores | undefined;
}

/** Logits of the router: the largest of a layer, and how far below it the others are, in steps of 1/16, 255 at most. */
export interface RouterScores {
  /** [layers] a token. */
  readonly peak: Float32Array;
  /** [layers][experts] a token. */
  readonly drop: Uint8Array;
}

/** A logit one less is one e-th as likely: a step of 1/16 keeps probabilities to 3 %, and 255 of them reach 1e-7. */
export const dropSteps = 16;

/** Probabilities of a drop, before they are divided by their sum. */
const weightOfDrop = Float32Array.from({ length: 256 }, (_, drop) => Math.exp(-drop / dropSteps));

/**
 * The softmax over all experts of a layer: p of fMoE's expert maps.
 * @param into F32 [experts]
 */
export function probabilities(
  log: RoutingLog & { readonly scores: RouterScores },
  index: number,
  layer: number,
  into: Float32Array,
): void {
  const start = (index * log.layers + layer) * log.experts;
  let sum = 0;
  for (let expert = 0; expert < log.experts; expert++) {
    const weight = weightOfDrop[log.scores.drop[start + expert]!]!;
    into[expert] = weight;
    sum += weight;
  }
  for (let expert = 0; expert < log.experts; expert++) into[expert]! /= sum;
}

/** The routing of each request by itself, in the order in which they began. */
export function tracesOf(log: RoutingLog): RoutingTrace[] {
  const { layers, experts, used } = log;
  const rows = new Map<number, number[]>();
  for (let index = 0; index < log.count; index++) {
    const request = log.request[index]!;
    const mine = rows.get(request);
    if (mine) mine.push(index);
    else rows.set(request, [index]);
  }
  const width = layers * used;
  return [...rows.values()].map((indices) => {
    const chosen = new Uint16Array(indices.length * width);
    indices.forEach((from, to) => {
      chosen.set(log.chosen.subarray(from * width, (from + 1) * width), to * width);
    });
    return { tokens: indices.length, layers, experts, used, chosen };
  });
}
