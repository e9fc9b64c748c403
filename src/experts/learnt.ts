import type { GgufFile } from "../gguf/read.ts";
import { modelIdentity } from "./fingerprint.ts";
import type { ExpertLayout } from "./layout.ts";
import { LearntFile } from "./learnt-file.ts";
import type { PolicyPair } from "./policies/pair.ts";
import type { Learner, PolicyShape } from "./policies/policy.ts";

/** A process that is killed loses what was learnt in so many minutes. */
const minutes = 5;

/** Where what a policy has learnt is kept: beside the model. */
export function learntPath(model: string, policy: string): string {
  return `${model}.${policy}.learnt`;
}

interface Kept {
  readonly policy: Learner;
  readonly file: LearntFile;
}

/** Keeps what policies learn over restarts: reads it when it begins, and writes it now and again and at the end. */
export class Learnt {
  readonly #kept: readonly Kept[];
  readonly #written = new Map<LearntFile, Uint8Array>();
  readonly #timer: NodeJS.Timeout;
  #writing: Promise<void> = Promise.resolve();

  /**
   * Has those policies of the pair that can go on with what was learnt before.
   * @throws StowageError gguf_unreadable, gguf_truncated
   */
  static async of(file: GgufFile, layout: ExpertLayout, pair: PolicyPair, shape: PolicyShape) {
    const { learners } = pair;
    if (learners.length === 0) return new Learnt([]);
    const model = await modelIdentity(file, layout);
    const { layers, experts, used } = shape;
    const kept = learners.map((policy) => {
      const facts = { model, policy: policy.name, shape: { layers, experts, used } };
      return { policy, file: new LearntFile(learntPath(file.path, policy.name), facts) };
    });
    for (const { policy, file } of kept) {
      const learnt = await file.read();
      if (learnt) policy.restore(learnt);
    }
    return new Learnt(kept);
  }

  private constructor(kept: readonly Kept[]) {
    this.#kept = kept;
    this.#timer = setInterval(() => void this.save(), minutes * 60_000);
    this.#timer.unref();
  }

  /** Writes what has changed. Where it cannot be written, nothing is kept. */
  save(): Promise<void> {
    this.#writing = this.#writing.then(() => this.#save());
    return this.#writing;
  }

  /** Writes it for the last time. */
  async dispose(): Promise<void> {
    clearInterval(this.#timer);
    await this.save();
  }

  async #save(): Promise<void> {
    for (const { policy, file } of this.#kept) {
      const learnt = policy.learnt();
      const before = this.#written.get(file);
      if (before && Buffer.compare(before, learnt) === 0) continue;
      if (await file.write(learnt)) this.#written.set(file, learnt);
    }
  }
}
