import type { PolicyName, PrefetchName } from "../experts/policies/policies.ts";
import type { KvTypeName } from "../kv/types.ts";
import type { AdapterOption } from "../model/lora/adapters.ts";
import type { Pooling } from "../model/pooling.ts";

/** How a model is loaded; what is left out gets the engine's default (see `LoadOptions`). */
export interface ModelSettings {
  readonly contextTokens?: number;
  readonly maxSequences?: number;
  readonly kvTokens?: number;
  readonly cacheTypeK?: KvTypeName;
  readonly cacheTypeV?: KvTypeName;
  readonly stepTokens?: number;
  readonly threads?: number;
  readonly speculate?: "auto" | "off" | number;
  /** Name or number of the device that has the last layers, and how many; see `DeviceOptions`. */
  readonly device?: string;
  readonly deviceLayers?: number;
  /** Bytes, or a share of all experts such as "50%". */
  readonly expertMemory?: number | string;
  readonly expertPolicy?: PolicyName;
  readonly expertPrefetch?: PrefetchName;
  /** Sequences that decode in a step at most, those that are expected to use the same experts. */
  readonly regroupExperts?: number;
  readonly prepare?: "auto" | "never";
  /** File for what the routers choose; each start of its engine takes another, see docs/lab.md. */
  readonly recordRouting?: string;
  /** How a text's embedding is made of its tokens', in place of what the file says. */
  readonly pooling?: Pooling;
  /** LoRA adapters that requests may compute with. */
  readonly lora?: readonly AdapterOption[];
  /** Seconds after its last request in which it stays loaded; Infinity: until its memory is wanted. */
  readonly keepAliveSeconds: number;
}

/** A model that is offered. */
export interface OfferedModel extends ModelSettings {
  /** What requests call it. */
  readonly name: string;
  /** Its file; of several shards the first. */
  readonly path: string;
  /** Loaded at the start, as far as the memory goes; the others at their first request. */
  readonly preload: boolean;
}

export interface GatewayOptions {
  readonly models: readonly OfferedModel[];
  /** What all loaded models may take together, bytes. */
  readonly memoryBytes: number;
  /** Most requests of a model that wait for a place in its batch. */
  readonly maxQueue: number;
}
