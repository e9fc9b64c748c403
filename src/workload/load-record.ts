import type { StreamFault } from "./stream-fault.ts";

/** What became of one request. Times are ms since the measurement began. */
export interface LoadRecord {
  /** When it was due; the same as `sentAt` where nothing but a free place is waited for. */
  readonly dueAt: number;
  readonly sentAt: number;
  /** When its stream ended, or was found broken. */
  readonly endedAt: number;
  /** When each chunk came that brought some text. */
  readonly chunkTimes: readonly number[];
  /** Tokens by the server's own count; where it gives none, those asked for in, and chunks out. */
  readonly inputTokens: number;
  readonly outputTokens: number;
  /** Input tokens that the server says it did not have to compute; 0 where it says nothing. */
  readonly cachedTokens: number;
  /** Undefined when the stream came to its end. */
  readonly fault: StreamFault | undefined;
}

/** Time to the first token, ms; NaN when none came. */
export function firstTokenMs({ sentAt, chunkTimes }: LoadRecord): number {
  return chunkTimes.length === 0 ? Number.NaN : chunkTimes[0]! - sentAt;
}

/** Time a token after the first, ms; NaN when there was only one. */
export function tokenMs(record: LoadRecord): number {
  const { sentAt, endedAt, outputTokens } = record;
  return outputTokens < 2 ? Number.NaN : (endedAt - sentAt - firstTokenMs(record)) / (outputTokens - 1);
}

/** The gaps between chunks, ms. A chunk of several tokens is the end of one gap. */
export function chunkGaps({ chunkTimes }: LoadRecord): number[] {
  return chunkTimes.slice(1).map((time, index) => time - chunkTimes[index]!);
}

/** From sending to the end of the stream, ms. */
export function wholeMs({ sentAt, endedAt }: LoadRecord): number {
  return endedAt - sentAt;
}
