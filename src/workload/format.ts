const kibi = 1024;
const byteUnits = ["B", "KiB", "MiB", "GiB", "TiB"];

/** Bytes for a person, in binary units with three digits: 1536 → "1.50 KiB". */
export function formatBytes(bytes: number): string {
  let value = bytes;
  let unit = 0;
  // 999.5 and more would round to four digits.
  while (value >= 999.5 && unit < byteUnits.length - 1) {
    value /= kibi;
    unit += 1;
  }
  return unit === 0 ? `${Math.round(value)} B` : `${threeDigits(value)} ${byteUnits[unit]}`;
}

/** Milliseconds for a person as minutes and seconds, or hours: 65000 → "1:05". */
export function formatDuration(ms: number): string {
  const seconds = Math.round(ms / 1000);
  const pad = (value: number) => String(value).padStart(2, "0");
  const hours = Math.floor(seconds / 3600);
  const minutes = Math.floor(seconds / 60) % 60;
  return hours > 0 ? `${hours}:${pad(minutes)}:${pad(seconds % 60)}` : `${minutes}:${pad(seconds % 60)}`;
}

/** A measured number for a person: at least three significant digits, integers in full. */
export function formatNumber(value: number): string {
  if (Number.isInteger(value) || Math.abs(value) >= 100) return String(Math.round(value));
  return Math.abs(value) < 0.001 ? value.toExponential(2) : value.toPrecision(3);
}

function threeDigits(value: number): string {
  return value.toFixed(value < 9.995 ? 2 : value < 99.95 ? 1 : 0);
}
