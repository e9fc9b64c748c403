/** Icons as paths in a square of 24, drawn with a stroke. */
const paths = {
  plus: "M12 5v14M5 12h14",
  send: "M12 19V5M6 11l6-6 6 6",
  stop: "M7.5 7.5h9v9h-9z",
  menu: "M4 7h16M4 12h16M4 17h16",
  sliders:
    "M4 8h9M18 8h2M4 16h2M11 16h9M15.5 5.5a2.5 2.5 0 1 0 0 5a2.5 2.5 0 1 0 0-5zM8.5 13.5a2.5 2.5 0 1 0 0 5a2.5 2.5 0 1 0 0-5z",
  copy: "M9 9h10v10H9zM15 9V5H5v10h4",
  check: "M5 12.5l4.5 4.5L19 7.5",
  refresh: "M19.5 12a7.5 7.5 0 1 1-2.2-5.3L20 9.4M20 4.5v5h-5",
  pencil: "M4.5 19.5h4L19 9l-4-4L4.5 15.5zM13 7l4 4",
  trash: "M5 7h14M9.5 7V4.5h5V7M7 7l.8 12.5h8.4L17 7",
  download: "M12 4v11M7.5 10.5L12 15l4.5-4.5M5 19.5h14",
  auto: "M12 4a8 8 0 1 0 0 16a8 8 0 1 0 0-16zM12 4v16M15 5.2v13.6M18 7.2v9.6",
  sun: "M12 8a4 4 0 1 0 0 8a4 4 0 1 0 0-8zM12 2.5v2M12 19.5v2M2.5 12h2M19.5 12h2M5.3 5.3l1.4 1.4M17.3 17.3l1.4 1.4M5.3 18.7l1.4-1.4M17.3 6.7l1.4-1.4",
  moon: "M20 14.2A8.2 8.2 0 0 1 9.8 4a8.2 8.2 0 1 0 10.2 10.2z",
  chart: "M5 19.5V11M12 19.5v-15M19 19.5V14",
  chat: "M4.5 5h15v11h-9l-4 3.5V16h-2z",
  close: "M6.5 6.5l11 11M17.5 6.5l-11 11",
  alert: "M12 4.5l8.5 15h-17zM12 10v4.5M12 16.8v.4",
  help: "M9 9.2a3 3 0 1 1 4.4 2.7c-.9.5-1.4 1.1-1.4 2.1M12 17.3v.4",
  key: "M8 11.5a4 4 0 1 0 0 8a4 4 0 1 0 0-8zM11 12.8L19.5 4.5M16 8l3 3",
} as const;

export type IconName = keyof typeof paths;

/** An icon; it is decoration, so the button around it needs a label. */
export function icon(name: IconName): SVGElement {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  const path = document.createElementNS(space, "path");
  const attributes = { class: "icon", viewBox: "0 0 24 24", "aria-hidden": "true" };
  for (const [key, value] of Object.entries(attributes)) svg.setAttribute(key, value);
  path.setAttribute("d", paths[name]);
  svg.append(path);
  return svg;
}

/** Puts icons where the page asks for them with `data-icon`. */
export function fillIcons(): void {
  for (const node of document.querySelectorAll<HTMLElement>("[data-icon]")) {
    node.prepend(icon(node.dataset.icon as IconName));
  }
}
