import koffi from "koffi";
import { findFile } from "../src/ggml/library.ts";
import { LlamaContext } from "../src/ggml/llama-context.ts";
import { LlamaModel } from "../src/ggml/llama-model.ts";
import { tensorLayout } from "../src/ggml/struct.ts";

/** Sums of squares and counts, by column and matrix. */
export interface PeerSums {
  readonly sums: Float64Array;
  readonly counts: Float64Array;
}

/** Offset of the callback that libllama asks about every node, in `struct llama_context_params`. */
const callbackOffset = 88;
/** Offsets in `struct ggml_tensor` that the project itself does not use. */
const { op, sources, name } = { op: 80, sources: 152, name: 256 };

/**
 * What llama.cpp's tool for importance matrices sums up, written down anew: of every product with a matrix of a layer,
 * the squares of what it is multiplied with. libllama computes, and shows the data of every product.
 */
export async function sumsByLlama(
  path: string,
  text: string,
  chunkTokens: number,
): Promise<Map<string, PeerSums>> {
  const model = await LlamaModel.load(path);
  const { contextDefaults, native } = model.llama;
  const base = koffi.load(findFile(native.directory, /^(lib)?ggml-base\.(so|dylib|dll)$/));
  const opName = base.func("const char *ggml_op_name(int op)");
  const totals = new Map<string, PeerSums>();
  const proto = koffi.proto("bool (void *tensor, bool ask, void *data)");
  const callback = koffi.register((pointer: bigint, ask: boolean) => {
    const node = new Node(pointer);
    const product: string = opName(node.op);
    const [weights, input, ids] = [node.source(0), node.source(1), node.source(2)];
    if (!product.startsWith("MUL_MAT") || !weights?.name.startsWith("blk.")) return !ask;
    if (ask) return true;
    addUp(totals, weights, input!, product === "MUL_MAT_ID" ? ids : undefined);
    return true;
  }, koffi.pointer(proto));
  const view = new DataView(contextDefaults.buffer, contextDefaults.byteOffset);
  view.setBigUint64(callbackOffset, koffi.address(callback), true);
  try {
    const context = new LlamaContext(model, { contextTokens: chunkTokens, threads: 1, flashAttention: true });
    view.setBigUint64(callbackOffset, 0n, true);
    const { vocabulary } = model;
    const tokens = vocabulary.tokenize(Buffer.from(text), { addSpecial: true, parseSpecial: false });
    for (let start = 0; start + chunkTokens <= tokens.length; start += chunkTokens) {
      context.clear();
      const chunk = [...tokens.subarray(start, start + chunkTokens)];
      if (vocabulary.addsBos) chunk[0] = vocabulary.bos!;
      context.decode(chunk.map((token, position) => ({ token, position, sequence: 0, wantLogits: true })));
    }
    return totals;
  } finally {
    model.dispose();
    koffi.unregister(callback);
  }
}

function addUp(totals: Map<string, PeerSums>, weights: Node, input: Node, ids: Node | undefined): void {
  const [columns, perToken, tokens] = input.extents as [number, number, number];
  const matrices = weights.extents[2]!;
  const known = totals.get(weights.name);
  const counted = ids ? matrices : 1;
  const total = known ?? { sums: new Float64Array(columns * matrices), counts: new Float64Array(counted) };
  totals.set(weights.name, total);
  const add = (row: number, token: number, matrix: number) => {
    const values = input.floats(row * input.strides[1]! + token * input.strides[2]!, columns);
    values.forEach((value, column) => {
      total.sums[matrix * columns + column]! += value * value;
    });
    if (matrix < counted) total.counts[matrix]!++;
  };
  for (let token = 0; token < tokens; token++) {
    // Without experts, the third dimension of weights and input are heads.
    if (!ids) for (let row = 0; row < perToken; row++) add(row, token, token % matrices);
    for (let rank = 0; ids && rank < ids.extents[0]!; rank++) {
      const expert = ids.int(rank * ids.strides[0]! + token * ids.strides[1]!);
      add(rank % perToken, token, expert);
    }
  }
}

/** A tensor of libllama's graph. */
class Node {
  readonly #view: DataView;

  constructor(pointer: bigint) {
    this.#view = new DataView(koffi.view(pointer, tensorLayout.size));
  }

  get op(): number {
    return this.#view.getInt32(op, true);
  }

  get name(): string {
    const bytes = new Uint8Array(this.#view.buffer, name, 64);
    return Buffer.from(bytes.subarray(0, bytes.indexOf(0))).toString();
  }

  get extents(): number[] {
    return [0, 1, 2, 3].map((index) => Number(this.#view.getBigInt64(tensorLayout.ne + 8 * index, true)));
  }

  get strides(): number[] {
    return [0, 1, 2, 3].map((index) => Number(this.#view.getBigUint64(tensorLayout.nb + 8 * index, true)));
  }

  source(index: number): Node | undefined {
    const pointer = this.#view.getBigUint64(sources + 8 * index, true);
    return pointer === 0n ? undefined : new Node(pointer);
  }

  floats(offset: number, count: number): Float32Array {
    return new Float32Array(koffi.view(this.#data + BigInt(offset), 4 * count));
  }

  int(offset: number): number {
    return new Int32Array(koffi.view(this.#data + BigInt(offset), 4))[0]!;
  }

  get #data(): bigint {
    return this.#view.getBigUint64(tensorLayout.data, true);
  }
}
