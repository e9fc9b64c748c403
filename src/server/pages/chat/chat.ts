/** The chat: which conversation is open, and the answer that is being written. */
import { byId, setText } from "../shared/dom.ts";
import { failureIn } from "../shared/failure.ts";
import { failureCard } from "../shared/failure-card.ts";
import { AnswerClock } from "./answer-clock.ts";
import { streamAnswer } from "./completion.ts";
import { Composer } from "./composer.ts";
import {
  type AnswerMessage,
  askAt,
  type Conversation,
  dropLastAnswer,
  lastQuestion,
  newConversation,
  requestBody,
  type Usage,
} from "./conversation.ts";
import { download } from "./download.ts";
import type { History } from "./history.ts";
import type { AnswerView } from "./message-view.ts";
import { ModelChoice } from "./models.ts";
import { SettingsDialog } from "./settings-dialog.ts";
import { Sidebar } from "./sidebar.ts";
import { Thread } from "./thread.ts";

/** So long an answer may keep its reader waiting before the page asks why, ms. */
const patience = 800;

export class Chat {
  readonly #history: History;
  readonly #composer: Composer;
  readonly #thread: Thread;
  readonly #sidebar: Sidebar;
  readonly #models = new ModelChoice((model) => this.#configure({ model }));
  readonly #settings = new SettingsDialog((settings) => this.#configure({ settings }));
  readonly #trouble = byId("trouble", HTMLElement);
  readonly #announcer = byId("announcer", HTMLElement);
  #conversation: Conversation;
  /** Stops the answer that is being written. */
  #writing: AbortController | undefined;

