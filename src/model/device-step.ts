/** Steps of a model whose last layers are on a device: the processor's graph, then the device's. */
import type { GraphAllocator } from "../ggml/allocator.ts";
import { Context } from "../ggml/context.ts";
import type { Device } from "../ggml/device.ts";
import type { Graph } from "../ggml/graph.ts";
import type { Tensor } from "../ggml/tensor.ts";
import { Blocks, type StepOutputs } from "./blocks.ts";
import type { DeviceWeights } from "./device-weights.ts";
import { expertsTogether } from "./experts-together.ts";
import type { Runtime, Step } from "./forward.ts";
import { graphRoom } from "./graph-room.ts";
import { type StepShape, tokenCount } from "./step.ts";
import { StepMemory } from "./step-memory.ts";

/** What of a model is on a device; its KV cells are among the runtime's. Owns none of it. */
export interface DevicePart {
  readonly device: Device;
  readonly weights: DeviceWeights;
  readonly firstLayer: number;
}

/** What a step gave, in memory of the processor. */
interface Results {
  readonly logits: Float32Array;
  readonly states: Float32Array;
}

/** The device's graph of a step: from hidden states to logits. */
class DeviceGraph {
  readonly memory: StepMemory;
  readonly #device: Device;
  readonly #context: Context;
  readonly #hidden: Tensor;
  readonly #hiddenMemory: { dispose(): void };
  readonly #own: GraphAllocator | undefined;
  readonly #graph: Graph;
  #outputs: StepOutputs = {};

  constructor(runtime: Runtime, { device }: DevicePart, shape: StepShape, allocator?: GraphAllocator) {
    const h = runtime.weights.layout.hyperparameters;
    const room = graphRoom(h.layers, shape);
    this.#device = device;
    this.#context = new Context(device.native, { tensors: room + 1, graphNodes: room });
    this.#hidden = this.#context.tensor("F32", [h.width, tokenCount(shape)]);
    this.#hiddenMemory = device.allocate([this.#hidden]);
    this.memory = new StepMemory(device, h, shape);
    this.#own = allocator ? undefined : device.takeAllocator();
    this.#graph = this.#context.graph(room);
  }

  /** @throws StowageError device_unsupported, native_call_failed */
  async build(
    runtime: Runtime,
    part: DevicePart,
    shape: StepShape,
    allocator?: GraphAllocator,
  ): Promise<void> {
    const { weights, kv, family, contextTokens } = runtime;
    const graph = this.#graph;
    const { hyperparameters } = weights.layout;
    const { globals } = part.weights;
    const parts = { hyperparameters, shape, memory: this.memory, kv, contextTokens, globals };
    const blocks = new Blocks({ ...parts, experts: expertsTogether }, { context: this.#context, graph });
    let x = this.#hidden;
    for (let layer = part.firstLayer; layer < hyperparameters.layers; layer++) {
      blocks.layer = layer;
      x = await family.layer(blocks, part.weights.layers[layer]!, x);
    }
    this.#outputs = blocks.head(x);
    const { states, logits } = this.#outputs;
    for (const output of [states, logits]) if (output) graph.expand(output);
    (allocator ?? this.#own!).allocate(graph);
    this.#device.checkSupport(graph);
  }

  async run(inputs: readonly Tensor[], hidden: Float32Array, results: Results): Promise<void> {
    inputs.forEach((input, index) => {
      this.#device.upload(this.memory.inputs[index]!, input.bytes());
    });
    this.#device.upload(this.#hidden, hidden);
    await this.#device.compute(this.#graph);
    const { logits, states } = this.#outputs;
    if (logits) this.#device.download(logits, results.logits);
    if (states) this.#device.download(states, results.states);
  }

  dispose(): void {
    this.memory.dispose();
    if (this.#own) this.#device.keepAllocator(this.#own);
    this.#hiddenMemory.dispose();
    this.#context.dispose();
  }
}

/** A step whose first layers run on the processor, and the others on a device. */
export class DeviceStep implements Step {
  readonly #host: Step;
  readonly #graph: DeviceGraph;
  readonly #results: Results;

  /**
   * @param host the step of the processor's layers; its states are those of all tokens, [tokens][width]. Disposed with this one
   * @param allocator working memory on the device that outlives the step; else it has its own
   * @throws StowageError device_unsupported, device_memory, native_call_failed
   */
  static async build(
    runtime: Runtime & { readonly part: DevicePart },
    shape: StepShape,
    host: Step,
    allocator?: GraphAllocator,
  ): Promise<DeviceStep> {
    const graph = new DeviceGraph(runtime, runtime.part, shape, allocator);
    try {
      await graph.build(runtime, runtime.part, shape, allocator);
    } catch (error) {
      graph.dispose();
      throw error;
    }
    const { outputs, states = 0 } = shape;
    const { vocabulary, hyperparameters } = runtime.weights.layout;
    return new DeviceStep(host, graph, {
      logits: new Float32Array((outputs - states) * vocabulary),
      states: new Float32Array(states * hyperparameters.width),
    });
  }

  private constructor(host: Step, graph: DeviceGraph, results: Results) {
    this.#host = host;
    this.#graph = graph;
    this.#results = results;
  }

  /** In the processor's memory; copied to the device's with each run. */
  get memory(): StepMemory {
    return this.#host.memory;
  }

  /** A step can be dropped while the processor runs; the device's part runs to its end. */
  async run(): Promise<boolean> {
    if (!(await this.#host.run())) return false;
    await this.#graph.run(this.#host.memory.inputs, this.#host.states(), this.#results);
    return true;
  }

  logits(): Float32Array {
    return this.#results.logits;
  }

  states(): Float32Array {
    return this.#results.states;
  }

  dispose(): void {
    this.disposeOwn();
    this.#host.dispose();
  }

  /** Only what is on the device. */
  disposeOwn(): void {
    this.#graph.dispose();
  }
}
