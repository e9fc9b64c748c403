import { StowageError } from "../errors.ts";
import { type LoadTarget, prepareRequest } from "./load-request.ts";
import { type MakePrompt, textOfWords, textPrompts, tokenPrompts } from "./prompts.ts";
import { words } from "./words.ts";

/** With fewer tokens to draw from, prompts would say little about other ones. */
const leastPool = 64;
/** Words of the two texts that the scale of texts is taken from; both fit in the smallest contexts. */
const scaleWords = [16, 144] as const;
/** Tokens a word where the server does not tell: what common vocabularies make of common words, with their spaces. */
const usualTokensPerWord = 1.1;
const answerMs = 30_000;

/**
 * The name of the first model that the server lists.
 *
 * @throws StowageError `load_server` when there is no server, or it lists none.
 */
export async function firstModel(
  { base, headers }: Pick<LoadTarget, "base" | "headers">,
  signal: AbortSignal,
): Promise<string> {
  const url = new URL("v1/models", base);
  const { status, value } = await askJson(url, { headers }, signal);
  if (status !== 200) throw serverError(url, `${url.pathname} gives HTTP ${status}`);
  const id = (value as { data?: readonly { id?: unknown }[] } | null)?.data?.[0]?.id;
  if (typeof id === "string") return id;
  throw serverError(url, `${url.pathname} lists no model`);
}

/** How prompts are made, and what is to be said of it in the report. */
export interface Prompts {
  readonly make: MakePrompt;
  readonly note: string;
}

/**
 * Finds out how to make prompts of a wanted length: of tokens where the server tells tokens at `/tokenize` and takes them; otherwise of
 * words, by how many tokens two of them cost.
 */
export async function promptsFor(target: LoadTarget, seed: number, signal: AbortSignal): Promise<Prompts> {
  if (target.endpoint === "completions") {
    const pool = await tokensOfWords(target, signal);
    if (pool.length >= leastPool) return { make: tokenPrompts(pool, seed), note: "exact tokens" };
  }
  const [few, many] = scaleWords;
  const costs = await Promise.all(scaleWords.map((count) => costOfWords(target, count, signal)));
  const tokensPerWord = (costs[1]! - costs[0]!) / (many - few);
  if (!(tokensPerWord > 0)) {
    const scale = { fixedTokens: 0, tokensPerWord: usualTokensPerWord };
    return { make: textPrompts(scale, seed), note: `words, guessed at ${usualTokensPerWord} tokens each` };
  }
  const fixedTokens = Math.max(0, costs[0]! - few * tokensPerWord);
  const note = `words of about ${tokensPerWord.toFixed(2)} tokens and ${Math.round(fixedTokens)} more`;
  return { make: textPrompts({ fixedTokens, tokensPerWord }, seed), note };
}

/** Tokens that words are made of; none where the server does not tell. */
async function tokensOfWords({ base, model, headers }: LoadTarget, signal: AbortSignal): Promise<number[]> {
  const body = JSON.stringify({ model, prompt: words.join(" "), add_special_tokens: false });
  const options = { method: "POST", headers: { "content-type": "application/json", ...headers }, body };
  const { status, value } = await askJson(new URL("tokenize", base), options, signal);
  const tokens = (value as { tokens?: unknown } | null)?.tokens;
  if (status !== 200 || !Array.isArray(tokens)) return [];
  return [...new Set(tokens.filter((token): token is number => Number.isSafeInteger(token)))];
}

/** Tokens of a prompt of so many words, by the server's count; NaN where it tells none. */
async function costOfWords(target: LoadTarget, count: number, signal: AbortSignal): Promise<number> {
  const request = { prompt: textOfWords(count, 1), inputTokens: Number.NaN, outputTokens: 1 };
  return (await prepareRequest(target, request, 0)(signal)).inputTokens;
}

async function askJson(
  url: URL,
  init: RequestInit,
  signal: AbortSignal,
): Promise<{ status: number; value: unknown }> {
  try {
    const response = await fetch(url, {
      ...init,
      signal: AbortSignal.any([signal, AbortSignal.timeout(answerMs)]),
    });
    return { status: response.status, value: jsonOf(await response.text()) };
  } catch (error) {
    const { message, cause } = error as Error;
    const reason = cause instanceof Error ? cause.message || (cause as NodeJS.ErrnoException).code : message;
    throw serverError(url, String(reason));
  }
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function serverError(url: URL, reason: string): StowageError {
  return new StowageError("load_server", { url: url.origin, reason });
}