  constructor(history: History) {
    this.#history = history;
    this.#conversation = this.#fresh();
    this.#composer = new Composer({
      send: (text) => this.send(text),
      stop: () => this.stop(),
      editLast: () => this.#thread.edit(lastQuestion(this.#conversation)),
    });
    this.#thread = new Thread({
      edited: (index, text) => this.#ask(index, text),
      regenerate: () => this.#regenerate(),
    });
    this.#sidebar = new Sidebar({
      open: (id) => this.open(id),
      rename: (id, title) => this.#rename(id, title),
      remove: (id) => this.#remove(id),
      exportAs: (id) => download(`stowage-${id ?? "conversations"}.json`, history.export(id)),
    });
  }

  /** Opens the conversation that the address names, and asks which models there are. */
  async start(): Promise<void> {
    this.open(location.hash.slice(1));
    await this.#loadModels();
  }

  /** Opens a conversation; an unknown one is a new one. */
  open(id: string): void {
    if (id !== this.#conversation.id) this.#show(this.#history.get(id) ?? this.#fresh());
    this.#sidebar.close();
    this.#composer.focus();
  }

  #show(conversation: Conversation): void {
    this.stop();
    this.#conversation = conversation;
    // Its model may be offered no more.
    conversation.model = this.#models.choose(conversation.model) || conversation.model;
    this.#thread.show(conversation);
    this.#nameInAddress();
    this.refreshList();
  }

  /** Adds a question to the conversation and has it answered. */
  send(text: string): void {
    this.#ask(this.#conversation.messages.length, text);
  }

  /** Stops the answer that is being written; returns whether there was one. */
  stop(): boolean {
    this.#writing?.abort();
    return this.#writing !== undefined;
  }

  showSettings(): void {
    this.#settings.open(this.#conversation.settings);
  }

  refreshList(): void {
    this.#sidebar.show(this.#history.list(), this.#conversation.id);
  }

  /** The page goes away: keeps what there is of an answer. */
  leave(): void {
    if (this.#writing === undefined) return;
    const answer = this.#conversation.messages.at(-1);
    if (answer?.role === "assistant") answer.end ??= "stopped";
    this.#save();
  }

  async #loadModels(): Promise<void> {
    const failure = await this.#models.load();
    const again = document.createElement("button");
    again.textContent = "Try again";
    again.addEventListener("click", () => this.#loadModels());
    this.#trouble.replaceChildren(...(failure === undefined ? [] : [failureCard(failure, again)]));
    this.#conversation.model = this.#models.choose(this.#conversation.model);
  }

  #fresh(): Conversation {
    const { model, settings } = this.#history.defaults;
    const known = this.#models.model;
    return newConversation(crypto.randomUUID?.() ?? `${Date.now()}`, Date.now(), known || model, settings);
  }

  #ask(index: number, text: string): void {
    this.stop();
    askAt(this.#conversation, index, text);
    void this.#answer();
  }

  #regenerate(): void {
    this.stop();
    if (dropLastAnswer(this.#conversation)) void this.#answer();
  }

  async #answer(): Promise<void> {
    const conversation = this.#conversation;
    const body = requestBody(conversation);
    const message: AnswerMessage = { role: "assistant", content: "", model: conversation.model };
    conversation.messages.push(message);
    const writing = new AbortController();
    this.#writing = writing;
    this.#composer.isBusy = true;
    this.#thread.show(conversation);
    this.#save();
    this.#composer.focus();
    await this.#write(body, message, this.#thread.answer!, writing.signal);
    // By now another conversation may be open, or another answer under way.
    if (this.#history.get(conversation.id) !== undefined) this.#save(conversation);
    if (this.#writing !== writing) return;
    this.#writing = undefined;
    this.#composer.isBusy = false;
    this.#announce(message);
  }

  /** Writes the answer into `message` as it comes; never throws. */
  async #write(body: unknown, message: AnswerMessage, view: AnswerView, signal: AbortSignal): Promise<void> {
    const clock = new AnswerClock(performance.now());
    const watch = setInterval(() => this.#explainWait(message, view), patience);
    let usage: Usage | undefined;
    let end: AnswerMessage["end"];
    try {
      for await (const event of streamAnswer(body, signal)) {
        if (event.type === "sent") {
          clock.restart(performance.now());
          view.wait("");
        } else if (event.type === "waiting") view.wait(waitText(event.failure.code, event.failure.message));
        else if (event.type === "text") {
          clock.piece(performance.now());
          message.content += event.text;
          view.update();
        } else if (event.type === "usage") usage = event.usage;
        else end = event.reason;
      }
      message.end = end ?? "stop";
    } catch (error) {
      if (signal.aborted) message.end = "stopped";
      else {
        message.end = "failed";
        message.failure = failureIn(error);
      }
    }
    clearInterval(watch);
    message.stats = clock.stats(performance.now(), usage);
    view.show();
  }

  /** The first request to a model has it loaded, and waits for that. */
  async #explainWait(message: AnswerMessage, view: AnswerView): Promise<void> {
    if (message.content !== "") return;
    const isLoading = await this.#models.isLoading(message.model);
    if (isLoading && message.content === "" && message.end === undefined) view.wait("The model is loading.");
  }

  /** Says, to those who cannot see it, that the answer is there. */
  #announce({ end, stats }: AnswerMessage): void {
    const texts = {
      stop: "Answer complete",
      length: "Answer complete",
      stopped: "Stopped",
      failed: "Failed",
    };
    const count = stats?.usage === undefined ? "" : `, ${stats.usage.generatedTokens} tokens`;
    setText(this.#announcer, `${texts[end ?? "stop"]}${count}.`);
  }

  #configure(change: Partial<Pick<Conversation, "model" | "settings">>): void {
    Object.assign(this.#conversation, change);
    const { model, settings, messages } = this.#conversation;
    this.#history.defaults = { model, settings };
    if (messages.length > 0) this.#save();
    this.#composer.focus();
  }

  #rename(id: string, title: string): void {
    this.#history.rename(id, title);
    if (id === this.#conversation.id) this.#conversation.title = this.#history.get(id)?.title ?? title;
    this.refreshList();
    this.#composer.focus();
  }

  #remove(id: string): void {
    this.#history.remove(id);
    if (id === this.#conversation.id) this.#show(this.#fresh());
    else this.refreshList();
    this.#composer.focus();
  }

  #save(conversation = this.#conversation): void {
    conversation.updatedAt = Date.now();
    const kept = this.#history.save(conversation);
    byId("storage-full", HTMLElement).hidden = kept;
    this.#nameInAddress();
    this.refreshList();
  }

  /** A reload opens the same conversation. */
  #nameInAddress(): void {
    const hash = this.#conversation.messages.length > 0 ? `#${this.#conversation.id}` : "";
    if (location.hash !== hash) history.replaceState(null, "", `${location.pathname}${hash}`);
  }
}

function waitText(code: string | undefined, message: string): string {
  const what = /load/.test(`${code} ${message}`) ? "The model is loading." : message;
  return `${what} The question is sent again by itself.`;
}
