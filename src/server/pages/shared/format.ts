/** Numbers for people: short, and of the same width where they change. */

const units = ["B", "KiB", "MiB", "GiB", "TiB"] as const;

/** 25165824 is "24.0 MiB". */
export function formatBytes(bytes: number): string {
  const exponent = bytes < 1024 ? 0 : Math.min(units.length - 1, Math.floor(Math.log2(bytes) / 10));
  const value = bytes / 1024 ** exponent;
  return `${exponent === 0 ? value : value.toFixed(value < 100 ? 1 : 0)} ${units[exponent]}`;
}

/** 12345 is "12,345". */
export function formatCount(count: number): string {
  return count.toLocaleString("en");
}

/** Three digits that matter: 0.12, 4.56, 78.9, 1,234. */
export function formatRate(rate: number): string {
  if (rate >= 100) return formatCount(Math.round(rate));
  return rate.toFixed(rate >= 10 ? 1 : rate === 0 ? 0 : 2);
}

/** 95 is "95 ms", 1500 is "1.50 s", 90000 is "1 min 30 s". */
export function formatMs(ms: number): string {
  if (ms === 0) return "0 ms";
  if (ms < 10) return `${ms.toFixed(1)} ms`;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(ms < 10_000 ? 2 : 1)} s`;
  return formatAge(ms);
}

/** Whole seconds, minutes, hours or days, and the unit below. */
export function formatAge(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${seconds % 60} s`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return `${hours} h ${minutes % 60} min`;
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}
