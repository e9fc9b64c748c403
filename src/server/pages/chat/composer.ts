/** The field where messages are written. */
import { byId } from "../shared/dom.ts";
import { icon } from "../shared/icons.ts";

export interface ComposerActions {
  send(text: string): void;
  stop(): void;
  editLast(): void;
}

export class Composer {
  readonly #input = byId("input", HTMLTextAreaElement);
  readonly #button = byId("send", HTMLButtonElement);
  readonly #actions: ComposerActions;
  #isBusy = false;

  constructor(actions: ComposerActions) {
    this.#actions = actions;
    byId("composer", HTMLFormElement).addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.#isBusy) this.#actions.stop();
      else this.#send();
    });
    this.#input.addEventListener("keydown", (event) => this.#key(event));
    this.#input.addEventListener("input", () => this.#show());
    this.#show();
  }

  /** While an answer comes, the button stops it. */
  set isBusy(isBusy: boolean) {
    this.#isBusy = isBusy;
    this.#show();
  }

  /** Where there is a keyboard: on a phone, the focus would call one up over half of the page. */
  focus(): void {
    if (matchMedia("(hover: hover)").matches) this.#input.focus();
  }

  #key(event: KeyboardEvent): void {
    // Enter that ends the composition of a character is not meant for us.
    if (event.isComposing) return;
    if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      if (!this.#isBusy) this.#send();
    } else if (event.key === "ArrowUp" && this.#input.value === "" && !this.#isBusy) {
      event.preventDefault();
      this.#actions.editLast();
    }
  }

  #send(): void {
    const text = this.#input.value.trim();
    if (text === "") return;
    this.#input.value = "";
    this.#show();
    this.#actions.send(text);
  }

  #show(): void {
    const label = this.#isBusy ? "Stop (Esc)" : "Send (Enter)";
    if (this.#button.title !== label) {
      this.#button.title = label;
      this.#button.setAttribute("aria-label", label);
      this.#button.replaceChildren(icon(this.#isBusy ? "stop" : "send"));
      this.#button.classList.toggle("stop", this.#isBusy);
    }
    this.#button.disabled = !this.#isBusy && this.#input.value.trim() === "";
  }
}
