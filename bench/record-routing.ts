/** What recording the routing costs: the same tokens with and without, in turns. `node bench/record-routing.ts [MODEL]` */
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadEngine } from "../src/engine/load.ts";
import { median } from "../src/workload/statistics.ts";

const path = process.argv[2] ?? "models/sample-moe.gguf";
const rounds = 7;
const decodeTokens = 128;
const folder = mkdtempSync(join(tmpdir(), "stowage-record-"));
const trace = join(folder, "routing");

interface Times {
  /** ms of a prefill, and of a decoded token. */
  prefill: number;
  decode: number;
}

async function run(recordRouting?: string): Promise<Times> {
  const options = { contextTokens: 512, maxSequences: 1, ...(recordRouting && { recordRouting }) };
  const { engine, tokenizer, dispose } = await loadEngine(path, options);
  await engine.settled;
  const text = "It was a dark and stormy night, and the captain looked at the sea for a long time. ".repeat(
    12,
  );
  const prompt = tokenizer.encode(text, { addSpecial: true, parseSpecial: false });
  const started = performance.now();
  let first = 0;
  for await (const { type } of engine.submit({ prompt, maxTokens: decodeTokens, ignoreEnd: true })) {
    if (type === "token" && first === 0) first = performance.now();
  }
  const times = { prefill: first - started, decode: (performance.now() - first) / (decodeTokens - 1) };
  await dispose();
  return {
    ...times,
    ...(recordRouting && { bytes: statSync(trace).size / (prompt.length + decodeTokens - 1) }),
  };
}

const without: Times[] = [];
const recorded: Times[] = [];
for (let round = 0; round < rounds; round++) {
  without.push(await run());
  recorded.push(await run(trace));
}
for (const kind of ["prefill", "decode"] as const) {
  const [plain, slower] = [without, recorded].map((all) => median(all.map((times) => times[kind])));
  console.log(
    `${kind}: ${plain!.toFixed(2)} ms, recorded ${slower!.toFixed(2)} ms, ratio ${(slower! / plain!).toFixed(3)}`,
  );
}
console.log(`${(recorded[0] as Times & { bytes: number }).bytes.toFixed(0)} bytes a token`);
rmSync(folder, { recursive: true });
