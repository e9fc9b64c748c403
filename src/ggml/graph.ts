import { StowageError } from "../errors.ts";
import type { GraphAllocator } from "./allocator.ts";
import type { Pointer } from "./bindings.ts";
import type { Context } from "./context.ts";
import type { Tensor } from "./tensor.ts";

/** An ordered list of operations. Nodes run in the order in which {@link Graph.expand} met them. */
export class Graph {
  readonly context: Context;
  /** Whether its nodes have memory; kept by their {@link GraphAllocator}. */
  allocated = false;
  readonly #pointer: Pointer;
  readonly #generation: number;

  constructor(context: Context, pointer: Pointer) {
    this.context = context;
    this.#pointer = pointer;
    this.#generation = context.generation;
  }

  /** The native address; for `src/ggml` only. */
  get pointer(): Pointer {
    if (this.#generation !== this.context.generation) {
      throw new StowageError("native_disposed", { what: "A graph" });
    }
    return this.#pointer;
  }

  /** Appends `tensor` and whatever it needs that is not in the graph yet. */
  expand(tensor: Tensor): void {
    this.context.native.ggml.ggml_build_forward_expand(this.pointer, tensor.pointer);
  }

  get nodeCount(): number {
    return this.context.native.ggml.ggml_graph_n_nodes(this.pointer);
  }

  node(index: number): Tensor {
    return this.context.adopt(this.context.native.ggml.ggml_graph_node(this.pointer, index));
  }
}
