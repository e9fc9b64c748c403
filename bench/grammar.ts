/**
 * What holding a text to a grammar costs a token: the mask, its use on the logits, and the step after the token, on one core and a
 * vocabulary of 32,000 tokens made of this repository's own texts.
 *
 *   node bench/grammar.ts [--json]
 *
 * Exits 0 when all goals are met, 1 when one falls short.
 */
import { globSync, readFileSync } from "node:fs";
import { cpus } from "node:os";
import { join } from "node:path";
import { automatonOf } from "../src/grammar/compile.ts";
import { Constraint, TokenGrammar } from "../src/grammar/constraint.ts";
import { parseGbnf } from "../src/grammar/gbnf.ts";
import { schemaGrammar } from "../src/grammar/schema/compile-schema.ts";
import { hasBit } from "../src/grammar/token-masks.ts";
import { type TokenSource, TokenTrie } from "../src/grammar/token-trie.ts";
import { Random } from "../src/workload/random.ts";
import { jsonSchemas } from "../test/json-schemas.ts";

const size = 32_000;
const goalMs = 0.3;
const walks = 20;
/** Tokens that count as the first of a grammar. */
const first = 60;

const person = {
  type: "object",
  properties: {
    name: { type: "string" },
    age: { type: "integer", minimum: 0 },
    tags: { type: "array", items: { type: "string" } },
  },
  required: ["name", "age"],
};
const cases: Readonly<Record<string, object>> = {
  "any JSON": {},
  "an object": person,
  "a list of objects": { type: "array", items: person, minItems: 2 },
  "text of up to 200 characters": { type: "string", maxLength: 200 },
  "a pattern": { type: "string", pattern: "^[A-Z][a-z]+( [A-Z][a-z]+)*$" },
  "a pattern with a length": { type: "string", pattern: "^[a-z][a-z0-9-]*[a-z0-9]$", maxLength: 63 },
  "dates and addresses": {
    type: "object",
    properties: { at: { format: "date-time" }, to: { format: "email" }, url: { format: "uri" } },
    required: ["at", "to", "url"],
  },
  "numbers in bounds": { type: "array", items: { type: "number", minimum: -90, maximum: 90 } },
  "40 values": {
    type: "array",
    items: { enum: Array.from({ length: 40 }, (_, index) => `choice ${index * 7919}`) },
  },
  "a recursive tree": {
    $defs: {
      t: {
        type: "object",
        properties: { label: { type: "string" }, children: { type: "array", items: { $ref: "#/$defs/t" } } },
        required: ["label", "children"],
      },
    },
    $ref: "#/$defs/t",
  },
  "a union": {
    anyOf: [person, { type: "array", items: { type: "number" } }, { type: "string", format: "uuid" }],
  },
  "60 optional properties": {
    type: "object",
    properties: Object.fromEntries(
      Array.from({ length: 60 }, (_, index) => [`property_${index}`, { type: "string" }]),
    ),
    additionalProperties: false,
  },
};
const arithmetic = 'root ::= root [-+*/] term | term\nterm ::= [0-9]+ | "(" root ")"';

/** Bytes, and the beginnings and middles of words that save most; no other vocabulary is at hand that may be shown. */
function vocabulary(): TokenSource {
  const root = join(import.meta.dirname, "..");
  const files = globSync("{src,docs,test}/**/*.{ts,md}", { cwd: root }).sort();
  const counts = new Map<string, number>();
  for (const file of files) {
    for (const [word] of readFileSync(join(root, file), "utf8").matchAll(
      / ?\p{L}+| ?\d{1,3}| ?[^\s\p{L}\d]+|\s+/gu,
    )) {
      for (let from = 0; from < Math.min(word.length - 1, 8); from++) {
        for (let to = from + 2; to <= Math.min(word.length, from + 16); to++) {
          const piece = word.slice(from, to);
          counts.set(piece, (counts.get(piece) ?? 0) + (from === 0 ? 1 : 0.3));
        }
      }
    }
  }
  const best = [...counts].sort(([a, x], [b, y]) => y * b.length - x * a.length || (a < b ? -1 : 1));
  const pieces = [
    ...["<s>", "</s>"].map((text) => Buffer.from(text)),
    ...Array.from({ length: 256 }, (_, byte) => Uint8Array.of(byte)),
    ...best.slice(0, size - 258).map(([text]) => Buffer.from(text)),
  ];
  return {
    vocabularySize: pieces.length,
    pieceBytes: (token) => pieces[token]!,
    isControl: (token) => token < 2,
    isEndOfGeneration: (token) => token === 1,
  };
}

