import type { ExpertLayout } from "./layout.ts";
import { ExpertMetrics } from "./metrics.ts";
import type { EvictionPolicy, ExpertId, Moment, RoutedToken } from "./policies/policy.ts";
import type { PrefetchPolicy } from "./policies/prefetch-policy.ts";
import { Prefetcher } from "./prefetcher.ts";
import { type QueuedRead, ReadQueue } from "./read-queue.ts";
import type { ExpertSlots } from "./slots.ts";
import type { ExpertStore } from "./store.ts";

/** An expert that has a slot. `loading` until its record is there. */
interface Resident {
  readonly id: ExpertId;
  readonly layer: number;
  readonly slot: number;
  /** Users that need it where it is: it cannot leave. */
  pins: number;
  loading: QueuedRead | undefined;
  /** Brought in by a prefetch, and not used since. */
  prefetched: boolean;
  /** Brought in for a long prefill, and not used by a decode step since. */
  passing: boolean;
}

/** Records that are read ahead of the wave that is computed, at most. */
const wavesAhead = 16;

/**
 * Which experts lie in slots. Whoever computes asks for the experts of a layer and gets them pinned, read from the store
 * where they are missing; who leaves for them, the policy says. A long prefill needs nearly every expert of one layer after
 * the other: what it reads is first to leave again, so that it flushes neither what decoding needs nor what its next
 * chunk will ask for first.
 */
export class ExpertCache {
  readonly layout: ExpertLayout;
  readonly slots: ExpertSlots;
  readonly metrics: ExpertMetrics;
  /** Reads ahead of decode steps, if a policy says what. */
  readonly prefetcher: Prefetcher | undefined;
  readonly #store: ExpertStore;
  readonly #policy: EvictionPolicy;
  readonly #queue: ReadQueue;
  readonly #residents = new Map<ExpertId, Resident>();
  /** By class: slots that hold nothing. */
  readonly #free: number[][];
  /**
   * What a prefill has read and used, and no decode step since; and what was read ahead for nothing. The first to
   * leave, the latest before the others.
   */
  readonly #passing: Resident[] = [];
  /** By layer: what was read ahead for its next use, and has to be there until then. */
  readonly #ahead: Set<Resident>[];
  #tick = 0;

