import { type LoadedModel, loadEngine } from "../engine/load.ts";
import { machineInfo } from "../workload/machine.ts";
import { type Cell, check, type Report } from "../workload/report.ts";
import { hasSmallBuffers } from "../workload/small-buffers.ts";
import { median, summarise } from "../workload/statistics.ts";
import { streamAgent } from "../workload/stream-client.ts";
import { gapsOfStreams, openTogether, promptOf, stallStreams } from "./gateway-streams.ts";
import type { Measured } from "./report-action.ts";
import { ServerSide } from "./server-side.ts";

export interface GatewayBench {
  readonly modelPath: string;
  /** Measurements of each side, in turns. */
  readonly rounds: number;
  readonly note: (text: string) => void;
}

/** Streams and tokens of each part. */
const overhead = { streams: 8, tokens: 200 };
// Filling 4 MB for each of 500 readers would take a quarter of an hour.
const stalled = { live: 64, tokens: 200, slow: hasSmallBuffers ? 500 : 100, slowTokens: 400 };
const opened = { streams: 1200, tokens: 8 };
/** KV cells for all sequences of the second part, tokens. */
const liveContext = 512;
/** More than the sequences of all parts. */
const maxQueue = 20_000;
const model = "sample";

type Row = Record<string, Cell>;

/** Measures what the server costs beside the engine itself, and how it holds when many streams are open. */
export async function measureGateway(bench: GatewayBench): Promise<Measured> {
  const results: Row[] = [];
  const overheadMs = await measureOverhead(bench, results);
  const many = await ServerSide.start([
    ...[
      `${model}=${bench.modelPath}`,
      "--max-sequences",
      String(stalled.live),
      "--context",
      String(liveContext),
    ],
    ...["--max-queue", String(maxQueue)],
  ]);
  try {
    const ratio = await measureStalled(bench, many, results);
    const open = await measureOpen(bench, many, results);
    const report: Report = {
      machine: machineInfo(),
      settings: {
        model: bench.modelPath,
        rounds: bench.rounds,
        small_socket_buffers: hasSmallBuffers,
        ...{ overhead_streams: overhead.streams, live_streams: stalled.live, stalled_streams: stalled.slow },
      },
      results,
      checks: [
        check("overhead_ms", overheadMs, "ms", "<=", 1),
        check("stalled_readers", ratio, "x", "<=", 1.1),
        check("open_streams", open.mostOpen, "streams", ">=", 1000),
        check("lost_streams", opened.streams - open.completed, "streams", "<=", 0),
      ],
    };
    return { report, plots: [] };
  } finally {
    await many.stop();
  }
}

/** The middle gap between tokens by HTTP, less that of the engine in this process; ms. */
async function measureOverhead({ modelPath, rounds, note }: GatewayBench, results: Row[]): Promise<number> {
  const server = await ServerSide.start([`${model}=${modelPath}`]);
  const engine = await loadEngine(modelPath);
  const agent = streamAgent(new URL(server.url));
  const plan = { url: server.url, model, agent, ...overhead };
  const http: number[] = [];
  const direct: number[] = [];
  try {
    await engine.engine.settled;
    await gapsOfStreams(plan);
    await directGaps(engine);
    for (let round = 0; round < rounds; round++) {
      note(`overhead: round ${round + 1} of ${rounds}`);
      const byHttp = async () => http.push(median(await gapsOfStreams(plan)));
      const directly = async () => direct.push(median(await directGaps(engine)));
      for (const side of round % 2 === 0 ? [byHttp, directly] : [directly, byHttp]) await side();
    }
  } finally {
    agent.destroy();
    await engine.dispose();
    await server.stop();
  }
  const row = (side: string, gaps: number[]) => ({
    part: "overhead",
    side,
    streams: overhead.streams,
    itl_p50_ms: median(gaps),
    rounds_ms: gaps.map((gap) => gap.toFixed(2)).join(" "),
  });
  results.push(row("server", http), row("engine", direct));
  return median(http.map((gap, round) => gap - direct[round]!));
}

async function directGaps({ engine, tokenizer }: LoadedModel): Promise<number[]> {
  engine.clearCache();
  const sequences = Array.from({ length: overhead.streams }, (_, index) =>
    engine.submit({
      prompt: tokenizer.encode(promptOf(index), { addSpecial: true, parseSpecial: true }),
      maxTokens: overhead.tokens,
      ignoreEnd: true,
      sampling: { seed: 1 },
    }),
  );
  const gaps = sequences.map(async (sequence) => {
    const times: number[] = [];
    for await (const event of sequence) if (event.type === "token") times.push(performance.now());
    return times.slice(1).map((at, index) => at - times[index]!);
  });
  return (await Promise.all(gaps)).flat();
}

/** p99 of the gaps between tokens of live streams beside stalled ones, over the same without them. */
async function measureStalled(
  { rounds, note }: GatewayBench,
  server: ServerSide,
  results: Row[],
): Promise<number> {
  const agent = streamAgent(new URL(server.url));
  const plan = { url: server.url, model, agent, streams: stalled.live, tokens: stalled.tokens };
  const live = async () => summarise(await gapsOfStreams(plan)).p99;
  const alone: number[] = [];
  const beside: number[] = [];
  try {
    await live();
    // Before and after: what else changes on the machine meets both.
    for (let round = 0; round < rounds; round++) alone.push(await live());
    note(`stalled: opening ${stalled.slow} streams that nobody reads`);
    const end = stallStreams({ ...plan, streams: stalled.slow, tokens: stalled.slowTokens });
    await server.until(({ requests }) => stalledOf(requests.live) === stalled.slow);
    await server.until(({ models }) => models[0]!.running === 0);
    await live();
    for (let round = 0; round < rounds; round++) beside.push(await live());
    end();
    await server.until(({ requests }) => requests.live.length === 0);
    for (let round = 0; round < rounds; round++) alone.push(await live());
  } finally {
    agent.destroy();
  }
  const row = (side: string, p99: number[]) => ({
    part: "stalled",
    side,
    streams: stalled.live,
    itl_p99_ms: median(p99),
    rounds_ms: p99.map((gap) => gap.toFixed(1)).join(" "),
  });
  results.push(row("live streams alone", alone), row(`beside ${stalled.slow} stalled`, beside));
  return median(beside) / median(alone);
}

function stalledOf(live: readonly { phase: string }[]): number {
  return live.filter(({ phase }) => phase === "stalled").length;
}

async function measureOpen({ note }: GatewayBench, server: ServerSide, results: Row[]) {
  note(`open: ${opened.streams} streams at once`);
  const agent = streamAgent(new URL(server.url));
  const started = performance.now();
  const open = await openTogether({ url: server.url, model, agent, ...opened });
  const seconds = (performance.now() - started) / 1000;
  agent.destroy();
  results.push({
    part: "open",
    side: "server",
    streams: opened.streams,
    most_open: open.mostOpen,
    completed: open.completed,
    seconds,
  });
  return open;
}
