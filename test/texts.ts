/**
 * Texts that try a tokenizer: code, prose, digits, scripts, emoji, control characters, special tokens, and
 * mixtures of all of them. The same on every run.
 */
export function sampleTexts(count: number): string[] {
  const random = randomOf(20_240_817);
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)]!;
  const mixture = () => Array.from({ length: 1 + Math.floor(random() * 24) }, () => pick(pieces)()).join("");
  const pieces: readonly (() => string)[] = [
    () => pick(literals),
    () => pick(words),
    () => pick([" ", " ", "  ", "\n", "\n\n", "\t", "\r\n", "\u00a0", "\u3000"]),
    () => String(Math.floor(random() * 10 ** Math.floor(random() * 15))),
    () => String.fromCodePoint(Math.floor(random() * 0x250)),
    () => String.fromCodePoint(0x4e00 + Math.floor(random() * 0x5200)),
    () => String.fromCodePoint(0x1f300 + Math.floor(random() * 0x300)),
    () => String.fromCharCode(0xd800 + Math.floor(random() * 0x800)),
    () => pick(["<|im_start|>", "<|im_end|>", "<|endoftext|>", "<unk>", "<s>", "<|im_", "|>", "<0x0A>"]),
  ];
  return Array.from({ length: count }, (_, index) => literals[index] ?? mixture());
}

const words = (
  "the of and captain sea answer function return const import from night Stowage don't it's I'll über naïve " +
  "Ærøskøbing façade hello HELLO helloWorld snake_case SCREAMING_CASE x y2 3.14159 1e-9 0xFF a.b.c (a) [b] {c}"
).split(" ");

const literals = [
  "",
  " ",
  "\n",
  "          ",
  "a",
  "It was a dark and stormy night; the rain fell in torrents, except at occasional intervals.",
  "“Well,” said the captain, “we shall see — if the wind holds…”",
  "for (let index = 0; index < list.length; index++) {\n  total += list[index] ?? 0;\n}\n",
  "def add(a: int, b: int) -> int:\n\treturn a + b  # the sum\n",
  '#include <stdio.h>\nint main(void) { printf("%d\\n", 42); return 0; }\n',
  "SELECT count(*) FROM requests WHERE tenant = 'a''b' AND tokens >= 1000;",
  "Natalia sold 48/2 = 24 clips in May. She sold 48+24 = 72 clips altogether.",
  "1234567890 12345678901234567890 0.1 -7 +3 1,000,000.00 50% $5 €5",
  "日本語のテキストと漢字。中文字符，标点。한국어 텍스트",
  "مرحبا بالعالم שלום עולם नमस्ते दुनिया สวัสดีชาวโลก",
  "😀 👩‍👩‍👧‍👦 🇩🇪 👍🏽 🏴‍☠️ ☕️",
  "e\u0301 é \u200d\u200b\ufeff\u00ad Z\u0335\u0321\u0353a\u0332l\u0353g\u0332o",
  "\ufeffstarts with a byte order mark",
  "\u0000\u0001\u0002\u0007\b\u000b\f\u001b[31mred\u001b[0m\u007f\u0080\u009f",
  "half of a pair: \ud83d and \ude00 alone",
  "<|im_start|>user\nWho are you?<|im_end|>\n<|im_start|>assistant\n",
  "<|endoftext|><|im_start|><|im_end|><unk><s></s>",
  "<|im_start|<|im_start|>|>",
  "a\u2581b \u2581\u2581",
  "\u{10ffff}\uffff\ufffd",
  "x".repeat(300),
  "\u00e9".repeat(100),
];

/** A small random number generator (mulberry32), so that a failing text can be found again. */
function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
