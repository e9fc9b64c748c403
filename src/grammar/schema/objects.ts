import {
  choice,
  type Expression,
  type Machine,
  nothing,
  optional,
  repeat,
  rule,
  sequence,
  text,
} from "../expression.ts";
import { braces, comma } from "./json-text.ts";
import {
  difference,
  hasText,
  intersection,
  isEmpty,
  type Language,
  languageOf,
  machineText,
  without,
} from "./language.ts";
import { anyText } from "./regex.ts";
import {
  countsOf,
  invalid,
  isObject,
  type Part,
  pointerKey,
  type SchemaDocument,
  tooMuch,
  unsupported,
  valuesOf,
} from "./schema-parts.ts";
import { patternAt, quoted, stringLanguage } from "./strings.ts";

/** Puts parts into the expression of a value that obeys all of them. */
export type RuleOf = (parts: readonly Part[]) => Expression;

/** Objects with more properties in more counts than this are refused. */
const mostPlaces = 20_000;

interface Property {
  readonly name: string;
  readonly parts: readonly Part[];
  readonly isRequired: boolean;
}

/** What one schema says of the properties of an object. */
interface Clause {
  readonly named: ReadonlyMap<string, Part>;
  readonly patterns: readonly { readonly language: Language; readonly part: Part }[];
  /** Of all others. */
  readonly others: Part;
  /** Whether others may come though nobody said so. */
  readonly isSilent: boolean;
}

/**
 * The objects that these schemas allow: named properties in the schema's order, then others.
 *
 * Where a schema names properties and does not speak of others, none come: what is generated is valid all the same.
 * @throws StowageError schema_invalid, schema_unsupported, grammar_limit
 */
export function objectText(parts: readonly Part[], document: SchemaDocument, ruleOf: RuleOf): Expression {
  const clauses = parts.flatMap((part) => clauseOf(part, document));
  const [least, most] = countsOf(parts, "minProperties", "maxProperties");
  const names = namesOf(parts);
  const required = requiredOf(parts);
  const allNames = [...new Set([...clauses.flatMap(({ named }) => [...named.keys()]), ...required])];
  const properties = allNames.map((name) => ({
    name,
    parts: clauses.flatMap((clause) => partsFor(clause, name)),
    isRequired: required.has(name),
  }));
  if (names) checkNames(properties, names);
  const pair = (key: Expression, value: Expression) => sequence(key, text(":"), optional(text(" ")), value);
  const others = othersOf(clauses, allNames, names, parts.length > clauses.length).map(
    ({ keys, parts: own }) => pair(quoted(keys), ruleOf(own)),
  );
  if (
    clauses.length === 0 &&
    !names &&
    required.size === 0 &&
    least === 0 &&
    most === Number.POSITIVE_INFINITY
  ) {
    return rule("object");
  }
  const pairs = properties.map(({ name, parts: own, isRequired }) => ({
    expression: pair(text(JSON.stringify(name)), ruleOf(own)),
    isRequired,
  }));
  return braces(membersOf(pairs, others.length === 0 ? undefined : choice(...others), least, most));
}

function clauseOf(part: Part, document: SchemaDocument): Clause[] {
  const { schema, where } = part;
  if (typeof schema === "boolean") return [];
  const { properties, patternProperties, additionalProperties } = schema;
  if (properties === undefined && patternProperties === undefined && additionalProperties === undefined)
    return [];
  const listed = (value: unknown, keyword: string): [string, Part][] => {
    if (value === undefined) return [];
    if (!isObject(value)) throw invalid(`${where}/${keyword}`, "it has to be an object");
    return Object.entries(value).map(([name, one]) => [
      name,
      document.part(one, `${where}/${keyword}/${pointerKey(name)}`),
    ]);
  };
  const isSilent = additionalProperties === undefined;
  return [
    {
      named: new Map(listed(properties, "properties")),
      patterns: listed(patternProperties, "patternProperties").map(([pattern, one]) => ({
        language: languageOf(patternAt(pattern, `${where}/patternProperties`)),
        part: one,
      })),
      others: document.part(additionalProperties ?? true, `${where}/additionalProperties`),
      isSilent,
    },
  ];
}

/** What a schema asks of a property of this name. */
function partsFor({ named, patterns, others }: Clause, name: string): Part[] {
  const found = patterns.filter(({ language }) => hasText(language, name)).map(({ part }) => part);
  const own = named.get(name);
  if (own) found.push(own);
  return found.length === 0 ? [others] : found;
}

function requiredOf(parts: readonly Part[]): Set<string> {
  return new Set(
    valuesOf(parts, "required").flatMap(({ value, where }) => {
      if (typeof value === "boolean") return [];
      if (!Array.isArray(value) || !value.every((name) => typeof name === "string")) {
        throw invalid(where, "it has to be a list of names");
      }
      return value as string[];
    }),
  );
}

