/** `stowage lab experts`: every policy on the same routing, and how far replay and engine agree. */
import { availableParallelism } from "node:os";
import type { Command } from "commander";
import { StowageError } from "../errors.ts";
import { allRecordBytes } from "../experts/layout.ts";
import type { ReplayCosts } from "../experts/replay/replay.ts";
import { readRoutingTrace } from "../experts/trace/reader.ts";
import type { RoutingLog } from "../experts/trace/routing-log.ts";
import { loadNative } from "../ggml/library.ts";
import { machineInfo } from "../workload/machine.ts";
import { ownPrompts } from "../workload/own-prompts.ts";
import { readPrompts } from "../workload/prompt-file.ts";
import { median } from "../workload/statistics.ts";
import { parseExpertMemory, wholeNumber } from "./arguments.ts";
import { middleCosts } from "./lab-experts-costs.ts";
import { expertsShape } from "./lab-experts-engine.ts";
import {
  contendersOf,
  halvesOf,
  type Outcome,
  policyShape,
  replay,
  type Scored,
  slotsOf,
} from "./lab-experts-replay.ts";
import { checksOf, curvePlots, engineRows, notesOf, outcomeRows } from "./lab-experts-report.ts";
import { type EngineRound, engineRounds } from "./lab-experts-rounds.ts";
import { type RecordedRequests, routingOfPrompts } from "./lab-routing.ts";
import { Progress } from "./progress.ts";
import { type Measured, reportAction } from "./report-action.ts";

interface Flags {
  readonly model: string;
  readonly prompts?: string[];
  readonly trace?: string;
  readonly memory: (string | number)[];
  readonly answerTokens: number;
  readonly rounds: number;
  readonly threads?: number;
  readonly html?: string;
}

/** Budgets of the page's curves, as shares of all experts, beside those that are asked for. */
const curveShares = [0.125, 0.75];

export function register(command: Command): void {
  const option = (flags: string, about: string) => command.createOption(flags, about);
  command
    .requiredOption("--model <file>", "a mixture of experts in GGUF format")
    .option(
      "--prompts <files>",
      "what the model is given, files between commas (default: prompts of our own)",
      (text) => text.split(","),
    )
    .option(
      "--trace <file>",
      "routing that was recorded, in the place of prompts: costs are measured on the prompts",
    )
    .addOption(
      option("--memory <sizes>", "budgets for the experts, between commas: sizes, or shares of all experts")
        .argParser((text) => text.split(",").map(parseExpertMemory))
        .default(["25%", "50%"], "25%,50%"),
    )
    .addOption(
      option("--answer-tokens <count>", "tokens of each answer").argParser(wholeNumber(2)).default(64),
    )
    .addOption(
      option("--rounds <count>", "times that the engine is measured").argParser(wholeNumber(1)).default(3),
    )
    .option(
      "--threads <n>",
      "compute threads of the engine (default: one processor is left for disk and policies)",
      wholeNumber(1),
    );
  reportAction(command, measurePolicies);
}

