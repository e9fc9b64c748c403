import { readFile } from "node:fs/promises";
import { crc32, inflateRawSync } from "node:zlib";
import { z } from "zod";
import { StowageError } from "../../errors.ts";
import { chunkHeadBytes, headWords, magic, mostHeaderBytes, recordLayout } from "./format.ts";
import { readRoutingJsonl } from "./jsonl.ts";
import type { RoutingLog, RoutingSource } from "./routing-log.ts";

/** Ids of experts are kept in 16 bits. The other bounds keep the size of a record in reason. */
const source = z.object({
  model: z.string().max(4096),
  layers: z.int().min(1).max(4096),
  experts: z.int().min(1).max(65_535),
  used: z.int().min(1).max(1024),
});

/** Most bytes of a trace in memory: typed arrays are no longer than this. */
const mostBytes = 2 ** 32 - 1;

/** Whole chunks of a file, and where they end. */
interface Chunks {
  readonly packed: readonly Buffer[];
  readonly records: number;
}

/**
 * Reads a routing trace: one of ours, or JSON lines of public loggers (see `jsonl.ts`). A last chunk that is cut off, as
 * after a crash, is left out.
 * @throws StowageError routing_trace_read, routing_trace_invalid
 */
export async function readRoutingTrace(path: string): Promise<RoutingLog> {
  let file: Buffer;
  try {
    file = await readFile(path);
  } catch (cause) {
    throw new StowageError("routing_trace_read", { path, reason: (cause as Error).message }, { cause });
  }
  if (!file.subarray(0, magic.length).equals(Buffer.from(magic))) return readRoutingJsonl(path, file);
  const end = file.indexOf(10, magic.length);
  if (end < 0 || end > mostHeaderBytes) throw invalid(path, "header", "no line of JSON", "one is expected");
  const shape = parseSource(path, file.subarray(magic.length, end).toString());
  if (shape.used > shape.experts) throw invalid(path, "used", shape.used, `at most ${shape.experts}`);
  const { bytes } = recordLayout(shape);
  const { packed, records } = chunksOf(path, file.subarray(end + 1), bytes);
  if (records * bytes > mostBytes) {
    throw invalid(path, "tokens", records, `at most ${Math.floor(mostBytes / bytes)} of this model`);
  }
  const log = emptyLog(shape, records);
  let first = 0;
  for (const chunk of packed) {
    const raw = inflate(path, chunk, bytes);
    fill(log, first, raw, bytes, path);
    first += raw.length / bytes;
  }
  return log;
}

function parseSource(path: string, text: string): RoutingSource {
  try {
    return source.parse(JSON.parse(text));
  } catch (cause) {
    const reason = cause instanceof z.ZodError ? z.prettifyError(cause) : (cause as Error).message;
    throw invalid(
      path,
      "header",
      reason.replaceAll("\n", " "),
      "it has to tell model, layers, experts, used",
    );
  }
}

function chunksOf(path: string, data: Buffer, recordBytes: number): Chunks {
  const packed: Buffer[] = [];
  let records = 0;
  for (let at = 0; at + chunkHeadBytes <= data.length; ) {
    const length = data.readUInt32LE(at);
    const count = data.readUInt32LE(at + 4);
    const chunk = data.subarray(at + chunkHeadBytes, at + chunkHeadBytes + length);
    if (chunk.length < length) break;
    if (crc32(chunk) !== data.readUInt32LE(at + 8)) throw invalid(path, "chunk", at, "its checksum differs");
    if (count * recordBytes > mostBytes)
      throw invalid(path, "chunk", count, "more records than a trace can have");
    packed.push(chunk);
    records += count;
    at += chunkHeadBytes + length;
  }
  return { packed, records };
}

function inflate(path: string, chunk: Buffer, recordBytes: number): Buffer {
  let raw: Buffer;
  try {
    raw = inflateRawSync(chunk, { maxOutputLength: mostBytes });
  } catch (cause) {
    throw invalid(path, "chunk", (cause as Error).message, "it cannot be unpacked");
  }
  if (raw.length % recordBytes !== 0)
    throw invalid(path, "chunk", raw.length, `whole records of ${recordBytes} bytes`);
  return raw;
}

function emptyLog(shape: RoutingSource, count: number) {
  const { layers, experts, used } = shape;
  return {
    ...shape,
    count,
    request: new Uint32Array(count),
    position: new Uint32Array(count),
    token: new Int32Array(count),
    step: new Uint32Array(count),
    decoded: new Uint8Array(count),
    chosen: new Uint16Array(count * layers * used),
    guessed: new Uint16Array(count * layers * used),
    early: new Uint16Array(count * layers * used),
    scores: { peak: new Float32Array(count * layers), drop: new Uint8Array(count * layers * experts) },
  };
}

function fill(
  log: ReturnType<typeof emptyLog>,
  first: number,
  raw: Buffer,
  recordBytes: number,
  path: string,
): void {
  const { layers, experts, used } = log;
  const { peaks, drops, ...ids } = recordLayout(log);
  for (let at = 0, index = first; at < raw.length; at += recordBytes, index++) {
    if (index >= log.count) throw invalid(path, "chunk", index, "more records than its head says");
    const [request, position, token, step, decoded] = Array.from({ length: headWords }, (_, word) =>
      raw.readUInt32LE(at + word * 4),
    );
    log.request[index] = request!;
    log.position[index] = position!;
    log.token[index] = token!;
    log.step[index] = step!;
    log.decoded[index] = decoded!;
    for (let layer = 0; layer < layers; layer++) {
      log.scores.peak[index * layers + layer] = raw.readFloatLE(at + peaks + layer * 4);
    }
    for (const kind of ["chosen", "guessed", "early"] as const) {
      for (let place = 0; place < layers * used; place++) {
        const expert = raw.readUInt16LE(at + ids[kind] + place * 2);
        if (expert >= experts) throw invalid(path, "expert", expert, `below ${experts}`);
        log[kind][index * layers * used + place] = expert;
      }
    }
    log.scores.drop.set(raw.subarray(at + drops, at + drops + layers * experts), index * layers * experts);
  }
}

function invalid(path: string, field: string, value: string | number, limit: string): StowageError {
  return new StowageError("routing_trace_invalid", { path, field, value, limit });
}
