/** Devices beside the processor: which libraries there are for them, and what they found. */
import { existsSync, readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { StowageError } from "../errors.ts";
import type { Pointer } from "./bindings.ts";
import { type DeviceInfo, listDevices, loadNative, platformName } from "./library.ts";

/** Packages that have a library for devices, of the release that {@link loadNative} checks. CUDA's is not installed by itself. */
const packages = ["vulkan", "cuda"] as const;

let loaded = false;

/**
 * Loads the libraries of all devices that are installed, once a process, and lists what they found. Drivers are loaded
 * with them: only who wants a device pays for that.
 * @throws StowageError native_*
 */
export function findDevices(): DeviceInfo[] {
  const { ggml } = loadNative();
  if (!loaded) {
    loaded = true;
    for (const kind of packages) {
      const library = libraryOf(kind);
      if (library) ggml.ggml_backend_load(library);
    }
  }
  return listDevices().filter(({ kind }) => kind !== "cpu");
}

/**
 * A device by its name, such as `Vulkan0`, or its number among the devices.
 * @throws StowageError device_unknown, listing those that there are
 */
export function requireDevice(name: string): { info: DeviceInfo; pointer: Pointer } {
  const devices = findDevices();
  const index = devices.findIndex(
    (device, number) => device.name.toLowerCase() === name.toLowerCase() || String(number) === name,
  );
  const info = devices[index];
  if (!info) {
    const known = devices.map(({ name, description }) => `${name} (${description})`).join(", ");
    throw new StowageError("device_unknown", { device: name, known: known || "none" });
  }
  const { ggml } = loadNative();
  const pointers = Array.from(
    { length: Number(ggml.ggml_backend_dev_count()) },
    (_, at): Pointer => ggml.ggml_backend_dev_get(at),
  );
  return { info, pointer: pointers.find((each) => ggml.ggml_backend_dev_name(each) === info.name)! };
}

function libraryOf(kind: (typeof packages)[number]): string | undefined {
  const suffix = `${platformName()}-${kind}`;
  try {
    const entry = createRequire(import.meta.url).resolve(`@node-llama-cpp/${suffix}`);
    const folder = join(dirname(entry), "..", "bins", suffix);
    const name = existsSync(folder)
      ? readdirSync(folder).find((file) => new RegExp(`^(lib)?ggml-${kind}\\.(so|dll)$`).test(file))
      : undefined;
    return name && join(folder, name);
  } catch {
    return undefined;
  }
}
