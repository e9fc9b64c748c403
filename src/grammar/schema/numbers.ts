import { characters, choice, type Expression, rule, sequence, text } from "../expression.ts";
import { intersection, type Language, languageOf, machineText } from "./language.ts";
import { numbersOf, type Part, unsupported, valuesOf } from "./schema-parts.ts";

/** So many digits tell any two doubles of that length apart. */
const mostDigits = 15;
const largest = 10n ** BigInt(mostDigits) - 1n;
/** Digits after the point, where a number has bounds. */
const fractionDigits = 8;
/** Multiples are found by counting remainders. */
const mostRemainders = 1_000;
/** States of the numbers of one sign. */
const mostStates = 2_000;
/** So few are written out. */
const writtenOut = 200n;

/** Bounds as decimals: `digits` · 10^-`places`. */
interface Decimal {
  readonly digits: bigint;
  readonly places: number;
}

/** What a number has to be. */
interface Range {
  readonly least: { readonly value: Decimal; readonly isOpen: boolean } | undefined;
  readonly most: { readonly value: Decimal; readonly isOpen: boolean } | undefined;
}

/**
 * The numbers that these schemas allow; all of them, as far as they have 15 digits, and where there are bounds, without exponents.
 * @throws StowageError schema_invalid, schema_unsupported
 */
export function numberText(parts: readonly Part[], isInteger: boolean): Expression {
  const range = rangeOf(parts, isInteger);
  const multiples = valuesOf(parts, "multipleOf");
  const steps = numbersOf(parts, "multipleOf");
  const hasBounds = range.least !== undefined || range.most !== undefined;
  if (steps.length === 0 && !hasBounds) return rule(isInteger ? "integer" : "number");
  if (steps.length === 0) return isInteger ? wholeNumbers(range, 0) : decimals(range);
  const where = multiples[0]!.where;
  const fractions = steps.filter((step) => !Number.isInteger(step));
  const refuse = (reason: string) => unsupported("multipleOf", where, reason);
  if (steps.some((step) => step <= 0)) throw refuse("it has to be above 0");
  if (fractions.length === 0) {
    const step = steps.reduce((a, b) => (a * b) / greatestDivisor(a, b));
    if (step > mostRemainders && !isFew(range, step))
      throw refuse(
        `multiples of more than ${mostRemainders} are kept only within bounds that are ${writtenOut} of them apart`,
      );
    return multiplesOf(range, step, 0);
  }
  if (isInteger || steps.length > 1)
    throw refuse("several steps, or a step for whole numbers that is none, are not supported");
  const step = decimalOf(steps[0]!);
  if (!step || step.places > fractionDigits || (2 ** step.places * steps[0]!) % 1 !== 0) {
    throw refuse(
      "only whole numbers, and fractions that are exact in binary, such as 0.5 or 0.25, divide exactly",
    );
  }
  return multiplesOf(range, Number(step.digits), step.places);
}

function rangeOf(parts: readonly Part[], isInteger: boolean): Range {
  const bounds = (keyword: string, isOpen: boolean) =>
    valuesOf(parts, keyword).flatMap(({ value, where, part }) => {
      // Draft 4 had a flag beside the bound.
      if (typeof value === "boolean" && isOpen) return [];
      const [number] = numbersOf([part], keyword);
      const decimal = decimalOf(number!);
      if (!decimal)
        throw unsupported(keyword, where, `bounds have to be below 2^53 and of at most ${mostDigits} places`);
      const flag = keyword === "minimum" ? "exclusiveMinimum" : "exclusiveMaximum";
      const isFlagged = typeof part.schema === "object" && part.schema[flag] === true;
      return [{ number: number!, value: decimal, isOpen: isOpen || isFlagged }];
    });
  const lower = [
    ...bounds("minimum", false),
    ...bounds("exclusiveMinimum", true),
    ...formatBounds(parts, isInteger, "least"),
  ];
  const upper = [
    ...bounds("maximum", false),
    ...bounds("exclusiveMaximum", true),
    ...formatBounds(parts, isInteger, "most"),
  ];
  const tightest = <T extends { number: number; isOpen: boolean }>(list: T[], sign: 1 | -1) =>
    list.sort((a, b) => sign * (b.number - a.number) || Number(b.isOpen) - Number(a.isOpen))[0];
  return { least: tightest(lower, 1), most: tightest(upper, -1) };
}

