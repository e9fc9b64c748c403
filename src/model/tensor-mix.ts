import { type TensorType, tensorTypes } from "../ggml/types.ts";
import type { GgufTensor } from "../gguf/read.ts";
import { type RecipeName, recipes } from "./quantize-recipes.ts";

/** What the mix of types hangs on, besides the tensor. */
export interface MixedModel {
  readonly architecture: string;
  readonly layers: number;
  /** Query heads that share a key and a value head. */
  readonly headsAGroup: number;
  readonly experts: number;
  /** Whether the embeddings are the output matrix too. */
  readonly tied: boolean;
  /** Tensors of the kind attn_v, attn_qkv and attn_kv_b. */
  readonly values: number;
  readonly importance: boolean;
}

/** The part that a matrix plays, as far as it matters here. */
type Role =
  | "output"
  | "embedding"
  | "value"
  | "key"
  | "query"
  | "attended"
  | "up"
  | "gate"
  | "down"
  | "other";

/** By a part of the tensor's name; the first that fits counts. Joined queries, keys and values are as precious as values. */
const rolesByPart: readonly (readonly [part: string, role: Role])[] = [
  ["attn_qkv.weight", "value"],
  ["attn_kv_b.weight", "value"],
  ["attn_v.weight", "value"],
  ["attn_k.weight", "key"],
  ["attn_q.weight", "query"],
  ["attn_output.weight", "attended"],
  ["ffn_up", "up"],
  ["ffn_gate", "gate"],
  ["ffn_down", "down"],
];

export function roleOf(name: string): Role {
  if (name === "output.weight") return "output";
  if (name === "token_embd.weight" || name === "per_layer_token_embd.weight") return "embedding";
  return rolesByPart.find(([part]) => name.includes(part))?.[1] ?? "other";
}

/** Recipes of less than 3 bits; the first four give more bits to less. */
const leastBits = new Set<RecipeName>(["IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS"]);
const lowBits = new Set<RecipeName>([...leastBits, "IQ2_S", "IQ2_M"]);

/** Of mixtures of 8 experts, attention is a small part: these recipes spend more on its output. */
const preciousAttended = new Set<RecipeName>([
  "Q2_K",
  "IQ3_XS",
  "IQ3_XXS",
  "Q3_K_S",
  "Q3_K_M",
  "IQ4_NL",
  "Q4_K_S",
  "Q4_K_M",
  "IQ3_S",
  "IQ3_M",
  "IQ4_XS",
]);

/**
 * Which type each matrix gets in a recipe's mix, as llama.cpp decides it: ask for the tensors in order of their layer
 * and name, each once, for some decisions count those that came before. Blocks are not looked at here.
 */
export class TensorMix {
  readonly #recipe: RecipeName;
  readonly #model: MixedModel;
  readonly #seen = { value: 0, down: 0, gate: 0, up: 0 };

  constructor(recipe: RecipeName, model: MixedModel) {
    this.#recipe = recipe;
    this.#model = model;
  }

