/**
 * The parts of the template engine that are used. Its own declarations import each other without file extensions,
 * which Node's module rules do not resolve: there they mean `any`.
 */
import * as jinja from "@huggingface/jinja";

/** A value inside a template: its JavaScript value, a list's items being such values again. */
export interface TemplateValue {
  readonly value: unknown;
}

/** The names that a template can use. */
export interface Environment {
  /** Declares a name, once. */
  set(name: string, value: unknown): void;
}

interface Interpreter {
  run(program: unknown): TemplateValue;
  /** Every statement and expression goes through here. */
  evaluate(statement: unknown, environment: Environment): TemplateValue;
}

export const Environment = jinja.Environment as new () => Environment;
export const Interpreter = jinja.Interpreter as new (environment: Environment) => Interpreter;

/** @throws Error, SyntaxError, RangeError on what is no template */
export function parseTemplate(source: string): unknown {
  return new jinja.Template(source).parsed;
}
