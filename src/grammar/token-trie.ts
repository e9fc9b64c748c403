/** What is asked of a model's vocabulary. `Tokenizer` answers it. */
export interface TokenSource {
  readonly vocabularySize: number;
  /** The bytes that a token stands for; of control tokens, their spelling. */
  pieceBytes(token: number): Uint8Array;
  isControl(token: number): boolean;
  isEndOfGeneration(token: number): boolean;
}

/** Of a node's subtree, as words: which ASCII bytes it has (four), and in the fifth what else. */
export const subtreeWords = 5;
export const hasOthers = 1;
/** Some of its tokens are no whole characters from the node on. */
export const hasFragments = 2;

/**
 * The tokens of a vocabulary that are text, as a tree of their bytes: made once for a model. Nodes are in the order in which a
 * walk meets them, so a subtree is a range of nodes, and its tokens are a range of `tokens`.
 */
export class TokenTrie {
  readonly vocabularySize: number;
  /** Bytes of the longest. */
  readonly longest: number;
  /** By node: its byte, how deep it is (1 for the first byte), and the node after its subtree. */
  readonly bytes: Uint8Array;
  readonly depths: Uint16Array;
  readonly ends: Int32Array;
  /** By node: where its own tokens begin in `tokens`, where they end, and where those of its subtree end. */
  readonly firstToken: Int32Array;
  readonly ownEnd: Int32Array;
  readonly subtreeEnd: Int32Array;
  /** `subtreeWords` of each node, without its own byte. */
  readonly subtree: Uint32Array;
  readonly tokens: Int32Array;
  readonly controlTokens: readonly number[];
  readonly endTokens: readonly number[];
  readonly #isText: Uint8Array;
  readonly #source: TokenSource;

  constructor(source: TokenSource) {
    const size = source.vocabularySize;
    const texts: { token: number; bytes: Uint8Array }[] = [];
    const controlTokens: number[] = [];
    const endTokens: number[] = [];
    this.#isText = new Uint8Array(size);
    for (let token = 0; token < size; token++) {
      if (source.isEndOfGeneration(token)) endTokens.push(token);
      else if (source.isControl(token)) controlTokens.push(token);
      else {
        const bytes = source.pieceBytes(token);
        if (bytes.length === 0 || bytes.length > maxTokenBytes) continue;
        texts.push({ token, bytes });
        this.#isText[token] = 1;
      }
    }
    texts.sort((a, b) => Buffer.compare(a.bytes, b.bytes));
    this.#source = source;
    this.vocabularySize = size;
    this.controlTokens = controlTokens;
    this.endTokens = endTokens;
    this.longest = texts.reduce((longest, { bytes }) => Math.max(longest, bytes.length), 1);
    this.tokens = Int32Array.from(texts, ({ token }) => token);

    const nodes = nodesOf(texts.map(({ bytes }) => bytes));
    this.bytes = Uint8Array.from(nodes, ({ byte }) => byte);
    this.depths = Uint16Array.from(nodes, ({ depth }) => depth);
    this.ends = Int32Array.from(nodes, ({ end }) => end);
    this.firstToken = Int32Array.from(nodes, ({ first }) => first);
    this.ownEnd = Int32Array.from(nodes, ({ ownEnd }) => ownEnd);
    this.subtreeEnd = Int32Array.from(nodes, ({ subtreeEnd }) => subtreeEnd);
    this.subtree = subtreesOf(nodes);
  }

  /** The bytes of a token that is text; else undefined. */
  textOf(token: number): Uint8Array | undefined {
    return this.#isText[token] ? this.#source.pieceBytes(token) : undefined;
  }
}

/** Longer tokens are never allowed: no vocabulary was seen with one. */
const maxTokenBytes = 1024;

interface Node {
  readonly byte: number;
  readonly depth: number;
  readonly parent: number;
  readonly first: number;
  ownEnd: number;
  subtreeEnd: number;
  end: number;
  fragments: boolean;
}

/** @param texts in the order of their bytes */
function nodesOf(texts: readonly Uint8Array[]): Node[] {
  const nodes: Node[] = [];
  /** Nodes of the text before, by depth. */
  const path: number[] = [];
  const leave = (depth: number, token: number) => {
    while (path.length > depth) {
      const node = nodes[path.pop()!]!;
      node.end = nodes.length;
      node.subtreeEnd = token;
    }
  };
  let before: Uint8Array = new Uint8Array(0);
  texts.forEach((bytes, token) => {
    let common = 0;
    while (common < before.length && common < bytes.length && before[common] === bytes[common]) common++;
    leave(common, token);
    for (let depth = common + 1; depth <= bytes.length; depth++) {
      const parent = path.at(-1) ?? -1;
      const byte = bytes[depth - 1]!;
      path.push(
        nodes.push({
          ...{ byte, depth, parent, first: token, ownEnd: token, subtreeEnd: token, end: 0 },
          fragments: false,
        }) - 1,
      );
    }
    nodes[path.at(-1)!]!.ownEnd = token + 1;
    wholeFrom(bytes).forEach((isWhole, depth) => {
      if (!isWhole && depth > 0) nodes[path[depth - 1]!]!.fragments = true;
    });
    before = bytes;
  });
  leave(0, texts.length);
  return nodes;
}

/** For each place, whether the bytes from there on are whole characters. */
function wholeFrom(bytes: Uint8Array): boolean[] {
  const whole: boolean[] = new Array(bytes.length + 1).fill(false);
  whole[bytes.length] = true;
  for (let at = bytes.length - 1; at >= 0; at--) {
    const length = characterLength(bytes, at);
    whole[at] = length > 0 && whole[at + length] === true;
  }
  return whole;
}

/** Bytes of the character at a place; 0 where none is whole. */
function characterLength(bytes: Uint8Array, at: number): number {
  const lead = bytes[at]!;
  if (lead < 0x80) return 1;
  const length = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  if (at + length > bytes.length) return 0;
  return isUtf8(bytes.subarray(at, at + length)) ? length : 0;
}

function isUtf8(bytes: Uint8Array): boolean {
  try {
    strict.decode(bytes);
    return true;
  } catch {
    return false;
  }
}

const strict = new TextDecoder("utf-8", { fatal: true });

/** From the last node to the first, so that a subtree is complete when its parent takes it in. */
function subtreesOf(nodes: readonly Node[]): Uint32Array {
  const words = new Uint32Array(nodes.length * subtreeWords);
  for (let node = nodes.length - 1; node >= 0; node--) {
    const { byte, parent, fragments } = nodes[node]!;
    if (fragments) words[node * subtreeWords + 4]! |= hasFragments;
    if (parent < 0) continue;
    const [own, up] = [node * subtreeWords, parent * subtreeWords];
    for (let word = 0; word < 4; word++) words[up + word]! |= words[own + word]!;
    words[up + 4]! |= words[own + 4]! & hasOthers;
    if (byte < 0x80) words[up + (byte >> 5)]! |= 1 << (byte & 31);
    else words[up + 4]! |= hasOthers;
  }
  return words;
}
