import koffi from "koffi";
import { StowageError } from "../errors.ts";
import type { KoffiFunction, Pointer } from "./bindings.ts";
import { Graph } from "./graph.ts";
import type { Native } from "./library.ts";
import { tensorLayout } from "./struct.ts";
import { type Shape, Tensor } from "./tensor.ts";
import { type TensorType, tensorTypes } from "./types.ts";

/** How RoPE rotates: pairs of neighbours, or halves (NeoX). Numbers as in ggml. */
export const ropeModes = { neighbours: 0, halves: 2 } as const;

/** Rotary position embedding, in ggml's terms (`ggml_rope_ext`). */
export interface Rope {
  readonly dimensions: number;
  readonly mode: keyof typeof ropeModes;
  readonly base: number;
  /** What positions are multiplied by; below 1 where a context is stretched. */
  readonly scale: number;
  /** Tokens of the context before it was stretched. */
  readonly contextOriginal: number;
  /** YaRN's share of extrapolation at high frequencies: 1 for YaRN, else 0. */
  readonly extrapolation: number;
  /** What rotated elements are multiplied by; with YaRN besides its own factor. */
  readonly attentionFactor: number;
  /** YaRN extrapolates from so many turns in the original context on, and interpolates up to so many. */
  readonly betaFast: number;
  readonly betaSlow: number;
}

/** An operation whose result needs up to this many tensors in its context. */
const tensorsPerCall = 3;

/** Calls that build graphs since the process started: a steady decode step must not move it. */
let builtCalls = 0;
export function graphBuildCalls(): number {
  return builtCalls;
}

/**
 * The place where tensors and graphs are described (ggml's context, without data). Its memory is fixed when it is
 * made; running out is a typed error, where ggml itself would end the process.
 */
export class Context {
  readonly native: Native;
  /** Counts up when every tensor of the context becomes invalid. */
  generation = 0;
  readonly #bytes: number;
  #memory: Pointer;
  #context: Pointer;
  #view: DataView;
  #used = 0;

  /**
   * @param room.tensors how many tensors fit
   * @param room.graphNodes room for one graph of so many nodes
   */
  constructor(native: Native, room: { tensors: number; graphNodes?: number }) {
    const { ggml } = native;
    const tensorBytes = tensorLayout.size + tensorLayout.header;
    const graphBytes = room.graphNodes
      ? Number(ggml.ggml_graph_overhead_custom(BigInt(room.graphNodes), false))
      : 0;
    this.native = native;
    this.#bytes = (room.tensors + 2 * tensorsPerCall) * tensorBytes + graphBytes;
    this.#memory = koffi.alloc("uint8", this.#bytes);
    this.#context = ggml.ggml_init({ mem_size: this.#bytes, mem_buffer: this.#memory, no_alloc: true });
    this.#view = new DataView(koffi.view(this.#memory, this.#bytes));
  }

