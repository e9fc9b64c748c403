import type { EvictionPolicy, ExpertId, Moment } from "../policies/policy.ts";
import type { PrefetchPolicy } from "../policies/prefetch-policy.ts";
import type { RoutingLog } from "../trace/routing-log.ts";
import { SimulatedDisk, type SimulatedRead } from "./disk.ts";
import { guessedExperts, type ReplayStep, routedTokens, usedExperts } from "./steps.ts";

/** What things take, ms. */
export interface ReplayCosts {
  /** A layer of a decode step: attention and router, then the experts, half of it each. */
  readonly layerMs: number;
  /** One expert from the disk. */
  readonly readMs: number;
}

export interface ReplaySetup {
  /** Experts that fit, of all layers together. */
  readonly slots: number;
  readonly eviction: EvictionPolicy;
  readonly prefetch?: PrefetchPolicy | undefined;
  readonly costs: ReplayCosts;
}

/** What happened in decode steps. A hit is an expert that was ready when it was asked for. */
export interface ReplayResult {
  readonly tokens: number;
  readonly uses: number;
  readonly hits: number;
  /** Asked for while their prefetch was under way or waited for its turn. */
  readonly late: number;
  /** Asked for, and nobody had thought of them. */
  readonly misses: number;
  /** Experts that were read, whoever wanted them; those of prompts among them. */
  readonly reads: number;
  readonly wasted: number;
  readonly stallMs: number;
}

/** An expert that has a slot. */
interface Resident {
  readonly id: ExpertId;
  read: SimulatedRead;
  prefetched: boolean;
  /** Came for a prompt, and was not used by a decode step since: the first to leave, as in the engine. */
  passing: boolean;
}

/**
 * Runs a policy over a trace: the engine's cache with a disk and a computation that only take time. What was read ahead is
 * kept until its layer has run. It differs from the engine in that a policy is asked as soon as the router is known, and
 * its reads queue behind the demands of the layer.
 */
export class Replay {
  readonly #log: RoutingLog;
  readonly #setup: ReplaySetup;
  readonly #disk: SimulatedDisk;
  readonly #residents = new Map<ExpertId, Resident>();
  #now = 0;
  #tick = 0;
  #totals = { tokens: 0, uses: 0, hits: 0, late: 0, misses: 0, wasted: 0, stallMs: 0 };
  #readsBefore = 0;

  constructor(log: RoutingLog, setup: ReplaySetup) {
    this.#log = log;
    this.#setup = setup;
    this.#disk = new SimulatedDisk(setup.costs.readMs);
  }

  /** Counts from here on; cache and policies keep what they have. */
  clearCounts(): void {
    this.#totals = { tokens: 0, uses: 0, hits: 0, late: 0, misses: 0, wasted: 0, stallMs: 0 };
    this.#readsBefore = this.#disk.reads;
  }

