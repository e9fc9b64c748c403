/** One message of the conversation on the page. */
import { element, setText } from "../shared/dom.ts";
import { failureCard } from "../shared/failure-card.ts";
import { formatCount, formatMs, formatRate } from "../shared/format.ts";
import { type IconName, icon } from "../shared/icons.ts";
import type { AnswerMessage, AnswerStats, UserMessage } from "./conversation.ts";
import { copyButton } from "./copy-button.ts";
import { MarkdownView } from "./render-markdown.ts";

/** Shows a question; `edited` gets its new text. */
export class QuestionView {
  readonly root = element("article", { class: "message question", "aria-label": "You" });
  readonly #message: UserMessage;
  readonly #edited: (text: string) => void;

  constructor(message: UserMessage, edited: (text: string) => void) {
    this.#message = message;
    this.#edited = edited;
    this.#show();
  }

  #show(): void {
    this.root.replaceChildren(
      element("div", { class: "bubble" }, this.#message.content),
      element(
        "div",
        { class: "actions" },
        copyButton("Copy the message", () => this.#message.content),
        actionButton("pencil", "Edit and send again", () => this.edit()),
      ),
    );
  }

  edit(): void {
    const area = element("textarea", { "aria-label": "Edit the message", rows: "1" });
    area.value = this.#message.content;
    const done = () => this.#show();
    const send = () => {
      if (area.value.trim() === "") return;
      done();
      this.#edited(area.value.trim());
    };
    area.addEventListener("keydown", (event) => {
      if (event.isComposing) return;
      if (event.key === "Enter" && !event.shiftKey) {
        event.preventDefault();
        send();
      } else if (event.key === "Escape") {
        event.stopPropagation();
        done();
        document.getElementById("input")?.focus();
      }
    });
    const buttons = element(
      "div",
      { class: "edit-buttons" },
      element("button", { type: "button", onclick: done }, "Cancel"),
      element("button", { type: "button", class: "primary", onclick: send }, "Send"),
    );
    this.root.replaceChildren(element("div", { class: "editor" }, area, buttons));
    area.focus();
    area.setSelectionRange(area.value.length, area.value.length);
  }
}

/** Shows an answer, also while it grows. */
export class AnswerView {
  readonly root = element("article", { class: "message answer", "aria-label": "Answer" });
  readonly #text = element("div", { class: "prose" });
  readonly #notice = element("p", { class: "notice" });
  readonly #failure = element("div");
  readonly #stats = element("p", { class: "stats" });
  readonly #markdown = new MarkdownView(this.#text);
  readonly #message: AnswerMessage;
  #frame = 0;

  constructor(message: AnswerMessage, regenerate: () => void) {
    this.#message = message;
    const actions = element(
      "div",
      { class: "actions" },
      copyButton("Copy the answer", () => this.#message.content),
      actionButton("refresh", "Answer again", regenerate, "regenerate"),
      this.#stats,
    );
    this.root.append(this.#text, this.#notice, this.#failure, actions);
    this.show();
  }

  /** Shows the message as it is now, with the next frame. */
  update(): void {
    this.#frame ||= requestAnimationFrame(() => this.show());
  }

  /** Says what is waited for; "" for nothing. */
  wait(text: string): void {
    setText(this.#notice, text);
    this.#notice.hidden = text === "";
  }

  show(): void {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    const { content, end, failure, stats } = this.#message;
    this.root.classList.toggle("streaming", end === undefined);
    // Readers of the screen hear the answer when it is complete, not every token.
    this.root.setAttribute("aria-busy", String(end === undefined));
    this.#markdown.show(content);
    this.wait(endNotice(this.#message));
    this.#failure.replaceChildren(...(failure === undefined ? [] : [failureCard(failure)]));
    this.#stats.replaceChildren(...(stats === undefined ? [] : statsOf(stats)));
  }
}

function endNotice({ end, content }: AnswerMessage): string {
  if (end === "stopped") return content === "" ? "Stopped before the first token." : "Stopped.";
  if (end === "length") return "The answer reached its limit of tokens.";
  return end === "stop" && content === "" ? "The model ended its answer without a word." : "";
}

function statsOf({ tokensPerSecond, timeToFirstToken, usage }: AnswerStats): Node[] {
  const parts: [string, string][] = [];
  if (tokensPerSecond !== undefined)
    parts.push([`${formatRate(tokensPerSecond)} tokens/s`, "Speed of generation"]);
  if (timeToFirstToken !== undefined)
    parts.push([`TTFT ${formatMs(timeToFirstToken)}`, "Time to the first token"]);
  if (usage !== undefined) {
    parts.push([`${formatCount(usage.promptTokens)} prompt`, "Tokens of the prompt"]);
    parts.push([
      `${formatCount(usage.cachedTokens)} cached`,
      "Tokens of the prompt that were not computed again",
    ]);
    parts.push([`${formatCount(usage.generatedTokens)} generated`, "Tokens of the answer"]);
  }
  return parts.map(([text, title]) => element("span", { title }, text));
}

function actionButton(name: IconName, label: string, act: () => void, extra = ""): HTMLButtonElement {
  const attributes = { type: "button", class: `icon-button ${extra}`, title: label, "aria-label": label };
  const button = element("button", { ...attributes, onclick: act });
  button.append(icon(name));
  return button;
}
