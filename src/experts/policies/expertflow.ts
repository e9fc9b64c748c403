import { PathPredictor } from "./path-predictor.ts";
import type { EvictionPolicy, ExpertId, Moment, PolicyShape, RoutedLayer, StepToken } from "./policy.ts";
import type { PrefetchPolicy, Wanted } from "./prefetch-policy.ts";

/** Layers after the one that was seen, whose guesses are corrected by it. */
const corrected = 3;

/**
 * ExpertFlow (arXiv 2410.17954): a light predictor guesses the whole routing path of a step's tokens before the pass; the
 * experts on it are read ahead and kept, and guesses are corrected as true routing is seen. The paper's predictor is a small
 * transformer, trained before; ours is counted online, from the routing of these requests and of those before (see
 * `path-predictor.ts`). What is on the path of a layer to come stays; of the others, the one whose last use is longest ago
 * leaves. Its regrouping of tokens across requests is
 * `scheduler/policies/regroup.ts`.
 */
export class ExpertFlow implements EvictionPolicy, PrefetchPolicy {
  readonly name = "expertflow";
  readonly #shape: PolicyShape;
  readonly #predictor: PathPredictor;
  readonly #lastUsed = new Map<ExpertId, number>();
  /** Of the step's tokens: by token and layer, their experts, guessed or seen. */
  #paths: number[][][] = [];
  /** By layer: what is on a path, each once, the likeliest ranks first. */
  #expected: ReadonlySet<ExpertId>[] = [];

  constructor(shape: PolicyShape) {
    this.#shape = shape;
    this.#predictor = new PathPredictor(shape);
  }

  began(tokens: readonly StepToken[]): Wanted {
    this.#paths = tokens.map(({ token }) => this.#predictor.path(token));
    this.#expected = Array.from({ length: this.#shape.layers }, (_, layer) => this.#expectedAt(layer));
    return this.#from(0);
  }

  routed(seen: RoutedLayer): Wanted {
    const { layer, decoding, tokens } = seen;
    this.#predictor.routed(seen);
    if (!decoding || this.#paths.length !== tokens.length) return undefined;
    const last = Math.min(layer + corrected, this.#shape.layers - 1);
    this.#paths.forEach((path, index) => {
      path[layer] = Array.from(tokens[index]!.chosen);
      for (let next = layer + 1; next <= last; next++)
        path[next] = this.#predictor.guess(tokens[index]!.token, next, path[next - 1]);
    });
    for (let next = layer + 1; next <= last; next++) this.#expected[next] = this.#expectedAt(next);
    return this.#from(layer + 1);
  }

  used(expert: ExpertId, { tick }: Moment): void {
    this.#lastUsed.set(expert, tick);
  }

  entered(): void {}
  left(): void {}

  worth(expert: ExpertId, { tick, layer }: Moment): number {
    const its = Math.floor(expert / this.#shape.experts);
    const isExpected = its > layer && this.#expected[its]?.has(expert) === true;
    // Among those that are expected, the layer that comes last gives first.
    if (isExpected) return 2 - (its - layer) / (this.#shape.layers + 1);
    return (this.#lastUsed.get(expert) ?? 0) / (tick + 1);
  }

  #expectedAt(layer: number): ReadonlySet<ExpertId> {
    const expected = new Set<ExpertId>();
    for (let rank = 0; rank < this.#shape.used; rank++) {
      for (const path of this.#paths) {
        const expert = path[layer]![rank];
        if (expert !== undefined) expected.add(layer * this.#shape.experts + expert);
      }
    }
    return expected;
  }

  #from(layer: number): ExpertId[] {
    return this.#expected.slice(layer).flatMap((experts) => [...experts]);
  }
}
