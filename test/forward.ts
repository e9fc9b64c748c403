import { availableParallelism } from "node:os";
import { Backend } from "../src/ggml/backend.ts";
import { loadNative } from "../src/ggml/library.ts";
import { openGguf } from "../src/gguf/read.ts";
import { KvTensors } from "../src/kv/tensors.ts";
import { kvShape } from "../src/model/attention-shape.ts";
import { familyOf } from "../src/model/families.ts";
import { LayerwiseRunner, type Runtime } from "../src/model/forward.ts";
import type { Hyperparameters } from "../src/model/hyperparameters.ts";
import { planWeights } from "../src/model/layout.ts";
import { fillMaskRow } from "../src/model/mask.ts";
import { keyStep } from "../src/model/step.ts";
import type { StepMemory } from "../src/model/step-memory.ts";
import { ModelWeights } from "../src/model/weights.ts";

/** A model with room for one sequence. */
export interface TestModel {
  readonly runtime: Runtime;
  /** Logits after every token of one sequence, [tokens][vocabulary]. */
  logits(tokens: readonly number[]): Promise<Float32Array[]>;
  dispose(): void;
}

/** Loads a model into the project's own forward pass. @param cells most tokens of the sequence */
export async function loadForTest(path: string, cells: number): Promise<TestModel> {
  const backend = new Backend(loadNative(), { threads: availableParallelism() });
  const file = await openGguf(path);
  const family = familyOf(file.metadata.string("general.architecture"));
  const layout = planWeights(file, family, backend);
  const weights = new ModelWeights(file, layout, backend);
  await weights.convert(Number.POSITIVE_INFINITY);
  const roundedCells = Math.ceil(cells / keyStep) * keyStep;
  const kv = new KvTensors(backend, kvShape(layout.hyperparameters, roundedCells));
  // Attention reads masked cells too, and 0 times a stray NaN is NaN.
  const runtime = { backend, family, weights, kv, contextTokens: cells };
  const runner = new LayerwiseRunner(runtime, { maxTokens: cells, maxSequences: 1 });
  return {
    runtime,
    async logits(tokens) {
      const shape = stepOf(tokens.length);
      const step = runner.step(shape);
      fillFirstStep(step.memory, tokens, layout.hyperparameters);
      await step.run();
      const { vocabulary } = layout;
      const all = step.logits();
      const rows = tokens.map((_, row) => all.slice(row * vocabulary, (row + 1) * vocabulary));
      step.dispose();
      return rows;
    },
    dispose() {
      for (const resource of [runner, kv, weights, backend]) resource.dispose();
    },
  };
}

/** The step of one whole sequence, with logits for every token. */
export function stepOf(tokens: number) {
  const keys = Math.ceil(tokens / keyStep) * keyStep;
  return { sequences: [{ tokens, firstCell: 0, keys }], outputs: tokens };
}

/** Fills in a sequence that starts in this step, in the first cells. */
export function fillFirstStep(memory: StepMemory, tokens: readonly number[], h: Hyperparameters): void {
  memory.tokens.ints().set(tokens);
  memory.positions.ints().set(tokens.map((_, index) => index));
  memory.cells.longs().set(tokens.map((_, index) => BigInt(index)));
  const { masks, windowMasks } = memory.fill;
  const { keys } = stepOf(tokens.length).sequences[0]!;
  const { keys: windowKeys } = memory.windowShape.sequences[0]!;
  for (let position = 0; position < tokens.length; position++) {
    fillMaskRow(masks[0]!, position, keys, position);
    if (windowMasks) fillMaskRow(windowMasks[0]!, position, windowKeys, position, h.window?.tokens);
  }
}
