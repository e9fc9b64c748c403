/** The table of live requests. */
import type { Status } from "../../schemas/status.ts";
import { byId, element, setText } from "../shared/dom.ts";
import { formatAge, formatCount, formatRate } from "../shared/format.ts";
import type { RequestRates } from "./request-rates.ts";

type Request = Status["requests"]["live"][number];

/** More rows than this nobody reads, and each costs time every second. */
const mostRows = 100;

export class RequestTable {
  readonly #body = byId("requests", HTMLTableSectionElement);
  readonly #none = byId("no-requests", HTMLElement);
  readonly #more = byId("more-requests", HTMLElement);
  readonly #rows = new Map<string, HTMLTableRowElement>();

  show({ requests, now }: Status, rates: RequestRates): void {
    const shown = requests.live.slice(0, mostRows);
    const ids = new Set(shown.map(({ id }) => id));
    for (const [id, row] of this.#rows) {
      if (ids.has(id)) continue;
      row.remove();
      this.#rows.delete(id);
    }
    for (const request of shown) this.#update(request, now, rates);
    this.#none.hidden = shown.length > 0;
    const hidden = requests.live.length - shown.length;
    setText(this.#more, hidden > 0 ? `and ${formatCount(hidden)} more` : "");
  }

  #update(request: Request, now: number, rates: RequestRates): void {
    const row = this.#rows.get(request.id) ?? this.#add(request);
    const phase = element("span", { class: "phase" }, request.phase);
    phase.dataset.phase = request.phase;
    const rate = rates.of(request.id);
    const cells: (string | Node)[] = [
      request.model,
      request.endpoint,
      phase,
      formatAge(now - request.started_at),
      request.prompt_tokens === null ? "–" : formatCount(request.prompt_tokens),
      formatCount(request.generated_tokens),
      rate === undefined ? "–" : formatRate(rate),
    ];
    cells.forEach((content, index) => {
      const cell = row.cells[index]!;
      if (typeof content === "string") setText(cell, content);
      else if (cell.textContent !== content.textContent) cell.replaceChildren(content);
    });
  }

  #add({ id, stream }: Request): HTMLTableRowElement {
    const cells = Array.from({ length: 7 }, (_, index) =>
      element("td", index > 2 ? { class: "number" } : {}),
    );
    const row = element("tr", { title: `${id}${stream ? ", streaming" : ""}` }, ...cells);
    this.#rows.set(id, row);
    this.#body.append(row);
    return row;
  }
}