  constructor(
    store: ExpertStore,
    slots: ExpertSlots,
    policy: EvictionPolicy,
    options: { readsInFlight: number; prefetch?: PrefetchPolicy | undefined },
  ) {
    const { layout } = slots;
    this.layout = layout;
    this.slots = slots;
    this.metrics = new ExpertMetrics(layout);
    this.#ahead = Array.from({ length: layout.layers }, () => new Set());
    this.#store = store;
    this.#policy = policy;
    this.#queue = new ReadQueue(options.readsInFlight);
    this.prefetcher = options.prefetch && new Prefetcher(this, options.prefetch);
    this.#free = layout.classes.map((_, index) => {
      const count = slots.count(layout.layerClass.indexOf(index));
      return Array.from({ length: count }, (_, slot) => count - 1 - slot);
    });
  }

  /** The slot of an expert that is pinned and ready. */
  slotOf(layer: number, expert: number): number {
    const resident = this.#residents.get(this.#id(layer, expert));
    if (!resident || resident.loading || resident.pins === 0) {
      throw new Error(`expert ${expert} of layer ${layer} is used without being held`);
    }
    return resident.slot;
  }

  /** Whether the policy looks at what each token was routed to. */
  get wantsRouting(): boolean {
    return this.#policy.routed !== undefined;
  }

  /** Whether so many experts of a layer can be held at once. */
  fits(layer: number, count: number): boolean {
    return count <= this.slots.count(layer);
  }

  /**
   * Pins the experts that a decode step chose at a layer, and reads those that are missing. None is pinned when it throws.
   * @param experts different from one another, no more than {@link ExpertCache.fits}; nothing else is pinned
   * @param routed what the layer showed of each token, where {@link ExpertCache.wantsRouting}
   * @throws StowageError expert_*
   */
  async acquire(layer: number, experts: readonly number[], routed?: readonly RoutedToken[]): Promise<void> {
    const now = this.#now(layer);
    if (routed) this.#policy.routed?.({ layer, tokens: routed }, now);
    for (const expert of experts) this.#policy.used(this.#id(layer, expert), now);
    const { held, missing } = this.#pinPresent(layer, experts);
    try {
      for (const expert of missing) {
        const resident = await this.#loadSurely(layer, expert);
        this.#asked(resident);
        held.push(resident);
      }
      await this.#ready(layer, held);
    } catch (error) {
      for (const resident of held) this.#unpin(resident);
      throw error;
    }
  }

  /** Lets go of experts that were pinned. */
  release(layer: number, experts: readonly number[]): void {
    for (const expert of experts) {
      const resident = this.#residents.get(this.#id(layer, expert));
      if (resident) this.#unpin(resident);
    }
  }

  /**
   * The experts that a long step needs of a layer, in waves: first those that are here, then the others as they come.
   * Those of a wave are pinned until the next is asked for.
   * @throws StowageError expert_*
   */
  async *waves(layer: number, experts: readonly number[]): AsyncGenerator<readonly number[]> {
    this.#now(layer);
    const { held, missing } = this.#pinPresent(layer, experts);
    const wave = held.filter(({ loading }) => !loading);
    let coming = held.filter(({ loading }) => loading);
    try {
      while (wave.length + coming.length + missing.length > 0) {
        while (missing.length > 0 && coming.length < wavesAhead) {
          // With nothing to compute and nothing on its way, the next has to get a slot.
          const must = wave.length + coming.length === 0;
          const resident = must
            ? await this.#loadSurely(layer, missing[0]!)
            : this.#load(layer, missing[0]!, "demand");
          if (!resident) break;
          missing.shift();
          resident.passing = true;
          this.#asked(resident);
          coming.push(resident);
        }
        if (wave.length === 0) await this.#any(layer, coming);
        wave.push(...coming.filter(({ loading }) => !loading));
        coming = coming.filter(({ loading }) => loading);
        yield wave.map(({ id }) => id % this.layout.experts);
        for (const resident of wave.splice(0)) {
          this.#unpin(resident);
          if (resident.passing) this.#pass(resident);
        }
      }
    } finally {
      for (const resident of [...wave, ...coming]) this.#unpin(resident);
    }
  }

  /**
   * Reads experts ahead of their use, in this order.
   * @param options.evict in the place of what the policy gives; else only where nothing of worth lies
   */
  prefetch(layer: number, experts: readonly number[], options: { evict: boolean }): void {
    for (const expert of experts) {
      if (this.#residents.has(this.#id(layer, expert))) continue;
      if (!options.evict && !this.#hasSpare(layer)) return;
      const resident = this.#load(layer, expert, "prefetch");
      if (!resident) return;
      resident.prefetched = true;
      resident.passing = !options.evict;
      this.#ahead[layer]!.add(resident);
      this.#unpin(resident);
    }
  }

  /** Waits for the reads in flight, and gives slots and store back. Nothing may be pinned. */
  async dispose(): Promise<void> {
    for (const { loading } of this.#residents.values()) loading?.cancel();
    await this.#queue.settled();
    this.slots.dispose();
    await this.#store.close();
  }

  #id(layer: number, expert: number): ExpertId {
    return layer * this.layout.experts + expert;
  }

  #now(layer: number): Moment {
    this.#tick++;
    return { tick: this.#tick, layer };
  }

  /** The layer is run with these experts: pins those that have a slot already. */
  #pinPresent(layer: number, experts: readonly number[]): { held: Resident[]; missing: number[] } {
    const held: Resident[] = [];
    const missing: number[] = [];
    for (const expert of experts) {
      const resident = this.#residents.get(this.#id(layer, expert));
      if (!resident) {
        missing.push(expert);
        continue;
      }
      resident.pins++;
      this.#asked(resident);
      held.push(resident);
    }
    this.#dropUnused(layer);
    return { held, missing };
  }

  #unpin(resident: Resident): void {
    if (this.#residents.get(resident.id) === resident) resident.pins--;
  }

  /** Accounts for an expert that is needed now, and whether it was there. */
  #asked(resident: Resident): void {
    const { loading } = resident;
    if (loading) {
      loading.promote();
      const wait = this.metrics.waitBegins(performance.now());
      const ended = () => wait.ended(performance.now());
      loading.done.then(ended, ended);
      if (resident.prefetched) this.metrics.late(resident.layer);
    } else this.metrics.hit(resident.layer, resident.prefetched);
    resident.prefetched = false;
  }

  /** Waits until all are there. */
  async #ready(layer: number, residents: readonly Resident[]): Promise<void> {
    for (const resident of residents) this.#stay(resident);
    const waiting = residents.flatMap(({ loading }) => loading?.done ?? []);
    if (waiting.length === 0) return;
    const started = performance.now();
    // All have to settle, whatever becomes of one: slots are in use until then.
    const results = await Promise.allSettled(waiting);
    this.metrics.stalled(layer, performance.now() - started);
    for (const result of results) if (result.status === "rejected") throw result.reason;
  }

  /** A decode step uses it: it is the policy's from now on. */
  #stay(resident: Resident): void {
    resident.passing = false;
    const index = this.#passing.lastIndexOf(resident);
    if (index >= 0) this.#passing.splice(index, 1);
  }

  /** It is the first to leave. */
  #pass(resident: Resident): void {
    this.#stay(resident);
    resident.passing = true;
    this.#passing.push(resident);
  }

  /** What was read ahead for a layer and is not among the experts that it is run with was read for nothing. */
  #dropUnused(layer: number): void {
    for (const resident of [...this.#ahead[layer]!]) {
      if (!resident.prefetched) continue;
      if (resident.loading?.cancel()) resident.prefetched = false;
      else this.#pass(resident);
    }
    this.#ahead[layer]!.clear();
  }

  /** Waits until one of them is there. */
  async #any(layer: number, coming: readonly Resident[]): Promise<void> {
    const started = performance.now();
    await Promise.race(coming.map(({ loading }) => loading?.done));
    this.metrics.stalled(layer, performance.now() - started);
  }

  /** As {@link ExpertCache.#load}; where prefetches hold every slot, they are cancelled or waited for. */
  async #loadSurely(layer: number, expert: number): Promise<Resident> {
    for (;;) {
      const resident = this.#load(layer, expert, "demand");
      if (resident) return resident;
      const held = [...this.#residents.values()].filter(({ pins, loading }) => pins === 0 && loading);
      if (held.length === 0) throw new Error(`every slot is in use at layer ${layer}`);
      const cancelled = held.find(({ loading }) => loading!.cancel());
      const [first] = cancelled ? [cancelled] : held;
      await first!.loading!.done.catch(() => {});
    }
  }

  /** Begins to read an expert into a slot, pinned. @returns undefined when every slot is in use */
  #load(layer: number, expert: number, kind: "demand" | "prefetch"): Resident | undefined {
    const slot = this.#takeSlot(layer);
    if (slot === undefined) return undefined;
    if (kind === "demand") this.metrics.miss(layer);
    const id = this.#id(layer, expert);
    const resident: Resident = {
      id,
      layer,
      slot,
      pins: 1,
      loading: undefined,
      prefetched: false,
      passing: false,
    };
    this.#residents.set(id, resident);
    this.#policy.entered(id, { tick: this.#tick, layer });
    const bytes = this.slots.bytes(layer, slot);
    const read = async () => {
      const ended = this.metrics.readBegins(layer, kind, bytes.length, performance.now());
      await this.#store.read(layer, expert, bytes);
      ended(performance.now());
    };
    resident.loading = this.#queue.push(kind, read);
    resident.loading.done.then(
      () => {
        resident.loading = undefined;
      },
      () => this.#forget(resident),
    );
    return resident;
  }

  /** A slot of the layer's class that holds nothing any more. */
  #takeSlot(layer: number): number | undefined {
    const free = this.#free[this.layout.layerClass[layer]!]!;
    if (free.length === 0) this.#evict(layer);
    return free.pop();
  }

  #hasSpare(layer: number): boolean {
    if (this.#free[this.layout.layerClass[layer]!]!.length > 0) return true;
    return this.#passing.some((resident) => this.#mayLeave(resident, layer));
  }

  #mayLeave({ pins, loading, layer: own }: Resident, layer: number): boolean {
    return pins === 0 && !loading && this.layout.layerClass[own] === this.layout.layerClass[layer];
  }

  #evict(layer: number): void {
    // The latest is what a prefill, which goes round the layers, needs again last.
    const passing = this.#passing.findLast((resident) => this.#mayLeave(resident, layer));
    if (passing) {
      this.#forget(passing);
      return;
    }
    const all = [...this.#residents.values()].filter((resident) => this.#mayLeave(resident, layer));
    // What was read ahead for a use to come stays, if anything else can go.
    const used = all.filter((resident) => !this.#ahead[resident.layer]!.has(resident));
    const candidates = (used.length > 0 ? used : all).map(({ id }) => id);
    if (candidates.length === 0) return;
    this.#forget(this.#residents.get(this.#policy.victim(candidates, { tick: this.#tick, layer }))!);
  }

  /** Its slot is free from here on. */
  #forget(resident: Resident): void {
    if (resident.prefetched) this.metrics.wasted(resident.layer);
    this.#residents.delete(resident.id);
    this.#stay(resident);
    this.#ahead[resident.layer]!.delete(resident);
    this.#policy.left(resident.id);
    this.#free[this.layout.layerClass[resident.layer]!]!.push(resident.slot);
  }
}
