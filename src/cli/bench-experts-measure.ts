import { StowageError } from "../errors.ts";
import { loadNative } from "../ggml/library.ts";
import { type DiskRate, measureDiskRate } from "../workload/disk-rate.ts";
import { machineInfo } from "../workload/machine.ts";
import type { Plot } from "../workload/plot.ts";
import { readAheadOf } from "../workload/read-ahead.ts";
import { check, type Report } from "../workload/report.ts";
import { llamaSide } from "../workload/side.ts";
import type { SideOptions } from "../workload/side-messages.ts";
import { median } from "../workload/statistics.ts";
import type { MemoryAmount } from "./arguments.ts";
import { measureFits } from "./bench-experts-fits.ts";
import {
  demandRate,
  type Metric,
  metrics,
  overBound,
  round3,
  rowsOf,
  sampleOf,
  speedup,
  sum,
} from "./bench-experts-metrics.ts";
import { type Contender, type Run, runLimited, type Work } from "./bench-experts-run.ts";
import { type ExpertsModel, expertBudget, planExperts, processBytes } from "./expert-budget.ts";
import { twinOf } from "./expert-twin.ts";

export interface ExpertsBenchOptions {
  readonly modelPath: string;
  /** On all that a side's process takes, page cache included: a share of the file, or bytes. */
  readonly memory: MemoryAmount;
  readonly threads: number;
  readonly rounds: number;
  /** Whether other limits are measured too. */
  readonly curve: boolean;
  /** Told what is being done. */
  readonly note: (text: string) => void;
}

/** Measures one side under a limit, of so many bytes, and puts it into the report. */
type Measure = (
  contender: Contender,
  of: ExpertsModel,
  bytes: number,
  done: Work,
  round: number,
  name: string,
) => Promise<Run>;

const goals: Readonly<Record<Metric, number>> = {
  decode: 1.25,
  decode_after_prefill: 4,
  prefill_32: 1,
  prefill_512: 1.6,
  chat: 2,
};

/** SRP(16) as published for OLMoE-1B-7B (arXiv 2505.16056). */
const localShare = 0.51;
const contextTokens = 1024;
const pageBytes = 4096;
/** Limits of the curve, as shares of the file. */
const curveShares = [0.3, 0.45, 0.6, 0.8, 1];
/**
 * What the peer is tried with, KiB, beside the disk's own setting: with a large one it reads several times the experts
 * that it needs, with a small one it waits more often.
 */
const readAheads = [64, 128, 512];

const ownSide = new URL(
  import.meta.url.endsWith(".ts") ? "stowage-side.ts" : "stowage-side.js",
  import.meta.url,
);

/**
 * Measures the engine and llama.cpp under the same real memory limit, each in fresh processes that begin with cold
 * caches. Both compute the same given tokens. In each round the sides run one after the other, and who goes first
 * changes; a check is the median of the rounds' ratios.
 * @throws StowageError memory_group, page_cache, bench_experts, side_failed, and those of loading a model
 */
