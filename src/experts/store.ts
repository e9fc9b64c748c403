/**
 * Where the bytes of experts come from. A store does the I/O and holds open files; it knows nothing of slots and of what
 * is wanted next.
 */
export interface ExpertStore {
  /** `prepared`: records are read straight into slots. `gguf`: slices of the model's file, converted on arrival. */
  readonly kind: "prepared" | "gguf";
  /** Whether reads go past the page cache. */
  readonly unbuffered: boolean;
  /**
   * Reads the record of an expert. Several reads may run at once.
   * @param target `recordBytes` of the layer's class, in native memory at a multiple of 4096; undefined when it throws
   * @throws StowageError expert_*: nothing else of the store is affected, and the read may be tried again
   */
  read(layer: number, expert: number, target: Uint8Array<ArrayBuffer>): Promise<void>;
  /** Waits for the reads that run, and closes the files. */
  close(): Promise<void>;
}
