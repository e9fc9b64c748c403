import { StowageError } from "../errors.ts";
import type { Pointer } from "./bindings.ts";
import type { Graph } from "./graph.ts";

/**
 * Asks a device about every node before it is trusted with the graph.
 * @throws StowageError device_unsupported naming the first node that it cannot run
 */
export function checkSupport(graph: Graph, device: Pointer): void {
  const { ggml } = graph.context.native;
  for (let index = 0; index < graph.nodeCount; index++) {
    const node = graph.node(index);
    if (ggml.ggml_backend_dev_supports_op(device, node.pointer)) continue;
    throw new StowageError("device_unsupported", {
      device: ggml.ggml_backend_dev_name(device),
      operation: ggml.ggml_op_desc(node.pointer),
      type: node.type,
      shape: node.shape.join("x"),
    });
  }
}
