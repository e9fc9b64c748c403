import type { ExpertLayout } from "./layout.ts";
import type { EvictionPolicy, ExpertId, Moment } from "./policies/policy.ts";
import { Victims } from "./victims.ts";

/** An expert that has a slot. */
export interface Resident {
  readonly id: ExpertId;
  readonly layer: number;
  readonly slot: number;
  /** Users that need it where it is: it cannot leave. */
  pins: number;
  /** Until its record is there. */
  loading: { readonly done: Promise<void>; cancel(): boolean } | undefined;
  /** Read ahead, and neither used since nor has its layer come. */
  ahead: boolean;
  /** Brought in for a long prefill, and not used by a decode step since. */
  passing: boolean;
}

/** Which expert has which slot, and who leaves when another needs one. */
export class Residents {
  readonly #layout: ExpertLayout;
  readonly #policy: EvictionPolicy;
  readonly #residents = new Map<ExpertId, Resident>();
  /** By class: slots that hold nothing. */
  readonly #free: number[][];
  /** By class: who leaves next. */
  readonly #victims: readonly Victims[];
  /**
   * What a prefill has read and used, and no decode step since; and what was read ahead for nothing. The first to
   * leave, the latest before the others.
   */
  readonly #passing: Resident[] = [];
  /** Experts that are to be read ahead, or were and are waited for by a layer to come: they leave for demands alone. */
  wanted: Set<ExpertId> = new Set();

  /** @param counts slots of each class */
  constructor(layout: ExpertLayout, counts: readonly number[], policy: EvictionPolicy) {
    this.#layout = layout;
    this.#policy = policy;
    this.#victims = layout.classes.map(() => new Victims(policy));
    this.#free = counts.map((count) => Array.from({ length: count }, (_, slot) => count - 1 - slot));
  }

  get(id: ExpertId): Resident | undefined {
    return this.#residents.get(id);
  }

  /** Those that came first before the others. */
  all(): Iterable<Resident> {
    return this.#residents.values();
  }

  enter(id: ExpertId, layer: number, slot: number, now: Moment): Resident {
    const resident = { id, layer, slot, pins: 0, loading: undefined, ahead: false, passing: false };
    this.#residents.set(id, resident);
    this.#policy.entered(id, now);
    return resident;
  }

  /** Its slot is free from here on. */
  leave(resident: Resident): void {
    this.#residents.delete(resident.id);
    this.stay(resident);
    this.#policy.left(resident.id);
    this.#free[this.#classOf(resident.layer)]!.push(resident.slot);
  }

  /** A decode step uses it: it is the policy's from now on. */
  stay(resident: Resident): void {
    resident.passing = false;
    const index = this.#passing.lastIndexOf(resident);
    if (index >= 0) this.#passing.splice(index, 1);
  }

  /** It is the first to leave. */
  pass(resident: Resident): void {
    this.stay(resident);
    resident.passing = true;
    this.#passing.push(resident);
  }

  /** Time to choose who leaves next. */
  chooseVictims(now: Moment): void {
    for (const [index, victims] of this.#victims.entries()) {
      if (this.#free[index]!.length === 0) victims.refresh(this.#candidates(index), now);
    }
  }

  /** Whether a slot for a layer is free, or holds nothing of worth. */
  hasSpare(layer: number): boolean {
    const index = this.#classOf(layer);
    return this.#free[index]!.length > 0 || this.#passing.some((resident) => this.#leaves(resident, index));
  }

  /** A slot for a layer, in which another expert may have been; nothing wanted leaves for what nobody waits for. */
  takeSlot(
    layer: number,
    kind: "demand" | "prefetch",
    now: Moment,
    left: (resident: Resident) => void,
  ): number | undefined {
    const index = this.#classOf(layer);
    const free = this.#free[index]!;
    if (free.length === 0) {
      const resident = this.#leaver(index, now) ?? (kind === "demand" ? this.#anyOther(index) : undefined);
      if (resident) left(resident);
    }
    return free.pop();
  }

  #classOf(layer: number): number {
    return this.#layout.layerClass[layer]!;
  }

  #leaver(index: number, now: Moment): Resident | undefined {
    // The latest is what a prefill, which goes round the layers, needs again last.
    const passing = this.#passing.findLast((resident) => this.#leaves(resident, index));
    if (passing) return passing;
    const mayLeave = (id: ExpertId) => this.#leaves(this.#residents.get(id), index);
    const victims = this.#victims[index]!;
    let id = victims.take(mayLeave);
    if (id === undefined) {
      victims.refresh(this.#candidates(index), now);
      id = victims.take(mayLeave);
    }
    return id === undefined ? undefined : this.#residents.get(id);
  }

  /** What a demand takes the place of when there is nothing else. */
  #anyOther(index: number): Resident | undefined {
    for (const resident of this.#residents.values()) {
      const { pins, loading, layer } = resident;
      if (pins === 0 && !loading && this.#classOf(layer) === index) return resident;
    }
    return undefined;
  }

  #leaves(resident: Resident | undefined, index: number): boolean {
    if (!resident || resident.pins > 0 || resident.loading || resident.ahead) return false;
    return this.#classOf(resident.layer) === index && !this.wanted.has(resident.id);
  }

  /** Who may leave when the experts that are held now are let go; a list, for a generator costs more than what it yields. */
  #candidates(index: number): ExpertId[] {
    const found: ExpertId[] = [];
    for (const { id, layer, ahead } of this.#residents.values()) {
      if (!ahead && this.#classOf(layer) === index && !this.wanted.has(id)) found.push(id);
    }
    return found;
  }
}
