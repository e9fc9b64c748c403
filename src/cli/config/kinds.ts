/** The kinds of values that settings have: how they are read from text and from TOML, and shown. */

import { totalmem } from "node:os";
import { constrainedMemory } from "node:process";
import { mostDraft, type Speculate } from "../../engine/speculation.ts";
import { formatBytes } from "../../workload/format.ts";
import { parseMemoryAmount } from "../arguments.ts";

/** Where a value was written: flags and variables are text, a file has types of its own. */
export type Form = "text" | "toml";

export interface Kind<T> {
  /** For "it has to be …". */
  readonly allowed: string;
  /** The value; undefined where `raw` is none of this kind. */
  read(raw: unknown, form: Form): T | undefined;
  /** The value for a person. */
  show(value: T): string;
}

/** A whole number from `least` to `most`. */
export function wholeNumber(least: number, most: number): Kind<number> {
  return {
    allowed: `a whole number from ${least} to ${most}`,
    read: (raw, form) => {
      const value = form === "text" && /^\d+$/.test(String(raw)) ? Number(raw) : raw;
      return Number.isInteger(value) && isWithin(value as number, least, most)
        ? (value as number)
        : undefined;
    },
    show: String,
  };
}

export function oneOf<T extends string>(names: readonly T[]): Kind<T> {
  return {
    allowed: `${names.slice(0, -1).join(", ")} or ${names.at(-1)}`,
    read: (raw) => names.find((name) => name === raw),
    show: String,
  };
}

export function text(allowed: string, pattern: RegExp): Kind<string> {
  return {
    allowed,
    read: (raw) => (typeof raw === "string" && pattern.test(raw) ? raw : undefined),
    show: String,
  };
}

/** On or off. A flag or a variable that is there means on. */
export const onOff: Kind<boolean> = {
  allowed: "true or false",
  read: (raw, form) => (form === "text" ? true : typeof raw === "boolean" ? raw : undefined),
  show: (value) => (value ? "on" : "off"),
};

/** Several texts. A variable separates them by commas; a file may give a single one. */
export function texts(allowed: string, pattern: RegExp): Kind<readonly string[]> {
  return {
    allowed,
    read: (raw, form) => {
      const parts = typeof raw !== "string" ? raw : form === "text" ? splitAtCommas(raw) : [raw];
      if (!Array.isArray(parts)) return undefined;
      return parts.every((part) => typeof part === "string" && pattern.test(part)) ? parts : undefined;
    },
    show: (value) => value.join(", "),
  };
}

function splitAtCommas(text: string): string[] {
  return text.split(",").map((part) => part.trim());
}

/** Bytes that this process may use at most: the machine's memory, or its container's. */
export function machineBytes(): number {
  const limit = constrainedMemory();
  return limit > 0 ? Math.min(limit, totalmem()) : totalmem();
}

/** Memory in bytes; a share is one of the machine's. */
export const memory: Kind<number> = {
  allowed: "an amount of memory such as 12GiB, or a share of the machine's such as 80%",
  read: (raw, form) => {
    const amount = readAmount(raw, form);
    return amount && ("share" in amount ? Math.floor(amount.share * machineBytes()) : amount.bytes);
  },
  show: formatBytes,
};

/** Memory in bytes, or a share of all experts as in "50%". */
export const expertMemory: Kind<number | string> = {
  allowed: "an amount of memory such as 3GiB, or a share of all experts such as 50%",
  read: (raw, form) => {
    const amount = readAmount(raw, form);
    return amount && ("share" in amount ? String(raw).replaceAll(/\s/g, "") : amount.bytes);
  },
  show: (value) => (typeof value === "string" ? value : formatBytes(value)),
};

function readAmount(raw: unknown, form: Form) {
  if (typeof raw === "number" && form === "toml") {
    return Number.isSafeInteger(raw) && raw > 0 ? { bytes: raw } : undefined;
  }
  if (typeof raw !== "string") return undefined;
  try {
    return parseMemoryAmount(raw);
  } catch {
    return undefined;
  }
}

const unitSeconds: Readonly<Record<string, number>> = { ms: 0.001, s: 1, m: 60, h: 3600, d: 86_400 };
const mostSeconds = 366 * 86_400;

/** How tokens are drafted. */
export const speculate: Kind<Speculate> = {
  allowed: `auto, off or a whole number from 1 to ${mostDraft}`,
  read: (raw, form) => {
    if (raw === "auto" || raw === "off") return raw;
    return wholeNumber(1, mostDraft).read(raw, form);
  },
  show: String,
};

/** Seconds. */
export const duration: Kind<number> = {
  allowed: "a duration such as 30s, 2m or 1h; a number alone is seconds",
  read: readSeconds,
  show: (value) => `${value} s`,
};

/** Seconds; Infinity for what never ends. */
export const durationOrForever: Kind<number> = {
  allowed: `${duration.allowed}; forever or -1 without an end`,
  read: (raw, form) => {
    const forever = raw === "forever" || raw === "-1" || (raw === -1 && form === "toml");
    return forever ? Number.POSITIVE_INFINITY : readSeconds(raw, form);
  },
  show: (value) => (value === Number.POSITIVE_INFINITY ? "forever" : duration.show(value)),
};

function readSeconds(raw: unknown, form: Form): number | undefined {
  if (typeof raw === "number" && form === "toml") return isWithin(raw, 0, mostSeconds) ? raw : undefined;
  const [, amount, unit] = /^(\d+(?:\.\d+)?) ?(ms|s|m|h|d)?$/.exec(typeof raw === "string" ? raw : "") ?? [];
  const seconds = Number(amount) * unitSeconds[unit ?? "s"]!;
  return isWithin(seconds, 0, mostSeconds) ? seconds : undefined;
}

function isWithin(value: number, least: number, most: number): boolean {
  return value >= least && value <= most;
}
