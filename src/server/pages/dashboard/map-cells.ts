/** How the cells of a map of experts look: each state has a form and a colour of its own, and heat the strength. */
import { colourOf } from "./colours.ts";

/** The states by their letters, in the order of the legend. */
export const states = {
  u: { name: "in use", about: "the step that runs computes with it" },
  p: { name: "there", about: "in memory" },
  a: { name: "read ahead", about: "in memory, and not used yet" },
  r: { name: "being read", about: "on its way from the disk" },
  ".": { name: "absent", about: "on the disk alone" },
} as const;

export type StateLetter = keyof typeof states;

export interface CellColours {
  readonly present: string;
  readonly ahead: string;
  readonly reading: string;
  readonly inUse: string;
  readonly absent: string;
  readonly absentHot: string;
}

/** The colours that hold now. */
export function cellColours(): CellColours {
  return {
    present: colourOf("--curve-1"),
    ahead: colourOf("--curve-2"),
    reading: colourOf("--curve-3"),
    inUse: colourOf("--text"),
    absent: colourOf("--sunken"),
    absentHot: colourOf("--muted"),
  };
}

/**
 * Draws one cell with its left upper corner at x, y.
 * @param side with the gap
 * @param heat 0 to 9
 */
export function drawCell(
  context: CanvasRenderingContext2D,
  [x, y]: readonly [number, number],
  side: number,
  state: StateLetter,
  heat: number,
  colours: CellColours,
): void {
  const size = side - (side < 8 ? 1 : 2);
  const square = (inset: number) => {
    context.beginPath();
    const length = size - 2 * inset;
    context.roundRect(x + inset, y + inset, length, length, Math.max(0, size / 5 - inset));
  };
  const dot = (radius: number) => {
    context.beginPath();
    context.arc(x + size / 2, y + size / 2, radius, 0, 2 * Math.PI);
  };
  context.globalAlpha = 1;
  switch (state) {
    case "p":
      context.globalAlpha = 0.28 + (0.72 * heat) / 9;
      context.fillStyle = colours.present;
      square(0);
      context.fill();
      break;
    case "u":
      context.fillStyle = colours.inUse;
      square(0);
      context.fill();
      context.fillStyle = colours.present;
      square(Math.max(1, size / 6));
      context.fill();
      break;
    case "a":
      context.fillStyle = colours.ahead;
      context.beginPath();
      context.moveTo(x + size / 2, y);
      context.lineTo(x + size, y + size / 2);
      context.lineTo(x + size / 2, y + size);
      context.lineTo(x, y + size / 2);
      context.fill();
      break;
    case "r":
      context.strokeStyle = colours.reading;
      context.lineWidth = Math.max(1, size / 6);
      square(context.lineWidth / 2);
      context.stroke();
      break;
    default:
      context.fillStyle = colours.absent;
      square(0);
      context.fill();
      if (heat === 0) break;
      context.globalAlpha = 0.25 + (0.75 * heat) / 9;
      context.fillStyle = colours.absentHot;
      dot(Math.max(0.75, size / 7));
      context.fill();
  }
  context.globalAlpha = 1;
}
