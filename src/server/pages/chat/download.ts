import { element } from "../shared/dom.ts";

/** Lets the browser save a text as a file. */
export function download(name: string, json: string): void {
  const url = URL.createObjectURL(new Blob([json], { type: "application/json" }));
  element("a", { href: url, download: name }).click();
  // The download has begun by then; the browser keeps what it needs of it.
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
