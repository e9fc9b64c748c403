/** What an engine with experts read one by one offers beyond the others, as the benchmark uses it. */
import type { LoadedModel, LoadOptions } from "../engine/load.ts";
import type { ExpertReads } from "../workload/side-messages.ts";

/** Loads with so many bytes for experts; left out, all are resident. */
export function expertOptions(bytes: number | undefined): LoadOptions {
  const options: LoadOptions & { readonly expertMemory?: number } =
    bytes === undefined ? {} : { expertMemory: bytes };
  return options;
}

/** What reading experts took since the model was loaded, as it stands now; undefined when all are resident. */
export function expertReadsOf({ engine }: LoadedModel): ExpertReads | undefined {
  const reads = (engine as { readonly expertReads?: ExpertReads }).expertReads;
  return reads && { ...reads };
}