export async function measureExperts(
  options: ExpertsBenchOptions,
): Promise<{ report: Report; plots: Plot[] }> {
  const { threads, rounds, note } = options;
  const model = await planExperts(await twinOf(options.modelPath, "uniform", note), threads, contextTokens);
  const local = await planExperts(await twinOf(options.modelPath, localShare, note), threads, contextTokens);
  const limit = limitOf(options.memory, model);
  const budget = expertBudget(model, limit);
  const work = workFor(model);
  const rows: Report["results"][number][] = [];
  const run: Measure = async (contender, of, bytes, done, round, name) => {
    note(`${name}: ${contender.side}, ${contender.setting}`);
    const found = await runLimited(contender, of, bytes, done, round);
    rows.push(...rowsOf(found, name, round, done));
    return found;
  };

  // The default may take more than the limit at once: then it is ended, and that is its result.
  await run(peer(model, threads, { repack: true }), model, limit, tryOf(work), 0, "tries");
  const best = await bestReadAhead(model, threads, (contender) =>
    run(contender, model, limit, tryOf(work), 0, "tries"),
  );

  const ratios: Record<Metric | "decode_local", number[]> = {
    decode: [],
    decode_local: [],
    prefill_32: [],
    prefill_512: [],
    decode_after_prefill: [],
    chat: [],
  };
  const disks: DiskRate[] = [];
  const own: { run: Run; disk: DiskRate }[] = [];
  for (let round = 1; round <= rounds; round++) {
    note(`round ${round} of ${rounds}`);
    const disk = await measureDiskRate(model.path, { readBytes: model.recordBytes, mostMs: 800 });
    disks.push(disk);
    rows.push(...diskRows(disk, round));
    const pair = (of: ExpertsModel, done: Work, name: string) =>
      inTurns(
        round,
        () => run(ours(of, threads, expertBudget(of, limit)), of, limit, done, round, name),
        () => run(peer(of, threads, { readAhead: best }), of, limit, done, round, name),
      );
    const [mine, theirs] = await pair(model, work, "uniform");
    own.push({ run: mine, disk });
    for (const metric of metrics) {
      ratios[metric].push(speedup(sampleOf(mine, metric, work), sampleOf(theirs, metric, work)));
    }
    const steady = { ...work, longPrompt: 0, answer: 0 };
    const [mineLocal, theirsLocal] = await pair(local, steady, "local");
    ratios.decode_local.push(
      speedup(sampleOf(mineLocal, "decode", work), sampleOf(theirsLocal, "decode", work)),
    );
  }
  const fits = await measureFits(
    [resident(model, threads), ours(model, threads, model.expertBytes)],
    model,
    work,
    rows,
    note,
  );
  const plots = options.curve ? await curve(model, threads, best, work, run) : [];

  const ratio = (metric: Metric | "decode_local") => median(ratios[metric]);
  const overPlan = own.map(
    ({ run: { memory } }) => memory && memory.peakBytes / (memory.planBytes! + processBytes),
  );
  const report: Report = {
    machine: machineInfo(loadNative().version),
    settings: {
      model: model.path,
      local_model: local?.path ?? null,
      file_bytes: model.fileBytes,
      limit_bytes: limit,
      expert_bytes: model.expertBytes,
      expert_budget_bytes: budget,
      process_bytes: processBytes,
      threads,
      rounds,
      short_prompt_tokens: work.shortPrompt,
      decode_steps: work.steps,
      decode_steps_before: work.settling,
      long_prompt_tokens: work.longPrompt,
      answer_tokens: work.answer,
      disk_read_bytes: model.recordBytes,
      disk_unbuffered: disks.every(({ unbuffered }) => unbuffered),
      disk_read_ahead_kib: readAheadOf(model.path) ?? null,
      peer: "libllama of the same package, file mapped, repacking off",
      peer_read_ahead_kib: best ?? "as set",
    },
    results: rows,
    checks: [
      check("decode_uniform", ratio("decode"), "x", ">=", goals.decode),
      check("decode_local", ratio("decode_local"), "x", ">=", 1.6),
      ...(["decode_after_prefill", "prefill_32", "prefill_512", "chat"] as const).map((metric) =>
        check(metric, ratio(metric), "x", ">=", goals[metric]),
      ),
      check(
        "disk",
        median(own.map(({ run, disk }) => demandRate(run) / disk.bytesPerSecond)),
        "x",
        ">=",
        0.9,
      ),
      check(
        "prefill_bound",
        median(own.map(({ run, disk }) => overBound(run, disk.bytesPerSecond))),
        "x",
        "<=",
        1.15,
      ),
      check("within_plan", Math.max(...overPlan.map((value) => value ?? Number.NaN)), "x", "<=", 1),
      check("fits_decode", fits.decode, "x", ">=", 0.97),
      check("fits_prefill", fits.prefill, "x", ">=", 0.97),
    ],
  };
  return { report, plots };
}

/** A whole number of pages. */
function limitOf(memory: MemoryAmount, model: ExpertsModel): number {
  const bytes = "share" in memory ? memory.share * model.fileBytes : memory.bytes;
  return Math.floor(bytes / pageBytes) * pageBytes;
}

/** A short context gets a shorter long prompt. */
function workFor(model: ExpertsModel): Work {
  const answer = 64;
  return {
    shortPrompt: 32,
    settling: 16,
    steps: 32,
    longPrompt: Math.min(512, model.contextTokens - answer - 1),
    answer,
  };
}

/** As much as tells settings apart. */
function tryOf(work: Work): Work {
  return { ...work, settling: 8, steps: 8, longPrompt: 0, answer: 0 };
}

function sideOptions(model: ExpertsModel, threads: number): SideOptions {
  return { modelPath: model.path, threads, contextTokens: model.contextTokens, sequences: 1 };
}

