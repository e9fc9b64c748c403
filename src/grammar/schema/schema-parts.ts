import { StowageError } from "../../errors.ts";
import { grammarLimits } from "../limits.ts";

export type SchemaObject = { readonly [keyword: string]: unknown };

/** A schema and where it stands: what holds for a value is a list of these, all of which it has to obey. */
export interface Part {
  readonly schema: SchemaObject | boolean;
  /** A JSON pointer, from "#". */
  readonly where: string;
  /** Keywords of it that are dealt with already. */
  readonly done: readonly string[];
}

/** Keywords that say nothing about which values are valid. */
const annotations = new Set([
  ...["$schema", "$id", "id", "$comment", "$defs", "definitions", "title", "description", "default"],
  ...["examples", "example", "deprecated", "readOnly", "writeOnly", "discriminator", "xml", "externalDocs"],
  ...["contentEncoding", "contentMediaType", "$vocabulary", "strict", "name"],
]);

/** Keywords that are kept. */
const kept = new Set([
  ...["$ref", "allOf", "anyOf", "oneOf", "type", "nullable", "enum", "const"],
  ...["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"],
  ...["minLength", "maxLength", "pattern", "format"],
  ...["items", "prefixItems", "additionalItems", "minItems", "maxItems", "uniqueItems"],
  ...["properties", "patternProperties", "additionalProperties", "required", "propertyNames"],
  ...["minProperties", "maxProperties"],
]);

/** A schema's text is read from one document; references stay within it. */
export class SchemaDocument {
  readonly #root: unknown;
  readonly #checked = new Set<string>();
  #work = 0;

  constructor(root: unknown) {
    this.#root = root;
  }

  get root(): Part {
    return this.part(this.#root, "#");
  }

  /** @throws StowageError schema_invalid where it is no schema, schema_unsupported where it has a keyword that cannot be kept */
  part(schema: unknown, where: string): Part {
    if (typeof schema !== "boolean" && !isObject(schema)) {
      throw invalid(where, "a schema has to be an object, true or false");
    }
    if (typeof schema !== "boolean" && !this.#checked.has(where)) {
      this.#checked.add(where);
      for (const keyword of Object.keys(schema)) checkKeyword(keyword, schema[keyword], where);
    }
    return { schema, where, done: [] };
  }

  /** The parts of a list of schemas under a keyword. */
  parts(schemas: unknown, where: string): Part[] {
    if (!Array.isArray(schemas) || schemas.length === 0)
      throw invalid(where, "it has to be a list of schemas");
    return schemas.map((schema, index) => this.part(schema, `${where}/${index}`));
  }

  /**
   * All that is to be obeyed at once: what references and `allOf` lead to, each once; undefined where one of them is false.
   * @throws StowageError schema_invalid, schema_unsupported, grammar_limit
   */
  flatten(parts: readonly Part[]): Part[] | undefined {
    const flat = new Map<string, Part>();
    const visit = (part: Part, path: readonly string[]): boolean => {
      this.count();
      const { schema, where, done } = part;
      if (schema === true) return true;
      if (schema === false) return false;
      if (path.includes(where)) throw invalid(where, "it refers to itself and to nothing else");
      if (path.length > grammarLimits.depth) throw tooMuch("references to references", grammarLimits.depth);
      const known = flat.get(where);
      // Met on two ways: what is left to do on either of them is left.
      const left = known ? known.done.filter((keyword) => done.includes(keyword)) : done;
      if (known && left.length === known.done.length) return true;
      flat.set(where, { ...part, done: left });
      const next: Part[] = [];
      if ("$ref" in schema && !left.includes("$ref")) next.push(this.#referred(schema.$ref, where));
      if ("allOf" in schema && !left.includes("allOf")) {
        next.push(...this.parts(schema.allOf, `${where}/allOf`));
      }
      return next.every((one) => visit(one, [...path, where]));
    };
    return parts.every((part) => visit(part, [])) ? [...flat.values()] : undefined;
  }

  /** Counts one unit of work. */
  count(): void {
    if (++this.#work > mostWork) throw tooMuch("the work of reading the schema", mostWork);
  }

  #referred(reference: unknown, where: string): Part {
    if (typeof reference !== "string") throw invalid(`${where}/$ref`, "it has to be a string");
    if (!/^#(\/|$)/.test(reference)) {
      throw unsupported(
        "$ref",
        where,
        "only references within the schema, such as #/$defs/name, are followed",
      );
    }
    let target: unknown = this.#root;
    for (const step of reference.split("/").slice(1)) {
      const key = pointerStep(step);
      target =
        (isObject(target) || Array.isArray(target)) && Object.hasOwn(target, key)
          ? (target as SchemaObject)[key]
          : undefined;
      if (target === undefined) throw invalid(`${where}/$ref`, `nothing stands at ${shortened(reference)}`);
    }
    return this.part(target, reference === "#/" ? "#" : reference);
  }
}

/** Visits of schemas; one of 1 MiB has some tens of thousands. */
const mostWork = 100_000;

function checkKeyword(keyword: string, value: unknown, where: string): void {
  if (kept.has(keyword) || annotations.has(keyword) || keyword.startsWith("x-")) return;
  // Such as say nothing with this value.
  if (["unevaluatedProperties", "unevaluatedItems"].includes(keyword) && value === true) return;
  throw unsupported(keyword, where, "it is none of the keywords that can be kept");
}

function pointerStep(step: string): string {
  let decoded = step;
  try {
    decoded = decodeURIComponent(step);
  } catch {
    // As it stands, then.
  }
  return decoded.replaceAll("~1", "/").replaceAll("~0", "~");
}

/** The values of a keyword in all parts that have it, and where. */
export function valuesOf(
  parts: readonly Part[],
  keyword: string,
): { value: unknown; where: string; part: Part }[] {
  return parts.flatMap((part) => {
    const { schema, where, done } = part;
    if (typeof schema === "boolean" || !Object.hasOwn(schema, keyword) || done.includes(keyword)) return [];
    return [{ value: schema[keyword], where: `${where}/${pointerKey(keyword)}`, part }];
  });
}

export function pointerKey(key: string): string {
  return key.replaceAll("~", "~0").replaceAll("/", "~1");
}

/** The numbers of a keyword in all parts that have it. */
export function numbersOf(parts: readonly Part[], keyword: string, isCount = false): number[] {
  return valuesOf(parts, keyword).map(({ value, where }) => {
    if (typeof value !== "number" || !Number.isFinite(value)) throw invalid(where, "it has to be a number");
    if (isCount && !(Number.isInteger(value) && value >= 0)) {
      throw invalid(where, "it has to be a whole number from 0 on");
    }
    return value;
  });
}

/** What a pair of keywords such as minItems and maxItems leaves. */
export function countsOf(parts: readonly Part[], least: string, most: string): readonly [number, number] {
  return [
    Math.max(0, ...numbersOf(parts, least, true)),
    Math.min(Number.POSITIVE_INFINITY, ...numbersOf(parts, most, true)),
  ];
}

export function isObject(value: unknown): value is SchemaObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

export function invalid(where: string, reason: string): StowageError {
  return new StowageError("schema_invalid", { where: shortened(where), reason });
}

export function unsupported(keyword: string, where: string, reason: string): StowageError {
  return new StowageError("schema_unsupported", {
    keyword: shortened(keyword),
    where: shortened(where),
    reason,
  });
}

export function tooMuch(what: string, limit: number): StowageError {
  return new StowageError("grammar_limit", { what, found: "more", limit });
}

function shortened(text: string): string {
  return text.length <= 200 ? text : `${text.slice(0, 200)}…`;
}
