/**
 * Two hundred JSON schemas of the kinds that are in use: of tools and settings, of records that are read out of texts, of APIs,
 * and of each keyword by itself. All can be kept to.
 */

type Schema = { readonly [keyword: string]: unknown } | boolean;

const string = { type: "string" };
const integer = { type: "integer" };
const number = { type: "number" };
const boolean = { type: "boolean" };
const nothing = { type: "null" };
const text = (minLength: number, maxLength: number) => ({ type: "string", minLength, maxLength });
const upTo = (maxLength: number) => ({ type: "string", maxLength });
const pattern = (pattern: string) => ({ type: "string", pattern });
const format = (format: string) => ({ type: "string", format });
const oneOf = (...values: unknown[]) => ({ enum: values });
const whole = (minimum: number, maximum: number) => ({ type: "integer", minimum, maximum });
const real = (minimum: number, maximum: number) => ({ type: "number", minimum, maximum });
const list = (items: Schema, minItems = 0, maxItems?: number) => ({
  type: "array",
  items,
  ...(minItems > 0 && { minItems }),
  ...(maxItems !== undefined && { maxItems }),
});
const map = (additionalProperties: Schema) => ({ type: "object", additionalProperties });
const nullable = (schema: Schema) => ({ anyOf: [schema, nothing] });
const ref = (name: string) => ({ $ref: `#/$defs/${name}` });
/** Names that end with "?" may be left out. */
function object(properties: Record<string, Schema>, more: object = { additionalProperties: false }): Schema {
  const names = Object.keys(properties);
  return {
    type: "object",
    properties: Object.fromEntries(names.map((name) => [name.replace("?", ""), properties[name]])),
    required: names.filter((name) => !name.endsWith("?")),
    ...more,
  };
}
const withDefs = ($defs: Record<string, Schema>, schema: Schema): Schema => ({
  $defs,
  ...(schema as object),
});

const plain: Schema[] = [
  true,
  {},
  string,
  integer,
  number,
  boolean,
  nothing,
  { type: "array" },
  { type: "object" },
  { type: ["string", "null"] },
  { type: ["integer", "boolean"] },
  { type: ["array", "object", "null"] },
  { type: "string", nullable: true, maxLength: 4 },
  { const: 42 },
  { const: { a: [1, null, "x"] } },
  { const: 'a "quoted" text\n' },
  oneOf("red", "green", "blue"),
  oneOf(1, 2.5, -3, 1e21, 1e-7),
  oneOf(null, true, "é😀", [], {}),
  { type: "string", enum: ["a", "b", 1] },
  { type: "integer", enum: [1, 2, 3], minimum: 2 },
  { type: "string", enum: ["ab", "abc", "abcd"], minLength: 3, pattern: "^a" },
  { title: "Titled", description: "With words", default: "x", examples: ["y"], type: "string", maxLength: 8 },
  { type: "string", "x-order": 3, deprecated: true, maxLength: 8 },
];

const strings: Schema[] = [
  text(1, 1),
  text(3, 12),
  upTo(0),
  upTo(100),
  { type: "string", minLength: 5 },
  text(250, 260),
  pattern("^[a-z]+$"),
  pattern("^[A-Z]{2}[0-9]{6}[A-Z]?$"),
  pattern("^\\d{3}-\\d{4}$"),
  pattern("^(\\+\\d{1,2} )?\\(?\\d{3}\\)?[ .-]\\d{3}[ .-]\\d{4}$"),
  pattern("^#(?:[0-9a-fA-F]{3}){1,2}$"),
  pattern("^v?\\d+\\.\\d+\\.\\d+(?:-[0-9A-Za-z.-]+)?$"),
  pattern("^(?:mon|tues|wednes|thurs|fri|satur|sun)day$"),
  pattern("^[^\\s]+$"),
  pattern('^[^"\\\\]*$'),
  pattern("^\\S+@\\S+\\.\\S+$"),
  pattern("needle"),
  pattern("^begins"),
  pattern("ends$"),
  pattern("^a|b$"),
  pattern("^$"),
  pattern("[aeiou]{2}"),
  pattern("^[\\w.-]+\\/[\\w.-]+$"),
  pattern("^.{3,7}$"),
  pattern('^"[\\n\\t\\\\]+"$'),
  pattern("^[\\u4e00-\\u9fff]{2,4}$"),
  pattern("^\\u{1F600}[\\u{1F601}-\\u{1F64F}]+$"),
  pattern("^(?<year>\\d{4})-(?<month>\\d\\d)$"),
  pattern("^(a+)+b$"),
  pattern("^[a-z]+?[0-9]*?$"),
  { type: "string", pattern: "^[a-z0-9-]+$", minLength: 3, maxLength: 20 },
  { type: "string", pattern: "^[a-z][a-z0-9-]*[a-z0-9]$", minLength: 3, maxLength: 40 },
  { type: "string", pattern: "x", maxLength: 5 },
  { allOf: [pattern("^[a-z]*$"), pattern("^.*z$"), upTo(9)] },
  ...["date", "time", "date-time", "duration", "email", "hostname", "ipv4", "ipv6"].map(format),
  ...["uri", "uri-reference", "uuid", "json-pointer", "byte", "password", "binary"].map(format),
  { type: "string", format: "email", maxLength: 40 },
];

