/** Conversations kept in the browser, one entry each. */
import type { Conversation, Settings } from "./conversation.ts";

/** What is needed of the browser's storage. */
export interface Store {
  keys(): string[];
  read(key: string): string | null;
  /** Returns whether it was kept. */
  write(key: string, value: string): boolean;
  remove(key: string): void;
}

const prefix = "stowage.conversation.";
const defaultsKey = "stowage.defaults";

/** What a new conversation begins with: as the last one was. */
export interface Defaults {
  readonly model: string;
  readonly settings: Settings;
}

export class History {
  readonly #store: Store;

  constructor(store: Store) {
    this.#store = store;
  }

  /** All conversations, the latest first. What another program left under our names is passed over. */
  list(): Conversation[] {
    return this.#store
      .keys()
      .filter((key) => key.startsWith(prefix))
      .map((key) => this.#read(key))
      .filter((conversation) => conversation !== undefined)
      .sort((a, b) => b.updatedAt - a.updatedAt || a.id.localeCompare(b.id));
  }

  get(id: string): Conversation | undefined {
    return this.#read(prefix + id);
  }

  /** Returns false when the browser keeps no more. */
  save(conversation: Conversation): boolean {
    return this.#store.write(prefix + conversation.id, JSON.stringify(conversation));
  }

  rename(id: string, title: string): void {
    const conversation = this.get(id);
    const trimmed = title.trim();
    if (conversation !== undefined && trimmed !== "") this.save({ ...conversation, title: trimmed });
  }

  remove(id: string): void {
    this.#store.remove(prefix + id);
  }

  /** One conversation, or all, as a JSON document. */
  export(id?: string): string {
    const conversations =
      id === undefined ? this.list() : [this.get(id)].filter((found) => found !== undefined);
    return JSON.stringify({ format: "stowage-conversations", version: 1, conversations }, undefined, 2);
  }

  get defaults(): Defaults {
    const stored = parse(this.#store.read(defaultsKey)) as Partial<Defaults> | undefined;
    const settings = stored?.settings;
    return {
      model: typeof stored?.model === "string" ? stored.model : "",
      settings: typeof settings?.system === "string" ? settings : { system: "" },
    };
  }

  set defaults(defaults: Defaults) {
    this.#store.write(defaultsKey, JSON.stringify(defaults));
  }

  #read(key: string): Conversation | undefined {
    const value = parse(this.#store.read(key));
    return isConversation(value) ? value : undefined;
  }
}

/** Whether an event of the storage concerns conversations. */
export function isHistoryKey(key: string | null): boolean {
  return key === null || key.startsWith(prefix);
}

function parse(text: string | null): unknown {
  try {
    return text === null ? undefined : JSON.parse(text);
  } catch {
    return undefined;
  }
}

function isConversation(value: unknown): value is Conversation {
  if (typeof value !== "object" || value === null) return false;
  const { id, title, updatedAt, model, settings, messages } = value as Partial<Conversation>;
  return (
    [id, title, model, settings?.system].every((field) => typeof field === "string") &&
    typeof updatedAt === "number" &&
    Array.isArray(messages) &&
    messages.every(isMessage)
  );
}

function isMessage(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return false;
  const { role, content } = value as { role?: unknown; content?: unknown };
  return (role === "user" || role === "assistant") && typeof content === "string";
}
