/** One process of one side under a real memory limit, from cold caches on. */
import { StowageError } from "../errors.ts";
import { topicalTokens } from "../model/topics.ts";
import { formatBytes } from "../workload/format.ts";
import { type GroupUsage, MemoryGroup } from "../workload/memory-group.ts";
import { cachedBytes, dropPageCache } from "../workload/page-cache.ts";
import { withReadAhead } from "../workload/read-ahead.ts";
import { type ReplaySamples, Side, type SideMemory, type SideOptions } from "../workload/side.ts";
import { sum } from "./bench-experts-metrics.ts";
import type { ExpertsModel } from "./expert-budget.ts";

/** A side as it is started. */
export interface Contender {
  readonly side: "stowage" | "llama.cpp";
  /** What tells it from others of its side. */
  readonly setting: string;
  readonly script: URL;
  readonly options: SideOptions;
  /** How far the system reads ahead in the files that the process opens, KiB; left out, as it is set. */
  readonly readAhead?: number | undefined;
}

/** How much of each part is done, tokens. */
export interface Work {
  readonly shortPrompt: number;
  /** Steps after the short prompt that are not measured: what the prompt did to the caches has worn off then. */
  readonly settling: number;
  readonly steps: number;
  /** 0 for none of the long prompt and what follows it. */
  readonly longPrompt: number;
  readonly answer: number;
}

/** What a process did and took. */
export interface Run {
  readonly contender: Contender;
  /** What the limit ended, or what went wrong. */
  readonly failure?: string;
  readonly short?: ReplaySamples;
  readonly long?: ReplaySamples;
  readonly memory?: SideMemory;
  readonly usage: GroupUsage;
}

/** Before anything is measured: first calls, and experts that any token needs. */
const warmup = { prompt: 8, steps: 8 };
/** Reads that our side may have outstanding at once, and threads for its own computing. */
const readers = 20;
/** What may be in the page cache of a model without counting for the side, as a share of the file. */
const foreignShare = 0.02;
/** A side that the limit keeps from getting on is given up after so long: it reads the same pages over and over. */
const mostMs = 5 * 60_000;

/**
 * Starts the side in a memory group of its own and replays the work of a round: a short prompt with steady decoding after it,
 * then a long one with its answer.
 * @param seed equal seeds give equal tokens
 * @throws StowageError memory_group, page_cache, side_failed: unless the limit ended the process, or kept it from getting on, which is a result
 */
export async function runLimited(
  contender: Contender,
  model: ExpertsModel,
  limitBytes: number,
  work: Work,
  seed: number,
): Promise<Run> {
  await dropPageCache(model.files);
  const group = await MemoryGroup.create(limitBytes);
  let side: Side | undefined;
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    void side?.stop();
  }, mostMs);
  const done: { short?: ReplaySamples; long?: ReplaySamples; memory?: SideMemory } = {};
  try {
    side = await Side.start(contender.script, contender.options, { group, readers });
    const started = side;
    const replay = (prompt: number, forced: number, part: number) => {
      const tokens = topicalTokens(10 * seed + part, prompt + forced, model.text);
      return started.replay(tokens.slice(0, prompt), tokens.slice(prompt));
    };
    await withReadAhead(model.path, contender.readAhead, () => replay(1, 0, 0));
    await replay(warmup.prompt, warmup.steps, 1);
    done.short = await replay(work.shortPrompt, work.settling + work.steps, 2);
    if (work.longPrompt > 0) done.long = await replay(work.longPrompt, work.answer, 3);
    done.memory = await side.memory();
    const usage = await group.usage();
    checkAlone(model, usage);
    return { contender, ...done, usage };
  } catch (error) {
    const usage = await group.usage();
    const failure = late ? `not done after ${mostMs / 1000} s` : "ended by the memory limit";
    const byLimit = late || usage.kills > 0;
    if (!(error instanceof StowageError) || error.code !== "side_failed" || !byLimit) throw error;
    return { contender, failure, ...done, usage };
  } finally {
    clearTimeout(timer);
    await side?.stop();
    await group.remove();
  }
}

/** Pages that somebody else read are nobody's burden here: with them the side had more memory than the limit. */
function checkAlone({ path, files, fileBytes }: ExpertsModel, usage: GroupUsage): void {
  const foreign = sum(files.map(cachedBytes)) - usage.cacheBytes;
  if (foreign <= foreignShare * fileBytes) return;
  const reason = `another process brought ${formatBytes(foreign)} of ${path} into it during the measurement`;
  throw new StowageError("page_cache", { reason });
}