interface Result {
  readonly name: string;
  readonly compileMs: number;
  readonly tokens: number;
  /** Over all tokens, the first among them. */
  readonly mean: number;
  readonly median: number;
  readonly p99: number;
  readonly firstMedian: number;
  readonly firstP99: number;
  readonly masks: number;
}

function measure(name: string, make: () => TokenGrammar, seed: number): Result {
  const started = performance.now();
  const grammar = make();
  const compileMs = performance.now() - started;
  const random = new Random(seed);
  const logits = new Float32Array(size);
  const times: number[] = [];
  for (let walk = 0; walk < walks; walk++) {
    const constraint = new Constraint(grammar);
    for (let count = 0; count < 60 && !constraint.isComplete; count++) {
      const before = performance.now();
      constraint.mask(logits);
      const masked = performance.now();
      const token = anyOf(constraint.allowed(), random);
      if (token === 1) break;
      const chosen = performance.now();
      constraint.accept(token);
      times.push(masked - before + performance.now() - chosen);
    }
  }
  const firsts = times.slice(0, first);
  return {
    name,
    compileMs,
    tokens: times.length,
    mean: times.reduce((sum, time) => sum + time, 0) / times.length,
    ...{ median: quantile(times, 0.5), p99: quantile(times, 0.99) },
    ...{ firstMedian: quantile(firsts, 0.5), firstP99: quantile(firsts, 0.99) },
    masks: grammar.masks.kept,
  };
}

/** Any of them: from a place drawn at random, the next one. */
function anyOf(mask: Uint32Array, random: Random): number {
  const from = random.integer(0, size - 1);
  for (let step = 0; step < size; step++) {
    const token = (from + step) % size;
    if (hasBit(mask, token)) return token;
  }
  throw new Error("no token may come");
}

function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]!;
}

const source = vocabulary();
const started = performance.now();
const trie = new TokenTrie(source);
const trieMs = performance.now() - started;
// A process that has answered before: its code is compiled.
for (const schema of jsonSchemas.slice(190)) {
  measure("warm", () => new TokenGrammar(automatonOf(schemaGrammar(schema)), trie), 1);
}
const results = [
  ...Object.entries(cases).map(([name, schema], index) =>
    measure(name, () => new TokenGrammar(automatonOf(schemaGrammar(schema)), trie), index),
  ),
  measure("arithmetic, left recursive", () => new TokenGrammar(automatonOf(parseGbnf(arithmetic)), trie), 99),
];
const check = (name: string, value: number) => ({
  name,
  value,
  unit: "ms",
  goal: goalMs,
  ok: value < goalMs,
});
const checks = results.map(({ name, mean }) => check(`${name}, mean`, mean));
const machine = { processor: cpus()[0]?.model, node: process.version };
const settings = { vocabulary: size, nodes: trie.bytes.length, trieMs, walks, tokensAWalk: 60, first };

if (process.argv.includes("--json")) {
  console.log(JSON.stringify({ machine, settings, results, checks }, undefined, 1));
} else {
  const row = (name: string, ...values: (string | number)[]) =>
    console.log(
      name.padEnd(30) +
        values.map((value) => (typeof value === "number" ? value.toFixed(3) : value).padStart(11)).join(""),
    );
  row("ms", "compile", "mean", "median", "p99", "first med.", "first p99");
  for (const { name, compileMs, mean, median, p99, firstMedian, firstP99 } of results) {
    row(name, compileMs, mean, median, p99, firstMedian, firstP99);
  }
  for (const { name, value, goal } of checks.filter(({ ok }) => !ok)) {
    console.log(`SHORT ${name}: ${value.toFixed(3)} ms, goal below ${goal} ms`);
  }
}
process.exitCode = checks.every(({ ok }) => ok) ? 0 : 1;
