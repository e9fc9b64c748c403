import { Context } from "../ggml/context.ts";
import type { Device } from "../ggml/device.ts";
import { MappedFile } from "../ggml/memory.ts";
import type { GgufFile, GgufTensor } from "../gguf/read.ts";
import type { Placed, WeightLayout } from "./layout.ts";
import { LayerWeights, prefixOf, type Weight } from "./weights.ts";

/** Token ids become activations on the processor: the table of embeddings stays there, unless it is the output too. */
const embeddings = "token_embd.weight";

/** The weights of the layers on a device, and of the output. Owns their memory; given back by `dispose`. */
export class DeviceWeights {
  readonly globals: LayerWeights;
  /** By layer; those that are not on the device are absent. */
  readonly layers: readonly (LayerWeights | undefined)[];
  readonly #context: Context;
  readonly #memory: { dispose(): void };

  /**
   * Copies the weights from the file, tensor by tensor.
   * @param signal aborting it ends the copying between two tensors
   * @throws StowageError device_memory, native_call_failed; the signal's reason when it is aborted
   */
  static async load(
    file: GgufFile,
    layout: WeightLayout,
    device: Device,
    signal?: AbortSignal,
  ): Promise<DeviceWeights> {
    const parts = new Map<GgufTensor, Weight>();
    const weights = new DeviceWeights(layout, device, parts);
    const maps = file.shards.map(({ path }) => new MappedFile(path));
    try {
      for (const [{ shard, offset, bytes }, { tensor }] of parts) {
        signal?.throwIfAborted();
        const map = maps[shard]!;
        await device.uploadAside(tensor, map.address + BigInt(offset), bytes);
        map.release(offset, bytes);
      }
      return weights;
    } catch (error) {
      weights.dispose();
      throw error;
    } finally {
      for (const map of maps) map.dispose();
    }
  }

  /** Tensors without data yet. */
  private constructor(layout: WeightLayout, device: Device, parts: Map<GgufTensor, Weight>) {
    const layers = layout.layers.map((layer, index) => (index < layout.firstDeviceLayer ? undefined : layer));
    const globals = new Map([...layout.globals].filter(([name]) => name !== embeddings));
    const count = [globals, ...layers].reduce((sum, entries) => sum + (entries?.size ?? 0), 0);
    this.#context = new Context(device.native, { tensors: count });
    const make = ({ parts: [part] }: Placed): Weight => {
      const known = parts.get(part!);
      if (known) return known;
      const { type, shape, name } = part!;
      const weight = {
        tensor: this.#context.tensor(type, shape, name),
        firstRow: 0,
        rows: shape[1] ?? 1,
      };
      parts.set(part!, weight);
      return weight;
    };
    const made = (entries: ReadonlyMap<string, Placed>, prefix: string) =>
      new LayerWeights(new Map([...entries].map(([name, entry]) => [name, make(entry)])), prefix);
    this.globals = made(globals, "");
    this.layers = layers.map((layer, index) => layer && made(layer, prefixOf(index)));
    try {
      this.#memory = device.allocate([...parts.values()].map(({ tensor }) => tensor));
    } catch (error) {
      this.#context.dispose();
      throw error;
    }
  }

  dispose(): void {
    this.#memory.dispose();
    this.#context.dispose();
  }
}