const numbers: Schema[] = [
  whole(0, 9),
  whole(-5, 5),
  whole(1, 1),
  whole(1900, 2100),
  whole(-1_000_000, -17),
  whole(123, 45_678),
  { type: "integer", minimum: 0 },
  { type: "integer", maximum: -1 },
  { type: "integer", minimum: 18, maximum: 99.5 },
  { type: "integer", exclusiveMinimum: 0, exclusiveMaximum: 4 },
  { type: "integer", format: "int32" },
  { type: "integer", format: "int64", minimum: 0 },
  { type: "integer", multipleOf: 5 },
  { type: "integer", multipleOf: 7, minimum: -50, maximum: 50 },
  { type: "integer", multipleOf: 60, minimum: 0, maximum: 86_400 },
  { type: "integer", multipleOf: 100, minimum: 0 },
  { allOf: [{ type: "integer", multipleOf: 4 }, { multipleOf: 6 }, { maximum: 1000 }] },
  { type: "number", multipleOf: 3, minimum: 0 },
  { type: "number", multipleOf: 0.5, minimum: 0, maximum: 5 },
  { type: "number", multipleOf: 0.25 },
  real(0, 1),
  real(-1.5, 2.25),
  real(-273.15, -0.001),
  real(0.1, 0.2),
  { type: "number", minimum: 0 },
  { type: "number", exclusiveMinimum: 0 },
  { type: "number", exclusiveMinimum: -1, exclusiveMaximum: 1 },
  { type: "number", maximum: 1e9, minimum: 1e-7 },
  { type: ["number", "null"], minimum: 3 },
  { type: ["integer", "string"], minimum: 3, maxLength: 2 },
];

const lists: Schema[] = [
  list(string),
  list(integer, 1),
  list(boolean, 2, 4),
  list(nothing, 0, 0),
  list(list(number, 3, 3), 3, 3),
  list(oneOf("a", "b"), 1, 3),
  list(object({ x: number, y: number }), 1),
  list({ type: ["string", "integer"] }, 0, 5),
  list(nullable(whole(0, 5)), 2),
  { type: "array", items: true, maxItems: 3 },
  { type: "array", items: false },
  { type: "array", prefixItems: [string, integer] },
  { type: "array", prefixItems: [string, integer], items: false, minItems: 2 },
  { type: "array", prefixItems: [real(-180, 180), real(-90, 90)], items: number, minItems: 2, maxItems: 3 },
  { type: "array", prefixItems: [string], minItems: 3, maxItems: 3 },
  { type: "array", prefixItems: [{ const: "add" }, integer, integer], items: false, minItems: 3 },
  { type: "array", minItems: 1, maxItems: 2 },
  { type: "array", items: string, uniqueItems: true, maxItems: 1 },
  { type: "array", items: string, uniqueItems: false, maxItems: 2 },
  { allOf: [list(number, 1), { maxItems: 3 }, { items: { minimum: 0 } }] },
];

const objects: Schema[] = [
  object({}),
  object({ a: string }),
  object({ "a?": string, "b?": integer, "c?": boolean }),
  object({ a: string, "b?": integer, c: boolean, "d?": nothing }),
  object({ 'odd "name"\n': integer, "": string, naïve: boolean }),
  object({ a: string }, {}),
  object({ a: string }, { additionalProperties: true }),
  object({ a: integer }, { additionalProperties: integer }),
  { type: "object", properties: { a: integer }, required: ["a", "b"] },
  { properties: { a: integer }, required: ["a"] },
  map(integer),
  map(string),
  map(list(number)),
  map(object({ n: integer })),
  { type: "object", additionalProperties: integer, minProperties: 1 },
  { type: "object", additionalProperties: boolean, maxProperties: 2 },
  {
    type: "object",
    properties: { a: integer, b: integer, c: integer },
    minProperties: 2,
    additionalProperties: false,
  },
  {
    type: "object",
    properties: { a: integer, b: integer, c: integer },
    maxProperties: 1,
    additionalProperties: false,
  },
  {
    type: "object",
    properties: { a: nothing },
    additionalProperties: boolean,
    minProperties: 2,
    maxProperties: 3,
  },
  { type: "object", patternProperties: { "^x-": string }, additionalProperties: false },
  {
    type: "object",
    patternProperties: { "^n[0-9]+$": number, "^s[0-9]+$": string },
    additionalProperties: false,
  },
  {
    type: "object",
    properties: { id: integer },
    patternProperties: { _at$: format("date-time") },
    required: ["id"],
  },
  { type: "object", patternProperties: { "^i_": integer }, additionalProperties: string },
  { type: "object", propertyNames: { pattern: "^[a-z_]+$", maxLength: 12 }, additionalProperties: number },
  { type: "object", properties: { a: false, b: integer } },
  object({ outer: object({ middle: object({ inner: object({ deep: string }) }) }) }),
  Object.fromEntries([
    ["type", "object"],
    ["properties", Object.fromEntries(Array.from({ length: 40 }, (_, index) => [`p${index}`, integer]))],
    ["additionalProperties", false],
  ]),
];

