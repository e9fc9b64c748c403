import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";

/**
 * How far the system reads ahead in files on the disk of `path`, KiB; undefined where it does not tell. Reading of a
 * mapped file with more memory than is free for it depends on this more than on anything else.
 */
export function readAheadOf(path: string): number | undefined {
  const knob = knobOf(path);
  return knob === undefined ? undefined : Number(readFileSync(knob, "utf8"));
}

/**
 * Does `work` while files that are opened on the disk of `path` get another read-ahead, and sets the disk back. A file
 * keeps what it was opened with, so that only opening it has to be part of the work. Root only.
 * @param kibibytes undefined to leave everything as it is
 */
export async function withReadAhead<T>(
  path: string,
  kibibytes: number | undefined,
  work: () => Promise<T>,
): Promise<T> {
  const knob = knobOf(path);
  if (kibibytes === undefined || knob === undefined) return work();
  const before = readFileSync(knob, "utf8");
  const restore = () => writeFileSync(knob, before);
  process.once("exit", restore);
  writeFileSync(knob, String(kibibytes));
  try {
    return await work();
  } finally {
    restore();
    process.off("exit", restore);
  }
}

/** The setting of the disk; that of a partition is its disk's. */
function knobOf(path: string): string | undefined {
  const { dev } = statSync(path);
  // As the C library splits a device number.
  const major = (dev >>> 8) & 0xfff;
  const minor = (dev & 0xff) | ((dev >>> 12) & 0xfff00);
  const device = `/sys/dev/block/${major}:${minor}`;
  return [`${device}/queue/read_ahead_kb`, `${device}/../queue/read_ahead_kb`].find((knob) =>
    existsSync(knob),
  );
}
