/** The messages of the conversation, and where the page is scrolled to. */
import { byId } from "../shared/dom.ts";
import type { AnswerMessage, Conversation } from "./conversation.ts";
import { AnswerView, QuestionView } from "./message-view.ts";

/** So near to the end, in pixels, a reader follows the answer. */
const nearEnd = 80;

export interface ThreadActions {
  edited(index: number, text: string): void;
  regenerate(): void;
}

export class Thread {
  readonly #scroller = byId("scroller", HTMLElement);
  readonly #messages = byId("messages", HTMLElement);
  readonly #welcome = byId("welcome", HTMLElement);
  readonly #actions: ThreadActions;
  #questions = new Map<number, QuestionView>();
  #answer: AnswerView | undefined;
  #follows = true;

  constructor(actions: ThreadActions) {
    this.#actions = actions;
    this.#scroller.addEventListener("scroll", () => {
      const { scrollHeight, scrollTop, clientHeight } = this.#scroller;
      this.#follows = scrollHeight - scrollTop - clientHeight < nearEnd;
    });
    new ResizeObserver(() => this.#follow()).observe(this.#messages);
  }

  show({ messages }: Conversation): void {
    this.#questions = new Map();
    this.#answer = undefined;
    const views = messages.map((message, index) => {
      if (message.role === "assistant") return this.#answerView(message);
      const view = new QuestionView(message, (text) => this.#actions.edited(index, text));
      this.#questions.set(index, view);
      return view;
    });
    this.#messages.replaceChildren(...views.map(({ root }) => root));
    this.#welcome.hidden = messages.length > 0;
    this.#follows = true;
    this.#follow();
  }

  /** The view of the answer at the end. */
  get answer(): AnswerView | undefined {
    return this.#answer;
  }

  edit(index: number): void {
    this.#questions.get(index)?.edit();
  }

  #answerView(message: AnswerMessage): AnswerView {
    this.#answer = new AnswerView(message, () => this.#actions.regenerate());
    return this.#answer;
  }

  #follow(): void {
    if (this.#follows) this.#scroller.scrollTop = this.#scroller.scrollHeight;
  }
}
