import { mooncakeBlockTokens } from "./mooncake.ts";
import type { TraceRequest } from "./trace.ts";

/** How a trace is fitted to the server that it is sent to. */
export interface TraceShape {
  /** Requests come so many times as fast. Default: 1. */
  readonly scaleRate?: number;
  /** Inputs and outputs are so many times as long, and so are shared beginnings. Default: 1. */
  readonly scaleLength?: number;
  /** Longer inputs, and outputs, are cut to this many tokens, after scaling. Default: no limit. */
  readonly maxInput?: number;
  readonly maxOutput?: number;
}

/** A request to be sent. */
export interface PlannedRequest {
  /** When it is due, ms from the start. */
  readonly at: number;
  readonly inputTokens: number;
  readonly outputTokens: number;
  /** Blocks that the input is made of, as in the trace, and tokens of each; need not be whole. */
  readonly blocks?: readonly number[];
  readonly blockTokens?: number;
}

export interface ShapedTrace {
  readonly requests: readonly PlannedRequest[];
  /** Requests whose input, and whose output, was cut. */
  readonly clippedInputs: number;
  readonly clippedOutputs: number;
}

/** Scales a trace's times and lengths, then cuts what is too long. Nothing gets shorter than 1 token by scaling. */
export function shapeTrace(requests: readonly TraceRequest[], shape: TraceShape): ShapedTrace {
  const { scaleRate = 1, scaleLength = 1 } = shape;
  const { maxInput = Number.POSITIVE_INFINITY, maxOutput = Number.POSITIVE_INFINITY } = shape;
  const scaled = requests.map(({ at, inputTokens, outputTokens, blocks }) => ({
    at: at / scaleRate,
    inputTokens: Math.max(1, Math.round(inputTokens * scaleLength)),
    outputTokens: Math.max(1, Math.round(outputTokens * scaleLength)),
    ...(blocks && { blocks, blockTokens: mooncakeBlockTokens * scaleLength }),
  }));
  return {
    requests: scaled.map((request) => ({
      ...request,
      inputTokens: Math.min(request.inputTokens, maxInput),
      outputTokens: Math.min(request.outputTokens, maxOutput),
    })),
    clippedInputs: scaled.filter(({ inputTokens }) => inputTokens > maxInput).length,
    clippedOutputs: scaled.filter(({ outputTokens }) => outputTokens > maxOutput).length,
  };
}
