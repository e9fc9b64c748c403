import { isDeepStrictEqual } from "node:util";
import { hasText } from "./language.ts";
import { countsOf, invalid, isObject, numbersOf, type Part, unsupported, valuesOf } from "./schema-parts.ts";
import { patternLanguages } from "./strings.ts";

export const typeNames = ["string", "number", "integer", "boolean", "null", "array", "object"] as const;
export type TypeName = (typeof typeNames)[number];

/**
 * The values that `enum` and `const` name, as far as the other keywords allow them; undefined where there is neither.
 * @param types those that are allowed
 * @throws StowageError schema_invalid, schema_unsupported
 */
export function namedValues(parts: readonly Part[], types: ReadonlySet<TypeName>): unknown[] | undefined {
  const lists = [
    ...valuesOf(parts, "enum").map(({ value, where }) => {
      if (!Array.isArray(value) || value.length === 0) throw invalid(where, "it has to be a list of values");
      return value as unknown[];
    }),
    ...valuesOf(parts, "const").map(({ value }) => [value]),
  ];
  const [first, ...others] = lists;
  if (!first) return undefined;
  return first.filter(
    (value) =>
      others.every((list) => list.some((other) => isDeepStrictEqual(other, value))) &&
      allowed(value, parts, types),
  );
}

function allowed(value: unknown, parts: readonly Part[], types: ReadonlySet<TypeName>): boolean {
  switch (typeof value) {
    case "string":
      return types.has("string") && isAllowedString(value, parts);
    case "number":
      return (
        (types.has("number") || (types.has("integer") && Number.isInteger(value))) &&
        isAllowedNumber(value, parts)
      );
    case "boolean":
      return types.has("boolean");
    default:
      if (value === null) return types.has("null");
      if (!types.has(Array.isArray(value) ? "array" : "object")) return false;
      refuseBeside(parts, Array.isArray(value) ? arrayKeywords : objectKeywords);
      return true;
  }
}

const arrayKeywords = ["items", "prefixItems", "minItems", "maxItems", "uniqueItems"];
const objectKeywords = [
  "properties",
  "patternProperties",
  "additionalProperties",
  "required",
  "propertyNames",
  "minProperties",
  "maxProperties",
];

/** Whether a named object is valid would have to be checked, and that is not done here. */
function refuseBeside(parts: readonly Part[], keywords: readonly string[]): void {
  for (const keyword of keywords) {
    const [found] = valuesOf(parts, keyword);
    if (found)
      throw unsupported(
        keyword,
        found.where,
        "it does not go together with enum or const of lists or objects",
      );
  }
}

function isAllowedString(value: string, parts: readonly Part[]): boolean {
  const [least, most] = countsOf(parts, "minLength", "maxLength");
  const length = [...value].length;
  if (length < least || length > most) return false;
  return patternLanguages(parts).every((language) => hasText(language, value));
}

function isAllowedNumber(value: number, parts: readonly Part[]): boolean {
  return (
    numbersOf(parts, "minimum").every((bound) => value >= bound) &&
    numbersOf(parts, "maximum").every((bound) => value <= bound) &&
    exclusives(parts, "exclusiveMinimum").every((bound) => value > bound) &&
    exclusives(parts, "exclusiveMaximum").every((bound) => value < bound) &&
    numbersOf(parts, "multipleOf").every((step) => Number.isInteger(value / step))
  );
}

/** Draft 4 has a flag instead of a number. */
function exclusives(parts: readonly Part[], keyword: string): number[] {
  return valuesOf(parts, keyword).flatMap(({ value, part }) => {
    if (typeof value !== "boolean") return numbersOf([part], keyword);
    const bound = keyword === "exclusiveMinimum" ? "minimum" : "maximum";
    return value ? numbersOf([part], bound) : [];
  });
}

/** The types that are allowed, by `type` and `nullable`; undefined where nothing says so. */
export function typesOf(parts: readonly Part[]): Set<TypeName> | undefined {
  let types: Set<TypeName> | undefined;
  for (const { value, where, part } of valuesOf(parts, "type")) {
    const list = (Array.isArray(value) ? value : [value]) as TypeName[];
    if (list.length === 0 || !list.every((name) => typeNames.includes(name))) {
      throw invalid(where, `it has to be of ${typeNames.join(", ")}`);
    }
    const own = new Set(list);
    if (isObject(part.schema) && part.schema.nullable === true) own.add("null");
    types = types ? bothOf(types, own) : own;
  }
  return types;
}

function bothOf(a: ReadonlySet<TypeName>, b: ReadonlySet<TypeName>): Set<TypeName> {
  const has = (set: ReadonlySet<TypeName>, name: TypeName) =>
    set.has(name) || (name === "integer" && set.has("number"));
  return new Set(
    typeNames.filter(
      (name) => has(a, name) && has(b, name) && (name !== "integer" || !(a.has("number") && b.has("number"))),
    ),
  );
}

const implied: readonly (readonly [TypeName, readonly string[]])[] = [
  ["object", objectKeywords],
  ["array", [...arrayKeywords, "additionalItems"]],
  ["string", ["minLength", "maxLength", "pattern", "format"]],
  ["number", ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"]],
];

/** The types that the keywords speak of, where `type` is not there; empty where there are none. */
export function impliedTypes(parts: readonly Part[]): Set<TypeName> {
  return new Set(
    implied.flatMap(([type, keywords]) =>
      keywords.some((keyword) => valuesOf(parts, keyword).length > 0) ? [type] : [],
    ),
  );
}
