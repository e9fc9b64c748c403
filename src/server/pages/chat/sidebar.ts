/** The list of conversations. */
import { byId, element } from "../shared/dom.ts";
import { type IconName, icon } from "../shared/icons.ts";
import { twoStep } from "../shared/two-step.ts";
import type { Conversation } from "./conversation.ts";

export interface SidebarActions {
  open(id: string): void;
  rename(id: string, title: string): void;
  remove(id: string): void;
  exportAs(id: string | undefined): void;
}

export class Sidebar {
  readonly #list = byId("conversations", HTMLUListElement);
  readonly #none = byId("no-conversations", HTMLElement);
  readonly #exportAll = byId("export-all", HTMLButtonElement);
  readonly #toggle = byId("menu", HTMLButtonElement);
  readonly #actions: SidebarActions;
  #isRenaming = false;

  constructor(actions: SidebarActions) {
    this.#actions = actions;
    this.#exportAll.addEventListener("click", () => actions.exportAs(undefined));
    this.#toggle.addEventListener("click", () => this.#open(!document.body.classList.contains("menu-open")));
    byId("menu-shade", HTMLElement).addEventListener("click", () => this.#open(false));
    document.addEventListener("keydown", ({ key }) => key === "Escape" && this.#open(false));
  }

  show(conversations: readonly Conversation[], current: string): void {
    // The list is shown anew when the title is written; until then, an answer that ends must not take the field away.
    if (this.#isRenaming) return;
    this.#list.replaceChildren(...conversations.map((conversation) => this.#item(conversation, current)));
    this.#none.hidden = conversations.length > 0;
    this.#exportAll.hidden = conversations.length === 0;
  }

  close(): void {
    this.#open(false);
  }

  /** On a phone, the list lies over the conversation. */
  #open(isOpen: boolean): void {
    document.body.classList.toggle("menu-open", isOpen);
    this.#toggle.setAttribute("aria-expanded", String(isOpen));
  }

  #item({ id, title }: Conversation, current: string): HTMLElement {
    const item = element("li", { class: "conversation" });
    const open = element(
      "button",
      { type: "button", class: "conversation-title", title, onclick: () => this.#actions.open(id) },
      title,
    );
    if (id === current) open.setAttribute("aria-current", "true");
    const remove = itemButton("trash", `Delete “${title}”`);
    twoStep(
      remove,
      () => "Delete?",
      () => this.#actions.remove(id),
    );
    const save = itemButton("download", `Export “${title}”`);
    save.addEventListener("click", () => this.#actions.exportAs(id));
    const rename = itemButton("pencil", `Rename “${title}”`);
    rename.addEventListener("click", () => this.#rename(item, id, title));
    item.append(open, element("div", { class: "item-buttons" }, rename, save, remove));
    return item;
  }

  #rename(item: HTMLElement, id: string, title: string): void {
    const input = element("input", { type: "text", "aria-label": "New title", maxlength: "200" });
    input.value = title;
    this.#isRenaming = true;
    const done = (text: string) => {
      // The field that goes away loses the focus, which is told to `done` again.
      if (!this.#isRenaming) return;
      this.#isRenaming = false;
      this.#actions.rename(id, text);
    };
    input.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && !event.isComposing) done(input.value);
      if (event.key !== "Escape") return;
      event.stopPropagation();
      done(title);
    });
    input.addEventListener("blur", () => done(input.value));
    item.replaceChildren(input);
    input.select();
  }
}

function itemButton(name: IconName, label: string): HTMLButtonElement {
  const button = element("button", {
    type: "button",
    class: "icon-button",
    title: label,
    "aria-label": label,
  });
  button.append(icon(name));
  return button;
}
