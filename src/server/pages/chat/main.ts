import { byId } from "../shared/dom.ts";
import { fillIcons } from "../shared/icons.ts";
import * as storage from "../shared/storage.ts";
import { themeButton } from "../shared/theme.ts";
import { Chat } from "./chat.ts";
import { History, isHistoryKey } from "./history.ts";

fillIcons();
themeButton(byId("theme", HTMLButtonElement));
const chat = new Chat(new History(storage));
const help = byId("help", HTMLDialogElement);

const clicks: Record<string, () => void> = {
  "new-chat": () => chat.open(""),
  "new-chat-small": () => chat.open(""),
  "show-settings": () => chat.showSettings(),
  "show-help": () => help.showModal(),
  "help-close": () => help.close(),
};
for (const [id, act] of Object.entries(clicks)) byId(id, HTMLButtonElement).addEventListener("click", act);

document.addEventListener("keydown", (event) => {
  const isOpen = document.querySelector("dialog[open]") !== null;
  const isWriting = event.target instanceof Element && event.target.matches("input, textarea, select");
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") {
    event.preventDefault();
    if (!isOpen) chat.open("");
  } else if (event.key === "Escape" && !isOpen) chat.stop();
  else if (event.key === "?" && !isOpen && (!isWriting || isEmptyInput(event.target))) {
    event.preventDefault();
    help.showModal();
  }
});

/** In an empty message, "?" can only mean help: no message begins with it. */
function isEmptyInput(target: EventTarget | null): boolean {
  return target instanceof HTMLTextAreaElement && target.id === "input" && target.value === "";
}

for (const card of document.querySelectorAll<HTMLButtonElement>("[data-prompt]")) {
  card.addEventListener("click", () => chat.send(card.dataset.prompt!));
}

addEventListener("hashchange", () => chat.open(location.hash.slice(1)));
addEventListener("storage", ({ key }) => isHistoryKey(key) && chat.refreshList());
addEventListener("pagehide", () => chat.leave());
await chat.start();