async function measurePolicies(flags: Flags): Promise<Measured> {
  const { model, memory, answerTokens, rounds, threads } = flags;
  const engine = { path: model, threads: threads ?? Math.max(1, availableParallelism() - 1) };
  const shape = await expertsShape({ ...engine, memory: memory[0]!, policy: "lru" });
  const shares = memory.map((size) => shareOf(size, allRecordBytes(shape.layout)));
  const { log, run } = await routingOf(flags);
  checkShape(flags.trace, log, shape.layerClass.length, shape.layout.experts, shape.used);
  const scored = halvesOf(log);
  if (scored.counted.length === 0)
    throw new StowageError("lab_requests", { found: scored.learned.length > 0 ? 1 : 0 });

  const measured: EngineRound[] = await engineRounds({
    ...engine,
    shape,
    ...run,
    memory,
    shares,
    rounds,
  });
  const costs = middleCosts(measured.map(({ costs }) => costs));
  const outcomes = replayAll(scored, shape, shares, flags.html === undefined ? [] : curveShares, costs);
  const engineResults = engineRows(measured);
  return {
    report: {
      machine: machineInfo(loadNative().version),
      settings: {
        model,
        prompts: flags.trace ?? flags.prompts?.join(",") ?? "our own",
        requests: run.requests.length,
        tokens_recorded: log.count,
        memory: memory.join(","),
        answer_tokens: answerTokens,
        expert_bytes: allRecordBytes(shape.layout),
        layer_ms: costs.layerMs,
        read_ms: costs.readMs,
        read_latency_ms: median(costs.latencies ?? []),
        reads_in_flight: costs.readsInFlight ?? 1,
        threads: engine.threads,
        rounds,
        fitted_on: "requests with even places, scored on the others",
      },
      results: [...outcomeRows(outcomes, shares, shape), ...engineResults],
      checks: checksOf(outcomes, shares, measured),
      notes: notesOf(outcomes, shares),
    },
    plots: curvePlots(outcomes, shape),
  };
}

/** What is replayed, and what the engine runs: the same, but where a trace is given. */
async function routingOf(flags: Flags): Promise<{ log: RoutingLog; run: RecordedRequests }> {
  const { model, answerTokens, threads } = flags;
  const traced = flags.trace === undefined ? undefined : await readRoutingTrace(flags.trace);
  const prompts = flags.prompts ? (await Promise.all(flags.prompts.map(readPrompts))).flat() : ownPrompts;
  const run = await routingOfPrompts(model, {
    prompts,
    answerTokens,
    ...(threads !== undefined && { threads }),
  });
  return { log: traced ?? run.log, run };
}

function checkShape(
  path: string | undefined,
  log: RoutingLog,
  layers: number,
  experts: number,
  used: number,
): void {
  if (log.layers === layers && log.experts <= experts && log.used === used) return;
  const value = `${log.layers} layers of ${log.experts} experts, ${log.used} a token`;
  const limit = `the model has ${layers} layers of ${experts} experts, ${used} a token`;
  throw new StowageError("routing_trace_invalid", { path: path ?? log.model, field: "shape", value, limit });
}

function shareOf(size: string | number, all: number): number {
  return typeof size === "number" ? size / all : Number(size.replace("%", "")) / 100;
}

/** Every contender at the budgets that were asked for; the policies and bounds themselves also at those of the curve. */
function replayAll(
  scored: Scored,
  shape: Awaited<ReturnType<typeof expertsShape>>,
  shares: readonly number[],
  others: readonly number[],
  costs: ReplayCosts,
): Outcome[] {
  const contenders = contendersOf(policyShape(scored.log, slotsOf(shape, shares[0]!)));
  const all = [
    ...shares.flatMap((share) => contenders.map((contender) => ({ share, contender }))),
    ...others
      .filter((share) => !shares.includes(share) && fits(shape, share))
      .flatMap((share) => contenders.filter(isWhole).map((contender) => ({ share, contender }))),
  ];
  const progress = new Progress({ label: "Replaying", total: all.length, unit: "requests" });
  function isWhole({ name, ahead }: (typeof contenders)[number]) {
    return ahead || !contenders.some((other) => other.name === name && other.ahead);
  }
  const outcomes = all.map(({ share, contender }, index) => {
    const setup = { slots: slotsOf(shape, share), layerClass: shape.layerClass, costs };
    const outcome = { ...replay(scored, contender, setup), contender, share };
    progress.update(index + 1, `${contender.name} at ${Math.round(100 * share)} %`);
    return outcome;
  });
  progress.finish();
  return outcomes;
}

/** Whether a share of all experts holds those of a token. */
function fits(
  { layout, used }: { layout: { layers: number; experts: number }; used: number },
  share: number,
): boolean {
  return share * layout.experts * layout.layers >= 2 * used;
}
