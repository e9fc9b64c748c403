/** How a side of a benchmark is set up. What only one of the sides knows, the other does not look at. */
export interface SideOptions {
  readonly modelPath: string;
  readonly threads: number;
  /** Room for tokens, shared by all sequences. */
  readonly contextTokens: number;
  /** Most sequences side by side. */
  readonly sequences: number;
  /** Ours: bytes for experts, which are then read one by one; left out, all weights are resident. */
  readonly expertMemory?: number;
  /** Ours: who decides which experts stay and which are read ahead; left out, the default. */
  readonly expertPolicy?: string;
  /** Ours: the device that computes; left out, the processor does. */
  readonly device?: string;
  /** llama.cpp's, and what follows; left out, they are as it does by itself. */
  readonly flashAttention?: boolean;
  /** One KV cache for all sequences; else each has an equal part of its own. */
  readonly unifiedKv?: boolean;
  /** Whether weights are copied into the layout of the fast kernels. */
  readonly repack?: boolean;
  /** Whether the file is mapped. */
  readonly mmap?: boolean;
}

/** What the parent asks of a side, one at a time. */
export type SideRequest =
  | { readonly task: "start"; readonly options: SideOptions }
  | { readonly task: "load"; readonly prompt: readonly number[] }
  | { readonly task: "prefill"; readonly prompt: readonly number[] }
  | { readonly task: "decode"; readonly prompts: readonly (readonly number[])[]; readonly steps: number }
  | { readonly task: "replay"; readonly prompt: readonly number[]; readonly forced: readonly number[] }
  | { readonly task: "memory" };

/** The time to a first token, in ms, and that token. */
export interface FirstToken {
  readonly milliseconds: number;
  readonly token: number;
}

/** Steps of greedy decoding. */
export interface DecodeSamples {
  /** Of each measured step, in ms. */
  readonly stepMilliseconds: readonly number[];
  /** By sequence: its tokens after the prompt, those of the warm-up first. */
  readonly tokens: readonly (readonly number[])[];
}

/** What reading experts took, of one part of a replay. */
export interface ExpertReads {
  /** Bytes of all reads, prefetches included. */
  readonly bytes: number;
  /** Of those, the ones that the running step waited for. */
  readonly demandBytes: number;
  /** Time in which at least one such read was outstanding, ms. */
  readonly demandMs: number;
  /** Time in which the computation stood still for want of an expert, ms. */
  readonly stallMs: number;
  /** Time in which at least one read was in flight, and the times of all reads added up, ms. */
  readonly readMs: number;
  readonly readMsSum: number;
  /** Time in which kernels ran, ms. */
  readonly computeMs: number;
}

/** What a policy of experts came to, of one part of a replay. */
export interface ExpertDecisions {
  /** Experts that were asked for, and those of them that were there. */
  readonly asked: number;
  readonly hits: number;
  /** Time that the policy took while a step waited for it, ms. */
  readonly decidedMs: number;
  /** Time that it took while the processor computed or the disk read, ms. */
  readonly besideMs: number;
}

/** One part of a replay: the prompt, or the steps after it. */
export interface ReplayPart {
  /** Of the whole prompt, or of each step. */
  readonly milliseconds: readonly number[];
  /** What the process read from the disk meanwhile, mapped files included, bytes. */
  readonly diskBytes: number;
  /** Ours, when experts are read one by one. */
  readonly experts?: ExpertReads;
  readonly decisions?: ExpertDecisions;
}

/** Given tokens instead of chosen ones, so that every side does the same work. */
export interface ReplaySamples {
  readonly prefill: ReplayPart;
  readonly decode: ReplayPart;
  /** The best token by each step's logits, that after the prompt first: not what was decoded next. */
  readonly best: readonly number[];
  /** What the policy of experts has come to by the end, in words, where it says something. */
  readonly policy?: string;
}

/** What a process takes, bytes: mapped files and Node itself included. */
export interface SideMemory {
  readonly peakBytes: number;
  /** Ours: what the model was planned to take, without Node. */
  readonly planBytes?: number;
}

/** What comes back for each task. */
export interface SideResults {
  start: { readonly ready: true };
  load: FirstToken;
  prefill: FirstToken;
  decode: DecodeSamples;
  replay: ReplaySamples;
  memory: SideMemory;
}

export type SideTask = keyof SideResults;

