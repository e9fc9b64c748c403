import type { ExpertCache } from "../experts/cache.ts";
import type { LossyExperts } from "../experts/lossy/lossy-experts.ts";
import { GraphAllocator } from "../ggml/allocator.ts";
import type { Backend } from "../ggml/backend.ts";
import { Context } from "../ggml/context.ts";
import type { Tensor } from "../ggml/tensor.ts";
import type { KvStore } from "../kv/tensors.ts";
import type { ActivationSums } from "./activation-sums.ts";
import { Blocks, type ExpertPath, type Scope, type StepOutputs } from "./blocks.ts";
import type { DevicePart } from "./device-step.ts";
import { ExpertsApart, expertTensorRoom, runsApart } from "./experts-apart.ts";
import { expertsTogether } from "./experts-together.ts";
import type { Family } from "./family.ts";
import { graphRoom, layerRoom, sequenceRoom } from "./graph-room.ts";
import type { Adapters } from "./lora/adapters.ts";
import { adapterTensorRoom } from "./lora/deltas.ts";
import type { RoutingTap } from "./routing-tap.ts";
import type { StepShape } from "./step.ts";
import { StepMemory } from "./step-memory.ts";
import type { ModelWeights } from "./weights.ts";

/** A model on a backend with its KV cache: what a step runs on. */
export interface Runtime {
  readonly backend: Backend;
  readonly family: Family;
  readonly weights: ModelWeights;
  readonly kv: KvStore;
  /** Most tokens of a sequence. */
  readonly contextTokens: number;
  /** Where the experts are, when they are not among the weights. */
  readonly experts?: ExpertCache;
  /** Their low-precision copies, in a lossy mode. */
  readonly lossy?: LossyExperts;
  /** What of the model is on a device: its last layers and the output. */
  readonly part?: DevicePart;
  /** Where steps leave their routing, when it is recorded. */
  readonly tap?: RoutingTap;
  /** What requests may have added to the weights. */
  readonly adapters?: Adapters;
  /** Sums up what the layers' matrices are multiplied with, where that is wanted. */
  readonly sums?: ActivationSums;
}

/**
 * A step that takes less than this runs on the event loop's own thread: handing it to another and back would cost a
 * per cent or more of it, and the loop gets its turn after every step.
 */
const shortMs = 4;
/** How fast the notion of a step's time follows runs that were slower. */
const slowerWeight = 0.05;

/** A step that can be run: its inputs to fill, its logits to read after {@link Step.run} gave true. */
export interface Step {
  readonly memory: StepMemory;
  /** Runs the step off the event loop. @returns false when it was dropped: nothing is committed */
  run(): Promise<boolean>;
  /** Logits of the tokens that asked for them, [outputs - states][vocabulary], valid until the next run. */
  logits(): Float32Array;
  /** Final states of the tokens that asked for them, [states][width], valid until the next run. */
  states(): Float32Array;
  dispose(): void;
}

/** Whether a step of so many tokens runs as one graph that can be kept. */
export function isWhole(runtime: Runtime, tokens: number): boolean {
  const { layers, layout } = runtime.weights;
  const h = layout.hyperparameters;
  if (layers.length === 0) return true;
  // What each expert is given is summed up where it runs by itself.
  if (runtime.experts || (runtime.sums && h.experts > 0)) return false;
  return !runsApart(h, tokens);
}

/** One graph for the whole model, or for its layers on the processor, built once and run as often as steps have its shape. */
export class WholeStep implements Step {
  readonly memory: StepMemory;
  readonly #backend: Backend;
  readonly #scope: Scope;
  readonly #own: GraphAllocator | undefined;
  readonly #logits: Float32Array;
  readonly #states: Float32Array;
  #usualMs = Number.POSITIVE_INFINITY;

  /** @param allocator working memory that outlives the step; else it has its own */
  static async build(runtime: Runtime, shape: StepShape, allocator?: GraphAllocator): Promise<WholeStep> {
    const h = runtime.weights.layout.hyperparameters;
    const memory = new StepMemory(runtime.backend, h, shape);
    const room = graphRoom(h.layers, shape) * roomFactor(runtime);
    const scope = openScope(runtime.backend, room);
    const outputs = await assemble(runtime, blocksFor(runtime, shape, memory, expertsTogether, scope));
    return new WholeStep(runtime.backend, memory, scope, outputs, allocator);
  }

  private constructor(
    backend: Backend,
    memory: StepMemory,
    scope: Scope,
    outputs: StepOutputs,
    allocator: GraphAllocator | undefined,
  ) {
    this.memory = memory;
    this.#backend = backend;
    this.#scope = scope;
    this.#own = allocator ? undefined : new GraphAllocator(backend.native, backend.hostBufferType);
    (allocator ?? this.#own!).allocate(scope.graph);
    backend.checkSupport(scope.graph);
    this.#logits = floatsOf(outputs.logits);
    this.#states = floatsOf(outputs.states);
  }

  async run(): Promise<boolean> {
    const started = performance.now();
    const done = await this.#backend.compute(this.#scope.graph, { short: this.#usualMs < shortMs });
    const ms = performance.now() - started;
    this.#usualMs = ms < this.#usualMs ? ms : this.#usualMs + (ms - this.#usualMs) * slowerWeight;
    return done;
  }

  logits(): Float32Array {
    return this.#logits;
  }

  states(): Float32Array {
    return this.#states;
  }

  dispose(): void {
    this.memory.dispose();
    this.#own?.dispose();
    this.#scope.context.dispose();
  }
}

/** Thrown through a family's layer when the running graph was aborted. */
class StepDropped extends Error {}

/**
 * The memory of steps that run layer by layer: one context and one allocator, used graph after graph. One such
 * step runs at a time.
 */
export class LayerwiseRunner {
  readonly #runtime: Runtime;
  readonly #experts: ExpertsApart;
  readonly #context: Context;
  readonly #room: number;
  readonly #allocator: GraphAllocator;

