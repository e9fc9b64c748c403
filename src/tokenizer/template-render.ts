import { type Environment, Interpreter, parseTemplate, type TemplateValue } from "./jinja.ts";
import { templateEnvironment } from "./template-globals.ts";
import {
  maxItems,
  maxMilliseconds,
  maxTextLength,
  type TemplateResult,
  TemplateStop,
} from "./template-limits.ts";

/**
 * Renders in this thread, within limits that hold between any two steps of the template. One step can still take
 * longer or use more memory than allowed: only a process of its own makes this safe for a template of any origin.
 * @param variables undefined: only parses
 */
export function renderTemplate(
  source: string,
  variables?: Readonly<Record<string, unknown>>,
): TemplateResult {
  try {
    const program = parsed(source);
    if (!variables) return { kind: "text", text: "" };
    const interpreter = new BoundedInterpreter(templateEnvironment(variables));
    return { kind: "text", text: String(interpreter.run(program).value) };
  } catch (error) {
    return resultOf(error);
  }
}

class BoundedInterpreter extends Interpreter {
  readonly #deadline = performance.now() + maxMilliseconds;

  override evaluate(statement: unknown, environment: Environment): TemplateValue {
    if (performance.now() > this.#deadline) throw new TemplateStop({ kind: "timeout" });
    const result = super.evaluate(statement, environment);
    const { value } = result;
    if (typeof value === "string") checkSize("a text", value.length, maxTextLength);
    else if (Array.isArray(value)) checkSize("the length of a list", value.length, maxItems);
    return result;
  }
}

function checkSize(what: string, found: number, limit: number): void {
  if (found > limit) throw new TemplateStop({ kind: "limit", what, found, limit });
}

function resultOf(error: unknown): TemplateResult {
  if (error instanceof TemplateStop) return error.result;
  if (error instanceof RangeError && /call stack/.test(error.message)) {
    return { kind: "limit", what: "the nesting", found: "endless or too deep", limit: "the stack" };
  }
  if (error instanceof RangeError && /string length/.test(error.message)) {
    return { kind: "limit", what: "a text", found: "more", limit: maxTextLength };
  }
  return { kind: "invalid", reason: error instanceof Error ? error.message : String(error) };
}

/** Templates parsed last; a server has one for each model. */
const cache = new Map<string, unknown>();
const cacheSize = 16;

function parsed(source: string): unknown {
  const known = cache.get(source);
  if (known !== undefined) return known;
  const program = parseTemplate(source);
  if (cache.size >= cacheSize) cache.delete(cache.keys().next().value!);
  cache.set(source, program);
  return program;
}
