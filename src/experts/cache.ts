import { ExpertHeat } from "./expert-heat.ts";
import type { ExpertLayout } from "./layout.ts";
import { ExpertMetrics } from "./metrics.ts";
import type { PolicyPair } from "./policies/pair.ts";
import type { ExpertId, GuessedLayer, Moment, RoutedLayer, Sight, StepToken } from "./policies/policy.ts";
import type { Wanted } from "./policies/prefetch-policy.ts";
import { PolicyOutcomes } from "./policy-outcomes.ts";
import { ReadQueue } from "./read-queue.ts";
import { layerLetters, type Residency } from "./residency.ts";
import { type Resident, Residents } from "./residents.ts";
import type { ExpertSlots } from "./slots.ts";
import type { ExpertStore } from "./store.ts";

/** Records that are read ahead of the wave that is computed, at most. */
const wavesAhead = 16;

/**
 * Which experts lie in slots. Whoever computes asks for the experts of a layer and gets them pinned, read from the store
 * where they are missing; who leaves for them, and what is read before it is asked for, the policy says. A long prefill
 * needs nearly every expert of one layer after the other: what it reads is first to leave again, so that it flushes
 * neither what decoding needs nor what its next chunk will ask for first.
 */
export class ExpertCache {
  readonly layout: ExpertLayout;
  readonly slots: ExpertSlots;
  readonly metrics: ExpertMetrics;
  readonly policy: PolicyPair;
  readonly readsInFlight: number;
  readonly #store: ExpertStore;
  readonly #queue: ReadQueue;
  readonly #residents: Residents;
  readonly #heat: ExpertHeat;
  readonly #outcomes: PolicyOutcomes;
  /** Whether others leave for what is wanted. */
  #wantedEvicts = true;
  /** Layers before the first with experts: policies do not count them. */
  readonly #firstLayer: number;
  #moment: Moment = { tick: 0, layer: -1 };
  #began = { at: 0, stallMs: 0 };

  constructor(
    store: ExpertStore,
    slots: ExpertSlots,
    policy: PolicyPair,
    options: { readonly readsInFlight: number },
  ) {
    const { layout } = slots;
    this.layout = layout;
    this.slots = slots;
    this.policy = policy;
    this.readsInFlight = options.readsInFlight;
    this.metrics = new ExpertMetrics(layout);
    this.#store = store;
    this.#queue = new ReadQueue(options.readsInFlight, () => this.#readAhead());
    this.#firstLayer = layout.layerClass.findIndex((index) => index !== null);
    const counts = layout.classes.map((_, index) => slots.count(layout.layerClass.indexOf(index)));
    this.#residents = new Residents(layout, counts, policy.eviction);
    this.#heat = new ExpertHeat(layout.layers * layout.experts);
    this.#outcomes = new PolicyOutcomes(this.metrics);
  }

  /** The slot of an expert that is pinned and ready. */
  slotOf(layer: number, expert: number): number {
    const resident = this.#residents.get(this.#id(layer, expert));
    if (!resident || resident.loading || resident.pins === 0) {
      throw new Error(`expert ${expert} of layer ${layer} is used without being held`);
    }
    return resident.slot;
  }

  /** Whether the policy looks at this: see {@link Sight}. */
  sees(sight: Sight): boolean {
    return this.policy.sees(sight);
  }

  /** Whether an expert is there, or on its way. */
  has(layer: number, expert: number): boolean {
    return this.#residents.get(this.#id(layer, expert)) !== undefined;
  }

  /** Whether so many experts of a layer can be held at once. */
  fits(layer: number, count: number): boolean {
    return count <= this.slots.count(layer);
  }

