/** Dark or light: as the system has it until the reader chooses. The choice is kept in the browser. */
import { icon } from "./icons.ts";
import { read, remove, write } from "./storage.ts";

type Theme = "auto" | "light" | "dark";

const key = "stowage.theme";
const next: Record<Theme, Theme> = { auto: "light", light: "dark", dark: "auto" };
const labels: Record<Theme, string> = {
  auto: "Theme: as the system",
  light: "Theme: light",
  dark: "Theme: dark",
};
const icons = { auto: "auto", light: "sun", dark: "moon" } as const;

function current(): Theme {
  const stored = read(key);
  return stored === "light" || stored === "dark" ? stored : "auto";
}

function apply(theme: Theme): void {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
}

function choose(theme: Theme): void {
  if (theme === "auto") remove(key);
  else write(key, theme);
  apply(theme);
}

/** Makes `button` go through the themes; `changed` is called whenever colours change. */
export function themeButton(button: HTMLButtonElement, changed = () => {}): void {
  const show = () => {
    const theme = current();
    button.replaceChildren(icon(icons[theme]));
    button.setAttribute("aria-label", labels[theme]);
    button.title = labels[theme];
    changed();
  };
  button.addEventListener("click", () => {
    choose(next[current()]);
    show();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", changed);
  // Another tab chose.
  addEventListener("storage", (event) => {
    if (event.key !== key) return;
    apply(current());
    show();
  });
  show();
}

// The page loads this file first and by itself, so that it is never painted in the other colours.
apply(current());
