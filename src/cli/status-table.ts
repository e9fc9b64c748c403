import type { Status } from "../server/schemas/status.ts";
import { formatBytes, formatDuration } from "../workload/format.ts";
import { table } from "../workload/report-table.ts";
import { printable } from "./printable.ts";

/** What `stowage ps` prints: a row for each model, what ails them, and the whole. */
export function statusTable({ models, memory, requests, now, state }: Status): string {
  const head = ["model", "state", "memory", "running", "waiting", "tokens", "expires in"];
  const rows = models.map((model) => [
    printable(model.name),
    model.state,
    model.memory ? formatBytes(model.memory.total) : "-",
    String(model.running),
    String(model.waiting),
    String(model.generated_tokens_total),
    model.expires_at === null ? "-" : formatDuration(Math.max(0, model.expires_at - now)),
  ]);
  const problems = models.flatMap(({ name, problem }) =>
    problem ? [`${printable(name)}: ${printable(problem.message)}\n  ${printable(problem.next)}`] : [],
  );
  const held = `${formatBytes(memory.planned)} of ${formatBytes(memory.budget)} held`;
  const count = requests.live.length;
  const whole = `${state}, ${held}, ${count} request${count === 1 ? "" : "s"}`;
  return `${[table([head, ...rows]), ...problems, whole].join("\n\n")}\n`;
}
