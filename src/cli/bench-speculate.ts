/** `stowage bench engine --speculate`: the engine with drafts beside itself without, on the same texts. */
import { type LoadedModel, loadEngine } from "../engine/load.ts";
import type { SequenceRequest } from "../engine/sequence.ts";
import { loadNative } from "../ggml/library.ts";
import { machineInfo } from "../workload/machine.ts";
import { check, type Report } from "../workload/report.ts";
import { median } from "../workload/statistics.ts";
import type { Measured } from "./report-action.ts";
import { type SpeculationText, speculationTexts } from "./speculation-texts.ts";

export interface SpeculateBenchOptions {
  readonly modelPath: string;
  readonly threads: number;
  /** How often each text is gone on from, on both sides in turns. Default 12. */
  readonly rounds?: number;
  /** Told what is being done. */
  readonly note: (text: string) => void;
}

const contextTokens = 512;
const generatedTokens = 192;
const draftLengths = [4, 8];
/** Steps whose median is the time of a step. */
const timedSteps = 40;
/** Tokens of a text that repeats: every draft of it is right. */
const period = 12;

interface Row {
  readonly text: string;
  readonly without: number[];
  readonly withDrafts: number[];
  drafted: number;
  accepted: number;
  same: number;
}

/** Both sides are loaded in this process; who goes first changes from round to round. */
export async function measureSpeculation(options: SpeculateBenchOptions): Promise<Measured> {
  const { modelPath, threads, note, rounds = 12 } = options;
  const settings = { threads, contextTokens, maxSequences: 1 };
  const plain = await loadEngine(modelPath, { ...settings, speculate: "off" });
  const auto = await loadEngine(modelPath, { ...settings, speculate: "auto" });
  try {
    await Promise.all([plain.engine.settled, auto.engine.settled]);
    const rows: Row[] = [];
    for (const text of speculationTexts) {
      note(`going on from ${text.name}`);
      rows.push(await compare(plain, auto, text, rounds));
    }
    note("timing steps with drafts");
    const steps = await timeSteps(plain, options, settings);
    const checks = rows
      .filter(({ text }) => text !== "repetitive")
      .map((row) => check(`speculate_${row.text}`, ratioOf(row), "x", ">=", 0.97));
    const report: Report = {
      machine: machineInfo(loadNative().version),
      settings: {
        model: modelPath,
        threads,
        rounds,
        prompt: "texts of ours, see speculation-texts.ts",
        generated_tokens: generatedTokens,
        code_and_prose: "drawn at temperature 0.8, the seed of the round",
        repetitive: "greedy",
      },
      results: [...rows.map(resultOf), ...steps],
      checks,
      notes: [
        "A ratio is the median of rounds of the time without drafts over the time with them, each round one request on either side, its prefill left out.",
        "The steps at the end have forced tokens that repeat, so that every draft is right: what a step with a draft takes, and the most that drafts can give.",
      ],
    };
    return { report, plots: [] };
  } finally {
    await Promise.all([plain.dispose(), auto.dispose()]);
  }
}

async function compare(
  plain: LoadedModel,
  auto: LoadedModel,
  text: SpeculationText,
  rounds: number,
): Promise<Row> {
  const row: Row = { text: text.name, without: [], withDrafts: [], drafted: 0, accepted: 0, same: 0 };
  const before = auto.engine.speculation;
  // A round that is not measured: compiled code and pages are there for both sides.
  for (const model of [plain, auto]) await decode(model, requestOf(model, text, 0));
  for (let round = 1; round <= rounds; round++) {
    const generated: number[][] = [];
    for (const model of round % 2 === 1 ? [plain, auto] : [auto, plain]) {
      const { ms, tokens } = await decode(model, requestOf(model, text, round));
      (model === plain ? row.without : row.withDrafts).push(ms);
      generated.push(tokens);
    }
    if (String(generated[0]) === String(generated[1])) row.same++;
  }
  const { drafted, accepted } = auto.engine.speculation;
  return { ...row, drafted: drafted - before.drafted, accepted: accepted - before.accepted };
}

function requestOf(
  model: LoadedModel,
  { prompts, temperature }: SpeculationText,
  round: number,
): SequenceRequest {
  const prompt = prompts[round % prompts.length]!;
  return {
    prompt: model.tokenizer.encode(prompt, { addSpecial: true, parseSpecial: false }),
    maxTokens: generatedTokens,
    ignoreEnd: true,
    sampling: { temperature, seed: round },
  };
}

/** Time from the first token to the last, ms. */
async function decode(
  { engine }: LoadedModel,
  request: SequenceRequest,
): Promise<{ ms: number; tokens: number[] }> {
  engine.clearCache();
  const tokens: number[] = [];
  let first = 0;
  let last = 0;
  for await (const event of engine.submit(request)) {
    last = performance.now();
    if (event.type === "token") tokens.push(event.token);
    if (tokens.length === 1) first = last;
  }
  return { ms: last - first, tokens };
}

function ratioOf({ without, withDrafts }: Row): number {
  return median(without.map((ms, round) => ms / withDrafts[round]!));
}

function resultOf(row: Row) {
  const { text, without, withDrafts, drafted, accepted, same } = row;
  return {
    text,
    ratio: ratioOf(row),
    worst_round: Math.min(...without.map((ms, round) => ms / withDrafts[round]!)),
    without_ms: median(without),
    with_ms: median(withDrafts),
    drafted_tokens: drafted,
    accepted_tokens: accepted,
    rounds_of_equal_tokens: `${same} of ${without.length}`,
  };
}

/** What a step with a draft of each length takes beside one without, where all of it is right. */
async function timeSteps(
  plain: LoadedModel,
  { modelPath }: SpeculateBenchOptions,
  settings: { threads: number; contextTokens: number; maxSequences: number },
) {
  const without = median(await stepTimes(plain));
  const rows = [{ draft: 0, step_ms: without, of_a_step_without: 1, most_speed_up: 1 }];
  for (const draft of draftLengths) {
    const model = await loadEngine(modelPath, { ...settings, speculate: draft });
    try {
      await model.engine.settled;
      const ms = median(await stepTimes(model));
      const relative = ms / without;
      rows.push({ draft, step_ms: ms, of_a_step_without: relative, most_speed_up: (draft + 1) / relative });
    } finally {
      await model.dispose();
    }
  }
  return rows;
}

/** Steps that computed as many tokens as their engine drafts at a time, and one. */
async function stepTimes({ engine, tokenizer }: LoadedModel): Promise<number[]> {
  const text = Array.from({ length: contextTokens }, (_, index) => 300 + (index % period));
  const prompt = text.slice(0, 4 * period);
  const forced = text.slice(prompt.length).map((token) => token % tokenizer.vocabularySize);
  const first = engine.records.total;
  engine.clearCache();
  for await (const event of engine.submit({
    ...{ prompt, forced, ignoreEnd: true, sampling: { temperature: 0 } },
    maxTokens: Math.min(forced.length, timedSteps * (1 + Math.max(...draftLengths))),
  })) {
    if (event.type === "finish") break;
  }
  const records = engine.records.list().slice(first - engine.records.total);
  const most = Math.max(...records.map(({ draftedTokens }) => draftedTokens));
  return records
    .filter(({ prefillTokens, draftedTokens }) => prefillTokens === 0 && draftedTokens === most)
    .map(({ prepareMs, computeMs, sampleMs }) => prepareMs + computeMs + sampleMs);
}