const unions: Schema[] = [
  nullable(string),
  { anyOf: [string, integer, list(string)] },
  { anyOf: [object({ a: string }), object({ b: integer })] },
  { anyOf: [whole(0, 3), whole(10, 13), { const: -1 }] },
  { oneOf: [string, integer, nothing] },
  { oneOf: [oneOf("a", "b"), oneOf("c")] },
  {
    oneOf: [
      object({ kind: { const: "cat" }, lives: whole(1, 9) }),
      object({ kind: { const: "dog" }, breed: string }),
    ],
  },
  { oneOf: [object({ a: string }), object({ b: string })] },
  {
    oneOf: [
      { type: "array", items: integer },
      { type: "object", additionalProperties: integer },
    ],
  },
  object({ value: { anyOf: [number, string, boolean] }, "unit?": nullable(string) }),
  {
    type: "object",
    properties: { id: integer },
    required: ["id"],
    anyOf: [
      { properties: { a: string }, required: ["a"] },
      { properties: { b: string }, required: ["b"] },
    ],
  },
  { allOf: [object({ a: integer }, {}), object({ b: string }, {})] },
  {
    allOf: [
      { type: "object", properties: { a: { type: "number" } } },
      { properties: { a: { minimum: 3 } }, required: ["a"] },
    ],
  },
  { allOf: [{ anyOf: [string, integer] }, { anyOf: [integer, boolean] }] },
  { allOf: [{ type: ["string", "integer"] }, { type: ["integer", "null"] }, { minimum: 7 }] },
  {
    anyOf: [
      { type: "string", format: "date" },
      { type: "string", format: "time" },
    ],
  },
  { anyOf: [true, string] },
  { anyOf: [false, string] },
];

const referring: Schema[] = [
  withDefs({ id: whole(1, 99) }, object({ a: ref("id"), b: ref("id") })),
  withDefs({ node: object({ value: integer, "next?": ref("node") }) }, ref("node")),
  withDefs({ tree: object({ label: upTo(6), children: list(ref("tree"), 0, 3) }) }, ref("tree")),
  withDefs(
    { node: object({ value: integer, next: nullable(ref("node")) }) },
    object({ head: nullable(ref("node")) }),
  ),
  {
    type: "object",
    properties: { name: upTo(4), child: { $ref: "#" } },
    required: ["name"],
    additionalProperties: false,
  },
  withDefs(
    { json: { anyOf: [upTo(3), integer, list({ $ref: "#/$defs/json" }), map({ $ref: "#/$defs/json" })] } },
    ref("json"),
  ),
  withDefs({ a: object({ "b?": ref("b") }), b: object({ "a?": ref("a"), n: integer }) }, ref("a")),
  withDefs(
    { "odd/name~": integer, "per cent%": string },
    object({ a: { $ref: "#/$defs/odd~1name~0" }, b: { $ref: "#/$defs/per%20cent%25" } }),
  ),
  {
    definitions: { old: { type: "integer", minimum: 0, maximum: 5 } },
    $ref: "#/definitions/old",
  },
  withDefs({ base: object({ id: integer }, {}) }, { allOf: [ref("base"), object({ name: string }, {})] }),
  withDefs({ positive: { type: "integer", minimum: 1 } }, { $ref: "#/$defs/positive", maximum: 9 }),
  withDefs(
    {
      expression: { anyOf: [whole(0, 9), ref("sum"), ref("product")] },
      sum: object({ op: { const: "+" }, left: ref("expression"), right: ref("expression") }),
      product: object({ op: { const: "*" }, left: ref("expression"), right: ref("expression") }),
    },
    ref("expression"),
  ),
  { type: "object", properties: { a: integer, b: { $ref: "#/properties/a" } }, required: ["a", "b"] },
  withDefs(
    {
      step: {
        type: "object",
        properties: { do: oneOf("go", "turn"), next: list(ref("step")) },
        required: ["do"],
      },
    },
    list(ref("step"), 1),
  ),
];