  typeOf(tensor: GgufTensor): TensorType {
    const role = roleOf(tensor.name);
    const usual: TensorType = recipes[this.#recipe].type;
    if (role === "output" || (role === "embedding" && this.#model.tied)) return this.#output(tensor);
    if (this.#recipe === "MXFP4_MOE") return (tensor.shape[2] ?? 1) > 1 ? "MXFP4" : "Q8_0";
    if (role === "embedding") return this.#embedding() ?? usual;
    if (lowBits.has(this.#recipe)) return this.#ofFewBits(role) ?? usual;
    switch (role) {
      case "value":
        return this.#value(usual);
      case "key":
      case "query":
        return this.#keyOrQuery(role) ?? usual;
      case "attended":
        return this.#attended() ?? usual;
      case "down":
        return this.#down(this.#layerOf(tensor, this.#seen.down++)) ?? usual;
      case "gate":
      case "up":
        return this.#gateOrUp(this.#layerOf(tensor, this.#seen[role]++)) ?? usual;
      default:
        return usual;
    }
  }

  #output({ shape }: GgufTensor): TensorType {
    const usual: TensorType = recipes[this.#recipe].type;
    const fits = shape[0]! % tensorTypes[usual].block === 0;
    if (this.#recipe === "MXFP4_MOE" || this.#falcon || !fits) return "Q8_0";
    if (lowBits.has(this.#recipe) || this.#recipe === "IQ3_XXS") return "Q5_K";
    return usual === "Q8_0" ? "Q8_0" : "Q6_K";
  }

  #embedding(): TensorType | undefined {
    if (leastBits.has(this.#recipe)) return "Q2_K";
    switch (this.#recipe) {
      case "IQ2_S":
      case "IQ2_M":
      case "IQ3_XXS":
        return "IQ3_S";
      case "TQ1_0":
      case "TQ2_0":
      case "Q2_0":
        return "Q4_K";
      default:
        return undefined;
    }
  }

  #ofFewBits(role: Role): TensorType | undefined {
    const { experts, headsAGroup, layers } = this.#model;
    const more: TensorType = leastBits.has(this.#recipe) ? "Q2_K" : "IQ3_S";
    switch (role) {
      case "value":
        this.#seen.value++;
        return headsAGroup >= 4 || experts >= 4 ? "Q4_K" : more;
      case "key":
        return experts === 8 ? "Q4_K" : undefined;
      case "down":
        return this.#seen.down++ < eighths(layers, 1) ? more : undefined;
      case "attended":
        if (experts === 8) return "Q5_K";
        if (this.#recipe === "IQ1_S" || this.#recipe === "IQ1_M") return "IQ2_XXS";
        return leastBits.has(this.#recipe) ? undefined : "IQ3_S";
      default:
        return undefined;
    }
  }

  #value(usual: TensorType): TensorType {
    const index = this.#seen.value++;
    const mixed = this.#valueByRecipe(index) ?? usual;
    if (this.#model.experts === 8) return "Q8_0";
    return this.#eightyLayers && (mixed === "Q3_K" || mixed === "Q4_K") ? "Q5_K" : mixed;
  }

  #valueByRecipe(index: number): TensorType | undefined {
    const { headsAGroup, values, importance } = this.#model;
    const shared = headsAGroup >= 4;
    switch (this.#recipe) {
      case "Q2_K":
        return shared ? "Q4_K" : "Q3_K";
      case "Q2_K_S":
      case "IQ3_XS":
      case "IQ3_S":
        return shared ? "Q4_K" : undefined;
      case "IQ3_XXS":
        if (shared) return "Q4_K";
        return importance ? "IQ3_XXS" : "IQ3_S";
      case "IQ3_M":
        return "Q4_K";
      case "Q3_K_M":
        return index < 2 ? "Q5_K" : "Q4_K";
      case "Q3_K_L":
        return "Q5_K";
      case "IQ4_NL":
      case "IQ4_XS":
        return shared ? "Q5_K" : undefined;
      case "Q4_K_M":
      case "Q5_K_M":
        return needsMore(index, values) ? "Q6_K" : undefined;
      case "Q4_K_S":
        return index < 4 ? "Q5_K" : undefined;
      default:
        return undefined;
    }
  }

  #keyOrQuery(role: "key" | "query"): TensorType | undefined {
    if (role === "key" && this.#model.experts === 8) return "Q8_0";
    if (this.#recipe === "IQ3_XS") return "IQ3_XXS";
    return this.#recipe === "IQ3_XXS" ? "IQ2_S" : undefined;
  }

  #attended(): TensorType | undefined {
    if (this.#falcon) return this.#recipe === "Q3_K_L" ? "Q4_K" : undefined;
    if (this.#model.experts === 8) return preciousAttended.has(this.#recipe) ? "Q5_K" : undefined;
    switch (this.#recipe) {
      case "Q2_K":
        return "Q3_K";
      case "IQ3_XXS":
        return "IQ3_S";
      case "Q3_K_M":
      case "IQ3_M":
        return "Q4_K";
      case "Q3_K_L":
        return "Q5_K";
      default:
        return undefined;
    }
  }

  #down(layer: number): TensorType | undefined {
    const { layers, experts, importance } = this.#model;
    const falcon = this.#falcon;
    const early = layer < eighths(layers, 1);
    const veryEarly = layer < Math.floor(layers / 16);
    const precious = needsMore(layer, layers);
    switch (this.#recipe) {
      case "Q2_K":
        return "Q3_K";
      case "Q2_K_S":
        return early ? "Q4_K" : undefined;
      case "IQ3_XXS":
        if (importance) return undefined;
        return early ? "Q4_K" : "Q3_K";
      case "Q3_K_M":
        if (veryEarly) return "Q5_K";
        return !falcon || precious ? "Q4_K" : "Q3_K";
      case "IQ3_M":
        return early || (experts === 8 && precious) ? "Q4_K" : undefined;
      case "Q3_K_L":
        return falcon ? "Q4_K" : "Q5_K";
      case "Q4_K_M":
        if (!falcon) return precious ? "Q6_K" : undefined;
        if (veryEarly) return "Q6_K";
        return precious ? "Q5_K" : "Q4_K";
      case "IQ4_NL":
      case "IQ4_XS":
        return early && !importance ? "Q5_K" : undefined;
      case "Q5_K_M":
        return precious ? "Q6_K" : undefined;
      case "Q4_K_S":
        return early && !falcon ? "Q5_K" : undefined;
      case "Q4_0":
        return early && importance ? "Q4_1" : undefined;
      case "Q5_0":
        return early && importance ? "Q5_1" : undefined;
      default:
        return undefined;
    }
  }

  #gateOrUp(layer: number): TensorType | undefined {
    const { layers } = this.#model;
    const middle = layer >= eighths(layers, 1) && layer < eighths(layers, 7);
    return this.#recipe === "IQ3_XS" && middle ? "IQ3_XXS" : undefined;
  }

  /** Of dense models, how many such tensors came before; names of mixtures are taken at their word. */
  #layerOf({ name }: GgufTensor, before: number): number {
    if (this.#model.experts <= 1) return before;
    return Number(/^blk\.(\d+)\./.exec(name)?.[1] ?? before);
  }

  get #falcon(): boolean {
    return this.#model.architecture === "falcon";
  }

  /** Models of about 70 billion weights, whose values are an eighth of their queries. */
  get #eightyLayers(): boolean {
    const { architecture, layers, headsAGroup } = this.#model;
    return layers === 80 && (architecture === "llama" ? headsAGroup > 1 : architecture.startsWith("qwen2"));
  }
}

/** The first and last eighth of the layers, and every third between. */
function needsMore(layer: number, layers: number): boolean {
  const first = eighths(layers, 1);
  return layer < first || layer >= eighths(layers, 7) || (layer - first) % 3 === 2;
}

function eighths(layers: number, count: number): number {
  return Math.floor((count * layers) / 8);
}
