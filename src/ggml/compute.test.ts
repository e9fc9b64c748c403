import assert from "node:assert/strict";
import { availableParallelism } from "node:os";
import { after, test } from "node:test";
import { hasCode } from "../../test/has-code.ts";
import { GraphAllocator } from "./allocator.ts";
import { Backend } from "./backend.ts";
import { Buffer } from "./buffer.ts";
import { Context } from "./context.ts";
import type { Graph } from "./graph.ts";
import { listDevices, loadNative } from "./library.ts";
import type { Tensor } from "./tensor.ts";

const native = loadNative();
const backend = new Backend(native, { threads: availableParallelism() });
const owned: { dispose(): void }[] = [backend];
after(() => {
  for (const resource of owned.reverse()) resource.dispose();
});

function own<T extends { dispose(): void }>(resource: T): T {
  owned.push(resource);
  return resource;
}

/** A tensor with data of its own. */
function filled(shape: readonly number[], value: (index: number) => number): Tensor {
  const tensor = own(new Context(native, { tensors: 1 })).tensor("F32", shape);
  own(backend.allocate([tensor]));
  tensor.floats().forEach((_, index, values) => {
    values[index] = value(index);
  });
  return tensor;
}

/** A graph with memory, of what `build` makes. */
function graphOf(build: (context: Context) => Tensor, room = 16): { graph: Graph; result: Tensor } {
  const context = own(new Context(native, { tensors: room, graphNodes: room }));
  const graph = context.graph(room);
  const result = build(context);
  graph.expand(result);
  own(new GraphAllocator(native, backend.hostBufferType)).allocate(graph);
  return { graph, result };
}

/** Multiplies a vector by a matrix again and again: `length` nodes, each of `width`² multiplications. */
function longGraph(width: number, length: number): { graph: Graph; result: Tensor } {
  const matrix = filled([width, width], (index) => Math.sin(index) / Math.sqrt(width));
  const start = filled([width, 8], (index) => Math.cos(index));
  return graphOf((context) => {
    let x = start;
    for (let node = 0; node < length; node++) x = context.mulMat(matrix, x);
    return x;
  }, length + 8);
}

test("the CPU is among the devices", () => {
  const devices = listDevices();
  const cpu = devices.find(({ kind }) => kind === "cpu");
  assert.ok(cpu, JSON.stringify(devices));
  assert.notEqual(cpu.name, "");
  assert.ok(cpu.memoryTotal > 0);
});

test("a product, a norm and a sum equal plain arithmetic", async () => {
  const [k, m, n] = [64, 5, 3];
  const weights = filled([k, m], (index) => Math.sin(index));
  const x = filled([k, n], (index) => Math.cos(index) * 2);
  const { graph, result } = graphOf((context) =>
    context.add(
      context.mulMat(weights, context.rmsNorm(x, 1e-6)),
      context.scale(context.mulMat(weights, x), 0.5),
    ),
  );
  assert.ok(graph.nodeCount >= 5);
  backend.checkSupport(graph);
  assert.equal(await backend.compute(graph), true);
  assert.deepEqual(result.shape, [m, n, 1, 1]);
  const [w, v] = [weights.floats(), x.floats()];
  for (let column = 0; column < n; column++) {
    const vector = v.subarray(column * k, (column + 1) * k);
    const norm = Math.sqrt(vector.reduce((sum, value) => sum + value * value, 0) / k + 1e-6);
    for (let row = 0; row < m; row++) {
      const product = vector.reduce((sum, value, index) => sum + value * w[row * k + index]!, 0);
      const found = result.floats()[column * m + row]!;
      const expected = product / norm + product / 2;
      assert.ok(Math.abs(found - expected) < 1e-4 * (1 + Math.abs(expected)), `${found} is not ${expected}`);
    }
  }
});

