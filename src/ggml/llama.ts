import koffi from "koffi";
import { StowageError } from "../errors.ts";
import type { KoffiFunction } from "./bindings.ts";
import { findFile, loadNative, type Native } from "./library.ts";
import { checkDefaults, contextParamsLayout, modelParamsLayout, paramsBytes } from "./llama-params.ts";

/** The C prototypes of every libllama function that is called, as of llama.cpp v0.5.0. */
const prototypes = {
  llama_version: "const char* llama_version()",
  llama_log_set: "void llama_log_set(void*, void*)",
  llama_backend_init: "void llama_backend_init()",
  llama_model_default_params: "llama_params llama_model_default_params()",
  llama_context_default_params: "llama_params llama_context_default_params()",
  llama_model_load_from_file: "void* llama_model_load_from_file(const char*, llama_params)",
  llama_model_free: "void llama_model_free(void*)",
  llama_model_get_vocab: "void* llama_model_get_vocab(void*)",
  llama_model_chat_template: "const char* llama_model_chat_template(void*, const char*)",
  llama_adapter_lora_init: "void* llama_adapter_lora_init(void*, const char*)",
  llama_set_adapters_lora: "int32_t llama_set_adapters_lora(void*, void*, size_t, void*)",
  llama_init_from_model: "void* llama_init_from_model(void*, llama_params)",
  llama_free: "void llama_free(void*)",
  llama_attach_threadpool: "void llama_attach_threadpool(void*, void*, void*)",
  llama_n_ctx_seq: "uint32_t llama_n_ctx_seq(void*)",
  llama_get_memory: "void* llama_get_memory(void*)",
  llama_memory_clear: "void llama_memory_clear(void*, bool)",
  llama_memory_seq_rm: "bool llama_memory_seq_rm(void*, int32_t, int32_t, int32_t)",
  llama_decode: "int32_t llama_decode(void*, llama_batch)",
  llama_model_n_embd: "int32_t llama_model_n_embd(void*)",
  llama_get_embeddings_seq: "void* llama_get_embeddings_seq(void*, int32_t)",
  llama_get_embeddings_ith: "void* llama_get_embeddings_ith(void*, int32_t)",
  llama_get_logits_ith: "void* llama_get_logits_ith(void*, int32_t)",
  llama_vocab_type: "int llama_vocab_type(void*)",
  llama_vocab_n_tokens: "int32_t llama_vocab_n_tokens(void*)",
  llama_vocab_bos: "int32_t llama_vocab_bos(void*)",
  llama_vocab_eos: "int32_t llama_vocab_eos(void*)",
  llama_vocab_eot: "int32_t llama_vocab_eot(void*)",
  llama_vocab_get_add_bos: "bool llama_vocab_get_add_bos(void*)",
  llama_vocab_get_add_eos: "bool llama_vocab_get_add_eos(void*)",
  llama_vocab_get_attr: "int llama_vocab_get_attr(void*, int32_t)",
  llama_vocab_get_text: "const char* llama_vocab_get_text(void*, int32_t)",
  llama_vocab_is_eog: "bool llama_vocab_is_eog(void*, int32_t)",
  llama_vocab_is_control: "bool llama_vocab_is_control(void*, int32_t)",
  llama_tokenize: "int32_t llama_tokenize(void*, void*, int32_t, void*, int32_t, bool, bool)",
  llama_detokenize: "int32_t llama_detokenize(void*, void*, int32_t, void*, int32_t, bool, bool)",
  llama_sampler_chain_default_params: "llama_sampler_chain_params llama_sampler_chain_default_params()",
  llama_sampler_chain_init: "void* llama_sampler_chain_init(llama_sampler_chain_params)",
  llama_sampler_chain_add: "void llama_sampler_chain_add(void*, void*)",
  llama_sampler_apply: "void llama_sampler_apply(void*, void*)",
  llama_sampler_accept: "void llama_sampler_accept(void*, int32_t)",
  llama_sampler_free: "void llama_sampler_free(void*)",
  llama_sampler_init_logit_bias: "void* llama_sampler_init_logit_bias(int32_t, int32_t, void*)",
  llama_sampler_init_penalties: "void* llama_sampler_init_penalties(int32_t, int32_t, float, float, float)",
  llama_sampler_init_dry:
    "void* llama_sampler_init_dry(void*, float, float, int32_t, int32_t, const char**, size_t)",
  llama_sampler_init_top_n_sigma: "void* llama_sampler_init_top_n_sigma(float)",
  llama_sampler_init_top_k: "void* llama_sampler_init_top_k(int32_t)",
  llama_sampler_init_typical: "void* llama_sampler_init_typical(float, size_t)",
  llama_sampler_init_top_p: "void* llama_sampler_init_top_p(float, size_t)",
  llama_sampler_init_min_p: "void* llama_sampler_init_min_p(float, size_t)",
  llama_sampler_init_xtc: "void* llama_sampler_init_xtc(float, float, size_t, uint32_t)",
  llama_sampler_init_temp: "void* llama_sampler_init_temp(float)",
  llama_sampler_init_dist: "void* llama_sampler_init_dist(uint32_t)",
  llama_sampler_init_mirostat: "void* llama_sampler_init_mirostat(int32_t, uint32_t, float, float, int32_t)",
  llama_sampler_init_mirostat_v2: "void* llama_sampler_init_mirostat_v2(uint32_t, float, float)",
  llama_token_to_piece: "int32_t llama_token_to_piece(void*, int32_t, void*, int32_t, int32_t, bool)",
} as const;

