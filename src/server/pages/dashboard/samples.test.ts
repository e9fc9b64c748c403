import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Status } from "../../schemas/status.ts";
import { RequestRates } from "./request-rates.ts";
import { Samples, spanMs } from "./samples.ts";

type Model = Status["models"][number];

const model: Model = {
  name: "m",
  path: "/m.gguf",
  state: "ready",
  problem: null,
  restarts: 0,
  pid: 2,
  architecture: "olmoe",
  context_tokens: 512,
  max_sequences: 4,
  running: 1,
  waiting: 2,
  paused: 0,
  memory: null,
  kv_cells: 100,
  kv_cells_used: 25,
  prompt_tokens_total: 0,
  cached_tokens_total: 0,
  generated_tokens_total: 0,
  experts: null,
  recording: null,
  expires_at: null,
  last_used: null,
};

function statusAt(
  now: number,
  models: readonly Partial<Model>[],
  live: Status["requests"]["live"] = [],
): Status {
  return {
    version: "0",
    pid: 1,
    state: "ready",
    started_at: 0,
    now,
    memory: { budget: 1, planned: 1, gateway_resident: 1 },
    models: models.map((fields) => ({ ...model, ...fields })),
    requests: { live, total: 0, completed: 0, failed: 0, cancelled: 0, refused: 0 },
    latency: { time_to_first_token_ms: null, inter_token_ms: null, end_to_end_ms: null },
  };
}

const experts = (hits: number, misses: number, read_bytes: number) => ({
  hits,
  misses,
  late: 0,
  read_bytes,
  stall_ms: 0,
  prefetch_useful: 0,
  prefetch_wasted: 0,
});

describe("Samples", () => {
  it("makes rates of totals, and sums of models", () => {
    const samples = new Samples();
    samples.push(
      statusAt(1000, [{ prompt_tokens_total: 100, experts: experts(10, 10, 1000) }, { name: "n" }]),
    );
    samples.push(
      statusAt(3000, [
        { prompt_tokens_total: 150, generated_tokens_total: 20, experts: experts(16, 12, 5000) },
        { name: "n", prompt_tokens_total: 10, kv_cells: 0 },
      ]),
    );
    const [first, second] = samples.all;
    assert.equal(first?.promptRate, null);
    assert.deepEqual(second, {
      time: 3000,
      promptRate: 30,
      generatedRate: 10,
      running: 2,
      waiting: 4,
      latency: statusAt(0, []).latency,
      hitRate: 0.75,
      readRate: 2000,
      kvShare: new Map([["m", 0.25]]),
    });
  });

  it("counts from 0 when an engine or the server was started again", () => {
    const samples = new Samples();
    samples.push(statusAt(1000, [{ generated_tokens_total: 500 }]));
    samples.push(statusAt(2000, [{ generated_tokens_total: 30 }]));
    samples.push({ ...statusAt(3000, [{ generated_tokens_total: 900 }]), pid: 7 });
    assert.deepEqual(
      samples.all.map(({ generatedRate }) => generatedRate),
      [null, 30, null],
    );
  });

  it("has a gap where the server was away", () => {
    const samples = new Samples();
    samples.gap();
    samples.push(statusAt(1000, [{}]));
    samples.gap();
    samples.gap();
    samples.push(statusAt(9000, [{ generated_tokens_total: 80 }]));
    assert.deepEqual(
      samples.all.map(({ time, running, generatedRate }) => [time, running, generatedRate]),
      [
        [1000, 1, null],
        [1001, null, null],
        [9000, 1, null],
      ],
    );
  });

  it("forgets what is older than its span, and a clock that was set back", () => {
    const samples = new Samples();
    for (let now = 0; now <= spanMs + 5000; now += 1000) samples.push(statusAt(now, [{}]));
    assert.equal(samples.all[0]?.time, 5000);
    assert.equal(samples.all.length, spanMs / 1000 + 1);
    samples.push(statusAt(10, [{}]));
    assert.equal(samples.all.length, 1);
  });
});

describe("RequestRates", () => {
  it("averages over the last seconds of generating", () => {
    const rates = new RequestRates();
    const live = (generated_tokens: number): Status["requests"]["live"] => [
      {
        id: "r",
        model: "m",
        endpoint: "/v1/completions",
        stream: true,
        phase: "decode",
        started_at: 0,
        prompt_tokens: 1,
        generated_tokens,
      },
    ];
    const seen = [0, 10, 30, 60, 100, 150].map((tokens, second) => {
      rates.push(statusAt(second * 1000, [], live(tokens)));
      return rates.of("r");
    });
    assert.deepEqual(seen, [undefined, undefined, 20, 25, 30, 40]);
    rates.push(statusAt(6000, []));
    assert.equal(rates.of("r"), undefined);
  });
});
