/** What is known of the native libraries once they are loaded; by itself, for importing it may fail. */
import { cpuVariant } from "../../ggml/features.ts";
import { listDevices, loadNative } from "../../ggml/library.ts";

/** @throws StowageError native_* */
export function nativeFacts() {
  const { release, version, directory } = loadNative();
  return { release, version, directory, variant: cpuVariant(), devices: listDevices() };
}
