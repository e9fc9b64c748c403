import { StowageError } from "../errors.ts";
import { loadPlots } from "../workload/load-plots.ts";
import type { LoadRecord } from "../workload/load-record.ts";
import { type LoadTarget, prepareRequest } from "../workload/load-request.ts";
import { runLoad } from "../workload/load-run.ts";
import { firstModel, type Prompts, promptsFor } from "../workload/load-server.ts";
import { streamAgent } from "../workload/stream-client.ts";
import type { PlannedRequest } from "../workload/traces/shape.ts";
import type { ServeFlags } from "./bench-serve-arguments.ts";
import { planOf, type ServePlan } from "./bench-serve-plan.ts";
import { serveReport } from "./bench-serve-report.ts";
import { Interrupts } from "./interrupts.ts";
import { Progress } from "./progress.ts";
import { type Measured, note } from "./report-action.ts";

/** Tokens that a request before the measurement asks for, at most: they show nothing new after that. */
const warmupTokens = 32;

/**
 * Puts the server under the load that the flags describe. Ctrl-C ends it, with a report of what was measured until then.
 *
 * @throws StowageError `load_flags`, `load_server`, or what reading a trace throws.
 */
export async function measureServer(flags: ServeFlags): Promise<Measured> {
  const plan = await planOf(flags);
  const abort = new AbortController();
  const interrupts = new Interrupts(() => abort.abort());
  const agent = streamAgent(flags.url);
  try {
    const target = await targetOf(flags, agent, abort.signal);
    const prompts = await promptsFor(target, flags.seed, abort.signal);
    await warmUp(plan, flags.warmup, target, prompts, abort.signal);
    const records = await load(plan, target, prompts, abort.signal);
    const settings = settingsOf(flags, target, plan, prompts, abort.signal);
    return { report: serveReport(records, settings, flags.goodput), plots: loadPlots(records) };
  } finally {
    interrupts.dispose();
    agent.destroy();
  }
}

async function targetOf(
  { url, endpoint, timeout, apiKey, model }: ServeFlags,
  agent: LoadTarget["agent"],
  signal: AbortSignal,
): Promise<LoadTarget> {
  const headers: Record<string, string> = apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` };
  const found = model ?? (await firstModel({ base: url, headers }, signal));
  return { base: url, endpoint, model: found, headers, agent, idleMs: 1000 * timeout };
}

/** Sends the first request of the plan, in its lengths, a few times, each with another prompt. */
async function warmUp(
  plan: ServePlan,
  count: number,
  target: LoadTarget,
  prompts: Prompts,
  signal: AbortSignal,
): Promise<void> {
  const [first] = plan.requests;
  for (let done = 0; first && done < count && !signal.aborted; done++) {
    note(`Warming up: ${done + 1} of ${count}`);
    const { at, inputTokens, outputTokens } = first;
    const request = { at, inputTokens, outputTokens: Math.min(outputTokens, warmupTokens) };
    // Below 0: prompts that no measured request has.
    const prompt = prompts.make(request, -1 - done);
    const { fault } = await prepareRequest(target, { ...request, prompt }, performance.now())(signal);
    if (fault?.kind !== "unreachable") continue;
    throw new StowageError("load_server", { url: target.base.origin, reason: fault.message });
  }
}

async function load(
  plan: ServePlan,
  target: LoadTarget,
  prompts: Prompts,
  signal: AbortSignal,
): Promise<LoadRecord[]> {
  const progress = new Progress({ label: "Measuring", total: plan.count, unit: "requests" });
  const origin = performance.now();
  let ended = 0;
  const prepare = (request: PlannedRequest, index: number) =>
    prepareRequest(target, { ...request, prompt: prompts.make(request, index) }, origin);
  const onEnd = () => {
    ended += 1;
    progress.update(ended);
  };
  try {
    return await runLoad(plan, { origin, signal, prepare, onEnd });
  } finally {
    progress.finish();
  }
}

function settingsOf(
  { url, goodput, seed, warmup, timeout }: ServeFlags,
  { endpoint, model }: LoadTarget,
  plan: ServePlan,
  prompts: Prompts,
  { aborted }: AbortSignal,
) {
  const goals = Object.entries(goodput ?? {}).map(([name, ms]) => `${name}:${ms}`);
  return {
    url: url.href,
    model,
    endpoint,
    prompts: prompts.note,
    ...plan.settings,
    warmup,
    seed,
    timeout_s: timeout,
    ...(goals.length > 0 && { goals_ms: goals.join(",") }),
    ...(aborted && { interrupted: true }),
  };
}
