import koffi from "koffi";

type LibraryHandle = ReturnType<typeof koffi.load>;
export type KoffiFunction = ReturnType<LibraryHandle["func"]>;

/** A native address. Zero is null. Only `src/ggml` handles these. */
export type Pointer = bigint;

/**
 * The C prototypes of every ggml function that is called, as of ggml 0.25. `void*` stands for every pointer;
 * which library holds a function (base, loader or CPU variant) is told by the list it is in.
 */
const base = {
  ggml_version: "const char* ggml_version()",
  ggml_log_set: "void ggml_log_set(void*, void*)",
  ggml_tensor_overhead: "size_t ggml_tensor_overhead()",
  ggml_graph_overhead_custom: "size_t ggml_graph_overhead_custom(size_t, bool)",
  ggml_type_size: "size_t ggml_type_size(int)",
  ggml_blck_size: "int64_t ggml_blck_size(int)",
  ggml_init: "void* ggml_init(ggml_init_params)",
  ggml_reset: "void ggml_reset(void*)",
  ggml_free: "void ggml_free(void*)",
  ggml_new_tensor: "void* ggml_new_tensor(void*, int, int, int64_t*)",
  ggml_nbytes: "size_t ggml_nbytes(void*)",
  ggml_op_desc: "const char* ggml_op_desc(void*)",
  ggml_set_name: "void* ggml_set_name(void*, const char*)",
  ggml_add: "void* ggml_add(void*, void*, void*)",
  ggml_acc_inplace: "void* ggml_acc_inplace(void*, void*, void*, size_t, size_t, size_t, size_t)",
  ggml_mul: "void* ggml_mul(void*, void*, void*)",
  ggml_scale: "void* ggml_scale(void*, void*, float)",
  ggml_tanh: "void* ggml_tanh(void*, void*)",
  ggml_norm: "void* ggml_norm(void*, void*, float)",
  ggml_gelu: "void* ggml_gelu(void*, void*)",
  ggml_rms_norm: "void* ggml_rms_norm(void*, void*, float)",
  ggml_mul_mat: "void* ggml_mul_mat(void*, void*, void*)",
  ggml_out_prod: "void* ggml_out_prod(void*, void*, void*)",
  ggml_mul_mat_id: "void* ggml_mul_mat_id(void*, void*, void*, void*)",
  ggml_get_rows: "void* ggml_get_rows(void*, void*, void*)",
  ggml_set_rows: "void* ggml_set_rows(void*, void*, void*, void*)",
  ggml_soft_max: "void* ggml_soft_max(void*, void*)",
  ggml_argsort: "void* ggml_argsort(void*, void*, int)",
  ggml_swiglu: "void* ggml_swiglu(void*, void*)",
  ggml_swiglu_split: "void* ggml_swiglu_split(void*, void*, void*)",
  ggml_reglu: "void* ggml_reglu(void*, void*)",
  ggml_reglu_split: "void* ggml_reglu_split(void*, void*, void*)",
  ggml_swiglu_oai: "void* ggml_swiglu_oai(void*, void*, void*, float, float)",
  ggml_add_id: "void* ggml_add_id(void*, void*, void*, void*)",
  ggml_sigmoid: "void* ggml_sigmoid(void*, void*)",
  ggml_sum_rows: "void* ggml_sum_rows(void*, void*)",
  ggml_clamp: "void* ggml_clamp(void*, void*, float, float)",
  ggml_div: "void* ggml_div(void*, void*, void*)",
  ggml_geglu: "void* ggml_geglu(void*, void*)",
  ggml_geglu_split: "void* ggml_geglu_split(void*, void*, void*)",
  ggml_cpy: "void* ggml_cpy(void*, void*, void*)",
  ggml_cast: "void* ggml_cast(void*, void*, int)",
  ggml_reshape_2d: "void* ggml_reshape_2d(void*, void*, int64_t, int64_t)",
  ggml_reshape_4d: "void* ggml_reshape_4d(void*, void*, int64_t, int64_t, int64_t, int64_t)",
  ggml_fill: "void* ggml_fill(void*, void*, float)",
  ggml_reshape_3d: "void* ggml_reshape_3d(void*, void*, int64_t, int64_t, int64_t)",
  ggml_view_1d: "void* ggml_view_1d(void*, void*, int64_t, size_t)",
  ggml_view_2d: "void* ggml_view_2d(void*, void*, int64_t, int64_t, size_t, size_t)",
  ggml_view_3d: "void* ggml_view_3d(void*, void*, int64_t, int64_t, int64_t, size_t, size_t, size_t)",
  ggml_view_4d:
    "void* ggml_view_4d(void*, void*, int64_t, int64_t, int64_t, int64_t, size_t, size_t, size_t, size_t)",
  ggml_concat: "void* ggml_concat(void*, void*, void*, int)",
  ggml_repeat: "void* ggml_repeat(void*, void*, void*)",
  ggml_permute: "void* ggml_permute(void*, void*, int, int, int, int)",
  ggml_pad: "void* ggml_pad(void*, void*, int, int, int, int)",
  ggml_cont_2d: "void* ggml_cont_2d(void*, void*, int64_t, int64_t)",
  ggml_rope_ext:
    "void* ggml_rope_ext(void*, void*, void*, void*, int, int, int, float, float, float, float, float, float)",
  ggml_flash_attn_ext: "void* ggml_flash_attn_ext(void*, void*, void*, void*, void*, float, float, float)",
  ggml_flash_attn_ext_add_sinks: "void ggml_flash_attn_ext_add_sinks(void*, void*)",
  ggml_new_graph_custom: "void* ggml_new_graph_custom(void*, size_t, bool)",
  ggml_build_forward_expand: "void ggml_build_forward_expand(void*, void*)",
  ggml_graph_n_nodes: "int ggml_graph_n_nodes(void*)",
  ggml_graph_node: "void* ggml_graph_node(void*, int)",
  ggml_quantize_chunk: "size_t ggml_quantize_chunk(int, void*, void*, int64_t, int64_t, int64_t, void*)",
  ggml_validate_row_data: "bool ggml_validate_row_data(int, void*, size_t)",
  ggml_quantize_requires_imatrix: "bool ggml_quantize_requires_imatrix(int)",
  ggml_get_type_traits: "void* ggml_get_type_traits(int)",
  ggml_gallocr_new: "void* ggml_gallocr_new(void*)",
  ggml_gallocr_free: "void ggml_gallocr_free(void*)",
  ggml_gallocr_alloc_graph: "bool ggml_gallocr_alloc_graph(void*, void*)",
  ggml_gallocr_get_buffer_size: "size_t ggml_gallocr_get_buffer_size(void*, int)",
  ggml_backend_dev_name: "const char* ggml_backend_dev_name(void*)",
  ggml_backend_dev_description: "const char* ggml_backend_dev_description(void*)",
  ggml_backend_dev_type: "int ggml_backend_dev_type(void*)",
  ggml_backend_dev_memory: "void ggml_backend_dev_memory(void*, _Out_ size_t*, _Out_ size_t*)",
  ggml_backend_dev_init: "void* ggml_backend_dev_init(void*, const char*)",
  ggml_backend_dev_backend_reg: "void* ggml_backend_dev_backend_reg(void*)",
  ggml_backend_dev_supports_op: "bool ggml_backend_dev_supports_op(void*, void*)",
  ggml_backend_dev_buffer_type: "void* ggml_backend_dev_buffer_type(void*)",
  ggml_backend_reg_get_proc_address: "void* ggml_backend_reg_get_proc_address(void*, const char*)",
  ggml_backend_buft_name: "const char* ggml_backend_buft_name(void*)",
  ggml_backend_buft_get_alignment: "size_t ggml_backend_buft_get_alignment(void*)",
  ggml_backend_buft_get_max_size: "size_t ggml_backend_buft_get_max_size(void*)",
  ggml_backend_buft_get_alloc_size: "size_t ggml_backend_buft_get_alloc_size(void*, void*)",
  ggml_backend_buft_get_device: "void* ggml_backend_buft_get_device(void*)",
  ggml_backend_buft_alloc_buffer: "void* ggml_backend_buft_alloc_buffer(void*, size_t)",
  ggml_backend_cpu_buffer_from_ptr: "void* ggml_backend_cpu_buffer_from_ptr(void*, size_t)",
  ggml_backend_buffer_get_base: "void* ggml_backend_buffer_get_base(void*)",
  ggml_backend_buffer_clear: "void ggml_backend_buffer_clear(void*, uint8_t)",
  ggml_backend_buffer_get_type: "void* ggml_backend_buffer_get_type(void*)",
  ggml_backend_buffer_free: "void ggml_backend_buffer_free(void*)",
  ggml_backend_tensor_alloc: "int ggml_backend_tensor_alloc(void*, void*, void*)",
  ggml_backend_tensor_set: "void ggml_backend_tensor_set(void*, void*, size_t, size_t)",
  ggml_backend_tensor_get: "void ggml_backend_tensor_get(void*, void*, size_t, size_t)",
  ggml_backend_free: "void ggml_backend_free(void*)",
  ggml_backend_graph_compute: "int ggml_backend_graph_compute(void*, void*)",
  ggml_threadpool_params_init: "void ggml_threadpool_params_init(void*, int)",
} as const;

