import { StowageError } from "../../errors.ts";
import { choice, type Expression, type Grammar, rule, text } from "../expression.ts";
import { grammarLimits } from "../limits.ts";
import { arrayText } from "./arrays.ts";
import { checkDisjoint } from "./disjoint.ts";
import { jsonRules } from "./json-text.ts";
import { numberText } from "./numbers.ts";
import { objectText } from "./objects.ts";
import { type Part, SchemaDocument, tooMuch, valuesOf } from "./schema-parts.ts";
import { stringText } from "./strings.ts";
import { impliedTypes, namedValues, type TypeName, typesOf } from "./values.ts";

/**
 * A grammar of JSON texts each of which is valid by the schema. It need not allow all of them: properties come in the schema's
 * order, numbers have no more digits than a double tells apart, and what a schema does not speak of is left out. A keyword that
 * could not be kept to is refused.
 * @param schema a JSON schema, draft 4 to 2020-12
 * @param prefix of the names of its rules, where several are put together
 * @throws StowageError schema_invalid, schema_unsupported, grammar_limit
 */
export function schemaGrammar(schema: unknown, prefix = ""): Grammar {
  return new SchemaCompiler(schema, prefix).compile();
}

/** Any JSON object. */
export function anyObjectGrammar(): Grammar {
  return { rules: jsonRules, root: "object" };
}

class SchemaCompiler {
  readonly #document: SchemaDocument;
  readonly #rules = new Map<string, Expression>(jsonRules);
  /** Rules by the schemas that they are of. */
  readonly #names = new Map<string, string>();
  /** Rules that are still to be written: a queue, so that deep schemas do not recurse. */
  readonly #left: { readonly name: string; readonly parts: readonly Part[] }[] = [];

  readonly #prefix: string;

  constructor(schema: unknown, prefix: string) {
    this.#prefix = prefix;
    this.#document = new SchemaDocument(schema);
  }

  compile(): Grammar {
    this.#ruleOf([this.#document.root]);
    for (const { name, parts } of this.#left) this.#rules.set(name, this.#bodyOf(parts));
    return { rules: this.#rules, root: this.#left[0]!.name };
  }

  /** The rule of the values that obey all parts. */
  readonly #ruleOf = (parts: readonly Part[]): Expression => {
    const key = parts
      .map(({ where, done }) => `${where} ${done}`)
      .sort()
      .join("\n");
    let name = this.#names.get(key);
    if (name === undefined) {
      name = `${this.#prefix}schema ${this.#names.size}`;
      if (this.#names.size >= grammarLimits.rules)
        throw tooMuch("the schemas that hold together", grammarLimits.rules);
      this.#names.set(key, name);
      this.#left.push({ name, parts });
    }
    return rule(name);
  };

  #bodyOf(parts: readonly Part[]): Expression {
    const flat = this.#document.flatten(parts);
    if (!flat) return choice();
    const [alternatives] = [...valuesOf(flat, "anyOf"), ...valuesOf(flat, "oneOf")];
    if (!alternatives) return this.#plainBody(flat);
    const { part, value, where } = alternatives;
    const keyword = where.endsWith("/oneOf") ? "oneOf" : "anyOf";
    const options = this.#document.parts(value, where);
    if (keyword === "oneOf") checkDisjoint(options, this.#document, where);
    const rest = flat.map((one) => {
      const done = [...one.done, "$ref", "allOf", ...(one === part ? [keyword] : [])];
      return { ...one, done: [...new Set(done)] };
    });
    return choice(...options.map((option) => this.#ruleOf([...rest, option])));
  }

  /** Without alternatives: by type. */
  #plainBody(parts: readonly Part[]): Expression {
    const said = typesOf(parts);
    const all = new Set<TypeName>(["string", "number", "boolean", "null", "array", "object"]);
    const named = namedValues(parts, said ?? all);
    if (named) return choice(...named.map((value) => text(JSON.stringify(value))));
    const implied = impliedTypes(parts);
    const types = said ?? (implied.size > 0 ? implied : undefined);
    if (!types) return rule("value");
    return choice(...[...types].map((type) => this.#ofType(type, parts)));
  }

  #ofType(type: TypeName, parts: readonly Part[]): Expression {
    switch (type) {
      case "string":
        return stringText(parts);
      case "number":
      case "integer":
        return numberText(parts, type === "integer");
      case "array":
        return arrayText(parts, this.#document, this.#ruleOf);
      case "object":
        return objectText(parts, this.#document, this.#ruleOf);
      default:
        return rule(type);
    }
  }
}

/**
 * Reads a schema's text.
 * @throws StowageError schema_invalid, grammar_limit
 */
export function parseSchema(source: string): unknown {
  if (source.length > grammarLimits.textLength) {
    throw new StowageError("grammar_limit", {
      what: "the length of its text",
      found: source.length,
      limit: grammarLimits.textLength,
    });
  }
  try {
    return JSON.parse(source);
  } catch (error) {
    throw new StowageError("schema_invalid", {
      where: "#",
      reason: `it is no JSON (${(error as Error).message})`,
    });
  }
}
