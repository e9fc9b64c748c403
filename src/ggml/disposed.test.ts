import assert from "node:assert/strict";
import { after, test } from "node:test";
import { hasCode } from "../../test/has-code.ts";
import { GraphAllocator } from "./allocator.ts";
import { Backend } from "./backend.ts";
import { Buffer } from "./buffer.ts";
import { Context } from "./context.ts";
import { loadNative } from "./library.ts";
import { MappedFile } from "./memory.ts";

const native = loadNative();
const backend = new Backend(native, { threads: 1 });
after(() => backend.dispose());

const refused = (use: () => unknown) => assert.throws(use, hasCode("native_disposed"));

function smallGraph() {
  const context = new Context(native, { tensors: 4, graphNodes: 4 });
  const input = context.tensor("F32", [8]);
  const buffer = backend.allocate([input]);
  input.floats().fill(1);
  const graph = context.graph(4);
  const result = context.scale(input, 2);
  graph.expand(result);
  const allocator = new GraphAllocator(native, backend.hostBufferType);
  const dispose = () => {
    for (const resource of [allocator, context, buffer]) resource.dispose();
  };
  return { context, input, buffer, graph, result, allocator, dispose };
}

for (const end of ["reset", "dispose"] as const) {
  test(`tensors and graphs of a context after ${end}`, async () => {
    const { context, input, graph, result, allocator, dispose } = smallGraph();
    allocator.allocate(graph);
    context[end]();
    for (const tensor of [input, result]) {
      refused(() => tensor.pointer);
      refused(() => tensor.type);
      refused(() => tensor.shape);
      refused(() => tensor.strides);
      refused(() => tensor.byteLength);
      refused(() => tensor.data);
      refused(() => tensor.bytes());
      refused(() => tensor.floats());
    }
    refused(() => graph.pointer);
    refused(() => graph.nodeCount);
    refused(() => graph.node(0));
    refused(() => graph.expand(input));
    refused(() => allocator.allocate(graph));
    await assert.rejects(backend.compute(graph), hasCode("native_disposed"));
    dispose();
  });
}

test("a context after dispose; disposing twice does nothing", () => {
  const { context, dispose } = smallGraph();
  dispose();
  dispose();
  refused(() => context.tensor("F32", [1]));
  refused(() => context.graph(4));
  refused(() => context.reset());
});

test("a tensor of another context that is gone is no operand", () => {
  const gone = smallGraph();
  const here = smallGraph();
  gone.dispose();
  refused(() => here.context.add(here.input, gone.input));
  here.dispose();
});

test("a buffer after dispose, and the tensors that lay in it", () => {
  const { context, input, buffer, dispose } = smallGraph();
  assert.equal(input.floats()[7], 1);
  buffer.dispose();
  buffer.dispose();
  refused(() => buffer.base);
  refused(() => buffer.place(context.tensor("F32", [1])));
  refused(() => input.floats());
  refused(() => input.bytes());
  dispose();
});

test("a graph whose memory is missing, gone, or given to the next graph", async () => {
  const one = smallGraph();
  const two = smallGraph();
  await assert.rejects(backend.compute(one.graph), hasCode("native_disposed"));
  one.allocator.allocate(one.graph);
  assert.equal(await backend.compute(one.graph), true);
  assert.deepEqual([...one.result.floats()], new Array(8).fill(2));
  one.allocator.allocate(two.graph);
  await assert.rejects(backend.compute(one.graph), hasCode("native_disposed"));
  assert.equal(await backend.compute(two.graph), true);
  one.allocator.dispose();
  one.allocator.dispose();
  assert.equal(one.allocator.byteLength, 0);
  refused(() => one.allocator.allocate(two.graph));
  await assert.rejects(backend.compute(two.graph), hasCode("native_disposed"));
  one.dispose();
  two.dispose();
});

test("a backend after dispose", async () => {
  const other = new Backend(native, { threads: 2 });
  const { graph, allocator, dispose } = smallGraph();
  allocator.allocate(graph);
  assert.equal(await other.compute(graph), true);
  other.dispose();
  other.dispose();
  await assert.rejects(other.compute(graph), hasCode("native_disposed"));
  refused(() => other.abort());
  refused(() => other.resume());
  dispose();
});

test("a mapped file after dispose; a file that cannot be mapped", () => {
  const file = new MappedFile(import.meta.filename);
  assert.notEqual(file.address, 0n);
  file.release(0, file.byteLength);
  const over = Buffer.over(native, file.address, file.byteLength);
  over.dispose();
  file.dispose();
  file.dispose();
  refused(() => file.address);
  refused(() => file.release(0, 8192));
  assert.throws(() => new MappedFile("/dev/null"), hasCode("native_call_failed"));
});