/** Formats of numbers, as OpenAPI has them. */
function formatBounds(parts: readonly Part[], isInteger: boolean, side: "least" | "most") {
  return valuesOf(parts, "format").flatMap(({ value, where }) => {
    if (value === "int32" && isInteger) {
      const number = side === "least" ? -(2 ** 31) : 2 ** 31 - 1;
      return [{ number, value: decimalOf(number)!, isOpen: false }];
    }
    if (["int32", "int64", "float", "double"].includes(value as string)) return [];
    if (valuesOf(parts, "type").every(({ value: type }) => type === "number" || type === "integer")) {
      throw unsupported("format", where, "it is no format of numbers that is known");
    }
    return [];
  });
}

function decimalOf(number: number): Decimal | undefined {
  const found = /^(-?\d+)(?:\.(\d+))?(?:e-(\d+))?$/.exec(String(number));
  if (!found || Math.abs(number) > Number.MAX_SAFE_INTEGER) return undefined;
  const [, whole, fraction = "", exponent = "0"] = found;
  const places = fraction.length + Number(exponent);
  return places > 40 ? undefined : { digits: BigInt(whole! + fraction), places };
}

/** The least and most whole numbers N for which N · 10^-places is in the range and has not too many digits. */
function scaled(range: Range, places: number): readonly [bigint, bigint] {
  let least = -largest;
  let most = largest;
  if (range.least) {
    const { value, isOpen } = range.least;
    const [quotient, isExact] = floor(value, places);
    const bound = isExact && !isOpen ? quotient : quotient + 1n;
    if (bound > least) least = bound;
  }
  if (range.most) {
    const { value, isOpen } = range.most;
    const [quotient, isExact] = floor(value, places);
    const bound = isExact && isOpen ? quotient - 1n : quotient;
    if (bound < most) most = bound;
  }
  return [least, most];
}

/** digits · 10^(to - places), rounded down, and whether nothing was lost. */
function floor({ digits, places }: Decimal, to: number): readonly [bigint, boolean] {
  if (to >= places) return [digits * 10n ** BigInt(to - places), true];
  const divisor = 10n ** BigInt(places - to);
  const rest = ((digits % divisor) + divisor) % divisor;
  return [(digits - rest) / divisor, rest === 0n];
}

/** Numbers of exactly so many places after the point. */
function wholeNumbers(range: Range, places: number): Expression {
  const [least, most] = scaled(range, places);
  return signed(least, most, (from, to) => pointed(from, to, places));
}

function decimals(range: Range): Expression {
  const options: Expression[] = [];
  for (let places = 0; places <= fractionDigits; places++) options.push(wholeNumbers(range, places));
  return choice(...options);
}

function multiplesOf(range: Range, step: number, places: number): Expression {
  const [least, most] = scaled(range, places);
  const size = BigInt(step);
  if (isFew(range, step, places)) {
    const options: Expression[] = [];
    for (let number = -floorDivided(-least, size) * size; number <= most; number += size) {
      options.push(text(decimalText(number, places)));
    }
    return choice(...options);
  }
  const multiples = remainders(step);
  return signed(least, most, (from, to) => {
    const options: Expression[] = [];
    let states = 0;
    // Shorter numbers first; where a step has many remainders, the longest ones are left out.
    for (const digits of sequencesByLength(from, to, places)) {
      const language = intersection(languageOf(digits), multiples);
      states += language.edges.length;
      options.push(machineText(language));
      if (states > mostStates) break;
    }
    return choice(...options);
  });
}

function isFew(range: Range, step: number, places = 0): boolean {
  const [least, most] = scaled(range, places);
  return (most - least) / BigInt(step) <= writtenOut;
}

function floorDivided(a: bigint, b: bigint): bigint {
  const quotient = a / b;
  return a % b !== 0n && a < 0n ? quotient - 1n : quotient;
}

