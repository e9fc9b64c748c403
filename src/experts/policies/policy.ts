/**
 * An expert of a model: layer times experts a layer, plus its number in the layer. Policies number the layers that have
 * experts from 0 on, as routing traces do; dense layers before them do not count.
 */
export type ExpertId = number;

/** The experts of a model: those of layer l have the numbers from l times `experts` on. */
export interface ExpertShape {
  readonly layers: number;
  /** Of each layer. */
  readonly experts: number;
}

/** What a policy is made for. */
export interface PolicyShape extends ExpertShape {
  /** Experts that a router chooses for a token. */
  readonly used: number;
  /** Slots for experts of all layers together. */
  readonly slots: number;
  /** The embedding of a token, F32, where the model is at hand; valid until the next call. */
  readonly embedding?: ((token: number) => Float32Array) | undefined;
}

/** When something happened: ticks count the layers that were run, so time stands still while nothing runs. */
export interface Moment {
  readonly tick: number;
  /** The layer that runs; -1 before the first of a step. */
  readonly layer: number;
}

/** A token that a step runs. */
export interface StepToken {
  /** Whose token it is. Numbers are used again by later requests: a position that does not rise tells a new one. */
  readonly request: number;
  /** Its id in the vocabulary; -1 where that is not known. */
  readonly token: number;
  /** Its place in the request, from 0 on. */
  readonly position: number;
}

/** What a router has shown of one token. */
export interface RoutedToken extends StepToken {
  /** Chosen experts by falling rank. */
  readonly chosen: ArrayLike<number>;
  /** Softmax over all experts of the layer, to policies that see `probabilities`, where they are known. */
  readonly probabilities?: Float32Array;
}

/** What a step has shown at a layer. */
export interface RoutedLayer {
  readonly layer: number;
  /** Whether the step asks for experts one layer after the other and waits for them; else it is a long prompt, which needs nearly all. */
  readonly decoding: boolean;
  readonly tokens: readonly RoutedToken[];
}

/** The experts that a router would choose when it is run before its time. */
export interface GuessedLayer {
  /** The layer that is to come. */
  readonly layer: number;
  /** By all tokens of the step together, each once. */
  readonly experts: readonly number[];
}

/** What a decode step took, up to the experts of its last layer, ms. */
export interface StepCost {
  readonly ms: number;
  /** Of that, waiting for experts. */
  readonly stallMs: number;
}

/**
 * What is computed for policies beside what a step computes anyway: the router's softmax over all experts; the next
 * layer's router on this layer's residual stream; a layer's own router on the stream before its attention.
 */
export type Sight = "probabilities" | "next-gate" | "pre-attention";

/** What policies of both roles are told, those that want it. A policy does no I/O and has no clock. */
export interface Observer<Answer> {
  readonly name: string;
  readonly sees?: readonly Sight[];
  /** What it has come to, for people: a few words. */
  says?(): string | undefined;
  /** Of one that chooses among others, the name of the one that decides now. */
  acting?(): string;
  /** A decode step begins. */
  began?(tokens: readonly StepToken[], now: Moment): Answer;
  /**
   * A router has chosen. Told after the experts of the layer were asked for, while the disk or the processor works: a
   * step does not wait for it.
   */
  routed?(seen: RoutedLayer, now: Moment): Answer;
  guessed?(guess: GuessedLayer, now: Moment): Answer;
  /** A decode step has its last experts. */
  stepped?(cost: StepCost, now: Moment): void;
}

/** A policy of which something outlives the process. */
export interface Learner {
  readonly name: string;
  /** What it has learnt, of bounded size, as a copy; empty where that is nothing. */
  learnt(): Uint8Array;
  /** Goes on with what a policy of this name had learnt of a model of this shape. What cannot be that is left aside. */
  restore(learnt: Uint8Array): void;
}

/** Which expert leaves the cache when another needs its slot: the one of least worth. */
export interface EvictionPolicy extends Observer<void> {
  /** A decode step's routers chose the expert; called once for each at a layer, before it is looked for. */
  used(expert: ExpertId, now: Moment): void;
  /** The expert has a slot from now on. */
  entered(expert: ExpertId, now: Moment): void;
  /** The expert has lost its slot. */
  left(expert: ExpertId): void;
  /** What it is worth to keep the expert, in any unit; of equals, the lower number leaves first. */
  worth(expert: ExpertId, now: Moment): number;
}
