import type { PolicyPair } from "../policies/pair.ts";
import type { ExpertId, Moment } from "../policies/policy.ts";
import type { Wanted } from "../policies/prefetch-policy.ts";
import type { RoutingLog } from "../trace/routing-log.ts";
import { Victims } from "../victims.ts";
import { type DiskCosts, SimulatedDisk, type SimulatedRead } from "./disk.ts";
import {
  guessedExperts,
  type ReplayStep,
  routedTokens,
  stepTokens,
  usedByRows,
  usedExperts,
} from "./steps.ts";

/** What things take, ms. */
export interface ReplayCosts extends DiskCosts {
  /** Of a decode step, from the experts of one layer to those of the next: both networks, attention and router. */
  readonly layerMs: number;
  /** Of that, attention and router. Default: a half. */
  readonly attentionMs?: number;
}

export interface ReplaySetup {
  /** Slots of each class of experts. */
  readonly slots: readonly number[];
  /** The class of each layer's experts. Default: all are of the first. */
  readonly layerClass?: readonly number[];
  readonly policy: PolicyPair;
  readonly costs: ReplayCosts;
}

/** What happened in decode steps. A hit is an expert that was ready when it was asked for. */
export interface ReplayResult {
  readonly tokens: number;
  readonly uses: number;
  readonly hits: number;
  /** Asked for while they were read ahead. */
  readonly late: number;
  /** Asked for, and nobody had begun to read them. */
  readonly misses: number;
  /** Experts that were read, whoever wanted them; those of prompts among them. */
  readonly reads: number;
  /** Read ahead and not used when their layer came. */
  readonly wasted: number;
  readonly stallMs: number;
}

/** An expert that has a slot. */
interface Resident {
  readonly id: ExpertId;
  read: SimulatedRead;
  /** Read ahead, and its layer has not come yet. */
  ahead: boolean;
}

const none = { tokens: 0, uses: 0, hits: 0, late: 0, misses: 0, wasted: 0, stallMs: 0 };

/** Runs a policy over a trace: the engine's cache, with a disk and a computation that only take time. */
export class Replay {
  readonly #log: RoutingLog;
  readonly #setup: ReplaySetup;
  readonly #disk: SimulatedDisk;
  /** By class. */
  readonly #victims: readonly Victims[];
  readonly #free: number[];
  readonly #residents = new Map<ExpertId, Resident>();
  /** Came for a prompt or in vain, and were not used by a decode step since: the first to leave, the latest before the others. */
  readonly #passing: ExpertId[] = [];
  /** The experts that are computed with. */
  #held = new Set<ExpertId>();
  /** What is to be read ahead, and, until its layer has come, what of it is there. */
  #wanted = new Set<ExpertId>();
  #moment: Moment = { tick: 0, layer: -1 };
  #now = 0;
  #began = { ms: 0, stallMs: 0 };
  #totals = { ...none };
  #readsBefore = 0;

  constructor(log: RoutingLog, setup: ReplaySetup) {
    this.#log = log;
    this.#setup = setup;
    this.#disk = new SimulatedDisk(setup.costs, () => this.#readAhead());
    this.#victims = setup.slots.map(() => new Victims(setup.policy.eviction));
    this.#free = [...setup.slots];
  }

  /** Counts from here on; cache and policies keep what they have. */
  clearCounts(): void {
    this.#totals = { ...none };
    this.#readsBefore = this.#disk.reads;
  }

