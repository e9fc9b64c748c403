/**
 * The one error catalogue. Every error that a user can meet has a code here, with the HTTP status that it maps
 * to, its message (which names the offending value and the limit) and the next thing to try. The API, the CLI
 * and `docs/errors.md` are generated from this table; nothing else in the project composes user-facing errors.
 */

/** The facts an error carries: plain values, named as in the message. */
export type ErrorDetails = Record<string, string | number | boolean | bigint | undefined>;

interface Entry {
  /** HTTP status when this reaches a client. */
  readonly status: number;
  /** What failed, with `{name}` replaced by the detail of that name. */
  readonly message: string;
  /** The next thing to try. */
  readonly next: string;
}

const entries = {
  // Native door
  native_library_missing: {
    status: 500,
    message: "No ggml library for {platform}: {reason}",
    next: "Run `npm install` again on a supported platform (linux x64); see docs/install.md.",
  },
  native_version_mismatch: {
    status: 500,
    message: "The {library} library has version {found}; the bindings were written for {expected}.",
    next: "Run `npm ci` to install the pinned version.",
  },
  native_probe_failed: {
    status: 500,
    message: "The ggml library at {path} did not survive its trial run: {reason}",
    next: "Reinstall with `npm ci`; a processor older than x86-64 with SSE4.2 is not supported.",
  },
  native_disposed: {
    status: 500,
    message: "{what} was used after it was disposed.",
    next: "Keep the handle alive for as long as it is used, or create a new one.",
  },
  native_busy: {
    status: 500,
    message: "The compute backend is running a graph; a second one was asked of it.",
    next: "Await the running step first; one backend runs one graph at a time.",
  },
  native_call_failed: {
    status: 500,
    message: "{call} failed: {reason}",
    next: "If memory is short, lower the context or the number of sequences; else please report this.",
  },

  // Tokenizer and chat templates
  token_invalid: {
    status: 400,
    message: "{token} is no token of this model; tokens are integers from 0 to {limit}, exclusive.",
    next: "Check that the tokens were made by the tokenizer of the same model.",
  },
  text_too_long: {
    status: 413,
    message: "The text has {found} bytes; the tokenizer takes at most {limit}.",
    next: "Send a shorter text.",
  },
  text_too_short: {
    status: 400,
    message: "The text has {found} tokens; one chunk takes {needed}.",
    next: "Take a longer text, or a shorter --context.",
  },
  text_unreadable: {
    status: 400,
    message: "The text {path} cannot be read: {reason}.",
    next: "Name a text file in UTF-8, or - for stdin.",
  },
  text_run_too_long: {
    status: 400,
    message:
      "The text has {found} characters without a break between spaces and others; this model's tokenizer takes at most {limit}.",
    next: "Break the text, as with a space or a new line.",
  },
  vocabulary_invalid: {
    status: 500,
    message: "The vocabulary in {path} cannot be used: {reason}",
    next: "Convert the model again with the converter of llama.cpp, or use another file.",
  },
  vocabulary_splitter: {
    status: 500,
    message:
      "The vocabulary in {path} does not say how texts are split (tokenizer.ggml.pre); the default is used, which may differ from what the model was trained with.",
    next: "Use a newer file of the model, or convert it again with the converter of llama.cpp.",
  },
  template_invalid: {
    status: 500,
    message: "The chat template cannot be rendered: {reason}",
    next: "Use a model file with a working chat template, or give another template.",
  },
  template_refused: {
    status: 400,
    message: "The model's chat template refuses these messages: {reason}",
    next: "Change the messages: their roles and order must be such as the model was trained on.",
  },
  template_timeout: {
    status: 500,
    message: "The chat template was not rendered within {limit} ms.",
    next: "Send fewer or shorter messages; if that does not help, give another template.",
  },
  template_limit: {
    status: 413,
    message: "The chat template went over a limit: {what} ({found}; at most {limit}).",
    next: "Send fewer or shorter messages; if that does not help, give another template.",
  },
  chat_template_missing: {
    status: 400,
    message: "The model's file has no chat template, so it takes no messages.",
    next: "Send a prompt instead, or use a model that was trained for chats.",
  },
  chat_messages: {
    status: 400,
    message: "{field} has to be {expected}.",
    next: 'Send messages such as [{"role": "user", "content": "Hello"}].',
  },

  // Loading a model
  load_option: {
    status: 400,
    message: "The option {option} is {value}; it has to be {range}.",
    next: "Correct it, or leave it out to get its default.",
  },
  kv_type: {
    status: 400,
    message: "The KV cache cannot be {type}: heads of {width} elements are no whole blocks of {block}.",
    next: "Load this model with a cache of f16.",
  },
  expert_memory: {
    status: 400,
    message:
      "Experts may take {budget} MiB; the {experts} experts of one token need {needed} MiB, all experts {all} MiB.",
    next: "Give --expert-memory at least {needed}MiB; the more it is, the fewer experts are read again.",
  },
  low_experts: {
    status: 400,
    message: "{path} cannot give low-precision copies of experts: {reason}.",
    next: "Make it out of the model that it is used with: `stowage quantize MODEL LOW --type q2_k`, or another type that is smaller than the model's.",
  },
  sensitivity_file: {
    status: 400,
    message: "The sensitivities of experts in {path} cannot be used: {reason}.",
    next: "Measure them with `stowage lab sensitivity MODEL LOW --imatrix FILE`.",
  },
  sensitivity_imatrix: {
    status: 400,
    message:
      "The importance matrix has {found} values for {name}; {needed} are needed, a row for each expert.",
    next: "Make one of this model with `stowage imatrix`.",
  },
  lossy_settings: {
    status: 400,
    message: "The setting {setting} and the lossy mode do not fit: {reason}.",
    next: "Give --lossy hobbit with --low-experts, or --lossy edgemoe with --low-experts and --lossy-bytes.",
  },
  lossy_budget: {
    status: 400,
    message:
      "The lossy mode {mode} needs a budget for experts: it spares reads, and without one there are none.",
    next: "Give --expert-memory, or leave the lossy mode out.",
  },
  lora_kind: {
    status: 400,
    message: '{path} is no LoRA adapter: its {key} is "{found}", not "{expected}".',
    next: "Give a file that llama.cpp's convert_lora_to_gguf.py wrote, or llama.cpp's own adapters.",
  },
  lora_base: {
    status: 400,
    message: "The adapter {path} {what}, which the {expected} model that it is given to has not.",
    next: "Load it with the base model that it was trained on.",
  },
  lora_tensor: {
    status: 400,
    message: "The adapter {path} cannot be used because of {name}: {reason}.",
    next: "Convert the adapter anew without that tensor, or merge it into the model.",
  },
  lora_shape: {
    status: 400,
    message: "In the adapter {path}, the pair of {name} has shapes {a} and {b}, which do not fit {base}.",
    next: "Load it with the base model that it was trained on.",
  },
  lora_name: {
    status: 400,
    message: "An adapter cannot be called {name}: {reason}.",
    next: "Give it another name.",
  },
  lora_scale: {
    status: 400,
    message: "The scale of the adapter {name} is {scale}; it has to be a number.",
    next: "Correct it, or leave it out to get the adapter's own.",
  },
  lora_unknown: {
    status: 400,
    message: "There is no adapter {name} loaded with this model; loaded are: {loaded}.",
    next: "Take one of those, or load the model with that adapter.",
  },
  lora_twice: {
    status: 400,
    message: "{count} adapters were asked for; at most {limit} can be, each once.",
    next: "Name fewer.",
  },
  device_unknown: {
    status: 400,
    message: "There is no device {device} here. Devices: {known}.",
    next: "Run `stowage devices`. A graphics card needs its driver, and for CUDA a package; see docs/devices.md.",
  },
  device_option: {
    status: 400,
    message: "A model on a device cannot have {option}: {reason}.",
    next: "Leave {option} out, or leave out the device.",
  },
  device_memory: {
    status: 507,
    message: "The device {device} has {free} MiB free; the layers for it need {needed} MiB.",
    next: "Put fewer layers on it with --device-layers; {fits}.",
  },
  device_unsupported: {
    status: 400,
    message: "The device {device} cannot run the operation {operation} (type {type}, shape {shape}).",
    next: "Run this model on the processor: leave out the device.",
  },
  memory_budget: {
    status: 507,
    message:
      "The model needs {needed} MiB (weights {weights}, KV cache {kv}, computing {compute}); the budget of {budget} MiB is {over} MiB short.",
    next: "{fits}. Lower the KV cache or the context, or raise the budget.",
  },

  // Requests to an engine
  engine_closed: {
    status: 503,
    message: "The model is being unloaded and takes no more requests.",
    next: "Load the model again.",
  },
  generate_input: {
    status: 400,
    message: "A generation starts from either a prompt or messages; {given} was given.",
    next: "Give one of the two.",
  },
  model_embeds: {
    status: 400,
    message: "A model of the architecture {architecture} makes embeddings; it does not generate text.",
    next: "Send the text to /v1/embeddings, or use another model.",
  },
  embedding_too_long: {
    status: 400,
    message: "The text has {tokens} tokens; embeddings of this model take at most {limit}.",
    next: "Cut the text into parts, or load the model with a longer context if it was trained for one.",
  },
  embedding_dimensions: {
    status: 400,
    message: "{value} dimensions were asked for; it has to be a whole number from 1 to {limit}.",
    next: "Ask for fewer, or leave it out to get all.",
  },
  embedding_pooling: {
    status: 400,
    message: "One vector a text cannot be had: {reason}",
    next: 'Say how to make one of the tokens\' states: "mean", "last" or "cls".',
  },
  kv_exhausted: {
    status: 503,
    message: "The KV cache of {cells} tokens has no room for the request.",
    next: "Load the model with more KV memory, or send a shorter prompt.",
  },
  request_empty: {
    status: 400,
    message: "The prompt has no tokens; it needs at least 1.",
    next: "Send some text.",
  },
  request_too_long: {
    status: 400,
    message: "The prompt has {tokens} tokens; the context of {limit} has to hold it and at least 1 more.",
    next: "Shorten the prompt, or load the model with a larger context.",
  },
  request_max_tokens: {
    status: 400,
    message: "The most tokens to generate is {value}; it has to be a whole number of at least 1.",
    next: "Leave it out to generate until the model ends or the context is full.",
  },

  // Grammars and JSON schemas
  generate_form: {
    status: 400,
    message: "A generation is held to one form; both a grammar and a JSON schema were given.",
    next: "Give one of the two.",
  },
  grammar_syntax: {
    status: 400,
    message: "The grammar cannot be read at line {line}, column {column}: {reason}.",
    next: "Correct it; docs/structured-output.md describes the notation.",
  },
  grammar_limit: {
    status: 400,
    message: "The grammar goes over a limit: {what} ({found}; at most {limit}).",
    next: "Make the grammar or schema smaller, or less ambiguous.",
  },
  grammar_empty: {
    status: 400,
    message: "There is no finite text that the grammar allows.",
    next: "Check that every rule can come to an end.",
  },
  grammar_vocabulary: {
    status: 400,
    message: "No token of this model goes on with a text that the grammar allows.",
    next: "Change the grammar to characters that the model's vocabulary has.",
  },
  grammar_token: {
    status: 500,
    message: "Token {token} was taken where the grammar does not allow it.",
    next: "Please report this.",
  },
  schema_invalid: {
    status: 400,
    message: "The JSON schema is wrong at {where}: {reason}.",
    next: "Correct the schema.",
  },
  schema_unsupported: {
    status: 400,
    message: "The JSON schema's {keyword} at {where} cannot be kept exactly: {reason}.",
    next: "Leave it out, or put it another way; docs/structured-output.md lists what can be kept.",
  },

  // Gateway and engine processes
  engine_start: {
    status: 500,
    message: "The engine of {model} did not start: {reason}.",
    next: "Try again; if it happens again, run `stowage run` on the same file to see why.",
  },
  engine_lost: {
    status: 502,
    message: "The engine of {model} ended while it worked on this request: {reason}.",
    next: "Send the request again: the engine is started anew.",
  },
  engine_restarting: {
    status: 503,
    message: "The engine of {model} ended and is being started again; this is start {attempt}.",
    next: "Send the request again in {retryAfter} s.",
  },
  request_cancelled: {
    status: 499,
    message: "The request was cancelled before it began.",
    next: "Send it again, if it is still wanted.",
  },
  engine_fault: {
    status: 500,
    message: "The engine failed: {reason}.",
    next: "Please report this.",
  },
  message_malformed: {
    status: 500,
    message: "A message between gateway and engine is malformed: {reason}",
    next: "Check that both are of one version; else please report this.",
  },
  model_not_found: {
    status: 404,
    message: "There is no model {model} here.",
    next: "Offered are: {offered}.",
  },
  model_room: {
    status: 503,
    message:
      "The model {model} needs {needed} MiB; of the budget of {budget} MiB, {used} MiB are held by models in use: {models}.",
    next: "Try again in {retryAfter} s, or raise --memory.",
  },
  model_too_large: {
    status: 507,
    message: "The model {model} needs {needed} MiB; the budget for all models is {budget} MiB.",
    next: "Raise --memory, or lower the model's --context, --kv-tokens or --expert-memory.",
  },
  model_unloaded: {
    status: 503,
    message: "The model {model} was unloaded while this request waited for it.",
    next: "Send the request again: the model is loaded anew.",
  },
  model_in_use: {
    status: 409,
    message: "The model {model} works on {requests} requests and is not unloaded.",
    next: "Wait until they have ended.",
  },
  experts_unmapped: {
    status: 404,
    message:
      "There is no map of the experts of {model}: it is {state}, and only loaded models with a budget for experts have one.",
    next: "Load it with a budget, such as --expert-memory 50%; one that holds all experts is none.",
  },
  queue_full: {
    status: 503,
    message: "{waiting} requests wait for {model} already; the queue takes {limit}.",
    next: "Try again in {retryAfter} s, or raise --max-queue.",
  },
  server_stopping: {
    status: 503,
    message: "The server is stopping and takes no more work.",
    next: "Send the request to another server, or to this one when it has started again.",
  },

  // HTTP. `field` is the path in the request's body.
  request_invalid: {
    status: 400,
    message: "{field}: {reason}.",
    next: "Correct the field; /openapi.json describes every request.",
  },
  request_unsupported: {
    status: 400,
    message: "{field} is not supported here: {reason}.",
    next: "Leave the field out.",
  },
  body_invalid: {
    status: 400,
    message: "The request's body cannot be read: {reason}.",
    next: "Send a JSON object in UTF-8, with Content-Type: application/json.",
  },
  body_too_large: {
    status: 413,
    message: "The request's body is larger than {limit} bytes.",
    next: "Send a shorter request.",
  },
  body_type: {
    status: 415,
    message: "The request's body has the type {type}; it has to be application/json.",
    next: "Set the header Content-Type: application/json.",
  },
  body_encoding: {
    status: 415,
    message: "The request's body is encoded as {encoding}; it has to be sent as it is.",
    next: "Leave the header Content-Encoding out, and send the body uncompressed.",
  },
  headers_too_large: {
    status: 431,
    message: "The request's headers are larger than {limit} bytes.",
    next: "Send fewer or shorter headers.",
  },
  http_malformed: {
    status: 400,
    message: "This is no HTTP request that can be understood: {reason}.",
    next: "Send HTTP/1.1, as the libraries of all languages do.",
  },
  http_timeout: {
    status: 408,
    message: "The request did not arrive whole within {seconds} s.",
    next: "Send it in one go.",
  },
  path_unknown: {
    status: 404,
    message: "There is nothing at {method} {path}.",
    next: "See /openapi.json for what there is.",
  },
  method_unknown: {
    status: 405,
    message: "{path} does not take {method}; it takes {allowed}.",
    next: "See /openapi.json for what there is.",
  },
  key_missing: {
    status: 401,
    message: "This server asks for an API key, and the request has {what}.",
    next: "Send the header Authorization: Bearer KEY.",
  },
  host_refused: {
    status: 403,
    message: "The request was made for the host {host}, which is not this server's name.",
    next: "Use http://127.0.0.1 or localhost, or start the server with --host and an --api-key.",
  },
  origin_refused: {
    status: 403,
    message: "A page of {origin} may not use this server.",
    next: "Use the pages of the server itself, or call it from a program.",
  },

  // Model files. `field` is what was being read, `value` what stood there, `limit` what is allowed.
  gguf_unreadable: {
    status: 500,
    message: "{path} cannot be read as a model file: {reason}.",
    next: "Check the path, and that it is a regular file that this user may read.",
  },
  gguf_bad_magic: {
    status: 500,
    message: "{path} is not a GGUF file: {field} is {value}; {limit}.",
    next: "Give a file in GGUF format; other formats have to be converted first.",
  },
  gguf_byte_order: {
    status: 500,
    message: "{path} is a big-endian GGUF file: {field} is {value}; {limit}.",
    next: "Get the little-endian file of this model, or convert it.",
  },
  gguf_version: {
    status: 500,
    message: "{path}: {field} is {value}; {limit}.",
    next: "Get a newer conversion of this model, or a newer release of Stowage when the version is above the limit.",
  },
  gguf_truncated: {
    status: 500,
    message: "{path} is truncated: {field} takes {value}; {limit}.",
    next: "Download or copy the file again, and compare its size with the source.",
  },
  gguf_header_size: {
    status: 500,
    message: "{path}: {field} would take the header to {value}; {limit}.",
    next: "Check the file's checksum; a real model's header is far smaller.",
  },
  gguf_count: {
    status: 500,
    message: "{path}: {field} is {value}; {limit}.",
    next: "The file is damaged or cut short: check its size and checksum, and get it again.",
  },
  gguf_string: {
    status: 500,
    message: "{path}: {field} is {value}; {limit}.",
    next: "The file is damaged or cut short: check its size and checksum, and get it again.",
  },
  gguf_metadata_type: {
    status: 500,
    message: "{path}: {field} has type {value}; expected {limit}.",
    next: "Get a newer conversion of this model.",
  },
  gguf_metadata_value: {
    status: 500,
    message: "{path}: {field} is {value}; {limit}.",
    next: "Check the file's checksum, or get a newer conversion of this model.",
  },
  gguf_metadata_missing: {
    status: 500,
    message: "{path} has no metadata {field}; expected {limit}.",
    next: "Check that the file is a language model, or get a newer conversion of it.",
  },
  gguf_tensor_shape: {
    status: 500,
    message: "{path}: {field} is {value}; {limit}.",
    next: "Check the file's checksum, or get a newer conversion of this model.",
  },
  gguf_tensor_type: {
    status: 500,
    message: "{path}: {field} is {value}; {limit}.",
    next: "Get this model in another quantization, for example Q8_0 or Q4_K_M.",
  },
  gguf_extent: {
    status: 500,
    message: "{path}: {field} is {value}; {limit}.",
    next: "The file is damaged or cut short: check its size and checksum, and get it again.",
  },
  gguf_duplicate: {
    status: 500,
    message: "{path}: {field} is {value}; {limit}.",
    next: "Get another conversion of this model.",
  },
  gguf_alignment: {
    status: 500,
    message: "{path}: {field} is {value}; {limit}.",
    next: "Get another conversion of this model.",
  },
  gguf_split: {
    status: 500,
    message: "{path}: {field} is {value}; {limit}.",
    next: "Put all parts of one conversion into one folder under their own names, and give the first part.",
  },
  gguf_write_value: {
    status: 500,
    message: "{path} was not written: {field} is {value}; {limit}.",
    next: "Correct the value, or choose a wider type for it.",
  },
  gguf_write_size: {
    status: 500,
    message: "{path} was not written: the data of {field} has {value}; {limit}.",
    next: "Check that the tensor's type and shape are those of its data.",
  },
  gguf_write_failed: {
    status: 500,
    message: "{path} was not written: {reason}.",
    next: "Check the free space of the disk and the permissions of the folder.",
  },
  gguf_write_space: {
    status: 500,
    message: "{path} was not written: it takes {needed} bytes, and {free} are free on that disk.",
    next: "Free {missing} bytes more, or write to another disk.",
  },

  // Models
  model_architecture: {
    status: 400,
    message: 'The architecture "{architecture}" is not known.',
    next: "Known are: {known}. To add one, see docs/add-an-architecture.md.",
  },
  model_invalid: {
    status: 400,
    message: "The model's {field} is {value}; it has to be {limit}.",
    next: "The file is damaged or of a kind that is not supported; convert the model anew.",
  },
  model_tensor_missing: {
    status: 400,
    message: "The model file has no tensor {name}.",
    next: "The file is incomplete; download or convert it again.",
  },
  model_tensor_unknown: {
    status: 400,
    message: "The tensor {name} has no part in the computation of {architecture} models as it is known here.",
    next: "Without it results would be wrong: use a variant of the model that has no such tensor.",
  },
  model_tensor_shape: {
    status: 400,
    message: "The tensor {name} is {found}; by the model's metadata it has to be {expected}.",
    next: "The file contradicts itself; convert the model anew.",
  },
  model_tensor_type: {
    status: 400,
    message: "The tensor {name} has type {found}; it has to be {expected}.",
    next: "Quantise the model with `stowage quantize`.",
  },

  // Experts that are read from disk
  expert_read_failed: {
    status: 500,
    message: "Expert {expert} of layer {layer} could not be read from {path}: {reason}.",
    next: "Check the disk and that the file is still reachable; the read may be tried again.",
  },
  expert_file_truncated: {
    status: 500,
    message:
      "Expert {expert} of layer {layer} takes the bytes {from} to {to} of {path}, which now has {size} bytes.",
    next: "The file was cut after it was opened: put a whole one in its place, and load the model again.",
  },
  expert_record_damaged: {
    status: 500,
    message:
      "The record of expert {expert} of layer {layer} in {path} is damaged: its CRC-32 is {found}, and was {expected} when it was written.",
    next: "Write the file anew with `stowage prepare --force`; if it happens again, check the disk.",
  },
  expert_file_changed: {
    status: 500,
    message: "{path} was written to after its header was read.",
    next: "Start again; put a new model in place by renaming it, never by writing into the old file.",
  },
  expert_reads_buffered: {
    status: 500,
    message: "{path} cannot be read past the page cache: {reason}.",
    next: "It is read through the cache, which takes memory twice; a local file system such as ext4 or xfs avoids that.",
  },
  prompt_file: {
    status: 400,
    message: "The prompts of {path} cannot be used: {reason}.",
    next: "Give JSON lines with a prompt each, or plain text with an empty line between prompts.",
  },
  routing_trace_write: {
    status: 500,
    message: "The routing trace {path} was not written: {reason}.",
    next: "Check the disk and the permissions of the folder, and run it again.",
  },
  routing_trace_read: {
    status: 400,
    message: "The routing trace {path} cannot be read: {reason}.",
    next: "Check the path, and that this user may read it.",
  },
  routing_trace_invalid: {
    status: 400,
    message: "{path} is no routing trace that can be used: {field} is {value}; {limit}.",
    next: "Record one with `--record-routing FILE`, or give JSON lines with token_idx, layer and topk_ids.",
  },
  lab_requests: {
    status: 400,
    message: "Policies learn on half of the requests and are scored on the other half: {found} are too few.",
    next: "Give at least two prompts that leave room for an answer in the model's context.",
  },
  prepared_file_missing: {
    status: 500,
    message: "There is no prepared file {path}.",
    next: "Experts are read from the model's own file and converted each time; `stowage prepare` does that once.",
  },
  prepared_file_unreadable: {
    status: 500,
    message: "The prepared file {path} cannot be read: {reason}.",
    next: "Check that it is a regular file that this user may read, or write it anew with `stowage prepare --force`.",
  },
  prepared_file_stale: {
    status: 500,
    message: "The prepared file {path} is of no use here: {reason}.",
    next: "Write it anew with `stowage prepare`.",
  },
  prepared_file_invalid: {
    status: 500,
    message: "The prepared file {path} is damaged: {field} is {value}; {limit}.",
    next: "Write it anew with `stowage prepare`.",
  },
  prepare_dense: {
    status: 400,
    message: "{path} is a dense model: it has no experts that could be prepared.",
    next: "Run it as it is; only mixtures of experts are prepared.",
  },
  prepare_space: {
    status: 507,
    message: "{path} was not written: {needed} more bytes are needed, and {free} are free on that disk.",
    next: "Free {missing} bytes more and run it again. {kept}",
  },
  prepare_failed: {
    status: 500,
    message: "{path} was not written: {reason}.",
    next: "Check the disk and the permissions of the folder, and run it again. {kept}",
  },
  prepare_interrupted: {
    status: 500,
    message: "{path} was not written: it was interrupted after {done} of {total}.",
    next: "Run it again: it goes on from there.",
  },

  // Sampling
  sampling_param: {
    status: 400,
    message: "The sampling parameter {field} is {value}; it must be {allowed}.",
    next: "Send a value in that range, or leave the parameter out to get its default.",
  },
  logits_size: {
    status: 500,
    message: "The sampler got {found} logits; the vocabulary has {expected} tokens.",
    next: "Please report this: the model's output and its vocabulary do not belong together.",
  },
  logits_not_finite: {
    status: 500,
    message:
      "The model's logit of token {position} is {value}; only finite numbers and -Infinity can be sampled.",
    next: "The model file may be damaged or its arithmetic overflowed: verify the file, or try a higher precision.",
  },
  logits_all_masked: {
    status: 500,
    message: "All {vocab} logits are -Infinity: no token is left to choose from.",
    next: "Allow at least one token: loosen the constraint that masks the others.",
  },

  // Configuration
  config_unreadable: {
    status: 400,
    message: "The file {path} cannot be read: {reason}.",
    next: "Check the path, and that this user may read the file.",
  },
  config_syntax: {
    status: 400,
    message: "{path}, line {line}, column {column}: {reason}.",
    next: "Correct the line: the file is in TOML; docs/configure.md has an example.",
  },
  setting_unknown: {
    status: 400,
    message: "{path}: there is no setting {key}; its value is {value}.",
    next: "Did you mean {nearest}? All settings are in docs/configure.md.",
  },
  setting_invalid: {
    status: 400,
    message: "{setting} is {value}; it has to be {allowed}.",
    next: "Correct it, or leave it out to get its default; `stowage serve --print-config` shows what counts.",
  },
  model_argument: {
    status: 400,
    message: "{model} cannot be offered: {reason}.",
    next: "Give a GGUF file, NAME=FILE, or a folder with .gguf files.",
  },
  model_duplicate: {
    status: 400,
    message: "Two models are named {name}: {first} and {second}.",
    next: "Give one of them another name, as with other-name={second}.",
  },
  model_path_missing: {
    status: 400,
    message: "{setting} has no path, and no model of that name is given on the command line{nearest}.",
    next: "Add path = FILE to it, correct its name, or give the model on the command line.",
  },
  models_none: {
    status: 400,
    message: "There is no model to serve: none is given on the command line, and {file}.",
    next: "Give a GGUF file or a folder of them, as with: stowage serve model.gguf",
  },
  host_open: {
    status: 400,
    message: "At {host} other machines could reach the server, and it has no API key.",
    next: "Give --api-key KEY, STOWAGE_API_KEY or --api-key-file FILE; or listen at 127.0.0.1 for this machine alone.",
  },
  host_unavailable: {
    status: 400,
    message: "The server cannot listen at {host}: {reason}.",
    next: "Give --host an address of this machine, 127.0.0.1 for this machine alone, or 0.0.0.0 for every address.",
  },
  port_taken: {
    status: 500,
    message: "Port {port} of {host} is taken by {holder}.",
    next: "{remedy}, or take another port with --port; 0 takes a free one.",
  },
  port_forbidden: {
    status: 400,
    message: "This user may not listen at port {port} of {host}.",
    next: "Take a port from 1024 on with --port.",
  },

  // Asking a server
  server_unreachable: {
    status: 502,
    message: "No server answers at {url}: {reason}.",
    next: "Start one with `stowage serve MODEL`, or name another with --url.",
  },
  server_foreign: {
    status: 502,
    message: "What answers at {url} is not a Stowage of this version: {reason}.",
    next: "Check --url; if it is a Stowage, use the command of its version.",
  },
  server_answer: {
    status: 502,
    message: "The server at {url} answered with {status}: {message}",
    next: "{remedy}",
  },

  // Command line
  prompt_missing: {
    status: 400,
    message: "There is no prompt: {reason}.",
    next: 'Give one, for example: stowage run model.gguf "Once upon a time".',
  },
  report_not_written: {
    status: 400,
    message: "The report could not be written to {path}: {reason}",
    next: "Name a file in a folder that exists and may be written to.",
  },

  // Making models
  synth_invalid: {
    status: 400,
    message: "A synthetic model cannot be made: {field} is {value}; it has to be {limit}.",
    next: "Change the shape, or take another type: rows of Q8_0 and Q4_0 are multiples of 32.",
  },
  quantize_type: {
    status: 400,
    message:
      "Values cannot be converted with the type {type}: it is no float type, or needs statistics of activations.",
    next: "Take one of F16, BF16, Q8_0, Q6_K, Q5_K, Q4_K, Q4_0.",
  },
  quantize_imatrix: {
    status: 400,
    message:
      "{name} would become {type}, which has so few bits that an importance matrix has to say which columns matter; none says it of {name}.",
    next: "Make one with `stowage imatrix MODEL TEXT` and give it with --imatrix, or take a recipe of more bits such as q2_k or q4_k_m.",
  },
  quantize_overflow: {
    status: 400,
    message: "The tensor {name} of {path} has values too large for {type}.",
    next: "Take bf16 or f32 for it: --override {name}=bf16.",
  },
  imatrix_invalid: {
    status: 400,
    message: "{path} is no importance matrix: {reason}.",
    next: "Name a file that `stowage imatrix` or llama.cpp's tool of that name has written.",
  },
  imatrix_shape: {
    status: 400,
    message:
      "The importance matrix has {found} values for {name}, which has {needed} columns and experts in all.",
    next: "It was made from another model: make one from this model, with `stowage imatrix MODEL TEXT`.",
  },
  quantize_row: {
    status: 500,
    message:
      "{elements} values in rows of {rowElements}, against {bytes} bytes, are no rows of {type}, whose blocks have {block} values.",
    next: "Please report this.",
  },
  quantize_not_finite: {
    status: 400,
    message:
      "The tensor {name} of {path} holds {value}, near element {element}; only finite numbers can be quantised.",
    next: "The file is damaged or its training diverged: check its checksum, or get another conversion.",
  },

  // Benchmarks
  memory_group: {
    status: 500,
    message: "No real memory limit can be set: {reason}.",
    next: "Run the benchmark as root on Linux, in a system or container that may make memory control groups.",
  },
  bench_memory: {
    status: 400,
    message: "What a process takes is read from /proc, which {platform} does not have.",
    next: "Run it on Linux.",
  },
  bench_experts: {
    status: 400,
    message: "The experts of {path} cannot be measured: {reason}.",
    next: "Take a mixture of experts that is larger than its attention and KV cache, or a larger limit.",
  },
  page_cache: {
    status: 500,
    message: "The page cache cannot be dropped: {reason}.",
    next: "Run the benchmark as root on Linux, on a file that no other process has open.",
  },
  side_failed: {
    status: 500,
    message: "A side of the benchmark failed at {task}: {reason}",
    next: "Check that the model, the context and the sequences fit in memory; set STOWAGE_DEBUG=1 to see llama.cpp's own notes.",
  },

  // Load client
  trace_unreadable: {
    status: 400,
    message: "The trace {path} cannot be read: {reason}.",
    next: "Check the path, and that this user may read the file.",
  },
  trace_unknown: {
    status: 400,
    message: "{path} is no trace of a known format; it begins with: {line}",
    next: "Known are {known}. Name one with --trace-format if the file is of it.",
  },
  trace_invalid: {
    status: 400,
    message: "{path}, line {line}: {field} is {value}; it has to be {expected}.",
    next: "Correct the line, or check that the file is complete and of this format.",
  },
  trace_empty: {
    status: 400,
    message: "{path} has no request to send; {dropped} without tokens were left out.",
    next: "Take a trace with requests that were answered.",
  },
  load_flags: {
    status: 400,
    message: "{flags} cannot be taken: {reason}.",
    next: "Leave it out, or see `stowage bench serve --help`.",
  },
  load_server: {
    status: 502,
    message: "The server at {url} cannot be measured: {reason}.",
    next: "Check that it runs, and --url, --model and --api-key.",
  },
} as const satisfies Record<string, Entry>;

export type ErrorCode = keyof typeof entries;

/** The catalogue, for the generators of docs and of the HTTP error table. */
export const errorCatalogue: Readonly<Record<ErrorCode, Entry>> = entries;

/** An error out of the catalogue. `details` are the values that its message names. */
export class StowageError extends Error {
  override readonly name = "StowageError";
  readonly code: ErrorCode;
  readonly status: number;
  readonly details: ErrorDetails;
  readonly next: string;

  constructor(code: ErrorCode, details: ErrorDetails = {}, options?: { cause?: unknown }) {
    const entry: Entry = entries[code];
    super(fill(entry.message, details), options);
    this.code = code;
    this.status = entry.status;
    this.details = details;
    this.next = fill(entry.next, details);
  }
}

function fill(template: string, details: ErrorDetails): string {
  return template.replace(/\{(\w+)\}/g, (_, name: string) => String(details[name] ?? "?"));
}