/** A side's answer. */
export type SideReply =
  | { readonly task: SideTask; readonly result: SideResults[SideTask] }
  | { readonly task: SideTask; readonly error: string };

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;
const isTime = (value: unknown): value is number => Number.isFinite(value) && (value as number) > 0;
const isList = <T>(value: unknown, isItem: (item: unknown) => item is T): value is T[] =>
  Array.isArray(value) && value.every(isItem);
const isOptional = (value: unknown, isValue: (value: unknown) => boolean) =>
  value === undefined || isValue(value);
const isTokens = (value: unknown): value is number[] => isList(value, isCount);
const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null;

const isReads = (reads: unknown) =>
  isRecord(reads) &&
  [reads.bytes, reads.demandBytes].every(isCount) &&
  [reads.demandMs, reads.stallMs, reads.readMs, reads.readMsSum, reads.computeMs].every(
    (time) => Number.isFinite(time) && (time as number) >= 0,
  );

const isDecisions = (decisions: unknown) =>
  isRecord(decisions) &&
  [decisions.asked, decisions.hits].every(isCount) &&
  [decisions.decidedMs, decisions.besideMs].every((time) => Number.isFinite(time) && (time as number) >= 0);

const requestChecks: Record<SideTask, (request: Record<string, unknown>) => boolean> = {
  start: ({ options }) =>
    isRecord(options) &&
    typeof options.modelPath === "string" &&
    [options.threads, options.contextTokens, options.sequences].every((n) => isCount(n) && n > 0) &&
    isOptional(options.expertMemory, isCount) &&
    isOptional(options.expertPolicy, (policy) => typeof policy === "string") &&
    isOptional(options.device, (device) => typeof device === "string") &&
    [options.flashAttention, options.unifiedKv, options.repack, options.mmap].every(
      (flag) => flag === undefined || typeof flag === "boolean",
    ),
  load: ({ prompt }) => isTokens(prompt) && prompt.length > 0,
  prefill: ({ prompt }) => isTokens(prompt) && prompt.length > 0,
  decode: ({ prompts, steps }) =>
    isList(prompts, isTokens) &&
    prompts.length > 0 &&
    prompts.every((prompt) => prompt.length > 0) &&
    isCount(steps) &&
    steps > 0,
  replay: ({ prompt, forced }) => isTokens(prompt) && prompt.length > 0 && isTokens(forced),
  memory: () => true,
};

const isPart = (part: unknown) =>
  isRecord(part) &&
  isList(part.milliseconds, isTime) &&
  isCount(part.diskBytes) &&
  isOptional(part.experts, isReads) &&
  isOptional(part.decisions, isDecisions);

const isFirstToken = (result: Record<string, unknown>) =>
  isTime(result.milliseconds) && isCount(result.token);

const resultChecks: Record<SideTask, (result: Record<string, unknown>) => boolean> = {
  start: ({ ready }) => ready === true,
  load: isFirstToken,
  prefill: isFirstToken,
  decode: ({ stepMilliseconds, tokens }) => isList(stepMilliseconds, isTime) && isList(tokens, isTokens),
  replay: ({ prefill, decode, best, policy }) =>
    isPart(prefill) &&
    isPart(decode) &&
    isTokens(best) &&
    isOptional(policy, (said) => typeof said === "string"),
  memory: ({ peakBytes, planBytes }) => isCount(peakBytes) && isOptional(planBytes, isCount),
};

/** The message, checked; undefined when it is no request. */
export function asRequest(message: unknown): SideRequest | undefined {
  if (!isRecord(message) || !isTask(message.task)) return undefined;
  return requestChecks[message.task](message) ? (message as unknown as SideRequest) : undefined;
}

/** The result in the answer to `task`, or an error in words. */
export function readReply<T extends SideTask>(
  task: T,
  message: unknown,
): { result: SideResults[T] } | { error: string } {
  if (isRecord(message) && message.task === task) {
    if (typeof message.error === "string") return { error: message.error };
    const { result } = message;
    if (isRecord(result) && resultChecks[task](result)) return { result: result as SideResults[T] };
  }
  return { error: `its answer is not understood: ${JSON.stringify(message)?.slice(0, 200)}` };
}

function isTask(value: unknown): value is SideTask {
  return typeof value === "string" && Object.hasOwn(requestChecks, value);
}
