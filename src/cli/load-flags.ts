import type { Command, Option } from "commander";
import type { LoadOptions } from "../engine/load.ts";
import { defaultThresholds, type LossyName, lossyModes, lossyOf } from "../engine/lossy-options.ts";
import type { Speculate } from "../engine/speculation.ts";
import {
  type PolicyName,
  type PrefetchName,
  policyNames,
  prefetchNames,
} from "../experts/policies/policies.ts";
import { type KvTypeName, kvTypeNames } from "../kv/types.ts";
import { parseBytes, parseExpertMemory, parseNumber, parseSpeculate } from "./arguments.ts";
import { Progress } from "./progress.ts";

/** How a command that computes with a model has it loaded. */
export interface LoadFlags {
  readonly context?: number;
  readonly threads?: number;
  readonly cacheTypeK?: KvTypeName;
  readonly cacheTypeV?: KvTypeName;
  readonly memory?: number;
  readonly speculate?: Speculate;
  readonly expertMemory?: number | string;
  readonly expertPolicy?: PolicyName;
  readonly expertPrefetch?: PrefetchName;
  readonly unprepared?: true;
  readonly lossy?: LossyName;
  readonly lowExperts?: string;
  readonly lossyFull?: number;
  readonly lossySkip?: number;
  readonly lossyBytes?: number | string;
  readonly device?: string;
  readonly deviceLayers?: number;
}

/** The flag that names the policy of experts. */
export function expertPolicyOption(command: Command): Option {
  return command
    .createOption(
      "--expert-policy <name>",
      "which experts stay, and which are read ahead (default: composite)",
    )
    .choices(policyNames);
}

/**
 * Adds the flags of {@link LoadFlags}, the same for every command.
 * @param context what the context is to this command, for its help
 */
export function addLoadFlags(command: Command, context: string): Command {
  return command
    .option("--context <tokens>", context, parseNumber)
    .option("--threads <n>", "compute threads (default: the processors of this machine)", parseNumber)
    .addOption(
      command
        .createOption("--cache-type-k <type>", "type of the KV cache's keys (default: f16)")
        .choices(kvTypeNames),
    )
    .addOption(
      command
        .createOption("--cache-type-v <type>", "type of the KV cache's values (default: f16)")
        .choices(kvTypeNames),
    )
    .option("--memory <size>", "most memory to take, such as 2GiB (default: no limit)", parseBytes)
    .option(
      "--speculate <how>",
      "draft tokens out of what a sequence holds: auto, off, or so many at a time (default: auto)",
      parseSpeculate,
    )
    .option(
      "--expert-memory <size>",
      "most memory for the experts, such as 3GiB, or a share of them such as 50% (default: all stay in memory)",
      parseExpertMemory,
    )
    .addOption(expertPolicyOption(command))
    .addOption(
      command
        .createOption(
          "--expert-prefetch <name>",
          "what is read ahead, in the place of the policy's own choice",
        )
        .choices(prefetchNames),
    )
    .option(
      "--unprepared",
      "read experts from the model's own file: slower, and nothing is written beside it",
    )
    .addOption(
      command
        .createOption(
          "--lossy <mode>",
          "use low-precision copies of some experts: faster, and not the same tokens (default: off)",
        )
        .choices(lossyModes),
    )
    .option("--low-experts <file>", "where the copies come from: the same model, quantised lower")
    .option(
      "--lossy-full <share>",
      `hobbit: a missing expert is read in full from this share of a token's weights on (default: ${defaultThresholds.full} / experts a token)`,
      parseNumber,
    )
    .option(
      "--lossy-skip <share>",
      `hobbit: below this share it is skipped, from there on its copy is used (default: ${defaultThresholds.skip} / experts a token)`,
      parseNumber,
    )
    .option(
      "--lossy-bytes <size>",
      "edgemoe: what all experts may take, each in its own precision, such as 3GiB or 75% of them in full",
      parseExpertMemory,
    )
    .option(
      "--device <name>",
      "device that computes, as `stowage devices` lists them (default: the processor)",
    )
    .option("--device-layers <n>", "so many layers at the end are on the device (default: all)", parseNumber);
}

/** The flags that were given, as options of the engine. @throws StowageError lossy_settings */
export function loadOptionsOf(flags: LoadFlags): LoadOptions {
  const { context, threads, cacheTypeK, cacheTypeV, memory } = flags;
  const { expertMemory, expertPolicy, expertPrefetch, unprepared } = flags;
  const { device, deviceLayers } = flags;
  const { lossy: mode, lowExperts, lossyFull, lossySkip, lossyBytes } = flags;
  const lossy = lossyOf({ lossy: mode, lowExperts, lossyFull, lossySkip, lossyBytes });
  return {
    ...(context === undefined ? {} : { contextTokens: context }),
    ...(threads === undefined ? {} : { threads }),
    ...(cacheTypeK === undefined ? {} : { cacheTypeK }),
    ...(cacheTypeV === undefined ? {} : { cacheTypeV }),
    ...(memory === undefined ? {} : { memory }),
    ...(flags.speculate === undefined ? {} : { speculate: flags.speculate }),
    ...(expertMemory === undefined ? {} : { expertMemory }),
    ...(expertPolicy === undefined ? {} : { expertPolicy }),
    ...(expertPrefetch === undefined ? {} : { expertPrefetch }),
    ...(unprepared && { prepare: "never" }),
    ...(lossy && { lossy }),
    ...(device === undefined ? {} : { device }),
    ...(deviceLayers === undefined ? {} : { deviceLayers }),
  };
}

/** Loads by `load`, and tells on stderr how far the preparing of experts is, and what would make them faster. */
export async function loadShown<T>(
  path: string,
  options: LoadOptions,
  load: (path: string, options: LoadOptions) => Promise<T>,
): Promise<T> {
  let progress: Progress | undefined;
  return load(path, {
    ...options,
    onPrepare: (written, total) => {
      progress ??= new Progress({ label: `Preparing ${path}, once`, total, unit: "bytes" });
      progress.update(written);
    },
    onHint: (hint) => process.stderr.write(`hint: ${hint.message}\n  ${hint.next}\n`),
  }).finally(() => progress?.finish());
}