test("rows written into an F16 table come back", async () => {
  const table = own(new Context(native, { tensors: 1 })).tensor("F16", [32, 8]);
  own(backend.allocate([table]));
  table.halves().fill(0);
  const indices = own(new Context(native, { tensors: 1 })).tensor("I64", [2]);
  own(backend.allocate([indices]));
  indices.longs().set([6n, 1n]);
  const rows = filled([32, 2], (index) => index);
  const { graph, result } = graphOf((context) => {
    const written = context.setRows(table, rows, indices);
    return context.copy(written, context.tensor("F32", [32, 8]));
  });
  assert.equal(await backend.compute(graph), true);
  const expected = new Float32Array(32 * 8);
  expected.set(rows.floats().subarray(0, 32), 6 * 32);
  expected.set(rows.floats().subarray(32), 32);
  assert.deepEqual([...result.floats()], [...expected]);
});

test("a full context is a typed error, before and behind a graph", () => {
  const full = hasCode("native_call_failed");
  const small = own(new Context(native, { tensors: 3 }));
  assert.throws(() => small.graph(4096), full);
  assert.throws(() => {
    for (let count = 0; count < 1000; count++) small.tensor("F32", [1]);
  }, full);
  assert.throws(() => small.graph(128), full);
  const roomy = own(new Context(native, { tensors: 3, graphNodes: 1024 }));
  roomy.graph(1024);
  assert.throws(() => roomy.graph(1024), full);
  assert.throws(() => {
    for (let count = 0; count < 1000; count++) roomy.tensor("F32", [1]);
  }, full);
  roomy.reset();
  roomy.graph(1024);
  for (let count = 0; count < 3; count++) roomy.tensor("F32", [1]);
});

test("memory is given inside the buffer, and once", () => {
  const context = own(new Context(native, { tensors: 4 }));
  const buffer = own(Buffer.allocate(native, backend.hostBufferType, 256));
  const failed = hasCode("native_call_failed");
  const tensor = context.tensor("F32", [32]);
  assert.throws(() => buffer.placeAt(tensor, -64), failed);
  assert.throws(() => buffer.placeAt(tensor, 192), failed);
  assert.throws(() => tensor.floats(), hasCode("native_disposed"));
  buffer.placeAt(tensor, 128);
  assert.equal(tensor.floats().length, 32);
  assert.throws(() => buffer.placeAt(tensor, 0), failed);
  buffer.place(context.tensor("F32", [32]));
  buffer.place(context.tensor("F32", [32]));
  assert.throws(() => buffer.place(context.tensor("F32", [1])), failed);
});

test("a second graph beside a running one, and taking its threads away, is native_busy", async () => {
  const { graph } = longGraph(256, 64);
  const other = graphOf((context) =>
    context.scale(
      filled([4], () => 1),
      3,
    ),
  );
  const running = backend.compute(graph);
  await assert.rejects(backend.compute(other.graph), hasCode("native_busy"));
  assert.throws(() => backend.dispose(), hasCode("native_busy"));
  assert.equal(await running, true);
  assert.equal(await backend.compute(other.graph), true);
  assert.deepEqual([...other.result.floats()], [3, 3, 3, 3]);
});

test("an aborted graph ends well before its time, and leaves nothing behind", async () => {
  const { graph, result } = longGraph(768, 400);
  const started = performance.now();
  assert.equal(await backend.compute(graph), true);
  const whole = performance.now() - started;
  const expected = result.floats().slice();
  assert.ok(expected.every(Number.isFinite));

  const again = performance.now();
  const running = backend.compute(graph);
  await new Promise((resolve) => setTimeout(resolve, whole / 20));
  backend.abort();
  assert.equal(await running, false);
  const stopped = performance.now() - again;
  assert.ok(stopped < whole / 2, `stopped after ${stopped} ms, the whole graph takes ${whole} ms`);

  assert.equal(await backend.compute(graph), false, "refused until resumed");
  backend.resume();
  assert.equal(await backend.compute(graph), true);
  assert.deepEqual(result.floats(), expected);
});

test("the idle pool leaves the processor alone", async () => {
  const { graph } = longGraph(256, 16);
  await backend.compute(graph);
  const before = process.cpuUsage();
  await new Promise((resolve) => setTimeout(resolve, 300));
  const { user, system } = process.cpuUsage(before);
  // One thread that polled all the time would take 300 ms; the pool's polling ends after a few.
  assert.ok(user + system < 60_000, `${(user + system) / 1000} ms of 300 were used`);
});
