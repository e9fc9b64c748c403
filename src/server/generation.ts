import type { ModelInput, WireForm, WireLogprob, WireSampling } from "../engine/process/messages.ts";
import { StowageError } from "../errors.ts";
import type { Finish, GenerateCall } from "../gateway/engine-process.ts";
import type { LiveRequest } from "../gateway/live-request.ts";
import { about } from "./about-field.ts";
import type { EventStream } from "./event-stream.ts";
import type { Usage } from "./schemas/common.ts";

/** The generation fields of a request, as `generationFields` checked them. */
export interface GenerationFields {
  readonly temperature?: number | null | undefined;
  readonly top_p?: number | null | undefined;
  readonly top_k?: number | null | undefined;
  readonly min_p?: number | null | undefined;
  readonly typical_p?: number | null | undefined;
  readonly top_n_sigma?: number | null | undefined;
  readonly xtc_probability?: number | null | undefined;
  readonly xtc_threshold?: number | null | undefined;
  readonly dry_multiplier?: number | null | undefined;
  readonly dry_base?: number | null | undefined;
  readonly dry_allowed_length?: number | null | undefined;
  readonly dry_penalty_last_n?: number | null | undefined;
  readonly dry_sequence_breakers?: string[] | null | undefined;
  readonly mirostat?: number | null | undefined;
  readonly mirostat_tau?: number | null | undefined;
  readonly mirostat_eta?: number | null | undefined;
  readonly logit_bias?: Record<string, number> | null | undefined;
  readonly frequency_penalty?: number | null | undefined;
  readonly presence_penalty?: number | null | undefined;
  readonly repeat_penalty?: number | null | undefined;
  readonly seed?: number | null | undefined;
  readonly stop?: string | string[] | null | undefined;
  readonly n?: number | null | undefined;
  readonly ignore_eos?: boolean | null | undefined;
  readonly keep_alive?: number | string | null | undefined;
  readonly grammar?: string | null | undefined;
  readonly json_schema?: object | null | undefined;
}

/** What choices start from. */
export interface Input {
  readonly input: ModelInput;
  /** Where it stands in the request's body. */
  readonly field: string;
}

/** A choice to generate, and the field that its input came in. */
export interface Choice extends GenerateCall {
  readonly field: string;
}

/** One choice's whole output. */
export interface ChoiceResult {
  readonly text: string;
  readonly tokens: readonly TokenOutput[];
  readonly finish: Finish;
  /** How calls of tools are written in it, where it may have some. */
  readonly toolFormat: string | undefined;
}

/** A token with what was asked about it. `text` may be empty while a character is not complete. */
export interface TokenOutput {
  readonly text: string;
  readonly chosen?: WireLogprob | undefined;
  readonly top?: readonly WireLogprob[] | undefined;
}

/** How an endpoint words its chunks, each one line of JSON. */
export interface ChunkFormat {
  /** What opens a choice, if anything. */
  first?(choice: number, toolFormat: string | undefined): string;
  /** One chunk or several, or none. */
  token(choice: number, token: TokenOutput): string | readonly string[];
  /** What ends a choice; `text` is what was held back. */
  last(choice: number, text: string, reason: "stop" | "length"): string | readonly string[];
  /** Usage, where it was asked for. */
  usage?(usage: Usage): string;
}

/** The choices of a request: `n` for each input, those of one input side by side. */
export function choicesOf(
  inputs: readonly Input[],
  fields: GenerationFields,
  limits: { maxTokens: number | undefined; logprobs: number | undefined; form?: WireForm | undefined },
): Choice[] {
  const n = fields.n ?? 1;
  const form = onlyForm(fields, limits.form);
  return inputs.flatMap(({ input, field }, index) =>
    Array.from({ length: n }, (_, choice) => ({
      input,
      field,
      sampling: samplingOf(fields, limits.logprobs, index * n + choice),
      ...(limits.maxTokens !== undefined && { maxTokens: limits.maxTokens }),
      ...(fields.ignore_eos && { ignoreEnd: true }),
      ...(form && { form }),
    })),
  );
}

/** @throws StowageError request_invalid where more than one form is asked for */
function onlyForm({ grammar, json_schema }: GenerationFields, other: WireForm | undefined) {
  const forms: WireForm[] = [];
  if (typeof grammar === "string") forms.push({ field: "grammar", gbnf: grammar });
  if (json_schema) forms.push({ field: "json_schema", schema: JSON.stringify(json_schema) });
  if (other) forms.push(other);
  const [form, second] = forms;
  if (form && second) {
    throw new StowageError("request_invalid", {
      field: second.field,
      reason: `it does not go together with ${form.field}`,
    });
  }
  return form;
}

/** Sends what the choices say as it comes, and ends the stream with `[DONE]` or an error event. */
export async function streamChoices(
  live: LiveRequest,
  choices: readonly Choice[],
  stream: EventStream,
  format: ChunkFormat,
): Promise<void> {
  const logprobs = choices[0]!.sampling.logprobs !== undefined;
  const send = (chunks: string | readonly string[]) => {
    if (typeof chunks === "string") stream.send(chunks);
    else for (const chunk of chunks) stream.send(chunk);
  };
  const run = runChoices(
    live,
    choices,
    (index, toolFormat) => {
      if (format.first) stream.send(format.first(index, toolFormat));
      return (text, chosen, top) => {
        if (text !== "" || logprobs) send(format.token(index, { text, chosen, top }));
      };
    },
    (index, finish) => send(format.last(index, finish.text, reasonOf(finish))),
  );
  await run.accepted;
  stream.open();
  try {
    const finishes = await run.finished;
    if (format.usage) stream.send(format.usage(usageOf(finishes, choices)));
    stream.done();
  } catch (error) {
    stream.fail(error);
  }
}