const loader = {
  ggml_backend_load: "void* ggml_backend_load(const char*)",
  ggml_backend_load_all_from_path: "void ggml_backend_load_all_from_path(const char*)",
  ggml_backend_dev_count: "size_t ggml_backend_dev_count()",
  ggml_backend_dev_get: "void* ggml_backend_dev_get(size_t)",
  ggml_backend_dev_by_type: "void* ggml_backend_dev_by_type(int)",
} as const;

/** Functions of the CPU variant that ggml chose, reached by name through its registry. */
const cpu = {
  ggml_backend_set_n_threads: "void ggml_backend_set_n_threads(void*, int)",
  ggml_backend_set_abort_callback: "void ggml_backend_set_abort_callback(void*, void*, void*)",
  ggml_backend_dev_get_extra_bufts: "void* ggml_backend_dev_get_extra_bufts(void*)",
  ggml_backend_cpu_set_threadpool: "void ggml_backend_cpu_set_threadpool(void*, void*)",
  ggml_threadpool_new: "void* ggml_threadpool_new(void*)",
  ggml_threadpool_free: "void ggml_threadpool_free(void*)",
} as const;

export type GgmlFunctions = Record<keyof typeof base | keyof typeof loader, KoffiFunction>;
export type CpuFunctions = Record<keyof typeof cpu, KoffiFunction>;

/** Binds the functions of libggml-base and of the backend loader (libggml). */
export function bindGgml(baseLibrary: LibraryHandle, loaderLibrary: LibraryHandle): GgmlFunctions {
  return { ...bind(baseLibrary, base), ...bind(loaderLibrary, loader) };
}

/** Binds the functions of the CPU variant; `lookup` finds an address by name and throws when there is none. */
export function bindCpu(lookup: (name: string) => Pointer): CpuFunctions {
  const bound: Partial<CpuFunctions> = {};
  for (const name of Object.keys(cpu) as (keyof typeof cpu)[]) {
    bound[name] = koffi.decode(lookup(name), koffi.proto(cpu[name]));
  }
  return bound as CpuFunctions;
}

function bind<K extends string>(
  library: LibraryHandle,
  prototypes: Record<K, string>,
): Record<K, KoffiFunction> {
  const bound: Partial<Record<K, KoffiFunction>> = {};
  for (const name in prototypes) bound[name] = library.func(prototypes[name]);
  return bound as Record<K, KoffiFunction>;
}
