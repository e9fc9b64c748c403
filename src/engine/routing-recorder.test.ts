import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { loadForTest } from "../../test/forward.ts";
import { hasCode } from "../../test/has-code.ts";
import { routingOf } from "../../test/routing.ts";
import { samplePath, withoutSample } from "../../test/sample-model.ts";
import { tinyShapes } from "../../test/tiny-model.ts";
import { readRoutingTrace } from "../experts/trace/reader.ts";
import { type RoutingLog, tracesOf } from "../experts/trace/routing-log.ts";
import { writeSyntheticModel } from "../model/synth.ts";
import { type LoadOptions, loadEngine } from "./load.ts";

const prompts = ["The captain looked at the sea, and", "const sum = (a, b) =>", "One, two, three, four,"];
const maxTokens = 12;

/** The share of the next layer's choice that the guess at a layer names. */
function lookAheadOf(
  { request, layers, used, chosen, guessed }: RoutingLog,
  wanted: number,
  layer: number,
): number {
  const row = (ids: Uint16Array, token: number, layer: number) => {
    const start = (token * layers + layer) * used;
    return [...ids.subarray(start, start + used)];
  };
  const mine = [...request.keys()].filter((token) => request[token] === wanted);
  const right = mine.map((token) => {
    const named = row(guessed!, token, layer);
    return row(chosen, token, layer + 1).filter((expert) => named.includes(expert)).length;
  });
  return right.reduce((sum, count) => sum + count, 0) / (mine.length * used);
}

describe("recorded routing", { skip: withoutSample }, () => {
  const folder = mkdtempSync(join(tmpdir(), "stowage-recorder-"));
  const path = join(folder, "a.routing");
  after(() => rmSync(folder, { recursive: true }));
  const options = { contextTokens: 256, threads: 1 };

  /** Runs the prompts side by side. @returns the tokens of each, its prompt among them */
  async function run(more: LoadOptions): Promise<number[][]> {
    const { engine, tokenizer, dispose } = await loadEngine(samplePath, { ...options, ...more });
    await engine.settled;
    const tokens = await Promise.all(
      prompts.map(async (text) => {
        const prompt = tokenizer.encode(text, { addSpecial: true, parseSpecial: false });
        const all = [...prompt];
        const sequence = engine.submit({ prompt, maxTokens, ignoreEnd: true, sampling: { temperature: 0 } });
        for await (const event of sequence) if (event.type === "token") all.push(event.token);
        return all;
      }),
    );
    await dispose();
    return tokens;
  }

  let tokens: number[][];
  let log: RoutingLog;
  before(async () => {
    tokens = await run({ recordRouting: path });
    log = await readRoutingTrace(path);
  });

  it("tells of every token that was computed, whose it is, and whether it was decoded", () => {
    for (const [index, mine] of tokens.entries()) {
      // The last token is never computed.
      const rows = [...log.request.keys()].filter((row) => log.request[row] === index + 1);
      assert.deepEqual(
        rows.map((row) => log.token[row]),
        mine.slice(0, -1),
      );
      assert.deepEqual(
        rows.map((row) => log.position[row]),
        [...mine.keys()].slice(0, -1),
      );
      const decoded = rows.filter((row) => log.decoded[row] === 1).length;
      assert.equal(decoded, maxTokens - 1);
      assert.ok(
        new Set(rows.map((row) => log.step[row])).size === maxTokens,
        "a step each, and one for the prompt",
      );
    }
  });

  it("is what the forward pass chooses for the same tokens, ties apart", async () => {
    const model = await loadForTest(samplePath, 64);
    const traces = tracesOf(log);
    let same = 0;
    let all = 0;
    for (const [index, mine] of tokens.entries()) {
      const { trace, lookAhead } = await routingOf(model.runtime, mine.slice(0, -1));
      assert.equal(traces[index]!.tokens, trace.tokens);
      lookAhead.forEach((agreement, layer) => {
        const found = lookAheadOf(log, index + 1, layer);
        assert.ok(Math.abs(found - agreement) < 0.03, `${found}, not ${agreement}`);
      });
      trace.chosen.forEach((expert, place) => {
        all++;
        if (traces[index]!.chosen[place] === expert) same++;
      });
    }
    model.dispose();
    assert.ok(same / all > 0.97, `${same} of ${all} places are the same`);
  });

  it("ranks the chosen first", () => {
    const { layers, experts, used } = log;
    for (let row = 0; row < log.count * layers; row++) {
      const drops = [...log.scores!.drop.subarray(row * experts, (row + 1) * experts)];
      const chosen = [...log.chosen.subarray(row * used, (row + 1) * used)];
      const worst = Math.max(...chosen.map((expert) => drops[expert]!));
      assert.equal(drops[chosen[0]!], 0);
      assert.ok(drops.filter((drop) => drop < worst).length <= used);
    }
  });

  it("changes no token", async () => {
    assert.deepEqual(await run({}), tokens);
  });

  it("is the same to the last bit where experts are read from disk", async () => {
    const budgeted = join(folder, "budget.routing");
    const resident = join(folder, "resident.routing");
    // The same path through the layers for both: one expert short of all.
    await run({ recordRouting: resident, expertMemory: "95%", prepare: "never" });
    await run({ recordRouting: budgeted, expertMemory: "30%", prepare: "never" });
    const [a, b] = [await readRoutingTrace(resident), await readRoutingTrace(budgeted)];
    assert.deepEqual({ ...a, model: "" }, { ...b, model: "" });
  });

  it("of a dense model is refused", async () => {
    const dense = join(folder, "dense.gguf");
    await writeSyntheticModel(dense, { ...tinyShapes.qwen3!, type: "Q8_0", seed: 1 });
    await assert.rejects(loadEngine(dense, { recordRouting: path }), hasCode("load_option"));
  });

  it("that cannot be written is told before anything runs", async () => {
    const loading = loadEngine(samplePath, { recordRouting: join(folder, "no/such") });
    await assert.rejects(loading, hasCode("routing_trace_write"));
  });
});
