import { Counter, Gauge, Histogram, Registry } from "prom-client";
import type { EngineStats } from "../engine/process/messages.ts";
import { RecentValues } from "./percentiles.ts";
import type { ServedModel } from "./served-model.ts";

/** Buckets of vLLM's histograms of the same names, s. */
const timeToFirstToken = [
  0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80,
];
const betweenTokens = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5, 10,
];
const endToEnd = [
  0.05, 0.1, 0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960,
];

const requestsKept = 1024;
const gapsKept = 8192;

export type Outcome = "stop" | "length" | "cancelled" | "error";

/**
 * What happens to requests, for `/metrics` and the dashboard. Metrics are named and bucketed as vLLM's, with the prefix
 * `stowage:` in place of `vllm:`; those of the expert cache are ours.
 */
export class Telemetry {
  readonly registry = new Registry();
  readonly requests = { total: 0, completed: 0, failed: 0, cancelled: 0, refused: 0 };
  readonly #recent = {
    firstToken: new RecentValues(requestsKept),
    between: new RecentValues(gapsKept),
    whole: new RecentValues(requestsKept),
  };
  readonly #firstToken = this.#histogram(
    "time_to_first_token_seconds",
    "Time to first token",
    timeToFirstToken,
  );
  readonly #between = this.#histogram("inter_token_latency_seconds", "Time between tokens", betweenTokens);
  readonly #whole = this.#histogram("e2e_request_latency_seconds", "Time of a whole request", endToEnd);
  readonly #queue = this.#histogram("request_queue_time_seconds", "Time in the queue", endToEnd);
  readonly #promptTokens = this.#counter("prompt_tokens", "Tokens of prompts");
  readonly #generatedTokens = this.#counter("generation_tokens", "Tokens that were generated");
  readonly #prefixQueries = this.#counter(
    "prefix_cache_queries",
    "Prompt tokens that were looked up in the KV cache",
  );
  readonly #prefixHits = this.#counter("prefix_cache_hits", "Prompt tokens that were found in the KV cache");
  readonly #ended = this.#counter("request_success", "Requests that ended well", ["finished_reason"]);
  readonly #failed = this.#counter("request_failure", "Requests that ended with an error");
  readonly #refused = this.#counter("request_refused", "Requests that were refused", ["code"]);
  readonly #totals = new Map<string, ModelTotals>();

  constructor(models: () => Iterable<ServedModel>) {
    this.#gauges(models);
  }

  /** Counters of one model since the gateway started. */
  totalsOf(model: string): ModelTotals {
    let totals = this.#totals.get(model);
    if (!totals) {
      totals = { promptTokens: 0, cachedTokens: 0, generatedTokens: 0 };
      this.#totals.set(model, totals);
    }
    return totals;
  }

  latency() {
    return {
      time_to_first_token_ms: this.#recent.firstToken.summary(),
      inter_token_ms: this.#recent.between.summary(),
      end_to_end_ms: this.#recent.whole.summary(),
    };
  }

  /** A request was refused before an engine had it. */
  refuse(model: string, code: string): void {
    this.requests.total++;
    this.requests.refused++;
    this.#refused.inc({ model_name: model, code });
  }

  /** Follows one sequence from now on. */
  follow(model: string): SequenceClock {
    const labels = { model_name: model };
    const totals = this.totalsOf(model);
    const started = performance.now();
    const between = this.#between.labels(labels);
    const generated = this.#generatedTokens.labels(labels);
    let last: number | undefined;
    return {
      started: (promptTokens, cachedTokens) => {
        this.#queue.observe(labels, (performance.now() - started) / 1000);
        this.#promptTokens.inc(labels, promptTokens);
        this.#prefixQueries.inc(labels, promptTokens);
        this.#prefixHits.inc(labels, cachedTokens);
        totals.promptTokens += promptTokens;
        totals.cachedTokens += cachedTokens;
      },
      token: () => {
        const now = performance.now();
        generated.inc();
        totals.generatedTokens++;
        if (last === undefined) {
          this.#firstToken.observe(labels, (now - started) / 1000);
          this.#recent.firstToken.add(now - started);
        } else {
          between.observe((now - last) / 1000);
          this.#recent.between.add(now - last);
        }
        last = now;
      },
      paused: () => {
        last = undefined;
      },
    };
  }

  /** A request began. @returns to be called with how it ended */
  begin(model: string): (outcome: Outcome) => void {
    this.requests.total++;
    const started = performance.now();
    const labels = { model_name: model };
    return (outcome) => {
      if (outcome === "error") {
        this.requests.failed++;
        this.#failed.inc(labels);
        return;
      }
      this.requests[outcome === "cancelled" ? "cancelled" : "completed"]++;
      this.#ended.inc({ ...labels, finished_reason: outcome === "cancelled" ? "abort" : outcome });
      if (outcome === "cancelled") return;
      this.#whole.observe(labels, (performance.now() - started) / 1000);
      this.#recent.whole.add(performance.now() - started);
    };
  }

  #histogram(name: string, help: string, buckets: number[]): Histogram<"model_name"> {
    return new Histogram({
      name: `stowage:${name}`,
      help: `${help}, s.`,
      labelNames: ["model_name"],
      buckets,
      registers: [this.registry],
    });
  }

  #counter<L extends string = never>(
    name: string,
    help: string,
    labels: L[] = [],
  ): Counter<"model_name" | L> {
    return new Counter({
      name: `stowage:${name}_total`,
      help: `${help}.`,
      labelNames: ["model_name", ...labels],
      registers: [this.registry],
    });
  }

  /** Values that are read when they are asked for. */
  #gauges(models: () => Iterable<ServedModel>): void {
    const gauge = (name: string, help: string, read: (model: ServedModel) => number | undefined) =>
      new Gauge({
        name: `stowage:${name}`,
        help: `${help}.`,
        labelNames: ["model_name"],
        registers: [this.registry],
        collect() {
          this.reset();
          for (const model of models()) {
            const value = read(model);
            if (value !== undefined) this.set({ model_name: model.name }, value);
          }
        },
      });
    const stats = (model: ServedModel) => model.engine?.stats;
    gauge("num_requests_running", "Requests in the batch", (model) => stats(model)?.running ?? 0);
    gauge("num_requests_waiting", "Requests in the queue", (model) => stats(model)?.waiting ?? 0);
    gauge(
      "num_requests_stalled",
      "Requests whose readers are too slow",
      (model) => stats(model)?.paused ?? 0,
    );
    gauge("kv_cache_usage_perc", "Share of the KV cache that running requests hold, 1 is all", (model) => {
      const now = stats(model);
      return now && 1 - now.kvCellsFree / Math.max(1, now.kvCells);
    });
    gauge("model_loaded", "1 while the model is loaded", (model) => (model.state === "ready" ? 1 : 0));
    gauge("engine_restarts", "Times its engine had to be started again", (model) => model.restarts);
    gauge(
      "engine_resident_bytes",
      "Memory that its engine holds, bytes",
      (model) => stats(model)?.residentBytes,
    );
    const drafts = (model: ServedModel) => stats(model)?.speculation;
    gauge("draft_steps", "Steps that had drafts", (model) => drafts(model)?.steps);
    gauge("draft_tokens", "Tokens that were drafted", (model) => drafts(model)?.drafted);
    gauge("draft_tokens_accepted", "Drafted tokens that were right", (model) => drafts(model)?.accepted);
    this.#expertGauges(models);
  }

  /** Of models whose experts have a budget, since their engines started. */
  #expertGauges(models: () => Iterable<ServedModel>): void {
    type Experts = NonNullable<EngineStats["experts"]>;
    const gauge = (name: string, help: string, read: (experts: Experts) => number | Record<string, number>) =>
      new Gauge({
        name: `stowage:${name}`,
        help: `${help}.`,
        labelNames: ["model_name", "policy", "prefetch", "kind"],
        registers: [this.registry],
        collect() {
          this.reset();
          for (const { name, engine } of models()) {
            const experts = engine?.stats?.experts;
            if (!experts) continue;
            const labels = { model_name: name, policy: experts.eviction, prefetch: experts.prefetch };
            const value = read(experts);
            if (typeof value === "number") this.set(labels, value);
            else for (const [kind, part] of Object.entries(value)) this.set({ ...labels, kind }, part);
          }
        },
      });
    gauge("expert_cache_hits", "Experts that were there when asked for", ({ hits }) => hits);
    gauge("expert_cache_misses", "Experts that had to be read when asked for", ({ misses }) => misses);
    gauge("expert_cache_late", "Experts whose read ahead was under way when asked for", ({ late }) => late);
    gauge("expert_read_bytes", "Bytes of experts that were read", ({ demandBytes, prefetchBytes }) => ({
      demand: demandBytes,
      prefetch: prefetchBytes,
    }));
    gauge(
      "expert_stall_seconds",
      "Time that computing waited for experts, s",
      ({ stallMs }) => stallMs / 1000,
    );
    gauge(
      "expert_prefetches_useful",
      "Experts read ahead that were there when asked for",
      ({ prefetchesUseful }) => prefetchesUseful,
    );
    gauge(
      "expert_prefetches_wasted",
      "Experts read ahead in vain",
      ({ prefetchesWasted }) => prefetchesWasted,
    );
  }
}

export interface ModelTotals {
  promptTokens: number;
  cachedTokens: number;
  generatedTokens: number;
}

/** Times one sequence. */
export interface SequenceClock {
  started(promptTokens: number, cachedTokens: number): void;
  token(): void;
  /** The time until the next token is its reader's, not ours. */
  paused(): void;
}
