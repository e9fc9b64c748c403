/** What the tests of devices compute: two sequences of unlike length, then tokens one by one. */
export const devicePrompts = [
  Array.from({ length: 19 }, (_, at) => 5 + ((at * 37) % 280)),
  Array.from({ length: 33 }, (_, at) => 7 + ((at * 53) % 280)),
];
export const deviceTails = [11, 12];
export const deviceCells = 128;