  get result(): ReplayResult {
    return { ...this.#totals, reads: this.#disk.reads - this.#readsBefore };
  }

  run(steps: readonly ReplayStep[]): void {
    for (const step of steps) {
      for (let layer = 0; layer < this.#log.layers; layer++) {
        if (step.decoding) this.#decode(step, layer);
        else this.#prefill(step, layer);
      }
      if (step.decoding) this.#totals.tokens += step.rows.length;
    }
  }

  #decode(step: ReplayStep, layer: number): void {
    const { eviction, prefetch, costs } = this.#setup;
    const now: Moment = { tick: ++this.#tick, layer };
    this.#pass(costs.layerMs / 2);
    const chosen = usedExperts(this.#log, step, layer);
    const routed = { layer, tokens: routedTokens(this.#log, step, layer) };
    eviction.routed?.(routed, now);
    for (const expert of chosen) eviction.used(this.#id(layer, expert), now);
    const held = this.#acquire(layer, chosen, now);
    if (prefetch) {
      const nextGate = prefetch.usesNextGate ? guessedExperts(this.#log, step, layer) : [];
      for (const wanted of prefetch.ahead({ layer, chosen, nextGate, routed })) {
        for (const expert of wanted.experts) this.#prefetch(this.#id(wanted.layer, expert), held, now);
      }
    }
    const ready = this.#disk.wait(
      [...held.values()].map(({ read }) => read),
      this.#now,
    );
    this.#totals.stallMs += ready - this.#now;
    this.#now = ready;
    this.#pass(costs.layerMs / 2);
  }

  /** The experts of a layer, those that are missing under way. */
  #acquire(layer: number, chosen: readonly number[], now: Moment): Map<ExpertId, Resident> {
    const held = new Map<ExpertId, Resident>();
    const missing: ExpertId[] = [];
    this.#totals.uses += chosen.length;
    for (const expert of chosen) {
      const id = this.#id(layer, expert);
      const resident = this.#residents.get(id);
      if (!resident) {
        missing.push(id);
        continue;
      }
      held.set(id, resident);
      if (resident.read.done) this.#totals.hits++;
      else {
        this.#totals.late++;
        this.#disk.promote(resident.read);
      }
      resident.prefetched = false;
      resident.passing = false;
    }
    this.#dropUnused(layer);
    for (const id of missing) {
      this.#totals.misses++;
      this.#makeRoom(held, now);
      held.set(id, this.#load(id, "demand", now));
    }
    return held;
  }

  /** Prefetches of a layer that has come without them: those that wait are cancelled, the others may leave. */
  #dropUnused(layer: number): void {
    const { experts } = this.#log;
    for (const resident of [...this.#residents.values()]) {
      if (!resident.prefetched || Math.floor(resident.id / experts) !== layer) continue;
      resident.prefetched = false;
      if (this.#disk.cancel(resident.read)) this.#leave(resident);
      else {
        this.#totals.wasted++;
        resident.passing = true;
      }
    }
  }

  #prefetch(id: ExpertId, held: ReadonlyMap<ExpertId, Resident>, now: Moment): void {
    if (this.#residents.has(id) || !this.#makeRoom(held, now)) return;
    this.#load(id, "prefetch", now).prefetched = true;
  }

  /** A prompt needs most experts of a layer, one after the other; those that it brings in leave first. */
  #prefill(step: ReplayStep, layer: number): void {
    const now: Moment = { tick: this.#tick, layer };
    const held = new Map<ExpertId, Resident>();
    for (const expert of usedExperts(this.#log, step, layer)) {
      const id = this.#id(layer, expert);
      const resident = this.#residents.get(id);
      if (resident) resident.prefetched = false;
      else if (this.#makeRoom(held, now)) this.#load(id, "demand", now).passing = true;
      this.#now = this.#disk.wait(
        [this.#residents.get(id)?.read].filter((read) => read !== undefined),
        this.#now,
      );
    }
  }

  #load(id: ExpertId, kind: SimulatedRead["kind"], now: Moment): Resident {
    const resident = { id, read: this.#disk.push(kind, this.#now), prefetched: false, passing: false };
    this.#residents.set(id, resident);
    this.#setup.eviction.entered(id, now);
    return resident;
  }

  /** @returns whether there is a slot: nothing leaves that is held, under way, or read ahead for a layer to come */
  #makeRoom(held: ReadonlyMap<ExpertId, Resident>, now: Moment): boolean {
    if (this.#residents.size < this.#setup.slots) return true;
    const candidates = [...this.#residents.values()].filter(
      ({ id, read, prefetched }) => !held.has(id) && read.done && !prefetched,
    );
    if (candidates.length === 0) return false;
    const passing = candidates.findLast((resident) => resident.passing);
    const ids = candidates.map(({ id }) => id);
    this.#leave(passing ?? this.#residents.get(this.#setup.eviction.victim(ids, now))!);
    return true;
  }

  #leave({ id }: Resident): void {
    this.#residents.delete(id);
    this.#setup.eviction.left(id);
  }

  #pass(milliseconds: number): void {
    this.#now += milliseconds;
    this.#disk.advance(this.#now);
  }

  #id(layer: number, expert: number): ExpertId {
    return layer * this.#log.experts + expert;
  }
}