  /** @param maxTokens the most tokens of a step */
  constructor(runtime: Runtime, limits: { maxTokens: number; maxSequences: number }) {
    const { backend } = runtime;
    const h = runtime.weights.layout.hyperparameters;
    this.#runtime = runtime;
    // Dense layers before the first with experts share its graph.
    const layersAGraph = 1 + h.denseLayers;
    const room =
      layersAGraph * (layerRoom + limits.maxSequences * sequenceRoom) +
      (layersAGraph + 1) * limits.maxSequences * adapterTensorRoom(runtime.adapters) +
      layerRoom +
      expertTensorRoom(h, limits.maxTokens);
    this.#room = room * roomFactor(runtime);
    this.#context = new Context(backend.native, { tensors: this.#room, graphNodes: this.#room });
    this.#allocator = new GraphAllocator(backend.native, backend.hostBufferType);
    const runScope = async (blocks: Blocks) => {
      if (!(await this.#compute(blocks.scope))) throw new StepDropped();
      blocks.scope = this.#open();
    };
    this.#experts = new ExpertsApart(runtime, limits.maxTokens, runScope);
  }

  step(shape: StepShape): Step {
    const runtime = this.#runtime;
    const memory = new StepMemory(runtime.backend, runtime.weights.layout.hyperparameters, shape);
    let outputs: StepOutputs = {};
    return {
      memory,
      run: async () => {
        const blocks = blocksFor(runtime, shape, memory, this.#experts, this.#open());
        try {
          outputs = await assemble(runtime, blocks);
          const running = this.#compute(blocks.scope);
          this.#experts.working();
          return await running;
        } catch (error) {
          if (error instanceof StepDropped) return false;
          throw error;
        } finally {
          this.#experts.finish();
        }
      },
      logits: () => floatsOf(outputs.logits),
      states: () => floatsOf(outputs.states),
      dispose: () => memory.dispose(),
    };
  }

  dispose(): void {
    this.#experts.dispose();
    this.#allocator.dispose();
    this.#context.dispose();
  }

  #open(): Scope {
    this.#context.reset();
    return { context: this.#context, graph: this.#context.graph(this.#room) };
  }

  #compute(scope: Scope): Promise<boolean> {
    this.#allocator.allocate(scope.graph);
    return this.#runtime.backend.compute(scope.graph);
  }
}

function blocksFor(
  { weights, kv, contextTokens, tap, sums }: Runtime,
  shape: StepShape,
  memory: StepMemory,
  experts: ExpertPath,
  scope: Scope,
): Blocks {
  const { hyperparameters } = weights.layout;
  const { globals } = weights;
  const path = tap ? recorded(experts, tap) : experts;
  const parts = { hyperparameters, shape, memory, kv, globals, contextTokens, experts: path };
  return new Blocks({ ...parts, ...(tap && { tap }), ...(sums && { sums }) }, scope);
}

const none = new Float32Array(0);

function floatsOf(output: Tensor | undefined): Float32Array {
  return output?.floats() ?? none;
}

/** Experts run as on `path`; their routing is left in the tap before. */
function recorded(path: ExpertPath, tap: RoutingTap): ExpertPath {
  return {
    run(blocks, weights, x, normed, routing) {
      tap.keep(blocks, routing, x);
      return path.run(blocks, weights, x, normed, routing);
    },
  };
}

/**
 * The whole model, from token ids to logits or states; ends with a graph that is yet to be run. Where a device goes
 * on, its layers are left out, and the states of all tokens are what it is given.
 */
async function assemble({ family, weights, part }: Runtime, blocks: Blocks): Promise<StepOutputs> {
  let x = family.embed?.(blocks) ?? blocks.embed();
  for (const [index, layer] of weights.layers.entries()) {
    blocks.layer = index;
    blocks.input = x;
    x = await family.layer(blocks, layer, x);
  }
  const outputs = part ? { states: x } : blocks.head(x);
  // States first: they are ready before the product that gives logits.
  for (const output of [outputs.states, outputs.logits]) if (output) blocks.scope.graph.expand(output);
  return outputs;
}

/** Four tensors for each product that is summed up are no more than a layer has anyway. */
function roomFactor({ sums }: Runtime): number {
  return sums ? 2 : 1;
}

function openScope(backend: Backend, room: number): Scope {
  const context = new Context(backend.native, { tensors: room, graphNodes: room });
  return { context, graph: context.graph(room) };
}
