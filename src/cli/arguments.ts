import { InvalidArgumentError } from "commander";
import type { Speculate } from "../engine/speculation.ts";
import { type TensorType, tensorTypes } from "../ggml/types.ts";

const byteUnits: Readonly<Record<string, number>> = {
  "": 1,
  b: 1,
  kb: 1e3,
  mb: 1e6,
  gb: 1e9,
  tb: 1e12,
  kib: 2 ** 10,
  mib: 2 ** 20,
  gib: 2 ** 30,
  tib: 2 ** 40,
};

/** For `argParser`: any number. Its range is checked where it is used. */
export function parseNumber(text: string): number {
  const value = Number(text);
  if (text.trim() !== "" && Number.isFinite(value)) return value;
  throw new InvalidArgumentError("It has to be a number.");
}

/** For `argParser`: any number above 0. */
export function positiveNumber(text: string): number {
  const value = parseNumber(text);
  if (value > 0) return value;
  throw new InvalidArgumentError("It has to be above 0.");
}

/** For `argParser`: an amount of memory in bytes, or with a unit such as 512MiB, 2GiB or 1.5GB. */
export function parseBytes(text: string): number {
  const [, digits, unit] = /^(\d+(?:\.\d+)?) ?([a-z]*)$/.exec(text.trim().toLowerCase()) ?? [];
  const factor = byteUnits[unit ?? "?"];
  const bytes = Math.floor(Number(digits) * (factor ?? Number.NaN));
  if (Number.isSafeInteger(bytes) && bytes > 0) return bytes;
  throw new InvalidArgumentError("It has to be an amount of memory, such as 512MiB or 2GiB.");
}

/** Memory as a share of something, such as 0.6 of a file, or in bytes. */
export type MemoryAmount = { readonly share: number } | { readonly bytes: number };

/** For `argParser`: a share from 1% to 100%, or an amount of memory as for {@link parseBytes}. */
export function parseMemoryAmount(text: string): MemoryAmount {
  const [, percent] = /^(\d+(?:\.\d+)?) ?%$/.exec(text.trim()) ?? [];
  if (percent === undefined) return { bytes: parseBytes(text) };
  const share = Number(percent) / 100;
  if (share >= 0.01 && share <= 1) return { share };
  throw new InvalidArgumentError("It has to be a share from 1% to 100%, or an amount such as 2GiB.");
}

/** For `argParser`: a share such as 50%, as it is, or an amount of memory in bytes. */
export function parseExpertMemory(text: string): string | number {
  return /^\d+(\.\d+)?%$/.test(text.trim()) ? text.trim() : parseBytes(text);
}

/** For `argParser`: how tokens are drafted. The range of a number is checked where it is used. */
export function parseSpeculate(text: string): Speculate {
  if (text === "auto" || text === "off") return text;
  if (/^\d+$/.test(text)) return Number(text);
  throw new InvalidArgumentError("It has to be auto, off or a whole number.");
}

/** For `argParser` of flags that may be given several times. */
export function collect(text: string, previous: readonly string[] = []): string[] {
  return [...previous, text];
}

/** For `argParser`: a whole number from `least` on. */
export function wholeNumber(least: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (/^\d+$/.test(text) && Number.isSafeInteger(value) && value >= least) return value;
    throw new InvalidArgumentError(`It has to be a whole number from ${least} on.`);
  };
}

/** For `argParser`: a tensor type by its name, in capitals or not. */
export function tensorType(text: string): TensorType {
  const name = text.toUpperCase();
  if (name in tensorTypes) return name as TensorType;
  throw new InvalidArgumentError("It has to be a type such as f16, q8_0, q6_k, q5_k, q4_k or q4_0.");
}
