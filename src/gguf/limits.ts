/**
 * Bounds on what a model file may claim, far above what real models have. They keep a hostile file from taking
 * more memory or time than a real one: every count in a file is held against these and against the file's size.
 */

/** Bytes of everything before the tensor data. Vocabularies of 260,000 tokens with their merges take about 20 MiB. */
export const maxHeaderBytes = 64 * 1024 * 1024;

/** Metadata entries in one file. */
export const maxMetadataEntries = 16_384;

/** Tensors of a model, over all its shards. */
export const maxTensors = 65_536;

/**
 * Bytes of a metadata key. The format allows 65,535, but strings above 16,383 characters of equal length share one
 * hash in V8, so that a map of such keys takes quadratic time. Real keys have less than 100.
 */
export const maxKeyBytes = 1024;

/** Bytes of a tensor name: ggml keeps 64 with the closing zero. */
export const maxTensorNameBytes = 63;

/** Dimensions of a tensor in ggml. */
export const maxDimensions = 4;

/** Bytes: the least `general.alignment`, as the format says. */
export const minAlignment = 8;

/** Bytes: the greatest `general.alignment`. */
export const maxAlignment = 1024 * 1024;
