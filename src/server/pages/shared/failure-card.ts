import { element } from "./dom.ts";
import type { Failure } from "./failure.ts";
import { icon } from "./icons.ts";

/** An error for the reader: what failed, and the next thing to try. */
export function failureCard(failure: Failure, ...actions: Node[]): HTMLElement {
  const { message, next, code, param, status } = failure;
  const facts = [status && `HTTP ${status}`, code, param && `parameter ${param}`].filter((fact) => fact);
  const body = element("div", { class: "failure-body" }, element("p", { class: "failure-message" }, message));
  if (next !== undefined) {
    body.append(element("p", { class: "failure-next" }, element("strong", {}, "Next: "), next));
  }
  if (facts.length > 0) body.append(element("p", { class: "failure-facts" }, facts.join(" · ")));
  if (actions.length > 0) body.append(element("div", { class: "failure-actions" }, ...actions));
  return element("div", { class: "failure", role: "alert" }, icon("alert"), body);
}