/** What names have to be. */
function namesOf(parts: readonly Part[]): Language | undefined {
  const rules = valuesOf(parts, "propertyNames");
  const languages = rules.map(({ value, where }): Language => {
    if (!isObject(value)) throw unsupported("propertyNames", where, "only schemas of strings are supported");
    const known = ["type", "pattern", "minLength", "maxLength", "format", "title", "description"];
    const other = Object.keys(value).find((keyword) => !known.includes(keyword));
    if (other !== undefined)
      throw unsupported(other, where, "names are kept to lengths, patterns and formats only");
    return stringLanguage([{ schema: value, where, done: [] }]);
  });
  return languages.length === 0 ? undefined : languages.reduce(intersection);
}

function checkNames(properties: Property[], names: Language): void {
  for (let index = properties.length - 1; index >= 0; index--) {
    const property = properties[index]!;
    if (hasText(names, property.name)) continue;
    // One that has to be there and may not: no object is valid.
    properties.splice(index, 1, ...(property.isRequired ? [{ ...property, parts: [never] }] : []));
  }
}

const never: Part = { schema: false, where: "#", done: [] };

/** Names beyond those that are listed, by what their values have to be. */
function othersOf(
  clauses: readonly Clause[],
  listed: readonly string[],
  names: Language | undefined,
  isRestAsked: boolean,
): { keys: Expression; parts: Part[] }[] {
  const patterns = clauses.flatMap((clause) => clause.patterns);
  const unlisted = (language: Language) => {
    const free = without(language, listed);
    return names ? intersection(free, names) : free;
  };
  const found: { keys: Expression; parts: Part[] }[] = [];
  const add = (keys: Language, parts: Part[]) => {
    if (parts.some(({ schema }) => schema === false) || isEmpty(keys)) return;
    found.push({ keys: machineText(keys), parts });
  };
  patterns.forEach(({ language, part }, index) => {
    for (const other of patterns.slice(index + 1)) {
      if (!isEmpty(intersection(language, other.language))) {
        throw unsupported(
          "patternProperties",
          part.where,
          "patterns that may match one name are not supported",
        );
      }
    }
    // The other schemas take it for one of their others.
    const elsewhere = clauses.filter((clause) => clause.patterns.every((own) => own.part !== part));
    add(unlisted(language), [part, ...elsewhere.map(({ others }) => others)]);
  });
  const speaks = clauses.filter(({ isSilent }) => !isSilent);
  const namesNothing = clauses.every(({ named, patterns: own }) => named.size === 0 && own.length === 0);
  if (speaks.length === 0 && !(namesNothing && (isRestAsked || clauses.length === 0))) return found;
  const rest = patterns.reduce((keys, { language }) => difference(keys, language), languageOf(anyText));
  if (clauses.every(({ others }) => others.schema !== false)) {
    add(
      unlisted(rest),
      clauses.map(({ others }) => others),
    );
  }
  return found;
}

/**
 * `named` in order, those that are not required left out or not, then any number of `others`, with commas between, from
 * `least` to `most` in all. Others count once for `least`: two of them may have the same name.
 */
function membersOf(
  named: readonly { readonly expression: Expression; readonly isRequired: boolean }[],
  others: Expression | undefined,
  least: number,
  most: number,
): Expression {
  const required = named.filter(({ isRequired }) => isRequired).length;
  const counts =
    least > required || most < named.length || (others !== undefined && most < Number.POSITIVE_INFINITY);
  // Whether there was one before is all that has to be known where nothing is counted.
  const cap = counts
    ? Math.min(named.length, Math.max(least, most === Number.POSITIVE_INFINITY ? 0 : most))
    : 1;
  const width = cap + 1;
  if (named.length * width > mostPlaces) throw tooMuch("properties that are counted", mostPlaces);
  const edges: { from: number; over?: Expression; to: number }[] = [];
  const place = (index: number, count: number) => index * width + count;
  const end = place(named.length + 1, 0);
  for (let index = 0; index < named.length; index++) {
    const { expression, isRequired } = named[index]!;
    for (let count = 0; count <= Math.min(index, cap); count++) {
      const from = place(index, count);
      if (!isRequired) edges.push({ from, to: place(index + 1, count) });
      if (counts && count + 1 > most) continue;
      const to = place(index + 1, Math.min(count + 1, cap));
      edges.push({ from, over: count === 0 ? expression : sequence(comma, expression), to });
    }
  }
  for (let count = 0; count <= Math.min(named.length, cap); count++) {
    const from = place(named.length, count);
    const room = counts ? most - count : Number.POSITIVE_INFINITY;
    if (!counts || count >= least) edges.push({ from, to: end });
    if (!others || room <= 0 || (counts && count + 1 < least)) continue;
    const some = repeat(sequence(comma, others), count === 0 ? 0 : 1, count === 0 ? room - 1 : room);
    edges.push({ from, over: count === 0 ? sequence(others, some) : some, to: end });
  }
  const machine: Machine = { states: end + 1, start: place(0, 0), finals: [end], edges };
  return named.length === 0 && !others ? (least === 0 ? nothing : choice()) : { kind: "machine", ...machine };
}
