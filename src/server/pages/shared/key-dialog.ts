import { element } from "./dom.ts";
import type { Failure } from "./failure.ts";
import { read, write } from "./storage.ts";

/** The question that is open, so that several requests that need a key ask once. */
let open: Promise<boolean> | undefined;

/** Asks for the API key and keeps it under `name`; false when the reader will not say. */
export function askForKey(failure: Failure, name: string): Promise<boolean> {
  open ??= show(failure, name).finally(() => {
    open = undefined;
  });
  return open;
}

function show(failure: Failure, name: string): Promise<boolean> {
  const input = element("input", { id: "api-key", type: "password", autocomplete: "off", required: true });
  const cancel = element("button", { type: "button", onclick: () => dialog.close() }, "Not now");
  const form = element(
    "form",
    { method: "dialog" },
    element("h2", { id: "api-key-title" }, "This server asks for an API key"),
    element("p", { class: "muted" }, failure.message),
    element("label", { for: "api-key" }, "API key"),
    input,
    element("p", { class: "hint" }, "It is kept in this browser, and sent to this server alone."),
    element(
      "div",
      { class: "dialog-buttons" },
      cancel,
      element("button", { class: "primary", value: "save" }, "Use this key"),
    ),
  );
  const dialog = element("dialog", { "aria-labelledby": "api-key-title" }, form);
  input.value = read(name) ?? "";
  document.body.append(dialog);
  dialog.showModal();
  input.select();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "save" && write(name, input.value.trim()));
    });
  });
}