const address = object({
  street: text(1, 40),
  city: text(1, 30),
  zip: pattern("^\\d{5}(-\\d{4})?$"),
  "country?": pattern("^[A-Z]{2}$"),
});
const money = object({
  amount: { type: "number", minimum: 0, maximum: 1e6 },
  currency: oneOf("EUR", "USD", "JPY"),
});
const person = object({
  name: text(1, 50),
  "age?": whole(0, 150),
  "email?": format("email"),
  "address?": address,
});

/** What is asked of language models: to read something out of a text, or to call something. */
const records: Schema[] = [
  person,
  list(person, 1, 3),
  object({
    id: format("uuid"),
    customer: person,
    lines: list(object({ sku: pattern("^[A-Z]{3}-\\d{3}$"), count: whole(1, 99), price: money }), 1),
    "notes?": nullable(upTo(80)),
  }),
  object({
    title: text(1, 60),
    year: whole(1888, 2100),
    genres: list(oneOf("drama", "comedy", "horror"), 1, 3),
    "rating?": real(0, 10),
  }),
  object({ steps: list(object({ explanation: string, output: string })), final_answer: string }),
  object({
    sentiment: oneOf("positive", "neutral", "negative"),
    confidence: real(0, 1),
    "reasons?": list(upTo(40), 0, 3),
  }),
  object({ name: string, date: format("date"), participants: list(string) }),
  object({
    entities: list(
      object({
        text: string,
        kind: oneOf("person", "place", "organisation"),
        start: whole(0, 9999),
        end: whole(0, 9999),
      }),
    ),
  }),
  object({
    function: { const: "get_weather" },
    arguments: object({ city: string, "unit?": oneOf("celsius", "fahrenheit") }),
  }),
  object({
    query: text(1, 100),
    "limit?": whole(1, 50),
    "filters?": map({ type: ["string", "number", "boolean"] }),
  }),
  object({
    host: format("hostname"),
    port: whole(1, 65_535),
    "tls?": boolean,
    "proxies?": list(format("ipv4")),
  }),
  object({
    name: pattern("^[a-z][a-z0-9-]{0,30}$"),
    version: pattern("^\\d+\\.\\d+\\.\\d+$"),
    dependencies: map(pattern("^[~^]?\\d+(\\.\\d+)*$")),
    "scripts?": map(string),
  }),
  object({
    type: { const: "Feature" },
    geometry: object({ type: { const: "Point" }, coordinates: list(number, 2, 3) }),
    properties: map(true),
  }),
  object({
    cron: pattern("^(\\*|[0-5]?\\d)( (\\*|[01]?\\d|2[0-3]))$"),
    command: text(1, 60),
    env: { type: "object", patternProperties: { "^[A-Z_]+$": string }, additionalProperties: false },
  }),
  object({
    rows: list({
      type: "array",
      prefixItems: [integer, string, nullable(number)],
      items: false,
      minItems: 3,
    }),
  }),
  object({ status: oneOf(200, 201, 404), body: nullable(map(true)), headers: map(string) }),
  object({
    isbn: pattern("^(97[89])?\\d{9}[\\dX]$"),
    title: string,
    authors: list(string, 1),
    "published?": format("date"),
  }),
  object({ lat: real(-90, 90), lon: real(-180, 180), "altitude?": number, at: format("date-time") }),
  object({
    user: object({ id: integer, roles: list(oneOf("admin", "editor", "viewer")) }),
    "expires?": format("date-time"),
    token: pattern("^[A-Za-z0-9_-]{8,16}$"),
  }),
  {
    oneOf: [
      object({ type: { const: "text" }, text: string }),
      object({ type: { const: "image" }, url: format("uri"), "alt?": string }),
      object({ type: { const: "code" }, language: oneOf("ts", "py"), source: string }),
    ],
  },
  object({ question: string, choices: list(string, 4, 4), answer: whole(0, 3) }),
  withDefs(
    {
      ui: object({
        tag: oneOf("div", "p", "button"),
        "text?": upTo(10),
        "children?": list(ref("ui"), 0, 2),
        "attributes?": map(upTo(8)),
      }),
    },
    object({ root: ref("ui") }),
  ),
  withDefs(
    {
      filter: {
        anyOf: [
          object({ field: upTo(8), equals: { type: ["string", "number"] } }),
          object({ and: list(ref("filter"), 1, 2) }),
          object({ not: ref("filter") }),
        ],
      },
    },
    object({ where: ref("filter") }),
  ),
];

export const jsonSchemas: readonly Schema[] = [
  ...plain,
  ...strings,
  ...numbers,
  ...lists,
  ...objects,
  ...unions,
  ...referring,
  ...records,
];
