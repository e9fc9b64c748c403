import { type GgufValue, gguf } from "../src/gguf/values.ts";

interface Node {
  readonly children: Map<number, Node>;
  text: string | undefined;
}

/** Nodes that share a block, and the bytes of the trie's length. */
const block = 256;

/**
 * A SentencePiece charsmap that replaces each key by its value: a trie whose children lie at their parent's base,
 * exclusive or the byte that leads to them.
 */
export function charsmapOf(replacements: Readonly<Record<string, string>>): GgufValue {
  const root: Node = { children: new Map(), text: undefined };
  for (const [key, text] of Object.entries(replacements)) {
    let node = root;
    for (const byte of Buffer.from(key)) {
      if (!node.children.has(byte)) node.children.set(byte, { children: new Map(), text: undefined });
      node = node.children.get(byte)!;
    }
    node.text = text;
  }
  const texts: number[] = [];
  const nodes: number[] = [0];
  // One block a node that has children or a text: wasteful, and simple.
  const place = (node: Node, index: number, label: number) => {
    const base = Math.ceil(nodes.length / block) * block;
    while (nodes.length < base + block) nodes.push(0x8000_0000);
    if (node.text !== undefined) {
      nodes[base] = (0x8000_0000 | texts.length) >>> 0;
      texts.push(...Buffer.from(node.text), 0);
    }
    const leaf = node.text === undefined ? 0 : 1 << 8;
    // A base is kept relative to the node's own place; the root's is taken as it is.
    nodes[index] = (((base ^ (index === 0 ? 0 : index)) << 10) | leaf | label) >>> 0;
    for (const [byte, child] of node.children) place(child, base ^ byte, byte);
  };
  place(root, 0, 0);
  const head = Buffer.alloc(4 + 4 * nodes.length);
  head.writeUInt32LE(4 * nodes.length, 0);
  nodes.forEach((node, index) => {
    head.writeUInt32LE(node, 4 + 4 * index);
  });
  return { ...gguf.i32s([]), type: "array", of: "u8", value: [...head, ...texts] };
}
