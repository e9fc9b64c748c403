import type { LiveRequest } from "../gateway/live-request.ts";
import type { ServedModel } from "../gateway/served-model.ts";
import type { ModelTotals } from "../gateway/telemetry.ts";
import type { ServerContext } from "./endpoint.ts";
import type { Status } from "./schemas/status.ts";

/** Everything that the dashboard and `stowage ps` show. */
export function statusOf({ gateway, version, pid, startedAt }: ServerContext): Status {
  const { telemetry, budget } = gateway;
  return {
    version,
    pid,
    state: gateway.health(),
    started_at: startedAt,
    now: Date.now(),
    memory: { budget: budget.bytes, planned: budget.held, gateway_resident: process.memoryUsage.rss() },
    models: gateway.models.map((model) => modelStatus(model, telemetry.totalsOf(model.name))),
    requests: { live: [...gateway.live].map(requestStatus), ...telemetry.requests },
    latency: telemetry.latency(),
  };
}

function modelStatus(model: ServedModel, totals: ModelTotals): Status["models"][number] {
  const { engine, info, problem } = model;
  const stats = engine?.stats;
  return {
    name: model.name,
    path: model.offered.path,
    state: model.state,
    problem: problem ? { code: problem.code, message: problem.message, next: problem.next } : null,
    restarts: model.restarts,
    pid: engine?.pid ?? null,
    architecture: info?.architecture ?? null,
    context_tokens: info?.contextTokens ?? null,
    max_sequences: info?.maxSequences ?? null,
    running: stats?.running ?? 0,
    waiting: stats?.waiting ?? 0,
    paused: stats?.paused ?? 0,
    memory: memoryOf(model),
    kv_cells: stats?.kvCells ?? 0,
    kv_cells_used: stats ? stats.kvCells - stats.kvCellsFree : 0,
    prompt_tokens_total: totals.promptTokens,
    cached_tokens_total: totals.cachedTokens,
    generated_tokens_total: totals.generatedTokens,
    experts: stats?.experts
      ? {
          hits: stats.experts.hits,
          misses: stats.experts.misses,
          late: stats.experts.late,
          read_bytes: stats.experts.demandBytes + stats.experts.prefetchBytes,
          stall_ms: stats.experts.stallMs,
          prefetch_useful: stats.experts.prefetchesUseful,
          prefetch_wasted: stats.experts.prefetchesWasted,
        }
      : null,
    recording: stats?.recording ?? null,
    expires_at: model.expiresAt ?? null,
    last_used: model.lastUsed || null,
  };
}

function memoryOf({ info, engine }: ServedModel): Status["models"][number]["memory"] {
  if (!info) return null;
  const { mappedWeights, convertedWeights, adapters, experts, kv, compute, work, total } = info.memory;
  return {
    weights: mappedWeights + convertedWeights + adapters,
    experts,
    kv,
    compute: compute + work,
    total,
    resident: engine?.stats?.residentBytes ?? 0,
  };
}

function requestStatus(live: LiveRequest): Status["requests"]["live"][number] {
  return {
    id: live.id,
    model: live.model,
    endpoint: live.endpoint,
    stream: live.stream,
    phase: live.phase,
    started_at: live.startedAt,
    prompt_tokens: live.promptTokens,
    generated_tokens: live.generatedTokens,
  };
}
