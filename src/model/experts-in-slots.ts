import type { ExpertCache } from "../experts/cache.ts";
import { classOf } from "../experts/layout.ts";
import type { Sight } from "../experts/policies/policy.ts";
import type { Context } from "../ggml/context.ts";
import type { Tensor } from "../ggml/tensor.ts";
import type { ExpertProducts, ExpertWeight } from "./expert-network.ts";

/** The experts of a step as they lie in the slots of a cache: asks for them, holds them, and multiplies with them. */
export class ExpertsInSlots {
  readonly #cache: ExpertCache;
  readonly #untold: ((cache: ExpertCache) => void)[] = [];
  #held: { readonly layer: number; readonly experts: readonly number[] } | undefined;

  constructor(cache: ExpertCache) {
    this.#cache = cache;
  }

  /** Whether the policy looks at this. */
  sees(sight: Sight): boolean {
    return this.#cache.sees(sight);
  }

  /** Whether the policy looks at what each token was routed to. */
  get seesRouting(): boolean {
    return this.#cache.policy.seesRouting;
  }

  /**
   * What the policy is to be told: done while the disk reads or the processor computes, whichever comes first, so that
   * a step does not wait for it.
   */
  later(tell: (cache: ExpertCache) => void): void {
    this.#untold.push(tell);
  }

  /** A graph is being computed, or the disk is awaited: time for what is to be told. */
  working(): void {
    if (this.#untold.length === 0) return;
    const started = performance.now();
    for (const tell of this.#untold.splice(0)) tell(this.#cache);
    this.#cache.chooseVictims();
    this.#cache.metrics.besideMs += performance.now() - started;
  }

  /** Whether so many experts of a layer can be held at once. */
  fits(layer: number, count: number): boolean {
    return this.#cache.fits(layer, count);
  }

  /**
   * Has these experts in slots until {@link ExpertsInSlots.letGo}.
   * @returns false when there are not so many slots
   */
  async hold(layer: number, experts: readonly number[]): Promise<boolean> {
    if (!this.fits(layer, experts.length)) return false;
    await this.#cache.acquire(layer, experts, () => this.working());
    this.#held = { layer, experts };
    if (layer === this.#cache.layout.layers - 1) this.later((cache) => cache.stepped());
    return true;
  }

  letGo(): void {
    if (this.#held) this.#cache.release(this.#held.layer, this.#held.experts);
    this.#held = undefined;
  }

  /** The step is over, whatever became of it. */
  finish(): void {
    this.letGo();
    this.#untold.length = 0;
  }

  /** These experts as they come; see {@link ExpertCache.waves}. */
  waves(layer: number, experts: readonly number[]): AsyncGenerator<readonly number[]> {
    return this.#cache.waves(layer, experts);
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
