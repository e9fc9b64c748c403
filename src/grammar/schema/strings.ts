import { choice, type Expression, repeat, rule, sequence, text } from "../expression.ts";
import { formatPatterns, freeFormats } from "./formats.ts";
import { characterText } from "./json-text.ts";
import { hasLength, intersection, type Language, languageOf, machineText, ofLength } from "./language.ts";
import { anyText, PatternFault, textsWith } from "./regex.ts";
import { countsOf, invalid, type Part, unsupported, valuesOf } from "./schema-parts.ts";

/**
 * The strings that these schemas allow, in quotes.
 * @throws StowageError schema_invalid, schema_unsupported, grammar_limit
 */
export function stringText(parts: readonly Part[]): Expression {
  const patterns = patternsOf(parts);
  const [least, most] = countsOf(parts, "minLength", "maxLength");
  if (least > most) return choice();
  if (patterns.length === 0) {
    const isAny = least === 0 && most === Number.POSITIVE_INFINITY;
    return isAny ? rule("string") : quoted(repeat(rule("character"), least, most));
  }
  return quoted(
    patterns.length === 1
      ? lengthened(patterns[0]!, least, most)
      : machineText(languageOfAll(patterns, least, most)),
  );
}

/**
 * The same as a language, for what has to be cut with others.
 * @throws StowageError as {@link stringText}
 */
export function stringLanguage(parts: readonly Part[]): Language {
  const [least, most] = countsOf(parts, "minLength", "maxLength");
  const patterns = patternsOf(parts);
  return languageOfAll(patterns.length === 0 ? [anyText] : patterns, least, most);
}

/** What the patterns and formats allow, each by itself. */
export function patternLanguages(parts: readonly Part[]): Language[] {
  return patternsOf(parts).map(languageOf);
}

export function quoted(inner: Expression): Expression {
  return sequence(text('"'), inner, text('"'));
}

function languageOfAll(patterns: readonly Expression[], least: number, most: number): Language {
  return withLength(patterns.map(languageOf).reduce(intersection), least, most);
}

function withLength(language: Language, least: number, most: number): Language {
  const isAny = least === 0 && most === Number.POSITIVE_INFINITY;
  return isAny || hasLength(language, least, most) ? language : ofLength(language, least, most);
}

/** A pattern that only says of which characters a text is, and how many, takes lengths as they are: they are counted. */
function lengthened(pattern: Expression, least: number, most: number): Expression {
  if (pattern.kind === "repeat" && pattern.body.kind === "characters") {
    const [from, to] = [Math.max(pattern.least, least), Math.min(pattern.most, most)];
    return from > to ? choice() : repeat(characterText(pattern.body.ranges), from, to);
  }
  return machineText(withLength(languageOf(pattern), least, most));
}

function patternsOf(parts: readonly Part[]): Expression[] {
  const patterns = valuesOf(parts, "pattern").map(({ value, where }) => {
    if (typeof value !== "string") throw invalid(where, "a pattern has to be a string");
    return patternAt(value, where);
  });
  const formats = valuesOf(parts, "format").flatMap(({ value, where }) => {
    if (typeof value !== "string") throw invalid(where, "a format has to be a string");
    if (freeFormats.includes(value)) return [];
    const pattern = Object.hasOwn(formatPatterns, value) ? formatPatterns[value] : undefined;
    if (pattern === undefined) {
      throw unsupported(
        "format",
        where,
        `formats that are kept are ${Object.keys(formatPatterns).join(", ")}`,
      );
    }
    return [textsWith(pattern)];
  });
  return [...patterns, ...formats];
}

/** @throws StowageError schema_invalid, schema_unsupported */
export function patternAt(pattern: string, where: string): Expression {
  try {
    return textsWith(pattern);
  } catch (error) {
    if (!(error instanceof PatternFault)) throw error;
    if (error.message.startsWith("Invalid regular expression")) throw invalid(where, error.message);
    throw unsupported("pattern", where, error.message);
  }
}
