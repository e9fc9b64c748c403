import type { Backend } from "../ggml/backend.ts";
import type { MappedFile } from "../ggml/memory.ts";
import type { Tensor } from "../ggml/tensor.ts";

/** Bytes of a mapped file. */
interface Extent {
  readonly map: MappedFile;
  readonly offset: number;
  readonly bytes: number;
}

/** One matrix to be brought from the mapped file into its place and layout. */
export interface ConversionJob extends Extent {
  readonly target: Tensor;
  /** Extents that nothing reads any more after this job. */
  readonly leaves: readonly Extent[];
}

interface Unit {
  readonly jobs: ConversionJob[];
  left: number;
  readonly done: () => void;
}

/**
 * The work of converting weights, in units that are told when they are complete, done in slices of time: a model
 * serves from the mapped file meanwhile.
 */
export class Conversion {
  readonly #backend: Backend;
  readonly #units: Unit[] = [];
  #pendingBytes = 0;
  #running: Promise<unknown> | undefined;

  constructor(backend: Backend) {
    this.#backend = backend;
  }

  get pendingBytes(): number {
    return this.#pendingBytes;
  }

  /** @param done called when the last of the jobs is complete; at once when there are none */
  add(jobs: ConversionJob[], done: () => void): void {
    if (jobs.length === 0) {
      done();
      return;
    }
    this.#units.push({ jobs: jobs.reverse(), left: jobs.length, done });
    this.#pendingBytes += jobs.reduce((total, { bytes }) => total + bytes, 0);
  }

  /** Works for about so many ms, on as many threads as the backend has. */
  async run(milliseconds: number): Promise<void> {
    const end = performance.now() + milliseconds;
    const work = async () => {
      do {
        const unit = this.#units[0];
        const job = unit?.jobs.pop();
        if (!unit || !job) return;
        if (unit.jobs.length === 0) this.#units.shift();
        await this.#convert(unit, job);
      } while (performance.now() < end);
    };
    // Every worker is waited for: none may write into memory that a failure gives back.
    this.#running = Promise.allSettled(Array.from({ length: this.#backend.threads }, work));
    const results = (await this.#running) as PromiseSettledResult<void>[];
    for (const result of results) if (result.status === "rejected") throw result.reason;
  }

  /** Forgets what is left. The caller has awaited {@link Conversion.run}. */
  dispose(): void {
    this.#units.length = 0;
    this.#pendingBytes = 0;
  }

  async #convert(unit: Unit, { target, map, offset, bytes, leaves }: ConversionJob): Promise<void> {
    await this.#backend.setTensor(target, map.address + BigInt(offset), bytes);
    for (const extent of leaves) extent.map.release(extent.offset, extent.bytes);
    this.#pendingBytes -= bytes;
    unit.left--;
    if (unit.left === 0) unit.done();
  }
}
