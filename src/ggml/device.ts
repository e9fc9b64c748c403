import { StowageError } from "../errors.ts";
import { GraphAllocator } from "./allocator.ts";
import type { Pointer } from "./bindings.ts";
import { Buffer } from "./buffer.ts";
import { requireDevice } from "./devices.ts";
import type { Graph } from "./graph.ts";
import { type DeviceInfo, loadNative, type Native } from "./library.ts";
import type { Place } from "./place.ts";
import { checkSupport } from "./support.ts";
import type { Tensor } from "./tensor.ts";

type DeviceMemory = Pick<Buffer, "placeAt" | "clear" | "dispose">;

/**
 * Buffers from so many bytes up to so many are used again: steps come with memory of their own, drivers take their time
 * to give some, and Mesa's software driver (22.3) falls over when some is taken away between two graphs.
 */
const leastKept = 2 ** 12;
const mostKept = 2 ** 26;

/** A device beside the processor, such as a graphics card: its memory, and one graph at a time. */
export class Device implements Place {
  readonly native: Native;
  readonly info: DeviceInfo;
  readonly bufferType: Pointer;
  readonly ordered = false;
  readonly #device: Pointer;
  #backend: Pointer;
  #busy = false;
  /** Memory of earlier steps for later ones; see docs/devices.md. */
  readonly #idle: Buffer[] = [];
  readonly #allocators: GraphAllocator[] = [];

  /**
   * @param name as {@link requireDevice} takes it
   * @throws StowageError device_unknown, native_*
   */
  constructor(name: string) {
    const { info, pointer } = requireDevice(name);
    this.native = loadNative();
    this.info = info;
    this.#device = pointer;
    const { ggml } = this.native;
    this.#backend = ggml.ggml_backend_dev_init(pointer, null);
    if (!this.#backend) {
      const reason = `the driver of ${info.name} did not start.`;
      throw new StowageError("native_call_failed", { call: "ggml_backend_dev_init", reason });
    }
    this.bufferType = ggml.ggml_backend_dev_buffer_type(pointer);
  }

  /** What tensors in its memory are aligned to, bytes. */
  get alignment(): number {
    return Number(this.native.ggml.ggml_backend_buft_get_alignment(this.bufferType));
  }

  /** Gives tensors memory of the device, in as many buffers as its largest allows. The caller owns it. */
  allocate(tensors: readonly Tensor[], options: { zeroed?: boolean } = {}): { dispose(): void } {
    const { ggml } = this.native;
    const { alignment } = this;
    const most = Number(BigInt(ggml.ggml_backend_buft_get_max_size(this.bufferType)));
    const buffers: DeviceMemory[] = [];
    let group: { tensor: Tensor; offset: number }[] = [];
    let end = 0;
    const close = () => {
      if (group.length === 0) return;
      const buffer = this.#take(end);
      buffers.push(buffer);
      if (options.zeroed) buffer.clear();
      for (const { tensor, offset } of group) buffer.placeAt(tensor, offset);
      group = [];
      end = 0;
    };
    try {
      for (const tensor of tensors) {
        const bytes = Number(ggml.ggml_backend_buft_get_alloc_size(this.bufferType, tensor.pointer));
        const rounded = Math.ceil(bytes / alignment) * alignment;
        if (end + rounded > most) close();
        group.push({ tensor, offset: end });
        end += rounded;
      }
      close();
    } catch (error) {
      for (const buffer of buffers) buffer.dispose();
      throw error;
    }
    return {
      dispose: () => {
        for (const buffer of buffers) buffer.dispose();
      },
    };
  }

  /** Working memory of graphs, to be given back by {@link Device.keepAllocator}. */
  takeAllocator(): GraphAllocator {
    return this.#allocators.pop() ?? new GraphAllocator(this.native, this.bufferType);
  }

  keepAllocator(allocator: GraphAllocator): void {
    this.#allocators.push(allocator);
  }

  /** Fills a tensor's first bytes. */
  upload(tensor: Tensor, source: Uint8Array | Float32Array): void {
    const { pointer } = tensor;
    this.native.ggml.ggml_backend_tensor_set(pointer, source, 0n, BigInt(source.byteLength));
  }