  /** Forgets every tensor and graph and starts empty, in the same memory. */
  reset(): void {
    this.native.ggml.ggml_reset(this.#alive());
    this.generation++;
    this.#used = 0;
  }

  /** Frees the descriptions. Data in buffers is not touched. */
  dispose(): void {
    if (!this.#context) return;
    this.native.ggml.ggml_free(this.#context);
    koffi.free(this.#memory);
    this.#context = 0n;
    this.#memory = 0n;
    this.#view = new DataView(new ArrayBuffer(0));
    this.generation++;
  }

  /** A tensor without data yet. */
  tensor(type: TensorType, shape: readonly number[], name?: string): Tensor {
    const extents = shape.map(BigInt);
    const made = this.#make("ggml_new_tensor", tensorTypes[type].id, extents.length, extents);
    if (name) this.native.ggml.ggml_set_name(made.pointer, name.slice(0, 63));
    return made;
  }

  /** An empty graph with room for `nodes`. */
  graph(nodes: number): Graph {
    const context = this.#alive();
    const bytes = Number(this.native.ggml.ggml_graph_overhead_custom(BigInt(nodes), false));
    this.#checkRoom("ggml_new_graph_custom", bytes);
    builtCalls++;
    const pointer: Pointer = this.native.ggml.ggml_new_graph_custom(context, BigInt(nodes), false);
    this.#used = Number(pointer - this.#memory) + bytes - tensorLayout.header;
    return new Graph(this, pointer);
  }

  /** A handle for a tensor of this context that native code made (a graph node). */
  adopt(pointer: Pointer): Tensor {
    return new Tensor(this, pointer);
  }

  add(a: Tensor, b: Tensor): Tensor {
    return this.#make("ggml_add", a.pointer, b.pointer);
  }
  /**
   * Adds `b` to a part of `a` (both F32, `a` contiguous), in its memory: what reads the sum has to read the result.
   * @param strides of the part's dimensions 1 to 3, bytes
   * @param offset of the part's first element, bytes
   */
  addInto(a: Tensor, b: Tensor, strides: readonly [number, number, number], offset: number): Tensor {
    return this.#make("ggml_acc_inplace", a.pointer, b.pointer, ...strides, offset);
  }
  /** Element-wise product; `b` is repeated along the dimensions in which it has one element. */
  mul(a: Tensor, b: Tensor): Tensor {
    return this.#make("ggml_mul", a.pointer, b.pointer);
  }
  scale(a: Tensor, factor: number): Tensor {
    return this.#make("ggml_scale", a.pointer, factor);
  }
  /** (a - mean) / deviation of each row. */
  norm(a: Tensor, epsilon: number): Tensor {
    return this.#make("ggml_norm", a.pointer, epsilon);
  }
  gelu(a: Tensor): Tensor {
    return this.#make("ggml_gelu", a.pointer);
  }
  rmsNorm(a: Tensor, epsilon: number): Tensor {
    return this.#make("ggml_rms_norm", a.pointer, epsilon);
  }
  /** weights [k, m, …] and x [k, n, …] → [m, n, …], F32. */
  mulMat(weights: Tensor, x: Tensor): Tensor {
    return this.#make("ggml_mul_mat", weights.pointer, x.pointer);
  }
  /** weights [k, m, experts], x [k, 1 or K, T], ids [K, T] → [m, K, T]: row i of a token uses expert ids[i]. */
  mulMatId(weights: Tensor, x: Tensor, ids: Tensor): Tensor {
    return this.#make("ggml_mul_mat_id", weights.pointer, x.pointer, ids.pointer);
  }
  /** a [n, k, …] and b [m, k, …] → [n, m, …]: the sum over k of the outer products of their columns. */
  outerProduct(a: Tensor, b: Tensor): Tensor {
    return this.#make("ggml_out_prod", a.pointer, b.pointer);
  }
  /** table [n, rows, …], indices I32 → the rows named, as F32. */
  getRows(table: Tensor, indices: Tensor): Tensor {
    return this.#make("ggml_get_rows", table.pointer, indices.pointer);
  }
  /** Writes the rows of `source` (F32) into `target` at `indices` (I64 or I32), converting to its type. */
  setRows(target: Tensor, source: Tensor, indices: Tensor): Tensor {
    return this.#make("ggml_set_rows", target.pointer, source.pointer, indices.pointer);
  }
  /** Adds to each column of a [n, K, T] the column of b [n, …] that ids I32 [K, T] name; F32. */
  addId(a: Tensor, b: Tensor, ids: Tensor): Tensor {
    return this.#make("ggml_add_id", a.pointer, b.pointer, ids.pointer);
  }
  sigmoid(a: Tensor): Tensor {
    return this.#make("ggml_sigmoid", a.pointer);
  }
  /** a [n, …] → [1, …] */
  sumRows(a: Tensor): Tensor {
    return this.#make("ggml_sum_rows", a.pointer);
  }
  clamp(a: Tensor, low: number, high: number): Tensor {
    return this.#make("ggml_clamp", a.pointer, low, high);
  }
  /** Element-wise quotient; `b` is repeated along the dimensions in which it has one element. */
  div(a: Tensor, b: Tensor): Tensor {
    return this.#make("ggml_div", a.pointer, b.pointer);
  }
  softMax(a: Tensor): Tensor {
    return this.#make("ggml_soft_max", a.pointer);
  }
  /** Indices of each row by falling value: [n, …] → I32 [n, …]. */
  argsort(a: Tensor): Tensor {
    const falling = 1;
    return this.#make("ggml_argsort", a.pointer, falling);
  }
  /** a [2n, …] → silu(first half) · second half, [n, …]. */
  swiglu(a: Tensor): Tensor {
    return this.#make("ggml_swiglu", a.pointer);
  }
  /** silu(gate) · up. */
  swigluSplit(gate: Tensor, up: Tensor): Tensor {
    return this.#make("ggml_swiglu_split", gate.pointer, up.pointer);
  }
  /** a [2n, …] → relu(first half) · second half, [n, …]. */
  reglu(a: Tensor): Tensor {
    return this.#make("ggml_reglu", a.pointer);
  }
  /** relu(gate) · up. */
  regluSplit(gate: Tensor, up: Tensor): Tensor {
    return this.#make("ggml_reglu_split", gate.pointer, up.pointer);
  }
  /** g · sigmoid(alpha · g) · (u + 1), where g is the gate, at most `limit`, and u is up, within `limit` of 0. */
  swigluOai(gate: Tensor, up: Tensor, alpha: number, limit: number): Tensor {
    return this.#make("ggml_swiglu_oai", gate.pointer, up.pointer, alpha, limit);
  }
  /** a [2n, …] → gelu(first half) · second half, [n, …]. */
  geglu(a: Tensor): Tensor {
    return this.#make("ggml_geglu", a.pointer);
  }
  /** gelu(gate) · up. */
  gegluSplit(gate: Tensor, up: Tensor): Tensor {
    return this.#make("ggml_geglu_split", gate.pointer, up.pointer);
  }
  /** Writes `a` into `target`, which has as many elements. */
  copy(a: Tensor, target: Tensor): Tensor {
    return this.#make("ggml_cpy", a.pointer, target.pointer);
  }
  /** A copy in another type. Quantised tensors can become F32 only. */
  cast(a: Tensor, type: TensorType): Tensor {
    return this.#make("ggml_cast", a.pointer, tensorTypes[type].id);
  }
  reshape2d(a: Tensor, n0: number, n1: number): Tensor {
    return this.#make("ggml_reshape_2d", a.pointer, n0, n1);
  }
  reshape3d(a: Tensor, n0: number, n1: number, n2: number): Tensor {
    return this.#make("ggml_reshape_3d", a.pointer, n0, n1, n2);
  }
  reshape4d(a: Tensor, n0: number, n1: number, n2: number, n3: number): Tensor {
    return this.#make("ggml_reshape_4d", a.pointer, n0, n1, n2, n3);
  }
  /** A tensor of the shape of `a` that holds `value` everywhere. */
  fill(a: Tensor, value: number): Tensor {
    return this.#make("ggml_fill", a.pointer, value);
  }
  /** A window on `a`: extents in elements, strides and offset in bytes. */
  view(a: Tensor, extents: readonly number[], strides: readonly number[], offset: number): Tensor {
    const [n0 = 1, n1 = 1, n2 = 1, n3 = 1] = extents;
    const [nb1 = 0, nb2 = 0, nb3 = 0] = strides;
    if (extents.length === 1) return this.#make("ggml_view_1d", a.pointer, n0, offset);
    if (extents.length === 2) return this.#make("ggml_view_2d", a.pointer, n0, n1, nb1, offset);
    if (extents.length === 3) return this.#make("ggml_view_3d", a.pointer, n0, n1, n2, nb1, nb2, offset);
    return this.#make("ggml_view_4d", a.pointer, n0, n1, n2, n3, nb1, nb2, nb3, offset);
  }
  /**
   * A view whose rows have `n0` elements, though their neighbours may begin before they end: rows overlap, which ggml's
   * own views refuse and its kernels read well.
   * @throws StowageError native_call_failed when the last row does not end inside `a`
   */
  overlappingView(a: Tensor, extents: readonly number[], strides: readonly number[], offset: number): Tensor {
    const [n0 = 1, ...outer] = extents;
    const elementBytes = a.strides[0];
    const last = outer.reduce((sum, extent, axis) => sum + (extent - 1) * (strides[axis] ?? 0), 0);
    const end = offset + last + n0 * elementBytes;
    if (end > a.byteLength) {
      throw new StowageError("native_call_failed", {
        call: "ggml_view_4d",
        reason: `a row ends at byte ${end} of a tensor of ${a.byteLength}.`,
      });
    }
    const view = this.view(a, [1, ...outer], strides, offset);
    this.setUint64(view.pointer, tensorLayout.ne, BigInt(n0));
    return view;
  }
  /** Zeros behind the first `p0` and `p1` dimensions' elements; F32. */
  pad(a: Tensor, p0: number, p1: number): Tensor {
    return this.#make("ggml_pad", a.pointer, p0, p1, 0, 0);
  }
  /** A contiguous copy, of another shape with as many elements. */
  contiguous2d(a: Tensor, n0: number, n1: number): Tensor {
    return this.#make("ggml_cont_2d", a.pointer, n0, n1);
  }
  /** a and b, which differ in the first dimension alone, one after the other there. */
  concat(a: Tensor, b: Tensor, axis = 0): Tensor {
    return this.#make("ggml_concat", a.pointer, b.pointer, axis);
  }
  /** `a` as often as it takes to have the shape of `like`. */
  repeat(a: Tensor, like: Tensor): Tensor {
    return this.#make("ggml_repeat", a.pointer, like.pointer);
  }
  permute(a: Tensor, axes: Shape): Tensor {
    return this.#make("ggml_permute", a.pointer, ...axes);
  }
  /** x [d, heads, T], positions I32 [T]; `factors` F32 [d/2] divide the frequencies. */
  rope(x: Tensor, positions: Tensor, rope: Rope, factors?: Tensor): Tensor {
    return this.#make(
      "ggml_rope_ext",
      x.pointer,
      positions.pointer,
      factors?.pointer ?? 0n,
      rope.dimensions,
      ropeModes[rope.mode],
      rope.contextOriginal,
      rope.base,
      rope.scale,
      rope.extrapolation,
      rope.attentionFactor,
      rope.betaFast,
      rope.betaSlow,
    );
  }
  tanh(a: Tensor): Tensor {
    return this.#make("ggml_tanh", a.pointer);
  }
  /**
   * q [d, T, heads, S], k and v [d, keys, kvHeads, S], mask F16 [keys, T, 1, S] → [d, heads, T, S]; S sequences,
   * often 1.
   * @param options.softCap scores go through softCap · tanh(score / softCap); 0 for none
   * @param options.sinks F32 [heads]: a score of each head that takes part in its softmax and brings no value
   */
  flashAttention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | undefined,
    scale: number,
    options: { softCap?: number | undefined; sinks?: Tensor | undefined } = {},
  ): Tensor {
    const { softCap = 0, sinks } = options;
    const bias = 0;
    const { pointer } = q;
    const result = this.#make(
      "ggml_flash_attn_ext",
      pointer,
      k.pointer,
      v.pointer,
      mask?.pointer ?? 0n,
      scale,
      bias,
      softCap,
    );
    if (sinks) this.native.ggml.ggml_flash_attn_ext_add_sinks(result.pointer, sinks.pointer);
    return result;
  }

  /** A 32-bit field of a struct in this context's memory. */
  int32(struct: Pointer, offset: number): number {
    return this.#view.getInt32(Number(struct - this.#memory) + offset, true);
  }
  /** A 64-bit field of a struct in this context's memory. */
  uint64(struct: Pointer, offset: number): bigint {
    return this.#view.getBigUint64(Number(struct - this.#memory) + offset, true);
  }
  /** Overwrites a 64-bit field of a struct in this context's memory. */
  setUint64(struct: Pointer, offset: number, value: bigint): void {
    this.#view.setBigUint64(Number(struct - this.#memory) + offset, value, true);
  }

  #alive(): Pointer {
    if (!this.#context) throw new StowageError("native_disposed", { what: "A tensor context" });
    return this.#context;
  }

  #make(call: ContextCall, ...args: unknown[]): Tensor {
    const context = this.#alive();
    this.#checkRoom(call, tensorsPerCall * (tensorLayout.size + tensorLayout.header));
    builtCalls++;
    const pointer: Pointer = (this.native.ggml[call] as KoffiFunction)(context, ...args);
    this.#used = Number(pointer - this.#memory) + tensorLayout.size;
    return new Tensor(this, pointer);
  }

  #checkRoom(call: ContextCall, bytes: number): void {
    if (this.#used + bytes <= this.#bytes) return;
    throw new StowageError("native_call_failed", {
      call,
      reason: `${this.#used} of the context's ${this.#bytes} bytes are used, ${bytes} more are needed.`,
    });
  }
}

type ContextCall = Extract<keyof Native["ggml"], `ggml_${string}`>;
