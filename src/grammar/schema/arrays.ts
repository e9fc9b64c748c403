import { choice, type Expression, rule } from "../expression.ts";
import { list } from "./json-text.ts";
import type { RuleOf } from "./objects.ts";
import { countsOf, invalid, type Part, type SchemaDocument, unsupported, valuesOf } from "./schema-parts.ts";

/** Items that are named one by one, of all schemas. */
const mostNamed = 10_000;

/** What one schema says of the items of a list. */
interface Clause {
  readonly first: readonly Part[];
  /** Of those after; undefined where nothing is said. */
  readonly rest: Part | undefined;
}

/**
 * The lists that these schemas allow. Where a schema names the first items and does not speak of others, none come but those
 * that `minItems` asks for.
 * @throws StowageError schema_invalid, schema_unsupported, grammar_limit
 */
export function arrayText(parts: readonly Part[], document: SchemaDocument, ruleOf: RuleOf): Expression {
  const clauses = parts.flatMap((part) => clauseOf(part, document));
  const [least, most] = countsOf(parts, "minItems", "maxItems");
  if (least > most) return choice();
  const [unique] = valuesOf(parts, "uniqueItems").filter(({ value }) => value === true);
  if (unique && most > 1) {
    throw unsupported(
      "uniqueItems",
      unique.where,
      "items are not compared; it is kept only with maxItems of at most 1",
    );
  }
  if (clauses.length === 0 && least === 0 && most === Number.POSITIVE_INFINITY) return rule("array");
  const named = Math.max(0, ...clauses.map(({ first }) => first.length));
  if (named > mostNamed)
    throw unsupported("prefixItems", "#", `more than ${mostNamed} items cannot be named`);
  const first = Array.from({ length: named }, (_, index) =>
    ruleOf(clauses.flatMap((clause) => clause.first[index] ?? clause.rest ?? [])),
  );
  const rests = clauses.flatMap(({ rest }) => rest ?? []);
  const isSilent = named > 0 && rests.length === 0 && least <= named;
  const isClosed = isSilent || rests.some(({ schema }) => schema === false);
  return list(
    first,
    isClosed ? undefined : ruleOf(rests),
    least,
    isClosed ? Math.min(most, Math.max(named, least)) : most,
  );
}

function clauseOf({ schema, where }: Part, document: SchemaDocument): Clause[] {
  if (typeof schema === "boolean") return [];
  const { items, prefixItems, additionalItems } = schema;
  if (items === undefined && prefixItems === undefined) return [];
  // Before 2020, a list under `items` named the first ones, and `additionalItems` was about the others.
  const isOld = Array.isArray(items);
  if (isOld && prefixItems !== undefined) throw invalid(`${where}/items`, "it is a list beside prefixItems");
  const named = isOld ? items : (prefixItems ?? []);
  if (!Array.isArray(named)) throw invalid(`${where}/prefixItems`, "it has to be a list of schemas");
  const keyword = isOld ? "items" : "prefixItems";
  const rest = isOld ? additionalItems : items;
  return [
    {
      first: named.map((one, index) => document.part(one, `${where}/${keyword}/${index}`)),
      rest:
        rest === undefined
          ? undefined
          : document.part(rest, `${where}/${isOld ? "additionalItems" : "items"}`),
    },
  ];
}
