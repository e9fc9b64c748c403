/**
 * The file format of routing traces. A line of JSON tells the source; then come chunks of whole records, compressed, each
 * with its length and checksum, so that a trace is readable up to its last whole chunk however its writer ended.
 *
 *     "STOWAGE ROUTING 2\n", JSON of the source, "\n",
 *     chunks: u32 compressed bytes, u32 records, u32 CRC-32 of the compressed bytes, bytes (deflate, raw)
 *
 * A record is one token, little endian: u32 request, u32 position, i32 token, u32 step, u32 decoded; then for all layers
 * F32 peaks, u16 chosen experts [used], u16 guessed and u16 early experts [used] each, and u8 drops [experts], see `routing-log.ts`; filled up
 * to a multiple of 4 bytes.
 */
import type { RoutingSource } from "./routing-log.ts";

export const magic = "STOWAGE ROUTING 2\n";
export const chunkHeadBytes = 12;
/** Of chunks that are not compressed yet; larger ones gain nothing, and more would be lost with the last. */
export const chunkBytes = 1 << 20;
/** The longest line of JSON that a reader takes. */
export const mostHeaderBytes = 1 << 16;
export const headWords = 5;

/** Where the parts of a record are, bytes. */
export interface RecordLayout {
  readonly peaks: number;
  readonly chosen: number;
  readonly guessed: number;
  readonly early: number;
  readonly drops: number;
  readonly bytes: number;
}

export function recordLayout({ layers, experts, used }: RoutingSource): RecordLayout {
  const peaks = headWords * 4;
  const chosen = peaks + layers * 4;
  const guessed = chosen + layers * used * 2;
  const early = guessed + layers * used * 2;
  const drops = early + layers * used * 2;
  return { peaks, chosen, guessed, early, drops, bytes: Math.ceil((drops + layers * experts) / 4) * 4 };
}
