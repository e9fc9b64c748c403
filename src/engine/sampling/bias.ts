/** What a request adds to the logits of some tokens, before everything else. */
import { StowageError } from "../../errors.ts";

export class LogitBias {
  readonly #tokens: Int32Array;
  readonly #amounts: Float32Array;

  /**
   * @param bias what to add, by token id
   * @throws StowageError sampling_param when a token is not one of the vocabulary
   */
  constructor(bias: Readonly<Record<string, number>>, vocabSize: number) {
    this.#tokens = Int32Array.from(Object.keys(bias), Number);
    this.#amounts = Float32Array.from(Object.values(bias));
    const wrong = this.#tokens.find((token) => token >= vocabSize);
    if (wrong !== undefined) {
      throw new StowageError("sampling_param", {
        field: "logitBias",
        value: `for the token ${wrong}`,
        allowed: `for tokens below ${vocabSize}, the size of the vocabulary`,
      });
    }
  }

  /** Adds it to `logits`, in place. */
  apply(logits: Float32Array): void {
    for (let i = 0; i < this.#tokens.length; i++) logits[this.#tokens[i]!]! += this.#amounts[i]!;
  }
}
