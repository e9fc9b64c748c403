import { readdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import koffi from "koffi";
import "./stack.ts";
import { StowageError } from "../errors.ts";
import { bindCpu, bindGgml, type CpuFunctions, type GgmlFunctions, type Pointer } from "./bindings.ts";
import { returnLargeBlocks } from "./memory.ts";
import { probeLibrary } from "./probe.ts";
import { checkStructs } from "./struct.ts";

/** What the bindings were written for; anything else is refused, because struct layouts follow no promise. */
export const expectedRelease = "v0.5.0";
export const expectedGgmlVersion = "0.25.";

/** A device that ggml can compute on. Memory is in bytes; 0 when the backend does not tell. */
export interface DeviceInfo {
  readonly name: string;
  readonly description: string;
  readonly kind: "cpu" | "gpu" | "igpu" | "accelerator";
  readonly memoryFree: number;
  readonly memoryTotal: number;
}

/** The loaded library. One a process; made by {@link loadNative}. */
export interface Native {
  readonly directory: string;
  readonly version: string;
  readonly release: string;
  readonly ggml: GgmlFunctions;
  readonly cpu: CpuFunctions;
  readonly cpuDevice: Pointer;
  /** Address of a function in libggml-base, for callbacks that native code can serve itself. */
  address(name: string): Pointer;
}

let loaded: Native | undefined;

/**
 * Loads ggml and its best CPU variant for this processor, once a process. The first time a library is met it is
 * tried in a child process, because a wrong binary kills the process that loads it.
 * @throws StowageError native_library_missing, native_version_mismatch, native_probe_failed
 */
export function loadNative(): Native {
  if (loaded) return loaded;
  const directory = findLibraryDirectory();
  const release = checkRelease(directory);
  probeLibrary(directory);
  loaded = openLibrary(directory, release);
  checkStructs(loaded);
  return loaded;
}

/** Loads without the trial run; for the trial run itself. */
export function openLibrary(directory: string, release: string): Native {
  returnLargeBlocks();
  const baseLibrary = koffi.load(findFile(directory, /^(lib)?ggml-base\.(so|dylib|dll)$/));
  const loaderLibrary = koffi.load(
    findFile(directory, /^(lib)?ggml(\.v[\d.]+)?\.(so|dylib|dll)$/, ["ggml-base"]),
  );
  koffi.struct("ggml_init_params", { mem_size: "size_t", mem_buffer: "void*", no_alloc: "bool" });
  const ggml = bindGgml(baseLibrary, loaderLibrary);
  const version: string = ggml.ggml_version();
  if (!version.startsWith(expectedGgmlVersion)) {
    throw new StowageError("native_version_mismatch", {
      library: "ggml",
      found: version,
      expected: `${expectedGgmlVersion}x`,
    });
  }
  // ggml writes its notes to stderr. A function without arguments that does nothing lasting takes their place.
  if (!process.env.STOWAGE_DEBUG) ggml.ggml_log_set(baseLibrary.symbol("ggml_time_ms"), 0n);
  ggml.ggml_backend_load_all_from_path(directory);

  const cpuDevice: Pointer = ggml.ggml_backend_dev_by_type(0);
  if (!cpuDevice) {
    throw new StowageError("native_library_missing", {
      platform: platformName(),
      reason: `none of the CPU variants in ${directory} suits this processor.`,
    });
  }
  const registry: Pointer = ggml.ggml_backend_dev_backend_reg(cpuDevice);
  const cpu = bindCpu((name) => {
    const address: Pointer = ggml.ggml_backend_reg_get_proc_address(registry, name);
    if (address) return address;
    throw new StowageError("native_version_mismatch", {
      library: `ggml-cpu (function ${name} is missing)`,
      found: version,
      expected: `${expectedGgmlVersion}x`,
    });
  });
  return { directory, version, release, ggml, cpu, cpuDevice, address: (name) => baseLibrary.symbol(name) };
}

/** The devices of the libraries that are loaded, the processor among them; see `findDevices`. */
export function listDevices(): DeviceInfo[] {
  const { ggml } = loadNative();
  const kinds = ["cpu", "gpu", "igpu", "accelerator"] as const;
  const count = Number(ggml.ggml_backend_dev_count());
  return Array.from({ length: count }, (_, index) => {
    const device: Pointer = ggml.ggml_backend_dev_get(index);
    const free: [number] = [0];
    const total: [number] = [0];
    ggml.ggml_backend_dev_memory(device, free, total);
    return {
      name: ggml.ggml_backend_dev_name(device),
      description: ggml.ggml_backend_dev_description(device),
      kind: kinds[ggml.ggml_backend_dev_type(device)] ?? "accelerator",
      memoryFree: Number(free[0]),
      memoryTotal: Number(total[0]),
    };
  });
}

/** The one file in `directory` whose name matches. */
export function findFile(directory: string, pattern: RegExp, except: readonly string[] = []): string {
  const names = readdirSync(directory).filter(
    (name) => pattern.test(name) && !except.some((part) => name.includes(part)),
  );
  if (names.length !== 1) {
    throw new StowageError("native_library_missing", {
      platform: platformName(),
      reason: `${names.length} files in ${directory} match ${pattern}, one is needed.`,
    });
  }
  return join(directory, names[0]!);
}

function findLibraryDirectory(): string {
  const platform = platformName();
  const packageName = `@node-llama-cpp/${platform}`;
  let entry: string;
  try {
    entry = createRequire(import.meta.url).resolve(packageName);
  } catch (cause) {
    throw new StowageError(
      "native_library_missing",
      { platform, reason: `the package ${packageName} is not installed.` },
      { cause },
    );
  }
  return join(dirname(entry), "..", "bins", platform);
}

function checkRelease(directory: string): string {
  const metadata = JSON.parse(readFileSync(join(directory, "_nlcBuildMetadata.json"), "utf8")) as {
    buildOptions?: { llamaCpp?: { release?: string } };
  };
  const release = metadata.buildOptions?.llamaCpp?.release ?? "unknown";
  if (release !== expectedRelease) {
    throw new StowageError("native_version_mismatch", {
      library: "llama.cpp",
      found: release,
      expected: expectedRelease,
    });
  }
  return release;
}

/** The package suffix of this platform. */
export function platformName(): string {
  const system =
    { linux: "linux", darwin: "mac", win32: "win" }[process.platform as string] ?? process.platform;
  return `${system}-${process.arch}`;
}