  get result(): ReplayResult {
    return { ...this.#totals, reads: this.#disk.reads - this.#readsBefore };
  }

  run(steps: readonly ReplayStep[]): void {
    for (const step of steps) {
      const before = { ...this.#totals };
      if (step.short) this.#decode(step);
      else for (let layer = 0; layer < this.#log.layers; layer++) this.#prefill(step, layer);
      if (!step.decoding) this.#totals = before;
    }
  }

  #decode(step: ReplayStep): void {
    const { policy } = this.#setup;
    this.#moment = { tick: this.#moment.tick, layer: -1 };
    this.#began = { ms: this.#now, stallMs: this.#totals.stallMs };
    this.#want(policy.began(stepTokens(this.#log, step), this.#moment));
    for (let layer = 0; layer < this.#log.layers; layer++) this.#decodeLayer(step, layer);
    const stallMs = this.#totals.stallMs - this.#began.stallMs;
    policy.stepped({ ms: this.#now - this.#began.ms, stallMs }, this.#moment);
    this.#totals.tokens += step.rows.length;
  }

  #decodeLayer(step: ReplayStep, layer: number): void {
    const { policy, costs } = this.#setup;
    const { layerMs, attentionMs = layerMs / 2 } = costs;
    if (policy.sees("pre-attention")) {
      this.#pass(layerMs - attentionMs);
      this.#guess(step, layer, "early");
      this.#pass(attentionMs);
    } else this.#pass(layerMs);
    this.#moment = { tick: this.#moment.tick + 1, layer };
    const asked = this.#now;
    const chosen = usedExperts(this.#log, step, layer);
    if (chosen.length > this.#setup.slots[this.#classOf(layer)]!) {
      this.#prefill(step, layer);
      return;
    }
    const waited = this.#acquire(layer, chosen);
    if (policy.sees("next-gate") && layer < this.#log.layers - 1) this.#guess(step, layer + 1, "guessed");
    this.#routed(step, layer, true);
    const ready = this.#disk.wait(waited, this.#now);
    this.#totals.stallMs += ready - asked;
    this.#now = ready;
    for (const [index, victims] of this.#victims.entries()) {
      victims.refresh(this.#candidates(index), this.#moment);
    }
  }

  /** The experts of a layer are held, those that are missing under way. @returns reads that are not done */
  #acquire(layer: number, chosen: readonly number[]): SimulatedRead[] {
    const { eviction } = this.#setup.policy;
    const ids = chosen.map((expert) => this.#id(layer, expert));
    this.#held = new Set(ids);
    this.#totals.uses += ids.length;
    const waited: SimulatedRead[] = [];
    const missing: ExpertId[] = [];
    for (const id of ids) {
      eviction.used(id, this.#moment);
      this.#wanted.delete(id);
      const resident = this.#residents.get(id);
      if (!resident) {
        missing.push(id);
        continue;
      }
      resident.ahead = false;
      this.#stay(id);
      if (resident.read.done) this.#totals.hits++;
      else {
        this.#totals.late++;
        waited.push(resident.read);
      }
    }
    this.#passed(layer);
    for (const id of missing) {
      this.#totals.misses++;
      this.#makeRoom(id, "demand");
      const { read } = this.#enter(id, { done: false }, false);
      waited.push(this.#disk.demand(read, this.#now));
    }
    return waited;
  }

  /** What was wanted of a layer that has come is wanted no more; what was read of it in vain may leave first. */
  #passed(layer: number): void {
    const first = this.#id(layer, 0);
    for (let id = first; id < first + this.#log.experts; id++) {
      this.#wanted.delete(id);
      const resident = this.#residents.get(id);
      if (!resident?.ahead) continue;
      this.#totals.wasted++;
      resident.ahead = false;
      this.#passing.push(id);
    }
  }

  #stay(id: ExpertId): void {
    const index = this.#passing.lastIndexOf(id);
    if (index >= 0) this.#passing.splice(index, 1);
  }

  #routed(step: ReplayStep, layer: number, decoding: boolean): void {
    const { policy } = this.#setup;
    if (!policy.seesRouting) return;
    const tokens = routedTokens(this.#log, step, layer, policy.sees("probabilities"));
    this.#want(policy.routed({ layer, decoding, tokens }, this.#moment));
  }

  #guess(step: ReplayStep, layer: number, kind: "guessed" | "early"): void {
    const experts = guessedExperts(this.#log, step, layer, kind);
    if (experts.length > 0) this.#want(this.#setup.policy.guessed({ layer, experts }, this.#moment));
  }

  #want(wanted: Wanted): void {
    if (wanted) this.#wanted = new Set(wanted);
    this.#disk.advance(this.#now);
  }

  /** The next read ahead, which takes a slot now. */
  #readAhead(): SimulatedRead | undefined {
    const full = new Set<number>();
    for (const id of this.#wanted) {
      if (this.#residents.has(id)) continue;
      const index = this.#classOfId(id);
      if (full.has(index)) continue;
      if (!this.#makeRoom(id, "prefetch")) {
        full.add(index);
        continue;
      }
      return this.#enter(id, { done: false }, true).read;
    }
    return undefined;
  }

  /** A prompt needs most experts of a layer, one after the other; those that it brings in leave first. */
  #prefill(step: ReplayStep, layer: number): void {
    this.#moment = { tick: this.#moment.tick + 1, layer };
    this.#held.clear();
    this.#wanted.clear();
    // The last layer runs for the token alone whose logits are wanted.
    const last = layer === this.#log.layers - 1;
    const chosen = last
      ? usedByRows(this.#log, step.rows.slice(-1), layer)
      : usedExperts(this.#log, step, layer);
    for (const expert of chosen) {
      const id = this.#id(layer, expert);
      let resident = this.#residents.get(id);
      if (resident) resident.ahead = false;
      else {
        this.#makeRoom(id, "demand");
        resident = this.#enter(id, { done: false }, false);
        this.#disk.demand(resident.read, this.#now);
        this.#passing.push(id);
      }
      this.#now = this.#disk.wait([resident.read], this.#now);
    }
    this.#routed(step, layer, false);
  }

  #enter(id: ExpertId, read: SimulatedRead, ahead: boolean): Resident {
    const resident = { id, read, ahead };
    this.#residents.set(id, resident);
    this.#free[this.#classOfId(id)]!--;
    this.#setup.policy.eviction.entered(id, this.#moment);
    return resident;
  }

  /** @returns whether there is a slot: nothing leaves that is held or under way, or that is wanted, but for a demand */
  #makeRoom(forId: ExpertId, kind: "demand" | "prefetch"): boolean {
    const index = this.#classOfId(forId);
    while (this.#free[index] === 0) {
      const id = this.#next(index) ?? (kind === "demand" ? this.#anyOther(index) : undefined);
      if (id === undefined && kind === "prefetch") return false;
      if (id === undefined) this.#waitForOne();
      else this.#leave(id);
    }
    return true;
  }

  #next(index: number): ExpertId | undefined {
    const mayLeave = (id: ExpertId) => this.#leaves(id, index);
    const victims = this.#victims[index]!;
    const id = this.#passing.findLast(mayLeave) ?? victims.take(mayLeave);
    if (id !== undefined) return id;
    victims.refresh(this.#candidates(index), this.#moment);
    return victims.take(mayLeave);
  }

  #anyOther(index: number): ExpertId | undefined {
    const others = [...this.#residents.values()];
    return others.find(({ id, read }) => read.done && !this.#held.has(id) && this.#classOfId(id) === index)
      ?.id;
  }

  /** Reads ahead hold every slot. */
  #waitForOne(): void {
    const reading = [...this.#residents.values()].filter(({ id, read }) => !read.done && !this.#held.has(id));
    if (reading.length === 0) throw new Error("a layer needs more experts than there are slots");
    this.#now = this.#disk.wait(
      reading.slice(0, 1).map(({ read }) => read),
      this.#now,
    );
  }

  #leaves(id: ExpertId, index: number): boolean {
    const resident = this.#residents.get(id);
    if (!resident || this.#classOfId(id) !== index || this.#held.has(id) || this.#wanted.has(id))
      return false;
    return resident.read.done && !resident.ahead;
  }

  /** Who may leave when the experts that are held now are let go. */
  *#candidates(index: number): Iterable<ExpertId> {
    for (const { id, ahead } of this.#residents.values()) {
      if (!ahead && this.#classOfId(id) === index && !this.#wanted.has(id)) yield id;
    }
  }

  #classOf(layer: number): number {
    return this.#setup.layerClass?.[layer] ?? 0;
  }

  #classOfId(id: ExpertId): number {
    return this.#classOf(Math.floor(id / this.#log.experts));
  }

  #leave(id: ExpertId): void {
    this.#residents.delete(id);
    this.#free[this.#classOfId(id)]!++;
    this.#stay(id);
    this.#setup.policy.eviction.left(id);
  }

  #pass(milliseconds: number): void {
    this.#now += milliseconds;
    this.#disk.advance(this.#now);
  }

  #id(layer: number, expert: number): ExpertId {
    return layer * this.#log.experts + expert;
  }
}
