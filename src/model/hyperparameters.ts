import type { Rope } from "../ggml/context.ts";
import type { Metadata } from "../gguf/metadata.ts";
import { ArchitectureKeys, bounds, require } from "./architecture-keys.ts";
import type { Activation } from "./feed-forward.ts";
import type { Latent } from "./latent.ts";
import { type ExpertGroups, readExpertGroups } from "./mixture.ts";
import { readRope, ropeScaling } from "./rope.ts";
import type { RouterOptions } from "./router.ts";

/** The shape of a model, as its GGUF metadata tells it. Widths are in elements. */
export interface Hyperparameters {
  readonly architecture: string;
  readonly layers: number;
  readonly width: number;
  readonly heads: number;
  readonly kvHeads: number;
  /** Of a query and of a key. */
  readonly headWidth: number;
  /** Of a value; the same as of a key but in latent attention. */
  readonly valueWidth: number;
  /** Keys and values that are made of one vector a token, where the family does so. */
  readonly latent?: Latent;
  /** Width of the dense feed-forward network; 0 when every layer has experts. */
  readonly feedForwardWidth: number;
  /** How feed-forward networks and experts are gated. */
  readonly activation: Activation;
  /** 0 for a dense model. */
  readonly experts: number;
  readonly expertsUsed: number;
  readonly expertWidth: number;
  /** The first layers of a mixture of experts that have a dense network instead. */
  readonly denseLayers: number;
  /** Width of the network that every token takes beside its experts; 0 where there is none. */
  readonly sharedExpertWidth: number;
  /** Experts in groups, of which those with the two best experts together are chosen from. */
  readonly expertGroups?: ExpertGroups;
  /** How experts are chosen, in families that leave it to the file. */
  readonly router?: RouterOptions;
  /** Blocks of the file behind its layers, which predict tokens further on; they are not run. */
  readonly skippedBlocks: number;
  readonly contextTrained: number;
  readonly normEpsilon: number;
  readonly rope: Rope;
  /** Whether a file may have factors for RoPE in short contexts, and others in long ones. */
  readonly longRope: boolean;
  /** Layers that look at so many of the latest tokens only. */
  readonly window?: Window;
  /** For each layer, whether its queries and keys know no positions; default in none. */
  readonly unrotated?: readonly boolean[];
  /** What scores of attention are multiplied by; default 1 / √(head width). */
  readonly attentionScale?: number;
  /** Scores of attention, and logits, are bounded by this: cap · tanh(x / cap). Absent: not. */
  readonly attentionSoftCap?: number;
  readonly logitSoftCap?: number;
  /** Every token sees all others, and no token follows: it makes embeddings only. Absent: a decoder. */
  readonly encoder?: {
    /** Rows of its table of types. */
    readonly tokenTypes: number;
  };
  /** What embeddings are multiplied by; default 1. */
  readonly embeddingScale?: number;
}

/** Sliding-window attention in some of the layers. */
export interface Window {
  /** A token looks at itself and at those before it, so many together. */
  readonly tokens: number;
  /** For each layer, whether it has the window. */
  readonly layers: readonly boolean[];
  /** How positions are rotated in these layers. */
  readonly rope: Rope;
}

export function isWindowed(h: Hyperparameters, layer: number): boolean {
  return h.window?.layers[layer] ?? false;
}

/** How positions are rotated in a layer. */
export function ropeOf(h: Hyperparameters, layer: number): Rope {
  return isWindowed(h, layer) ? h.window!.rope : h.rope;
}

/**
 * The window of a family in which every `period`-th layer is without.
 * @param rope how positions are rotated in layers with a window
 * @param fullFirst whether the first of each period is the one without; else the last
 * @returns nothing where the file has no window
 */
export function readWindow(
  metadata: Metadata,
  layers: number,
  rope: Rope,
  period: number,
  { fullFirst = false } = {},
): { window?: Window } {
  const keys = new ArchitectureKeys(metadata);
  const tokens = keys.whole("attention.sliding_window", 0, bounds.context, 0);
  if (tokens === 0) return {};
  const full = fullFirst ? 0 : period - 1;
  const pattern = Array.from({ length: layers }, (_, layer) => layer % period !== full);
  return { window: { tokens, layers: pattern, rope } };
}

/**
 * Reads and checks the hyper-parameters that every decoder-only transformer has.
 * @param mode how this family rotates positions
 * @param options.latent values may be narrower than keys
 * @param options.epsilonKey where the epsilon of its norms stands
 * @throws StowageError gguf_metadata_missing, gguf_metadata_type, model_invalid
 */
export function readHyperparameters(
  metadata: Metadata,
  mode: Rope["mode"],
  { latent = false, epsilonKey = "attention.layer_norm_rms_epsilon" } = {},
): Hyperparameters {
  const keys = new ArchitectureKeys(metadata);
  const key = keys.key.bind(keys);
  const whole = keys.whole.bind(keys);

  const width = whole("embedding_length", 1, bounds.width);
  const heads = whole("attention.head_count", 1, bounds.heads);
  const kvHeads = whole("attention.head_count_kv", 1, bounds.heads, heads);
  const headWidth = whole("attention.key_length", 2, bounds.headWidth, Math.floor(width / heads));
  const valueWidth = whole("attention.value_length", 2, bounds.headWidth, headWidth);
  const experts = whole("expert_count", 0, bounds.experts, 0);
  const expertsUsed = whole("expert_used_count", 0, Math.max(experts, 0), 0);
  const feedForwardWidth = whole("feed_forward_length", 0, bounds.feedForward, 0);
  const contextTrained = whole("context_length", 1, bounds.context);
  const dimensions = whole("rope.dimension_count", 2, headWidth, headWidth);
  require(latent || valueWidth === headWidth, key("attention.value_length"), valueWidth, `${headWidth}`);
  require(heads % kvHeads === 0, key("attention.head_count_kv"), kvHeads, `a divisor of ${heads}`);
  require(dimensions % 2 === 0, key("rope.dimension_count"), dimensions, "an even number");
  require(experts === 0 || expertsUsed > 0, key("expert_used_count"), expertsUsed, "at least 1");
  const expertGroups = readExpertGroups(keys, experts, expertsUsed);

  return {
    architecture: keys.architecture,
    layers: whole("block_count", 1, bounds.layers),
    width,
    heads,
    kvHeads,
    headWidth,
    valueWidth,
    feedForwardWidth,
    experts,
    expertsUsed,
    expertWidth: whole("expert_feed_forward_length", 0, bounds.feedForward, feedForwardWidth),
    activation: "silu",
    ...(expertGroups && { expertGroups }),
    denseLayers: 0,
    sharedExpertWidth: 0,
    skippedBlocks: 0,
    contextTrained,
    normEpsilon: keys.real(epsilonKey, 0, 1),
    rope: readRope(keys, { mode, dimensions, contextTrained }),
    longRope: ropeScaling(keys) === "longrope",
  };
}

/** Whether a layer has experts; else it has a dense feed-forward network. */
export function hasExperts(h: Hyperparameters, layer: number): boolean {
  return h.experts > 0 && layer >= h.denseLayers;
}
