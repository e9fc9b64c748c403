import { element } from "../shared/dom.ts";
import { icon } from "../shared/icons.ts";

/** How long the button says that it copied, ms. */
const thanks = 1500;

export function copyButton(label: string, textOf: () => string): HTMLButtonElement {
  const button = element("button", {
    type: "button",
    class: "icon-button",
    title: label,
    "aria-label": label,
  });
  button.append(icon("copy"));
  button.addEventListener("click", async () => {
    const copied = await copy(textOf());
    button.replaceChildren(icon(copied ? "check" : "alert"));
    button.title = copied ? "Copied" : "The browser does not allow copying";
    setTimeout(() => {
      button.replaceChildren(icon("copy"));
      button.title = label;
    }, thanks);
  });
  return button;
}

async function copy(text: string): Promise<boolean> {
  try {
    // Absent where the page was not loaded over HTTPS or from this machine.
    if (navigator.clipboard === undefined) return copyBySelection(text);
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyBySelection(text);
  }
}

function copyBySelection(text: string): boolean {
  const area = element("textarea", { class: "off-screen", "aria-hidden": "true", tabindex: "-1" });
  area.value = text;
  const focused = document.activeElement;
  document.body.append(area);
  area.select();
  const copied = document.execCommand("copy");
  area.remove();
  if (focused instanceof HTMLElement) focused.focus();
  return copied;
}