/** libllama, loaded. One a process; made by {@link loadLlama}. */
export interface Llama {
  readonly native: Native;
  readonly functions: Record<keyof typeof prototypes, KoffiFunction>;
  /** The library's own defaults, as raw structs; see `llama-params.ts`. */
  readonly modelDefaults: Uint8Array;
  readonly contextDefaults: Uint8Array;
}

let loaded: Llama | undefined;

/**
 * Loads libllama beside ggml, once a process. Stowage takes its vocabulary from it, and runs it as the peer in
 * tests and benchmarks; the engine computes without it.
 * @throws StowageError native_library_missing, native_version_mismatch, native_probe_failed
 */
export function loadLlama(): Llama {
  if (loaded) return loaded;
  const native = loadNative();
  const library = koffi.load(findFile(native.directory, /^(lib)?llama(\.v[\d.]+)?\.(so|dylib|dll)$/));
  koffi.struct("llama_params", { bytes: koffi.array("uint8", paramsBytes, "Typed") });
  koffi.struct("llama_batch", {
    n_tokens: "int32_t",
    token: "void*",
    embd: "void*",
    pos: "void*",
    n_seq_id: "void*",
    seq_id: "void*",
    logits: "void*",
  });
  koffi.struct("llama_sampler_chain_params", { no_perf: "bool" });
  const functions: Partial<Llama["functions"]> = {};
  for (const name in prototypes) {
    const key = name as keyof typeof prototypes;
    functions[key] = library.func(prototypes[key]);
  }
  const llama = functions as Llama["functions"];

  const version: string = llama.llama_version();
  if (!`v${version}`.startsWith(native.release)) {
    throw new StowageError("native_version_mismatch", {
      library: "llama",
      found: version,
      expected: native.release,
    });
  }
  const modelDefaults: Uint8Array = llama.llama_model_default_params().bytes;
  const contextDefaults: Uint8Array = llama.llama_context_default_params().bytes;
  checkDefaults("llama_model_params", modelDefaults, modelParamsLayout);
  checkDefaults("llama_context_params", contextDefaults, contextParamsLayout);

  // Its notes go where ggml's go: nowhere, through a function that does nothing lasting.
  if (!process.env.STOWAGE_DEBUG) llama.llama_log_set(native.address("ggml_time_ms"), 0n);
  llama.llama_backend_init();
  loaded = { native, functions: llama, modelDefaults, contextDefaults };
  return loaded;
}