  /** Fills a tensor's first bytes from native memory of the processor, off the event loop. */
  uploadAside(tensor: Tensor, source: Pointer, bytes: number): Promise<void> {
    const { pointer } = tensor;
    return new Promise((resolve, reject) => {
      this.native.ggml.ggml_backend_tensor_set.async(pointer, source, 0n, BigInt(bytes), (error: unknown) =>
        error ? reject(error) : resolve(),
      );
    });
  }

  /** Fills `target` with a tensor's first bytes. */
  download(tensor: Tensor, target: Float32Array): void {
    const { pointer } = tensor;
    this.native.ggml.ggml_backend_tensor_get(pointer, target, 0n, BigInt(target.byteLength));
  }

  move(tensor: Tensor, from: number, to: number, bytes: number): void {
    const { ggml } = this.native;
    const between = new Uint8Array(bytes);
    ggml.ggml_backend_tensor_get(tensor.pointer, between, BigInt(from), BigInt(bytes));
    ggml.ggml_backend_tensor_set(tensor.pointer, between, BigInt(to), BigInt(bytes));
  }

  /** @throws StowageError device_unsupported */
  checkSupport(graph: Graph): void {
    checkSupport(graph, this.#device);
  }

  /**
   * Runs the graph, off the event loop.
   * @throws StowageError native_busy when another graph is running, native_disposed, native_call_failed
   */
  async compute(graph: Graph): Promise<void> {
    if (this.#busy) throw new StowageError("native_busy", {});
    const backend = this.#alive();
    const { pointer } = graph;
    if (!graph.allocated) {
      throw new StowageError("native_disposed", { what: "The working memory of a graph" });
    }
    this.#busy = true;
    try {
      const status = await new Promise<number>((resolve, reject) => {
        this.native.ggml.ggml_backend_graph_compute.async(backend, pointer, (error: unknown, done: number) =>
          error ? reject(error) : resolve(done),
        );
      });
      if (status !== 0) {
        throw new StowageError("native_call_failed", {
          call: "ggml_backend_graph_compute",
          reason: `status ${status} on ${this.info.name}.`,
        });
      }
    } finally {
      this.#busy = false;
    }
  }

  /** Buffers have to be given back before. @throws StowageError native_busy while a graph runs */
  dispose(): void {
    if (!this.#backend) return;
    if (this.#busy) throw new StowageError("native_busy", {});
    for (const resource of [...this.#allocators.splice(0), ...this.#idle.splice(0)]) resource.dispose();
    this.native.ggml.ggml_backend_free(this.#backend);
    this.#backend = 0n;
  }

  /** Small buffers are kept for the next who needs one, and freed with the device. */
  #take(bytes: number): DeviceMemory {
    if (bytes > mostKept) return this.#buffer(bytes);
    const rounded = 2 ** Math.ceil(Math.log2(Math.max(bytes, leastKept)));
    const index = this.#idle.findIndex(({ byteLength }) => byteLength === rounded);
    const buffer = index >= 0 ? this.#idle.splice(index, 1)[0]! : this.#buffer(rounded);
    return {
      placeAt: (tensor, offset) => buffer.placeAt(tensor, offset),
      clear: () => buffer.clear(),
      dispose: () => void this.#idle.push(buffer),
    };
  }

  #buffer(bytes: number): Buffer {
    try {
      return Buffer.allocate(this.native, this.bufferType, bytes);
    } catch (cause) {
      const { name, memoryFree } = this.info;
      const details = { device: name, needed: mebibytes(bytes), free: mebibytes(memoryFree) };
      throw new StowageError(
        "device_memory",
        { ...details, fits: "the driver refused to give so much at once" },
        { cause },
      );
    }
  }

  #alive(): Pointer {
    if (!this.#backend) throw new StowageError("native_disposed", { what: "A device" });
    return this.#backend;
  }
}

function mebibytes(bytes: number): string {
  return (bytes / 2 ** 20).toFixed(1);
}
