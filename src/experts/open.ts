import { StowageError } from "../errors.ts";
import type { Backend } from "../ggml/backend.ts";
import type { GgufFile } from "../gguf/read.ts";
import { GgufStore, type GgufStoreOptions } from "./gguf-store.ts";
import type { ExpertLayout } from "./layout.ts";
import { preparedFormat } from "./prepared-file.ts";
import { PreparedStore } from "./prepared-store.ts";

export interface OpenExpertStoreOptions extends GgufStoreOptions {
  /**
   * Whether experts come from the prepared file: `preferred` where there is a good one, `required`, or `ignored`. Default
   * `preferred`.
   */
  readonly prepared?: "preferred" | "required" | "ignored";
  /** Default: beside the model. */
  readonly path?: string;
}

export interface OpenedExpertStore {
  readonly store: PreparedStore | GgufStore;
  /** Why the prepared file is not used, though it is preferred: what to tell the user. */
  readonly fallback?: StowageError;
}

/**
 * Opens the store of a model's experts: its prepared file, or the model's own file.
 * @throws StowageError prepared_file_* when it is required; gguf_unreadable, gguf_truncated, expert_file_changed
 */
export async function openExpertStore(
  file: GgufFile,
  layout: ExpertLayout,
  backend: Backend,
  options: OpenExpertStoreOptions = {},
): Promise<OpenedExpertStore> {
  const { prepared = "preferred", path } = options;
  if (prepared === "ignored") return { store: await GgufStore.open(file, layout, backend, options) };
  try {
    return { store: await PreparedStore.open(await preparedFormat(file, layout, backend, path), options) };
  } catch (error) {
    if (prepared === "required" || !isAboutPrepared(error)) throw error;
    return { store: await GgufStore.open(file, layout, backend, options), fallback: error };
  }
}

function isAboutPrepared(error: unknown): error is StowageError {
  return error instanceof StowageError && error.code.startsWith("prepared_file_");
}
