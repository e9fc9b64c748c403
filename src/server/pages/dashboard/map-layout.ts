/** Where the cells of a map of experts are. Pure. */

export interface MapLayout {
  /** Side of a cell with the gap after it, CSS pixels. */
  readonly cell: number;
  /** Whether layers go down and experts to the right; else the other way round. */
  readonly isUpright: boolean;
  /** Whether there is room for a bar at the right of each layer. */
  readonly hasBars: boolean;
  readonly width: number;
  readonly height: number;
}

/** An expert of a map: `layer` counts the map's layers from 0 on. */
export interface MapPlace {
  readonly layer: number;
  readonly expert: number;
}

/** Room for the numbers at the left and above, CSS pixels. */
export const margin = { left: 30, top: 18 };
/** Room for the bars at the right, where the page is so wide. */
export const bars = { gap: 12, width: 60, from: 560 };
const cellBounds = { least: 4, most: 24 };
/** Cells so large can be told apart: then layers go down. Larger ones on their side would only make the page long. */
const readable = { least: 6, most: 8 };

/** The largest cells that fit into a width: on a narrow page, many experts go down and the layers to the right. */
export function mapLayout(layers: number, experts: number, width: number): MapLayout {
  const cellOf = (columns: number, room: number) =>
    Math.min(cellBounds.most, Math.max(cellBounds.least, Math.floor(room / Math.max(1, columns))));
  const room = width - margin.left;
  const beside = width >= bars.from ? bars.gap + bars.width : 0;
  const hasBars = beside > 0 && cellOf(experts, room - beside) >= readable.least;
  const upright = cellOf(experts, hasBars ? room - beside : room);
  const onSide = Math.min(readable.most, cellOf(layers, room));
  const isUpright = upright >= readable.least || upright >= onSide;
  const cell = isUpright ? upright : onSide;
  const [columns, rows] = isUpright ? [experts, layers] : [layers, experts];
  const right = hasBars ? beside : 0;
  const size = { width: margin.left + columns * cell + right, height: margin.top + rows * cell };
  return { cell, isUpright, hasBars, ...size };
}

/** The left upper corner of an expert's cell. */
export function cornerOf(
  { cell, isUpright }: MapLayout,
  { layer, expert }: MapPlace,
): [x: number, y: number] {
  const [column, row] = isUpright ? [expert, layer] : [layer, expert];
  return [margin.left + column * cell, margin.top + row * cell];
}

/** The expert at a point, which may be none of the map's. */
export function placeAt({ cell, isUpright }: MapLayout, x: number, y: number): MapPlace {
  const column = Math.floor((x - margin.left) / cell);
  const row = Math.floor((y - margin.top) / cell);
  return isUpright ? { layer: row, expert: column } : { layer: column, expert: row };
}

/** Every how many columns or rows of this size a number stands, for numbers that take so many pixels. */
export function labelStep(cell: number, pixels: number): number {
  return [1, 2, 4, 8, 16, 32, 64].find((step) => step * cell >= pixels) ?? 128;
}