/** Waits for all that the choices say. */
export async function collectChoices(
  live: LiveRequest,
  choices: readonly Choice[],
): Promise<{ results: ChoiceResult[]; usage: Usage }> {
  const texts = choices.map(() => "");
  const tokens: TokenOutput[][] = choices.map(() => []);
  const toolFormats: (string | undefined)[] = [];
  const logprobs = choices[0]!.sampling.logprobs !== undefined;
  const run = runChoices(live, choices, (index, toolFormat) => {
    toolFormats[index] = toolFormat;
    return (text, chosen, top) => {
      texts[index] += text;
      if (logprobs) tokens[index]!.push({ text, chosen, top });
    };
  });
  await run.accepted;
  const finishes = await run.finished;
  const results = finishes.map((finish, index) => ({
    text: texts[index]! + finish.text,
    tokens: tokens[index]!,
    finish,
    toolFormat: toolFormats[index],
  }));
  return { results, usage: usageOf(finishes, choices) };
}

type OnToken = (
  text: string,
  chosen: WireLogprob | undefined,
  top: readonly WireLogprob[] | undefined,
) => void;

/** Starts all choices. Of both promises, neither is left without somebody who hears that it failed. */
function runChoices(
  live: LiveRequest,
  choices: readonly Choice[],
  begin: (index: number, toolFormat: string | undefined) => OnToken,
  end: (index: number, finish: Finish) => void = () => {},
): { accepted: Promise<unknown>; finished: Promise<Finish[]> } {
  const accepted: Promise<void>[] = [];
  const finished = choices.map(
    ({ field, ...choice }, index) =>
      new Promise<Finish>((resolve, reject) => {
        let token: OnToken = () => {};
        const listener = {
          accepted: (_promptTokens: number, toolFormat?: string) => {
            token = begin(index, toolFormat);
          },
          token: (...heard: Parameters<OnToken>) => token(...heard),
          finished: (finish: Finish) => {
            end(index, finish);
            resolve(finish);
          },
          failed: reject,
        };
        accepted.push(about(field, live.generate(choice, listener)));
      }),
  );
  const all = Promise.all(finished);
  all.catch(() => {});
  return { accepted: Promise.all(accepted), finished: all };
}

/** A choice that was cancelled has no reader left who would see a reason. */
export function reasonOf({ reason }: Finish): "stop" | "length" {
  return reason === "stop" ? "stop" : "length";
}

/** A prompt counts once, however many choices it has. */
function usageOf(finishes: readonly Finish[], choices: readonly Choice[]): Usage {
  const usage = { prompt_tokens: 0, completion_tokens: 0, cached: 0 };
  const seen = new Set<ModelInput>();
  for (const [index, finish] of finishes.entries()) {
    usage.completion_tokens += finish.generatedTokens;
    const { input } = choices[index]!;
    if (seen.has(input)) continue;
    seen.add(input);
    usage.prompt_tokens += finish.promptTokens;
    usage.cached += finish.cachedTokens;
  }
  const { prompt_tokens, completion_tokens, cached } = usage;
  return {
    prompt_tokens,
    completion_tokens,
    total_tokens: prompt_tokens + completion_tokens,
    prompt_tokens_details: { cached_tokens: cached },
  };
}

function samplingOf(fields: GenerationFields, logprobs: number | undefined, choice: number): WireSampling {
  const given = {
    temperature: fields.temperature,
    topP: fields.top_p,
    topK: fields.top_k,
    minP: fields.min_p,
    typicalP: fields.typical_p,
    topNSigma: fields.top_n_sigma,
    xtcProbability: fields.xtc_probability,
    xtcThreshold: fields.xtc_threshold,
    dryMultiplier: fields.dry_multiplier,
    dryBase: fields.dry_base,
    dryAllowedLength: fields.dry_allowed_length,
    dryPenaltyLastN: fields.dry_penalty_last_n,
    drySequenceBreakers: fields.dry_sequence_breakers,
    mirostat: fields.mirostat,
    mirostatTau: fields.mirostat_tau,
    mirostatEta: fields.mirostat_eta,
    logitBias: fields.logit_bias,
    frequencyPenalty: fields.frequency_penalty,
    presencePenalty: fields.presence_penalty,
    repeatPenalty: fields.repeat_penalty,
    seed: typeof fields.seed === "number" ? seedOf(fields.seed, choice) : undefined,
    stop: typeof fields.stop === "string" ? [fields.stop] : fields.stop,
    logprobs,
  };
  return Object.fromEntries(
    Object.entries(given).filter(([, value]) => value !== undefined && value !== null),
  );
}

/** Stays a safe integer. */
function seedOf(seed: number, choice: number): number {
  return seed + choice <= Number.MAX_SAFE_INTEGER ? seed + choice : seed - choice;
}

/** Seconds of a `keep_alive` field; Infinity for -1, undefined where there is none. */
export function keepAliveSeconds(value: number | string | null | undefined): number | undefined {
  if (value === null || value === undefined) return undefined;
  const seconds = typeof value === "number" ? value : secondsOf(value);
  return seconds < 0 ? Number.POSITIVE_INFINITY : seconds;
}

function secondsOf(duration: string): number {
  const [, amount, unit] = /^(-?[\d.]+)(ms|s|m|h)?$/.exec(duration) ?? [];
  return Number(amount) * { ms: 0.001, s: 1, m: 60, h: 3600 }[unit ?? "s"]!;
}
