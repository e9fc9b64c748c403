import type { Pointer } from "./bindings.ts";
import type { Native } from "./library.ts";
import type { Tensor } from "./tensor.ts";

/** Where tensors lie and graphs run: the processor's memory, or a device's. */
export interface Place {
  readonly native: Native;
  /** The type of its plain buffers. */
  readonly bufferType: Pointer;
  /**
   * Gives every tensor in `tensors` memory. The caller owns it.
   * @param options.zeroed it begins as zeros
   * @throws StowageError native_call_failed, device_memory
   */
  allocate(tensors: readonly Tensor[], options?: { zeroed?: boolean }): { dispose(): void };
  /**
   * Whether graphs run node by node, as they were built: then a node may read what another left in memory, though its
   * graph does not say so.
   */
  readonly ordered: boolean;
  /** Copies bytes of a tensor to another place in it; they may overlap. */
  move(tensor: Tensor, from: number, to: number, bytes: number): void;
}
