import type { EvictionPolicy, ExpertId, PolicyShape } from "./policy.ts";

/**
 * Adaptive replacement cache (Megiddo and Modha, FAST 2003, figure 4). Two lists of experts that have slots: T1, used once of
 * late, and T2, used at least twice; two of ghosts, B1 and B2, which left them. A use of a ghost of B1 says that T1 should
 * have been longer, one of B2 that T2 should: the target p of T1's length moves.
 *
 * Ours differs in three ways. The cache asks for victims before it knows what is missing, several at once: the order is that
 * in which REPLACE would give them, T1's oldest down to the target, then T2's, then the rest of T1; the paper's special case of a
 * ghost of B2 when T1 is just at its target is left out. A layer's experts are used at one time, in the order told. And what was
 * read ahead waits in T1 without counting as used, and leaves without becoming a ghost.
 */
export class AdaptiveReplacement implements EvictionPolicy {
  readonly name = "arc";
  readonly #slots: number;
  /** Each in the order of use, the oldest first. */
  readonly #t1 = new Set<ExpertId>();
  readonly #t2 = new Set<ExpertId>();
  readonly #b1 = new Set<ExpertId>();
  readonly #b2 = new Set<ExpertId>();
  /** Experts that have slots and were not used since they came. */
  readonly #unused = new Set<ExpertId>();
  /** Experts that were asked for and are about to get a slot, and in which list they will be. */
  readonly #coming = new Map<ExpertId, Set<ExpertId>>();
  /** p: how long T1 should be. */
  #target = 0;
  /** By expert, its place in the order of leaving; undefined until somebody asks. */
  #order: ReadonlyMap<ExpertId, number> | undefined;

  constructor({ slots }: PolicyShape) {
    this.#slots = slots;
  }

  used(expert: ExpertId): void {
    this.#order = undefined;
    const isPresent = this.#t1.has(expert) || this.#t2.has(expert);
    const list = isPresent && !this.#unused.delete(expert) ? this.#t2 : this.#firstUse(expert);
    if (!isPresent) {
      this.#coming.set(expert, list);
      return;
    }
    this.#t1.delete(expert);
    this.#t2.delete(expert);
    list.add(expert);
  }

  entered(expert: ExpertId): void {
    this.#order = undefined;
    const list = this.#coming.get(expert) ?? this.#t1;
    if (!this.#coming.delete(expert)) this.#unused.add(expert);
    list.add(expert);
  }

  left(expert: ExpertId): void {
    this.#order = undefined;
    const ghosts = this.#t1.delete(expert) ? this.#b1 : this.#b2;
    this.#t2.delete(expert);
    if (this.#unused.delete(expert)) return;
    ghosts.add(expert);
    // T1 and B1 together are never more than there are slots, all four never more than twice that.
    if (this.#t1.size + this.#b1.size > this.#slots) dropOldest(this.#b1);
    if (this.#t1.size + this.#t2.size + this.#b1.size + this.#b2.size > 2 * this.#slots) dropOldest(this.#b2);
  }

  worth(expert: ExpertId): number {
    this.#order ??= this.#leaving();
    return this.#order.get(expert) ?? -1;
  }

  /** An expert that has no slot, or was not used since it came, is used. @returns the list that it belongs to */
  #firstUse(expert: ExpertId): Set<ExpertId> {
    const [recent, frequent] = [this.#b1.size, this.#b2.size];
    if (this.#b1.delete(expert)) {
      this.#target = Math.min(this.#slots, this.#target + Math.max(1, frequent / recent));
      return this.#t2;
    }
    if (this.#b2.delete(expert)) {
      this.#target = Math.max(0, this.#target - Math.max(1, recent / frequent));
      return this.#t2;
    }
    return this.#t1;
  }

  #leaving(): ReadonlyMap<ExpertId, number> {
    const recent = [...this.#t1];
    const excess = Math.max(0, recent.length - Math.floor(this.#target));
    const order = [...recent.slice(0, excess), ...this.#t2, ...recent.slice(excess)];
    return new Map(order.map((expert, place) => [expert, place]));
  }
}

function dropOldest(ghosts: Set<ExpertId>): void {
  const [oldest] = ghosts;
  if (oldest !== undefined) ghosts.delete(oldest);
}
