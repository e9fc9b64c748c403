import { byId } from "../shared/dom.ts";

/** The colour that a property of the page means now, as a canvas wants it. */
export function colourOf(property: string): string {
  const probe = byId("colour-probe", HTMLElement);
  probe.style.color = `var(${property})`;
  return getComputedStyle(probe).color;
}
