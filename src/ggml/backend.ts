import koffi from "koffi";
import { StowageError } from "../errors.ts";
import type { Pointer } from "./bindings.ts";
import { Buffer, tensorAlignment } from "./buffer.ts";
import { Context } from "./context.ts";
import type { Graph } from "./graph.ts";
import type { Native } from "./library.ts";
import type { Place } from "./place.ts";
import { tensorLayout, threadpoolLayout } from "./struct.ts";
import { checkSupport } from "./support.ts";
import type { Tensor } from "./tensor.ts";

/**
 * How long the pool's threads poll for the next graph before they sleep, in ggml's unit of 131,072 pauses
 * (a few milliseconds): long enough to bridge the gap between two decode steps, short enough to leave the
 * processor idle when the engine is.
 */
const pollLevel = 1;

/** The CPU as a place to compute: one thread pool, one graph at a time. */
export class Backend implements Place {
  readonly native: Native;
  readonly threads: number;
  readonly ordered = true;
  /** Time in which graphs were computed since the backend was made, ms. */
  computeMs = 0;
  #backend: Pointer;
  #threadpool: Pointer;
  #busy = false;
  #aborted = false;
  readonly #flagContext: Context;
  readonly #flag: Tensor;

  constructor(native: Native, options: { threads: number }) {
    const { ggml, cpu } = native;
    this.native = native;
    this.threads = options.threads;
    this.#backend = ggml.ggml_backend_dev_init(native.cpuDevice, null);

    this.#threadpool = this.#makeThreadpool(pollLevel);
    cpu.ggml_backend_set_n_threads(this.#backend, options.threads);
    cpu.ggml_backend_cpu_set_threadpool(this.#backend, this.#threadpool);

    // ggml asks a callback after every node whether to stop. `ggml_is_empty` on this tensor is that callback:
    // a store into one of its extents stops a running graph, with no call into JavaScript.
    this.#flagContext = new Context(native, { tensors: 1 });
    this.#flag = this.#flagContext.tensor("F32", [1]);
    cpu.ggml_backend_set_abort_callback(this.#backend, native.address("ggml_is_empty"), this.#flag.pointer);
  }

  /**
   * How many of the pool's threads the following graphs use, at most all. Results may differ in rounding where attention
   * splits keys among threads.
   */
  useThreads(count: number): void {
    const threads = Math.max(1, Math.min(count, this.threads));
    this.native.cpu.ggml_backend_set_n_threads(this.#alive(), threads);
  }

  /**
   * From now on the pool's threads sleep as soon as a graph is done: for whoever waits between graphs for something
   * that needs a processor itself, such as a disk.
   * @throws StowageError native_busy while a graph runs
   */
  sleepBetweenGraphs(): void {
    const backend = this.#alive();
    if (this.#busy) throw new StowageError("native_busy", {});
    const pool = this.#makeThreadpool(0);
    this.native.cpu.ggml_backend_cpu_set_threadpool(backend, pool);
    this.native.cpu.ggml_threadpool_free(this.#threadpool);
    this.#threadpool = pool;
  }

  /** The plain host buffer type. */
  get hostBufferType(): Pointer {
    return this.native.ggml.ggml_backend_dev_buffer_type(this.native.cpuDevice);
  }

  get bufferType(): Pointer {
    return this.hostBufferType;
  }

  /** The buffer type that stores weights in the layout of the fast kernels, if this processor has one. */
  get repackBufferType(): Pointer | undefined {
    const { ggml, cpu, cpuDevice } = this.native;
    const list: Pointer = cpu.ggml_backend_dev_get_extra_bufts(cpuDevice);
    if (!list) return undefined;
    const types = new BigUint64Array(koffi.view(list, 64));
    for (const type of types) {
      if (!type) return undefined;
      if (ggml.ggml_backend_buft_name(type) === "CPU_REPACK") return type;
    }
    return undefined;
  }

  /**
   * Gives every tensor in `tensors` memory in one new plain buffer. The caller owns the buffer.
   * @param options.zeroed the memory begins as zeros, and is taken from the system only where it is used
   */
  allocate(tensors: readonly Tensor[], options: { zeroed?: boolean } = {}): Buffer {
    const padded = (tensor: Tensor) => Math.ceil(tensor.byteLength / tensorAlignment) * tensorAlignment;
    const bytes = tensors.reduce((total, tensor) => total + padded(tensor), tensorAlignment);
    const buffer = options.zeroed
      ? Buffer.zeroed(this.native, this.hostBufferType, bytes)
      : Buffer.allocate(this.native, this.hostBufferType, bytes);
    for (const tensor of tensors) buffer.place(tensor);
    return buffer;
  }

  move(tensor: Tensor, from: number, to: number, bytes: number): void {
    tensor.bytes().copyWithin(to, from, from + bytes);
  }

  /** @throws StowageError device_unsupported naming the first node that it cannot run */
  checkSupport(graph: Graph): void {
    checkSupport(graph, this.native.cpuDevice);
  }

  /**
   * Runs the graph on the pool, off the event loop.
   * @param options.short run it on the calling thread instead, and yield to the event loop afterwards. For graphs
   *   well under a millisecond: handing one to another thread and back costs 25 to 40 µs.
   * @returns false when it was stopped by {@link Backend.abort}; its results are then undefined
   * @throws StowageError native_busy when another graph is running; native_disposed when the graph has no memory,
   *   or not any more; native_call_failed
   */
  async compute(graph: Graph, options: { short?: boolean } = {}): Promise<boolean> {
    if (this.#busy) throw new StowageError("native_busy", {});
    if (this.#aborted) return false;
    const backend = this.#alive();
    const { pointer } = graph;
    if (!graph.allocated)
      throw new StowageError("native_disposed", { what: "The working memory of a graph" });
    this.#busy = true;
    const started = performance.now();
    let status: number;
    try {
      status = options.short ? this.#run(backend, pointer) : await this.#runAside(backend, pointer);
      this.computeMs += performance.now() - started;
      if (options.short) await nextTurn();
    } finally {
      this.#busy = false;
    }
    if (status !== 0 && status !== 1) {
      throw new StowageError("native_call_failed", {
        call: "ggml_backend_graph_compute",
        reason: `status ${status}.`,
      });
    }
    return status === 0;
  }

  /**
   * Fills a tensor from native memory, off the event loop, converting to the layout of its buffer. Several may
   * run at once, beside a graph that does not use the tensor.
   * @param bytes the tensor's whole size in its file layout
   */
  setTensor(tensor: Tensor, source: Pointer, bytes: number): Promise<void> {
    const { pointer } = tensor;
    return new Promise((resolve, reject) => {
      this.native.ggml.ggml_backend_tensor_set.async(pointer, source, 0n, BigInt(bytes), (error: unknown) =>
        error ? reject(error) : resolve(),
      );
    });
  }

  /**
   * Stops the running graph after its current node, and refuses further graphs until {@link Backend.resume}: a
   * step may be between two of its graphs.
   */
  abort(): void {
    this.#aborted = true;
    this.#setFlag(0n);
  }

  /** Ends what {@link Backend.abort} began. */
  resume(): void {
    this.#aborted = false;
    this.#setFlag(1n);
  }

  /** @throws StowageError native_busy while a graph runs: its threads cannot be taken away */
  dispose(): void {
    if (!this.#backend) return;
    if (this.#busy) throw new StowageError("native_busy", {});
    this.native.ggml.ggml_backend_free(this.#backend);
    this.native.cpu.ggml_threadpool_free(this.#threadpool);
    this.#backend = 0n;
    this.#flagContext.dispose();
  }

  #makeThreadpool(poll: number): Pointer {
    const { ggml, cpu } = this.native;
    const params: Pointer = koffi.alloc("uint8", threadpoolLayout.size);
    ggml.ggml_threadpool_params_init(params, this.threads);
    new DataView(koffi.view(params, threadpoolLayout.size)).setUint32(threadpoolLayout.poll, poll, true);
    const pool: Pointer = cpu.ggml_threadpool_new(params);
    koffi.free(params);
    return pool;
  }

  #run(backend: Pointer, graph: Pointer): number {
    return this.native.ggml.ggml_backend_graph_compute(backend, graph);
  }

  #runAside(backend: Pointer, graph: Pointer): Promise<number> {
    return new Promise((resolve, reject) => {
      this.native.ggml.ggml_backend_graph_compute.async(backend, graph, (error: unknown, status: number) =>
        error ? reject(error) : resolve(status),
      );
    });
  }

  #setFlag(extent: bigint): void {
    this.#flagContext.setUint64(this.#flag.pointer, tensorLayout.ne + 24, extent);
  }

  #alive(): Pointer {
    if (!this.#backend) throw new StowageError("native_disposed", { what: "A backend" });
    return this.#backend;
  }
}

/** Lets the event loop do what is due. */
function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
