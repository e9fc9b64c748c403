/** Texts that a model goes on from, to see what drafts out of them are worth. */

export interface SpeculationText {
  readonly name: "code" | "prose" | "repetitive";
  readonly prompts: readonly string[];
  readonly temperature: number;
}

const code = [
  `/** The mean of some numbers; NaN for none. */
function mean(values) {
  let sum = 0;
  for (const value of values) sum += value;
  return sum / values.length;
}

/** The median of some numbers; NaN for none. */
function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
`,
  `class Stack:
    def __init__(self):
        self.items = []

    def push(self, item):
        self.items.append(item)

    def pop(self):
        if not self.items:
            raise IndexError("the stack is empty")
        return self.items.pop()

class Queue:
    def __init__(self):
`,
  `import { readFile, writeFile } from "node:fs/promises";

export async function readJson(path) {
  const text = await readFile(path, "utf8");
  return JSON.parse(text);
}

export async function writeJson(path, value) {
`,
];

const prose = [
  `The harbour lay quiet under the morning fog. Two boats had gone out before dawn, and nobody expected them back before noon. On the quay an old woman mended a net, and the gulls watched her hands.`,
  `When the bridge was built, the two halves of the town had not spoken to each other for a hundred years. The engineer, who came from far away, did not know this. She measured the river, drew her plans,`,
  `A good cellar is cool, dark and a little damp. Apples keep in it until spring if they do not touch each other. Potatoes want it drier, and carrots like to lie in sand.`,
];

const list = `red, orange, yellow, green, blue, indigo, violet`;
const repetitive = [
  `Copy this list five times.\n${`${list}\n`.repeat(5)}`,
  `${"the wheels of the bus go round and round, ".repeat(8)}`,
  `${'{"id": 1, "name": "one", "value": 10},\n{"id": 2, "name": "two", "value": 20},\n'.repeat(4)}`,
];

export const speculationTexts: readonly SpeculationText[] = [
  { name: "code", prompts: code, temperature: 0.8 },
  { name: "prose", prompts: prose, temperature: 0.8 },
  { name: "repetitive", prompts: repetitive, temperature: 0 },
];
