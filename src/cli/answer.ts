import type { FinishPart, GenerateOptions, Model } from "../engine/model.ts";
import { formatBytes, formatNumber } from "../workload/format.ts";

/** How answers are shown. */
export interface AnswerStyle {
  /** Each part as a line of JSON. */
  readonly json: boolean;
  /** Speeds on stderr, after the answer. */
  readonly stats: boolean;
}

/** What was generated, and how fast. */
export interface Answer {
  readonly text: string;
  readonly finish: FinishPart;
  readonly speed: Speed;
}

/** Tokens per second. */
export interface Speed {
  /** Undefined when there was nothing to prefill, or nothing came of it. */
  readonly prefill: number | undefined;
  /** Undefined for less than two tokens. */
  readonly decode: number | undefined;
}

/** Characters that steer a terminal; a model's text must not. Tabs and line feeds may. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const steering = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g;

/** Generates, and writes the text to stdout as it comes. */
export async function answer(model: Model, options: GenerateOptions, style: AnswerStyle): Promise<Answer> {
  const started = performance.now();
  let firstAt = Number.NaN;
  let lastAt = Number.NaN;
  let text = "";
  let finish: FinishPart | undefined;
  for await (const part of model.generate(options)) {
    text += part.text;
    process.stdout.write(style.json ? `${JSON.stringify(part)}\n` : shown(part.text));
    if (part.type === "finish") finish = part;
    else {
      lastAt = performance.now();
      if (Number.isNaN(firstAt)) firstAt = lastAt;
    }
  }
  const { usage } = finish!;
  const rate = (tokens: number, ms: number) => (tokens > 0 && ms > 0 ? (1000 * tokens) / ms : undefined);
  const speed = {
    prefill: rate(usage.promptTokens - usage.cachedTokens, firstAt - started),
    decode: rate(usage.completionTokens - 1, lastAt - firstAt),
  };
  if (!style.json && !text.endsWith("\n")) process.stdout.write("\n");
  if (style.stats)
    process.stderr.write(`${statsLine(finish!, speed)}\n${expertsLine(model)}${draftsLine(model)}`);
  return { text, finish: finish!, speed };
}

function statsLine({ usage, reason }: FinishPart, { prefill, decode }: Speed): string {
  const at = (speed: number | undefined) => (speed === undefined ? "" : `, ${formatNumber(speed)} tokens/s`);
  const { promptTokens, cachedTokens, completionTokens } = usage;
  return (
    `prefill: ${promptTokens} tokens, ${cachedTokens} of them cached${at(prefill)}; ` +
    `decode: ${completionTokens} tokens${at(decode)}; end: ${reason}`
  );
}

/** What came of drafts since the model was loaded; nothing where there were none. */
function draftsLine({ speculation: { steps, drafted, accepted } }: Model): string {
  return drafted === 0 ? "" : `drafts: ${accepted} of ${drafted} tokens were right, in ${steps} steps\n`;
}

/** What came of the budget for experts since the model was loaded; nothing where there is none. */
function expertsLine(model: Model): string {
  const { experts } = model;
  if (!experts) return "";
  const { hits, misses, late, demandBytes, prefetchBytes, stallMs, prefetchesUseful, prefetchesWasted } =
    experts.total;
  const share = (100 * hits) / Math.max(1, hits + misses + late);
  const read = formatBytes(demandBytes + prefetchBytes);
  const ahead =
    prefetchesUseful + late + prefetchesWasted === 0
      ? ""
      : `; read ahead: ${prefetchesUseful + late} in use, ${prefetchesWasted} in vain`;
  const { policy } = experts;
  const said = policy.says === undefined ? "" : `, ${policy.says}`;
  const waited = (stallMs / 1000).toFixed(1);
  return `experts: ${share.toFixed(0)} % were there, ${read} read, ${waited} s waited for${ahead}; policy: ${policy.name}${said}\n${lossyLine(experts)}`;
}

/** What a lossy mode did since the model was loaded; nothing where none is on. */
function lossyLine({ lossy }: NonNullable<Model["experts"]>): string {
  if (!lossy) return "";
  const { full, low, skipped } = lossy.served;
  const percent = (count: number) => `${((100 * count) / Math.max(1, full + low + skipped)).toFixed(1)} %`;
  const read = formatBytes(lossy.low.demandBytes + lossy.low.prefetchBytes);
  return `lossy: ${lossy.mode}, ${lossy.says}: of those that decoding used, ${percent(low)} were low and ${percent(skipped)} skipped; ${read} of low ones read\n`;
}

function shown(text: string): string {
  return process.stdout.isTTY ? text.replace(steering, "\ufffd") : text;
}
