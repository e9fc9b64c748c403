import type { z } from "zod";
import { StowageError } from "../errors.ts";

type Issue = z.core.$ZodIssue;
type RawIssue = z.core.$ZodRawIssue;

const shownLength = 80;
/** What a check that is described by its type alone begins with; what a schema words itself stays as it is. */
const expectation = "it has to be ";

/**
 * Checks a request's body.
 * @throws StowageError request_invalid naming the field, what it may be and what it is
 */
export function checkBody<Body>(schema: z.ZodType<Body>, body: unknown): Body {
  const result = schema.safeParse(body, { reportInput: true, error: (issue) => wordsOf(issue) });
  if (result.success) return result.data;
  const { path, message, input } = furthest(narrowest(result.error.issues)!);
  throw new StowageError("request_invalid", {
    field: path.length === 0 ? "body" : pathText(path),
    reason: reasonOf(message, input),
  });
}

function reasonOf(message: string, input: unknown): string {
  if (input === undefined) return `it is missing; ${message}`;
  return message.startsWith(expectation)
    ? `${message}, not ${shown(input)}`
    : `${message}; it is ${shown(input)}`;
}

/** The first, but of several ranges that it is out of, the one that a field has beyond those of all its kind. */
function narrowest(issues: readonly Issue[]): Issue | undefined {
  const [first] = issues;
  if (first?.code !== "too_small" && first?.code !== "too_big") return first;
  return issues.findLast(({ code, path }) => code === first.code && pathText(path) === pathText(first.path));
}

/** Where none of several forms fits, those that came furthest tell most; what they expect is told together. */
function furthest(issue: Issue): Issue {
  if (issue.code !== "invalid_union") return issue;
  if (issue.errors.length === 0) return discriminatorIssue(issue);
  const inner = issue.errors
    .map(narrowest)
    .filter((one) => one !== undefined)
    .map(furthest);
  const best = inner.reduce((a, b) => (compareRank(b, a) > 0 ? b : a));
  const equals = inner.filter((other) => compareRank(other, best) === 0);
  return { ...best, path: [...issue.path, ...best.path], message: together(equals) } as Issue;
}

/** Deeper is further, then later in a list; of what stands at one place, another range is nearer than another type. */
function compareRank(a: Issue, b: Issue): number {
  return comparePaths(a.path, b.path) || Number(isRange(a)) - Number(isRange(b));
}

function comparePaths(a: readonly PropertyKey[], b: readonly PropertyKey[]): number {
  if (a.length !== b.length) return a.length - b.length;
  const index = a.findIndex((key, at) => key !== b[at]);
  return index < 0 ? 0 : Number(a[index]) - Number(b[index]) || 0;
}

function isRange({ code }: Issue): boolean {
  return code !== "invalid_type" && code !== "invalid_value";
}

function together(issues: readonly Issue[]): string {
  const messages = [...new Set(issues.map(({ message }) => message))];
  if (!messages.every((message) => message.startsWith(expectation))) return messages[0]!;
  return expectation + messages.map((message) => message.slice(expectation.length)).join(" or ");
}

/** Its path leads to the field that tells forms apart, its input is the object that holds the field. */
function discriminatorIssue(issue: Extract<Issue, { code: "invalid_union" }>): Issue {
  const holder = issue.input as Record<PropertyKey, unknown>;
  return { ...issue, input: holder[issue.path.at(-1)!] } as Issue;
}

/** What a value has to be. */
function wordsOf(issue: RawIssue): string | undefined {
  switch (issue.code) {
    case "invalid_type":
      return expectation + typeWords(issue.expected);
    case "invalid_value":
      return expectation + oneOf(issue.values);
    case "invalid_union":
      return Array.isArray(issue.options) ? expectation + oneOf(issue.options) : undefined;
    case "invalid_key":
      return issue.issues[0]?.message;
    case "too_small":
      return expectation + sizeWords(issue.origin, "at least", issue.minimum);
    case "too_big":
      return expectation + sizeWords(issue.origin, "at most", issue.maximum);
    default:
      return undefined;
  }
}

function typeWords(type: string): string {
  switch (type) {
    case "int":
      return "a whole number";
    case "boolean":
      return "true or false";
    case "array":
      return "a list";
    case "object":
      return "an object";
    case "null":
      return "null";
    default:
      return `a ${type}`;
  }
}

function sizeWords(origin: string, bound: string, limit: number | bigint | Date): string {
  const things = (one: string) => (limit === 1 ? one : `${one}s`);
  switch (origin) {
    case "string":
      return `a string of ${bound} ${limit} ${things("character")}`;
    case "array":
      return `a list of ${bound} ${limit} ${things("item")}`;
    default:
      return `${bound} ${limit}`;
  }
}

function oneOf(values: readonly unknown[]): string {
  const texts = values.map((value) => JSON.stringify(value));
  return texts.length === 1 ? texts[0]! : `one of ${texts.join(", ")}`;
}

function pathText(path: readonly PropertyKey[]): string {
  return path
    .map((key, index) =>
      typeof key === "number" ? `[${key}]` : index === 0 ? String(key) : `.${String(key)}`,
    )
    .join("")
    .slice(0, 200);
}

/** What stood there: whole where that is short, else its kind and size. */
function shown(input: unknown): string {
  if (Array.isArray(input)) return input.length === 0 ? "an empty list" : `a list of ${input.length}`;
  if (typeof input === "object" && input !== null) return "an object";
  if (typeof input === "number") return String(input);
  const text = JSON.stringify(input);
  if (text.length <= shownLength) return text;
  return `${text.slice(0, shownLength)}… of ${(input as string).length} characters`;
}
