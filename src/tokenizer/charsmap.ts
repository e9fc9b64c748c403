import type { GgufValue } from "../gguf/values.ts";

/** A charsmap's trie: nodes of 32 bits, in which libllama jumps by exclusive or. */
interface Trie {
  readonly nodes: Uint32Array;
  /** Zero-terminated texts that take the place of what was matched. */
  readonly texts: Uint8Array;
}

const baseOf = (node: number) => (node >>> 10) << ((node & (1 << 9)) >>> 6);
/** The byte that leads to a node; none where bit 31 is set. */
const labelOf = (node: number) => (node & 0x8000_00ff) >>> 0;
const isLeaf = (node: number) => ((node >>> 8) & 1) === 1;
const textOf = (node: number) => node & 0x7fff_ffff;

/**
 * Follows every path of a SentencePiece charsmap, because libllama ends the process at one that leads out of it.
 * @param value of `tokenizer.ggml.precompiled_charsmap`: the trie's length in bytes (u32), the trie, the texts
 * @returns what is wrong, or undefined
 */
export function charsmapFault(value: GgufValue): string | undefined {
  if (value.type !== "array" || (value.of !== "u8" && value.of !== "i8")) return "it is no list of bytes.";
  const bytes = Uint8Array.from(value.value as ArrayLike<number>);
  if (bytes.length < 4) return "it has no length.";
  const view = new DataView(bytes.buffer);
  const trieBytes = view.getUint32(0, true);
  if (trieBytes % 4 !== 0) return `its tree has ${trieBytes} bytes, which is no multiple of 4.`;
  if (4 + trieBytes >= bytes.length) return `its tree has ${trieBytes} of ${bytes.length - 4} bytes.`;
  const nodes = Uint32Array.from({ length: trieBytes / 4 }, (_, index) =>
    view.getUint32(4 + 4 * index, true),
  );
  const texts = bytes.subarray(4 + trieBytes);
  if (texts.at(-1) !== 0) return "its last text does not end.";
  return nodes.length === 0 ? undefined : brokenPath({ nodes, texts });
}

function brokenPath({ nodes, texts }: Trie): string | undefined {
  const outside = (index: number) => index < 0 || index >= nodes.length;
  // Where the children of a node begin; two nodes may share them in a damaged file, which must not be followed for ever.
  const begun = new Set<number>();
  const open = [baseOf(nodes[0]!)];
  for (let base = open.pop(); base !== undefined; base = open.pop()) {
    if (begun.has(base)) continue;
    begun.add(base);
    for (let byte = 1; byte < 256; byte++) {
      const index = base ^ byte;
      if (outside(index)) return `a path leads to node ${index >>> 0} of ${nodes.length}.`;
      const node = nodes[index]!;
      if (labelOf(node) !== byte) continue;
      const next = index ^ baseOf(node);
      if (isLeaf(node)) {
        if (outside(next)) return `a path ends at node ${next >>> 0} of ${nodes.length}.`;
        const text = textOf(nodes[next]!);
        if (text >= texts.length) return `a path gives text ${text} of ${texts.length} bytes.`;
      }
      open.push(next);
    }
  }
  return undefined;
}
