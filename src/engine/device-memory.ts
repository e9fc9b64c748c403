import { StowageError } from "../errors.ts";
import type { Device } from "../ggml/device.ts";
import type { Place } from "../ggml/place.ts";
import type { GgufFile } from "../gguf/read.ts";
import { SplitKvTensors } from "../kv/tensors.ts";
import { kvShape } from "../model/attention-shape.ts";
import { type DevicePart, DeviceStep } from "../model/device-step.ts";
import { DeviceWeights } from "../model/device-weights.ts";
import { type Runtime, WholeStep } from "../model/forward.ts";
import { keyStep, type StepShape } from "../model/step.ts";
import type { ModelPlan } from "./plan.ts";

/** Which device computes, and how much of the model. */
export interface DeviceOptions {
  /** Name or number of a device, as `stowage devices` lists them. Default: the processor computes everything. */
  readonly device?: string;
  /** So many layers at the end, and the output, are on the device; the others on the processor. Default: all. */
  readonly deviceLayers?: number;
}

/** What cannot be had together with a device yet, with the reason. */
const exclusions = {
  expertMemory: "the experts of layers on a device are all in its memory",
  lora: "what adapters add is added on the processor",
  recordRouting: "what a router on a device chooses is not read back",
} as const;

/** @throws StowageError device_option */
export function checkDeviceOptions(
  options: DeviceOptions & { readonly [name in keyof typeof exclusions]?: unknown },
): void {
  if (options.device === undefined) {
    if (options.deviceLayers === undefined) return;
    throw new StowageError("load_option", {
      option: "deviceLayers",
      value: options.deviceLayers,
      range: "for a model on a device only: name one as well",
    });
  }
  for (const [option, reason] of Object.entries(exclusions)) {
    const value = options[option as keyof typeof exclusions];
    if (value !== undefined && !(Array.isArray(value) && value.length === 0)) {
      throw new StowageError("device_option", { option, reason });
    }
  }
}

/** @throws StowageError device_memory when the device says that it has less than is planned */
export function checkDeviceMemory({ memory, layout }: ModelPlan, { info }: Device): void {
  if (info.memoryFree === 0 || memory.device <= info.memoryFree) return;
  const onDevice = layout.layers.slice(layout.firstDeviceLayer);
  const layerBytes = onDevice.reduce(
    (sum, layer) => sum + [...new Set(layer.values())].reduce((all, { bytes }) => all + bytes, 0),
    0,
  );
  const aLayer = (layerBytes + memory.deviceKv) / onDevice.length;
  const fit = Math.floor((info.memoryFree - (memory.device - aLayer * onDevice.length)) / aLayer);
  throw new StowageError("device_memory", {
    device: info.name,
    free: mebibytes(info.memoryFree),
    needed: mebibytes(memory.device),
    fits: fit > 0 ? `about ${fit} would fit` : "not one would fit",
  });
}

/** A KV cache for a model of which a part is on a device. */
export function splitKv(
  backend: Place,
  device: Place,
  { layout, memory, kvTypes }: ModelPlan,
): SplitKvTensors {
  const shape = kvShape(layout.hyperparameters, memory.kvCells, kvTypes);
  return new SplitKvTensors(backend, device, shape, layout.firstDeviceLayer);
}

/**
 * Copies the weights of the device's layers there.
 * @throws StowageError device_memory, native_call_failed; the signal's reason when it is aborted
 */
export async function loadDevicePart(
  file: GgufFile,
  { layout }: ModelPlan,
  device: Device,
  signal: AbortSignal | undefined,
): Promise<DevicePart> {
  const weights = await DeviceWeights.load(file, layout, device, signal);
  return { device, weights, firstLayer: layout.firstDeviceLayer };
}

/**
 * Asks the device for every operation that steps will need: short ones, and long ones.
 * @throws StowageError device_unsupported
 */
export async function checkDeviceSupport(runtime: Runtime & { readonly part: DevicePart }): Promise<void> {
  for (const tokens of [1, 2 * keyStep]) {
    const keys = Math.ceil(tokens / keyStep) * keyStep;
    if (keys > runtime.kv.shape.cells) continue;
    const shape: StepShape = { sequences: [{ tokens, firstCell: 0, keys }], outputs: 1 };
    const host = await WholeStep.build(runtime, shape);
    try {
      const step = await DeviceStep.build(runtime, shape, host);
      step.disposeOwn();
    } finally {
      host.dispose();
    }
  }
}

function mebibytes(bytes: number): string {
  return (bytes / 2 ** 20).toFixed(1);
}