function ours(model: ExpertsModel, threads: number, expertMemory: number): Contender {
  const options = { ...sideOptions(model, threads), expertMemory };
  return {
    side: "stowage",
    setting: `${(expertMemory / 1e6).toFixed(0)} MB of experts`,
    script: ownSide,
    options,
  };
}

function resident(model: ExpertsModel, threads: number): Contender {
  return { side: "stowage", setting: "resident", script: ownSide, options: sideOptions(model, threads) };
}

function peer(
  model: ExpertsModel,
  threads: number,
  { repack = false, readAhead }: { repack?: boolean; readAhead?: number | undefined },
): Contender {
  const options = { ...sideOptions(model, threads), mmap: true, repack };
  const ahead = readAhead === undefined ? "read-ahead as set" : `read-ahead ${readAhead} KiB`;
  const setting = `repacking ${repack ? "on" : "off"}, ${ahead}`;
  return { side: "llama.cpp", setting, script: llamaSide, options, readAhead };
}

/** The read-ahead with which the peer is fastest at a short prompt and the steps after it; undefined for the disk's own. */
async function bestReadAhead(
  model: ExpertsModel,
  threads: number,
  run: (contender: Contender) => Promise<Run>,
): Promise<number | undefined> {
  const set = readAheadOf(model.path);
  if (set === undefined) return undefined;
  const tries: { readAhead: number | undefined; milliseconds: number }[] = [];
  for (const readAhead of [undefined, ...readAheads.filter((kibibytes) => kibibytes !== set)]) {
    const { short } = await run(peer(model, threads, { readAhead }));
    if (!short) continue;
    const milliseconds = sum([...short.prefill.milliseconds, ...short.decode.milliseconds]);
    tries.push({ readAhead, milliseconds });
  }
  if (tries.length === 0) {
    throw new StowageError("bench_experts", {
      path: model.path,
      reason: "the limit ends llama.cpp in every setting",
    });
  }
  return tries.reduce((best, tried) => (tried.milliseconds < best.milliseconds ? tried : best)).readAhead;
}

/** Who goes first changes from round to round. */
async function inTurns<T>(round: number, mine: () => Promise<T>, theirs: () => Promise<T>): Promise<[T, T]> {
  if (round % 2 === 1) {
    const first = await mine();
    return [first, await theirs()];
  }
  const first = await theirs();
  return [await mine(), first];
}

/** Speed over the limit, one round of each; limits that leave no room for an expert are left out. */
async function curve(
  model: ExpertsModel,
  threads: number,
  readAhead: number | undefined,
  work: Work,
  run: Measure,
): Promise<Plot[]> {
  const less: Work = { ...work, settling: 8, steps: 16, answer: 16 };
  const points: Record<string, Record<"decode" | "prefill_512", [number, number][]>> = {
    stowage: { decode: [], prefill_512: [] },
    "llama.cpp": { decode: [], prefill_512: [] },
  };
  for (const share of curveShares) {
    const limit = limitOf({ share }, model);
    if (limit < processBytes + model.otherBytes + model.recordBytes) continue;
    const contenders = [
      ours(model, threads, expertBudget(model, limit)),
      peer(model, threads, { readAhead }),
    ];
    for (const contender of contenders) {
      const found = await run(contender, model, limit, less, 0, `${Math.round(share * 100)}% of the file`);
      for (const metric of ["decode", "prefill_512"] as const) {
        const sample = sampleOf(found, metric, less);
        if (!sample) continue;
        const speed = round3((sample.tokens / sample.milliseconds) * 1000);
        points[contender.side]![metric].push([share * 100, speed]);
      }
    }
  }
  return (["decode", "prefill_512"] as const).map((metric) => ({
    title: `${metric}: speed over the memory limit`,
    xLabel: "limit, % of the file",
    yLabel: "tokens/s",
    series: Object.entries(points).map(([name, curves]) => ({ name, points: curves[metric] })),
  }));
}

function diskRows({ rates, readBytes, unbuffered }: DiskRate, round: number): Report["results"][number][] {
  return rates.map(({ depth, bytesPerSecond }) => ({
    side: "disk",
    setting: `${readBytes} bytes a read, ${depth} at once${unbuffered ? "" : ", buffered"}`,
    round,
    metric: "read",
    mb_per_s: round3(bytesPerSecond / 1e6),
  }));
}
