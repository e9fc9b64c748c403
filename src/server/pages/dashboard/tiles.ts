/** The numbers at the top. */
import type { Status } from "../../schemas/status.ts";
import { byId, setText } from "../shared/dom.ts";
import { formatAge, formatCount, formatMs, formatRate } from "../shared/format.ts";
import type { Sample } from "./samples.ts";

export function showTiles(status: Status, sample: Sample | undefined): void {
  const { requests, latency } = status;
  const { prompt, cached } = totals(status);
  const texts: Record<string, string> = {
    generated: sample?.generatedRate == null ? "–" : formatRate(sample.generatedRate),
    prompt: sample?.promptRate == null ? "–" : formatRate(sample.promptRate),
    "prompt-note":
      prompt === 0 ? "tokens/s" : `tokens/s, ${Math.round((cached / prompt) * 100)} % cached so far`,
    running: formatCount(sample?.running ?? 0),
    "running-note": `${formatCount(sample?.waiting ?? 0)} waiting`,
    ttft: latency.time_to_first_token_ms === null ? "–" : formatMs(latency.time_to_first_token_ms.p50),
    "ttft-note":
      latency.time_to_first_token_ms === null
        ? "median"
        : `median of ${formatCount(latency.time_to_first_token_ms.count)}`,
    completed: formatCount(requests.completed),
    "completed-note": `${formatCount(requests.failed)} failed, ${formatCount(requests.refused)} refused, ${formatCount(requests.cancelled)} cancelled`,
    uptime: formatAge(status.now - status.started_at),
    "uptime-note": `version ${status.version}, process ${status.pid}`,
  };
  for (const [name, text] of Object.entries(texts)) setText(byId(`tile-${name}`, HTMLElement), text);
}

function totals({ models }: Status): { prompt: number; cached: number } {
  const sum = (numbers: number[]) => numbers.reduce((total, number) => total + number, 0);
  return {
    prompt: sum(models.map((model) => model.prompt_tokens_total)),
    cached: sum(models.map((model) => model.cached_tokens_total)),
  };
}
