/** Node, the native libraries and the devices that they find. */
import { formatBytes } from "../../workload/format.ts";
import { type Finding, fail, failed, ok, warn } from "./finding.ts";

/** The oldest major version of Node that runs Stowage. */
const nodeNeeded = 24;

export function checkNode(version: string = process.versions.node): Finding {
  const found = `${version}, ${process.platform} ${process.arch}`;
  if (Number.parseInt(version, 10) >= nodeNeeded) return ok("Node", found);
  return fail("Node", `${found}; ${nodeNeeded} or newer is needed`, `Install Node ${nodeNeeded}.`);
}

/**
 * All of the native code, loaded only here: whatever is wrong with it is a finding like others.
 * @param load how it is loaded
 */
export async function checkLibraries(load = () => import("./native.ts")): Promise<Finding[]> {
  const check = "native libraries";
  const reinstall = "Install the dependencies again: npm ci, with optional packages.";
  try {
    const { nativeFacts } = await load();
    const { release, version, directory, variant, devices } = nativeFacts();
    const processor = variant.library ?? "one variant only";
    const features = variant.features.join(", ");
    return [
      ok(check, `llama.cpp ${release}, ggml ${version}, in ${directory}`),
      processorCode(processor, features),
      devicesFound(
        devices.map(({ name, description, memoryTotal }) => {
          return `${name} (${description}${memoryTotal > 0 ? `, ${formatBytes(memoryTotal)}` : ""})`;
        }),
      ),
    ];
  } catch (error) {
    return [failed(check, error, reinstall)];
  }
}

function processorCode(library: string, features: string): Finding {
  const check = "kernels";
  const found = `${library}: ${features || "no special instructions"}`;
  if (process.arch !== "x64" || features.includes("AVX2")) return ok(check, found);
  const next = "Use a processor with AVX2; in a virtual machine, pass the host's processor through.";
  return warn(check, `${found}; without AVX2 everything is several times slower`, next);
}

function devicesFound(devices: readonly string[]): Finding {
  return ok("devices", devices.join("; "));
}