function decimalText(number: bigint, places: number): string {
  const digits = String(number < 0n ? -number : number).padStart(places + 1, "0");
  const point = places === 0 ? "" : ".";
  return `${number < 0n ? "-" : ""}${digits.slice(0, digits.length - places)}${point}${digits.slice(digits.length - places)}`;
}

/** Texts of digits whose number is a multiple; a point in them is passed over. */
function remainders(step: number): Language {
  const edges = Array.from({ length: step }, (_, rest) => [
    ...Array.from({ length: 10 }, (_, digit) => ({
      ranges: [[0x30 + digit, 0x30 + digit] as const],
      to: (rest * 10 + digit) % step,
    })),
    { ranges: [[0x2e, 0x2e] as const], to: rest },
  ]);
  return { finals: edges.map((_, rest) => rest === 0), edges };
}

/** `write` gives the digits of numbers from 0 on. There is no "-0". */
function signed(least: bigint, most: bigint, write: (from: bigint, to: bigint) => Expression): Expression {
  const options: Expression[] = [];
  if (most >= 0n) options.push(write(least > 0n ? least : 0n, most));
  if (least < 0n) options.push(sequence(text("-"), write(most < 0n ? -most : 1n, -least)));
  return choice(...options);
}

function pointed(from: bigint, to: bigint, places: number): Expression {
  return choice(...sequencesByLength(from, to, places));
}

/** The digits of the numbers from `from` to `to`, with the point before the last `places`; an expression for each length. */
function sequencesByLength(from: bigint, to: bigint, places: number): Expression[] {
  const options: Expression[] = [];
  for (let length = places + 1; length <= mostDigits + 1; length++) {
    // The shortest may begin with zeros: those before the point are one at most.
    const shortest = length === places + 1 ? 0n : 10n ** BigInt(length - 1);
    const longest = 10n ** BigInt(length) - 1n;
    const low = from > shortest ? from : shortest;
    const high = to < longest ? to : longest;
    if (low > high) continue;
    const write = (number: bigint) => [...String(number).padStart(length, "0")].map(Number);
    options.push(choice(...digitRanges(write(low), write(high)).map((digits) => withPoint(digits, places))));
  }
  return options;
}

type DigitRange = readonly [low: number, high: number];

/** Sequences of digit ranges that together are the numbers between two of equal length. */
function digitRanges(low: readonly number[], high: readonly number[]): DigitRange[][] {
  const same = low.findIndex((digit, place) => digit !== high[place]);
  if (same < 0) return [low.map((digit) => [digit, digit])];
  const head = low.slice(0, same).map((digit): DigitRange => [digit, digit]);
  const rest = low.length - same - 1;
  const any = Array.from({ length: rest }, (): DigitRange => [0, 9]);
  const [first, last] = [low[same]!, high[same]!];
  const isLowest = low.slice(same + 1).every((digit) => digit === 0);
  const isHighest = high.slice(same + 1).every((digit) => digit === 9);
  const found: DigitRange[][] = [];
  if (!isLowest) {
    const nines = Array.from({ length: rest }, () => 9);
    for (const tail of digitRanges(low.slice(same + 1), nines))
      found.push([...head, [first, first], ...tail]);
  }
  const from = isLowest ? first : first + 1;
  const to = isHighest ? last : last - 1;
  if (from <= to) found.push([...head, [from, to], ...any]);
  if (!isHighest) {
    const zeros = Array.from({ length: rest }, () => 0);
    for (const tail of digitRanges(zeros, high.slice(same + 1))) found.push([...head, [last, last], ...tail]);
  }
  return found;
}

function withPoint(digits: readonly DigitRange[], places: number): Expression {
  const write = ([low, high]: DigitRange) => characters([0x30 + low, 0x30 + high]);
  const point = digits.length - places;
  const whole = digits.slice(0, point).map(write);
  return places === 0 ? sequence(...whole) : sequence(...whole, text("."), ...digits.slice(point).map(write));
}

function greatestDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestDivisor(b, a % b);
}