  /**
   * Pins the experts that a decode step chose at a layer, and reads those that are missing. None is pinned when it throws.
   * @param experts different from one another, no more than {@link ExpertCache.fits}; nothing else is pinned
   * @param whileWaiting called once while it waits for the disk, when it has to
   * @throws StowageError expert_*
   */
  async acquire(layer: number, experts: readonly number[], whileWaiting = () => {}): Promise<void> {
    const asked = performance.now();
    this.#comes(layer);
    const ids = experts.map((expert) => this.#id(layer, expert));
    for (const id of ids) this.policy.eviction.used(id, this.#moment);
    this.metrics.decided(performance.now() - asked);
    this.#heat.used(layer, ids);
    const { held, missing } = this.#pinPresent(layer, experts);
    try {
      for (const expert of missing) {
        const resident = await this.#loadSurely(layer, expert);
        this.#asked(resident);
        held.push(resident);
      }
      for (const resident of held) this.#residents.stay(resident);
      const waiting = held.flatMap(({ loading }) => loading?.done ?? []);
      if (waiting.length === 0) return;
      whileWaiting();
      // All have to settle, whatever becomes of one: slots are in use until then.
      const results = await Promise.allSettled(waiting);
      this.metrics.waited(layer, waiting.length, performance.now() - asked);
      for (const result of results) if (result.status === "rejected") throw result.reason;
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

  /** A decode step begins. Told, as what follows, while something else is computed or read. */
  began(tokens: readonly StepToken[]): void {
    this.#moment = { tick: this.#moment.tick, layer: -1 };
    this.#began = { at: performance.now(), stallMs: this.metrics.stallMs };
    this.#outcomes.began();
    this.#want(this.policy.began(tokens, this.#moment));
  }

  /** What the router of a layer has shown. @param seen with the layer's number in the model */
  routed(seen: RoutedLayer): void {
    const layer = seen.layer - this.#firstLayer;
    this.#want(this.policy.routed({ ...seen, layer }, this.#moment));
  }

  /** What the router of a layer would choose. @param guess with the layer's number in the model */
  guessed(guess: GuessedLayer): void {
    const layer = guess.layer - this.#firstLayer;
    this.#want(this.policy.guessed({ ...guess, layer }, this.#moment));
  }

  /** Time to choose who leaves next. */
  chooseVictims(): void {
    this.#residents.chooseVictims(this.#moment);
  }

  /** A decode step has its last experts. */
  stepped(): void {
    const { at, stallMs } = this.#began;
    const cost = { ms: performance.now() - at, stallMs: this.metrics.stallMs - stallMs };
    this.#outcomes.stepped(this.policy.acting);
    this.policy.stepped(cost, this.#moment);
  }

  /**
   * The experts that a long step needs of a layer, in waves: first those that are here, then the others as they come.
   * Those of a wave are pinned until the next is asked for.
   * @throws StowageError expert_*
   */
  async *waves(layer: number, experts: readonly number[]): AsyncGenerator<readonly number[]> {
    this.#comes(layer);
    const { held, missing } = this.#pinPresent(layer, experts);
    const wave = held.filter(({ loading }) => !loading);
    let coming = held.filter(({ loading }) => loading);
    try {
      while (wave.length + coming.length + missing.length > 0) {
        while (missing.length > 0 && coming.length < wavesAhead) {
          // With nothing to compute and nothing on its way, the next has to get a slot.
          const must = wave.length + coming.length === 0;
          const resident = must ? await this.#loadSurely(layer, missing[0]!) : this.#load(layer, missing[0]!);
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
          if (resident.passing) this.#residents.pass(resident);
        }
      }
    } finally {
      for (const resident of [...wave, ...coming]) this.#unpin(resident);
    }
  }

  /** A long step needs nearly all experts of each layer: these of the next come where nothing of worth lies, if the disk idles. */
  wantWhole(layer: number, experts: readonly number[]): void {
    this.#residents.wanted = new Set(experts.map((expert) => this.#id(layer, expert)));
    this.#wantedEvicts = false;
    this.#queue.start();
  }

  /** What lies where now. @param isStepping whether steps run: what the latest has used counts as in use */
  residency(isStepping: boolean): Residency {
    const { layerClass, classes, experts } = this.layout;
    const counts = classes.map((_, index) => this.slots.count(layerClass.indexOf(index)));
    const residentOf = (id: ExpertId) => this.#residents.get(id);
    const numbers = layerClass.flatMap((index, layer) => (index === null ? [] : [layer]));
    const { eviction, prefetch, acting, says } = this.policy;
    return {
      slots: counts.reduce((sum, count) => sum + count, 0),
      bytes: counts.reduce((sum, count, index) => sum + count * classes[index]!.recordBytes, 0),
      policy: { eviction: eviction.name, prefetch: prefetch?.name ?? "none", acting, says },
      layers: numbers.map((layer) => ({
        layer,
        ...layerLetters(this.#id(layer, 0), experts, residentOf, this.#heat, isStepping),
        counts: this.metrics.layers[layer]!,
      })),
      outcomes: this.#outcomes.all,
    };
  }

  /** Waits for the reads in flight, and gives slots and store back. Nothing may be pinned. */
  async dispose(): Promise<void> {
    this.#residents.wanted.clear();
    await this.#queue.close();
    this.slots.dispose();
    await this.#store.close();
  }

  #id(layer: number, expert: number): ExpertId {
    return (layer - this.#firstLayer) * this.layout.experts + expert;
  }

  #comes(layer: number): void {
    this.#moment = { tick: this.#moment.tick + 1, layer: layer - this.#firstLayer };
  }

  #want(wanted: Wanted): void {
    if (!wanted) return;
    this.#residents.wanted = new Set(wanted);
    this.#wantedEvicts = true;
    this.#queue.start();
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
    this.#passed(layer);
    return { held, missing };
  }

  #unpin(resident: Resident): void {
    if (this.#residents.get(resident.id) === resident) resident.pins--;
  }

  /** Accounts for an expert that is needed now, and whether it was there. */
  #asked(resident: Resident): void {
    const { loading } = resident;
    if (loading) {
      const wait = this.metrics.waitBegins(performance.now());
      const ended = () => wait.ended(performance.now());
      loading.done.then(ended, ended);
      if (resident.ahead) this.metrics.late(resident.layer);
    } else this.metrics.hit(resident.layer, resident.ahead);
    resident.ahead = false;
  }

  /** What was wanted of a layer that has come is wanted no more; what was read of it in vain leaves first. */
  #passed(layer: number): void {
    const first = this.#id(layer, 0);
    for (let id = first; id < first + this.layout.experts; id++) {
      this.#residents.wanted.delete(id);
      const resident = this.#residents.get(id);
      if (!resident?.ahead) continue;
      this.metrics.wasted(layer);
      resident.ahead = false;
      this.#residents.pass(resident);
    }
  }

  /** Waits until one of them is there. */
  async #any(layer: number, coming: readonly Resident[]): Promise<void> {
    const started = performance.now();
    await Promise.race(coming.map(({ loading }) => loading?.done));
    this.metrics.stalled(layer, performance.now() - started);
  }

  /** As {@link ExpertCache.#load}; where reads in flight hold every slot, one is waited for. */
  async #loadSurely(layer: number, expert: number): Promise<Resident> {
    for (;;) {
      const resident = this.#load(layer, expert);
      if (resident) return resident;
      const held = [...this.#residents.all()].filter(({ pins, loading }) => pins === 0 && loading);
      if (held.length === 0) throw new Error(`every slot is in use at layer ${layer}`);
      await held[0]!.loading!.done.catch(() => {});
    }
  }

  /** Begins to read an expert that somebody waits for, pinned. @returns undefined when every slot is in use */
  #load(layer: number, expert: number): Resident | undefined {
    const slot = this.#takeSlot(layer, "demand");
    if (slot === undefined) return undefined;
    this.metrics.miss(layer);
    const resident = this.#residents.enter(this.#id(layer, expert), layer, slot, this.#moment);
    resident.pins = 1;
    this.#loads(resident, this.#queue.push(this.#readInto(resident, "demand")));
    return resident;
  }

