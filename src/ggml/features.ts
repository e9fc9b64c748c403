import { readFileSync } from "node:fs";
import { basename } from "node:path";
import koffi from "koffi";
import type { Pointer } from "./bindings.ts";
import { loadNative } from "./library.ts";

/** The part of ggml that was chosen for this processor. */
export interface CpuVariant {
  /** File name of the library; undefined where the system does not tell. */
  readonly library: string | undefined;
  /** What of the processor it uses, such as AVX2. */
  readonly features: readonly string[];
}

/** `struct ggml_backend_feature`: two strings; a list of them ends where there is none. */
const featureBytes = 16;

/** @throws StowageError native_* */
export function cpuVariant(): CpuVariant {
  const { ggml, cpuDevice } = loadNative();
  const registry: Pointer = ggml.ggml_backend_dev_backend_reg(cpuDevice);
  const address: Pointer = ggml.ggml_backend_reg_get_proc_address(registry, "ggml_backend_get_features");
  const features: string[] = [];
  if (address) {
    const list: Pointer = koffi.decode(address, koffi.proto("void* stowage_get_features(void*)"))(registry);
    for (let index = 0; ; index++) {
      const view = new DataView(koffi.view(list + BigInt(index * featureBytes), featureBytes));
      const [name, value] = [view.getBigUint64(0, true), view.getBigUint64(8, true)];
      if (!name) break;
      if (textAt(value) !== "0") features.push(textAt(name));
    }
  }
  return { library: loadedVariant(), features };
}

function textAt(pointer: Pointer): string {
  return koffi.decode(pointer, "char", -1);
}

/** Linux lists what a process has mapped. */
function loadedVariant(): string | undefined {
  try {
    const path = /\S*ggml-cpu\S*\.so/.exec(readFileSync("/proc/self/maps", "utf8"))?.[0];
    return path && basename(path);
  } catch {
    return undefined;
  }
}
