import { StowageError } from "../errors.ts";
import type { Pointer } from "./bindings.ts";
import type { Graph } from "./graph.ts";
import type { Native } from "./library.ts";

/**
 * Working memory of graphs (`ggml_gallocr`): reuses bytes as soon as a node's result is no longer read, and keeps
 * its buffer from graph to graph, growing when a larger one comes. Allocating a graph makes the previous graph
 * of the same allocator invalid.
 */
export class GraphAllocator {
  readonly native: Native;
  #pointer: Pointer;
  #graph: Graph | undefined;

  constructor(native: Native, bufferType: Pointer) {
    this.native = native;
    this.#pointer = native.ggml.ggml_gallocr_new(bufferType);
  }

  /** @throws StowageError native_call_failed when memory is short */
  allocate(graph: Graph): void {
    if (!this.#pointer) throw new StowageError("native_disposed", { what: "A graph allocator" });
    this.#forget();
    if (!this.native.ggml.ggml_gallocr_alloc_graph(this.#pointer, graph.pointer)) {
      throw new StowageError("native_call_failed", {
        call: "ggml_gallocr_alloc_graph",
        reason: "the graph's working memory could not be allocated.",
      });
    }
    graph.allocated = true;
    this.#graph = graph;
  }

  /** Bytes held now. */
  get byteLength(): number {
    return this.#pointer ? Number(this.native.ggml.ggml_gallocr_get_buffer_size(this.#pointer, 0)) : 0;
  }

  dispose(): void {
    if (this.#pointer) this.native.ggml.ggml_gallocr_free(this.#pointer);
    this.#pointer = 0n;
    this.#forget();
  }

  #forget(): void {
    if (this.#graph) this.#graph.allocated = false;
    this.#graph = undefined;
  }
}
