/** Where settings are given: the command line, the environment, a table of the file; and which of them counts. */
import type { Command } from "commander";
import { StowageError } from "../../errors.ts";
import { twinOf } from "../commands.ts";
import type { Form } from "./kinds.ts";
import { keyOf, type Setting, type Settings, type SettingWithDefault } from "./settings.ts";

/** One place where settings may stand. */
export interface Layer {
  readonly form: Form;
  /** What stands there, by the name of the setting. */
  readonly values: Readonly<Record<string, unknown>>;
  /** Where a value comes from, as in "environment STOWAGE_PORT". */
  source(name: string): string;
  /** How an error calls the setting there, as in "--port". */
  label(name: string): string;
}

/** A setting's value and where it comes from. */
export interface Resolved<T> {
  readonly value: T;
  readonly source: string;
}

type ValueOf<S> =
  S extends SettingWithDefault<infer V> ? V : S extends Setting<infer V> ? V | undefined : never;

/** What became of each setting of a table. */
export type ResolvedAll<T> = { readonly [K in keyof T]: Resolved<ValueOf<T[K]>> };

/** What the command line gives, and below it what the environment gives. */
export function givenTo(command: Command): { flags: Layer; environment: Layer } {
  const from = (source: string) =>
    Object.entries(command.opts()).filter(([name]) => command.getOptionValueSource(name) === source);
  const flags = Object.fromEntries(from("cli"));
  // A flag that may be given several times has made a list of its variable. An empty variable gives nothing.
  const variables = from("env")
    .map(([name, value]) => [name, Array.isArray(value) ? value[0] : value] as const)
    .filter(([, value]) => value !== "");
  return { flags: flagLayer(flags), environment: environmentLayer(Object.fromEntries(variables)) };
}

export function flagLayer(values: Readonly<Record<string, unknown>>): Layer {
  return { form: "text", values, source: () => "flag", label: (name) => `--${keyOf(name)}` };
}

export function environmentLayer(values: Readonly<Record<string, unknown>>): Layer {
  const twin = (name: string) => twinOf(keyOf(name));
  return { form: "text", values, source: (name) => `environment ${twin(name)}`, label: twin };
}

/**
 * A table of the file.
 * @param prefix - Of its keys, as in "models.small."
 */
export function fileLayer(path: string, prefix: string, values: Readonly<Record<string, unknown>>): Layer {
  const key = (name: string) => `${prefix}${keyOf(name)}`;
  return {
    form: "toml",
    values,
    source: (name) => `file ${path}: ${key(name)}`,
    label: (name) => `${key(name)} in ${path}`,
  };
}

/**
 * The value of every setting: from the first layer that has it, or its default.
 * @throws StowageError setting_invalid
 */
export function resolveAll<T extends Settings>(settings: T, layers: readonly Layer[]): ResolvedAll<T> {
  const entries = Object.entries(settings).map(([name, setting]) => [name, resolve(name, setting, layers)]);
  return Object.fromEntries(entries) as ResolvedAll<T>;
}

function resolve(name: string, setting: Setting<unknown>, layers: readonly Layer[]): Resolved<unknown> {
  const layer = layers.find(({ values }) => Object.hasOwn(values, name));
  if (!layer) return { value: setting.fallback, source: "default" };
  return { value: read(name, setting, layer), source: layer.source(name) };
}

/**
 * What `layer` gives for a setting that it has.
 * @throws StowageError setting_invalid
 */
export function read<T>(name: string, setting: Setting<T>, layer: Layer): T {
  const raw = layer.values[name];
  const value = setting.kind.read(raw, layer.form);
  if (value !== undefined) return value;
  throw new StowageError("setting_invalid", {
    setting: layer.label(name),
    value: setting.secret ? "(not shown)" : shown(raw),
    allowed: setting.kind.allowed,
  });
}

const shownLength = 80;

/** A value as an error shows it. */
export function shown(raw: unknown): string {
  if (Array.isArray(raw)) return "a list";
  if (typeof raw === "object" && raw !== null) return raw instanceof Date ? "a date" : "a table";
  const text = typeof raw === "string" ? JSON.stringify(raw) : String(raw);
  return text.length > shownLength ? `${text.slice(0, shownLength)}…` : text;
}