  /** The next read of what is wanted; its expert has a slot then. */
  #readAhead(): (() => Promise<void>) | undefined {
    const full = new Set<number>();
    for (const id of this.#residents.wanted) {
      if (this.#residents.get(id)) continue;
      const layer = this.#firstLayer + Math.floor(id / this.layout.experts);
      if (!this.#wantedEvicts && !this.#residents.hasSpare(layer)) return undefined;
      const index = this.layout.layerClass[layer]!;
      if (full.has(index)) continue;
      const slot = this.#takeSlot(layer, "prefetch");
      if (slot === undefined) {
        full.add(index);
        continue;
      }
      const resident = this.#residents.enter(id, layer, slot, this.#moment);
      resident.ahead = true;
      resident.passing = !this.#wantedEvicts;
      const read = this.#readInto(resident, "prefetch");
      return () => {
        const done = read();
        this.#loads(resident, { done, cancel: () => false });
        return done;
      };
    }
    return undefined;
  }

  #loads(resident: Resident, loading: NonNullable<Resident["loading"]>): void {
    resident.loading = loading;
    loading.done.then(
      () => {
        resident.loading = undefined;
      },
      () => this.#forget(resident),
    );
  }

  #readInto({ id, layer, slot }: Resident, kind: "demand" | "prefetch"): () => Promise<void> {
    const bytes = this.slots.bytes(layer, slot);
    return async () => {
      const ended = this.metrics.readBegins(layer, kind, bytes.length, performance.now());
      await this.#store.read(layer, id % this.layout.experts, bytes);
      ended(performance.now());
    };
  }

  #takeSlot(layer: number, kind: "demand" | "prefetch"): number | undefined {
    const asked = performance.now();
    const slot = this.#residents.takeSlot(layer, kind, this.#moment, (resident) => this.#forget(resident));
    if (kind === "demand") this.metrics.decided(performance.now() - asked);
    return slot;
  }

  /** Its slot is free from here on. */
  #forget(resident: Resident): void {
    if (resident.ahead) this.metrics.wasted(resident.layer);
    this.#residents.leave(resident);
  }
}
