/** The trial run of a library, in a process of its own: `probe-child DIRECTORY`. Exits 0 when the sum is right. */
import { GraphAllocator } from "./allocator.ts";
import { Backend } from "./backend.ts";
import { Context } from "./context.ts";
import { expectedRelease, openLibrary } from "./library.ts";

const directory = process.argv[2];
if (!directory) throw new Error("probe-child needs the directory of the library");
const backend = new Backend(openLibrary(directory, expectedRelease), { threads: 2 });
const inputs = new Context(backend.native, { tensors: 2 });
const weights = inputs.tensor("F32", [32, 2]);
const vector = inputs.tensor("F32", [32]);
const buffer = backend.allocate([weights, vector]);
weights.floats().fill(2);
vector.floats().fill(1);
const context = new Context(backend.native, { tensors: 8, graphNodes: 8 });
const product = context.mulMat(weights, vector);
const graph = context.graph(8);
graph.expand(product);
const allocator = new GraphAllocator(backend.native, backend.hostBufferType);
allocator.allocate(graph);
await backend.compute(graph);
const found = product.floats().join();
allocator.dispose();
context.dispose();
buffer.dispose();
inputs.dispose();
backend.dispose();
if (found !== "64,64") throw new Error(`the trial product is ${found}, not 64,64`);
