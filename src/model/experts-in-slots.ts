import type { ExpertCache } from "../experts/cache.ts";
import { classOf } from "../experts/layout.ts";
import type { RoutedToken } from "../experts/policies/policy.ts";
import type { LayerSeen } from "../experts/policies/prefetch-policy.ts";
import type { Context } from "../ggml/context.ts";
import type { Tensor } from "../ggml/tensor.ts";
import type { ExpertProducts, ExpertWeight } from "./expert-network.ts";

/** The experts of a step as they lie in the slots of a cache: asks for them, holds them, and multiplies with them. */
export class ExpertsInSlots {
  readonly #cache: ExpertCache;
  #held: { readonly layer: number; readonly experts: readonly number[] } | undefined;

  constructor(cache: ExpertCache) {
    this.#cache = cache;
  }

  /**
   * Has these experts in slots until {@link ExpertsInSlots.letGo}.
   * @param routed gives what each token was routed to; asked for where a policy looks at it
   * @returns false when there are not so many slots
   */
  async hold(layer: number, experts: readonly number[], routed: () => RoutedToken[]): Promise<boolean> {
    if (!this.#cache.fits(layer, experts.length)) return false;
    await this.#cache.acquire(layer, experts, this.#cache.wantsRouting ? routed() : undefined);
    this.#held = { layer, experts };
    return true;
  }

  /** Whether the next router's choice is wanted. */
  get usesNextGate(): boolean {
    return this.#cache.prefetcher?.usesNextGate ?? false;
  }

  /** A decode step holds its experts of a layer: time to read ahead. */
  seen(seen: LayerSeen): void {
    const { prefetcher, layout } = this.#cache;
    prefetcher?.seen(seen);
    if (seen.layer === layout.layers - 1) prefetcher?.stepped();
  }

  letGo(): void {
    if (this.#held) this.#cache.release(this.#held.layer, this.#held.experts);
    this.#held = undefined;
  }

  /** These experts as they come; see {@link ExpertCache.waves}. */
  waves(layer: number, experts: readonly number[]): AsyncGenerator<readonly number[]> {
    return this.#cache.waves(layer, experts);
  }

  /** A long step needs nearly all experts of each layer: those of the next may come while the disk is idle. */
  ahead(layer: number): void {
    const { layerClass, experts } = this.#cache.layout;
    if (typeof layerClass[layer] !== "number") return;
    const all = Array.from({ length: experts }, (_, expert) => expert);
    this.#cache.prefetch(layer, all, { evict: false });
  }

  slotOf(layer: number, expert: number): number {
    return this.#cache.slotOf(layer, expert);
  }

  /**
   * One held expert's matrices.
   * @param ids makes an I32 tensor with an element a row: then each row is multiplied by itself, as `mul_mat_id` does
   */
  products(layer: number, expert: number, ids?: () => Tensor): (context: Context) => ExpertProducts {
    const { slots } = this.#cache;
    const slot = this.#cache.slotOf(layer, expert);
    return (context) => {
      if (!ids) {
        const product = (weight: ExpertWeight, rows: Tensor) =>
          context.mulMat(slots.one(context, layer, this.#index(layer, weight), slot), rows);
        return { joined: this.#joined(layer), product };
      }
      const flat = ids();
      flat.ints().fill(slot);
      const each = context.reshape2d(flat, 1, flat.shape[0]);
      const byId = this.productsById(context, layer, each);
      return {
        joined: byId.joined,
        product: (weight, rows) => {
          const [k, count] = rows.shape;
          const [, , third] = rows.shape;
          const apart = third === 1 ? context.reshape3d(rows, k, 1, count) : rows;
          return byId.product(weight, apart);
        },
      };
    };
  }

  /** The matrices of all slots. @param chosen slots of each row, I32 [slots a row, rows] */
  productsById(context: Context, layer: number, chosen: Tensor): ExpertProducts {
    return {
      joined: this.#joined(layer),
      product: (weight, rows) =>
        context.mulMatId(this.#cache.slots.all(context, layer, this.#index(layer, weight)), rows, chosen),
    };
  }

  #index(layer: number, weight: ExpertWeight): number {
    return classOf(this.#cache.layout, layer).matrices.findIndex(({ weights }) => weights.includes(weight));
  }

  #joined(layer: number): boolean {
    return this.#index(layer, "ffn_gate_exps.weight") === this.#index(layer, "ffn_up_exps.weight");
  }
}
