import type { Status } from "../../schemas/status.ts";
import { ask } from "../shared/api.ts";
import { byId, element, setText } from "../shared/dom.ts";
import { failureIn } from "../shared/failure.ts";
import { failureCard } from "../shared/failure-card.ts";
import { formatAge } from "../shared/format.ts";
import { fillIcons } from "../shared/icons.ts";
import { themeButton } from "../shared/theme.ts";
import { Charts, showLatency } from "./charts.ts";
import { ExpertCards } from "./expert-cards.ts";
import { showMemory } from "./memory.ts";
import { ModelCards } from "./models.ts";
import { RequestRates } from "./request-rates.ts";
import { RequestTable } from "./requests.ts";
import { Samples } from "./samples.ts";
import { showTiles } from "./tiles.ts";

/** How often the server is asked, ms. */
const interval = 1000;
/** How long an answer is waited for, ms. */
const patience = 5000;

const samples = new Samples();
const rates = new RequestRates();
const charts = new Charts();
const cards = new ModelCards();
const experts = new ExpertCards();
const table = new RequestTable();
const state = byId("state", HTMLElement);
const away = byId("away", HTMLElement);
/** Since when the server does not answer, by this machine's clock. */
let awaySince: number | undefined;

async function poll(): Promise<void> {
  const began = performance.now();
  try {
    const response = await ask("/api/status", { signal: AbortSignal.timeout(patience) });
    show((await response.json()) as Status);
  } catch (error) {
    showAway(error);
    // The reader has just declined to give a key; asking each second would be a nuisance.
    if (failureIn(error).status === 401) return;
  }
  setTimeout(poll, Math.max(0, interval - (performance.now() - began)));
}

function show(status: Status): void {
  awaySince = undefined;
  away.hidden = true;
  document.body.classList.remove("stale");
  setText(state, status.state);
  state.dataset.state = status.state;
  samples.push(status);
  rates.push(status);
  experts.push(status);
  // Nobody looks: the curves grow on, and are drawn when somebody does.
  if (document.hidden) return;
  draw(status);
}

function draw(status: Status): void {
  showTiles(status, samples.all.at(-1));
  charts.show(samples.all);
  experts.draw();
  showLatency(status.latency);
  table.show(status, rates);
  showMemory(status);
  cards.show(status);
}

/** Says that the server is away, and for how long; what was known stays on the page, greyed. */
function showAway(error: unknown): void {
  const isFirst = awaySince === undefined;
  awaySince ??= Date.now();
  samples.gap();
  setText(state, "away");
  state.dataset.state = "away";
  document.body.classList.add("stale");
  away.hidden = false;
  const failure = failureIn(error);
  const isLocked = failure.status === 401;
  if (isFirst)
    byId("away-reason", HTMLElement).replaceChildren(
      failureCard(failure, ...(isLocked ? [keyButton()] : [])),
    );
  const time = `Asking again each second; away for ${formatAge(Date.now() - awaySince)}.`;
  setText(byId("away-time", HTMLElement), isLocked ? "" : time);
}

function keyButton(): HTMLButtonElement {
  const enter = () => {
    awaySince = undefined;
    void poll();
  };
  return element("button", { type: "button", onclick: enter }, "Enter the API key");
}

fillIcons();
themeButton(byId("theme", HTMLButtonElement), () => {
  charts.redraw();
  experts.redraw();
});
await poll();
