import { quantizeRows } from "../ggml/quantize.ts";
import { rowBytes, type TensorType } from "../ggml/types.ts";
import { Random } from "./random.ts";
import { type TopicProcess, topicOf } from "./topics.ts";

/** Values that are copied at a time out of the pool, as in `SyntheticWeights`. */
const pieceElements = 256;
/** Rows that are quantised at a time. */
const chunkRows = 1024;

/**
 * Token embeddings of two parts, both of normally distributed values of variance 1: one that all tokens of a topic share, and
 * one of the token's own. The topic's part has the weight √share, the token's own √(1 - share).
 */
export class TopicalEmbeddings {
  readonly #width: number;
  readonly #process: TopicProcess;
  readonly #pool: Float32Array;
  readonly #topics: Float32Array;
  readonly #salt: number;

  /**
   * @param width elements of an embedding
   * @param pool normally distributed values, many more than a row has
   */
  constructor(random: Random, pool: Float32Array, width: number, process: TopicProcess) {
    this.#width = width;
    this.#process = process;
    this.#pool = pool;
    this.#topics = new Float32Array(process.topics * width);
    random.fillNormal(this.#topics, 1);
    this.#salt = random.below(2 ** 32);
  }

  /** What the tokens of a topic share, [width]. */
  topic(topic: number): Float32Array {
    return this.#topics.subarray(topic * this.#width, (topic + 1) * this.#width);
  }

  /** Fills `target`, [width], with the token's own part. */
  own(token: number, target: Float32Array): void {
    const random = new Random(token * 2 ** 32 + this.#salt);
    for (let at = 0; at < this.#width; at += pieceElements) {
      const start = random.below(this.#pool.length - pieceElements + 1);
      target.set(this.#pool.subarray(start, start + Math.min(pieceElements, this.#width - at)), at);
    }
  }

  /**
   * The data of the matrix [width, vocabulary], in chunks; a chunk is valid until the next one is asked for.
   * @param deviation standard deviation of the values
   */
  async *matrix(type: TensorType, share: number, deviation: number): AsyncIterable<Uint8Array> {
    const { vocabulary, topics } = this.#process;
    const width = this.#width;
    const rows = new Float32Array(Math.min(chunkRows, vocabulary) * width);
    const chunk = new Uint8Array(rowBytes(type, rows.length));
    const ofTopic = deviation * Math.sqrt(share);
    const ofToken = deviation * Math.sqrt(1 - share);
    for (let first = 0; first < vocabulary; first += chunkRows) {
      const count = Math.min(chunkRows, vocabulary - first);
      for (let index = 0; index < count; index++) {
        const row = rows.subarray(index * width, (index + 1) * width);
        const shared = this.topic(topicOf(first + index, topics));
        this.own(first + index, row);
        for (let at = 0; at < width; at++) row[at] = ofTopic * shared[at]! + ofToken * row[at]!;
      }
      const bytes = chunk.subarray(0, rowBytes(type, count * width));
      await quantizeRows(type, rows.subarray(0, count * width), width, bytes);
      yield bytes;
    }
  }
}
