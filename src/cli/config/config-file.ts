/** The configuration file: where it is, what it may hold. */
import { existsSync, readFileSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { parse, TomlError } from "smol-toml";
import { StowageError } from "../../errors.ts";
import { fileLayer, type Layer, read, shown } from "./layers.ts";
import { nearest } from "./nearest.ts";
import { allSettings, keyOf, modelSettings, type Settings, tableSettings } from "./settings.ts";

export interface ConfigFile {
  readonly path: string;
  /** Keys at the top. */
  readonly top: Layer;
  /** Tables `[models.NAME]`, in the file's order. */
  readonly models: ReadonlyMap<string, Layer>;
}

/** What decides where the file is looked for. */
export interface Surroundings {
  readonly cwd: string;
  readonly env: NodeJS.ProcessEnv;
}

const modelTable = { ...tableSettings, ...modelSettings };

/** Where the file is looked for when none is named, in order. */
export function usualPaths({ cwd, env }: Surroundings): string[] {
  const home = env.XDG_CONFIG_HOME || join(env.HOME || homedir(), ".config");
  return [join(cwd, "stowage.toml"), join(home, "stowage", "config.toml")];
}

/**
 * Reads the file that is named, or else the first of the usual ones that is there.
 * @throws StowageError config_unreadable, config_syntax, setting_unknown, setting_invalid
 */
export function readConfigFile(
  named: string | undefined,
  surroundings: Surroundings,
): ConfigFile | undefined {
  const path =
    named === undefined
      ? usualPaths(surroundings).find((usual) => existsSync(usual))
      : resolve(surroundings.cwd, named);
  return path === undefined ? undefined : checkConfig(path, parseToml(path));
}

/** A path in the file: `~/` is the home folder, and what is relative starts at the file's folder. */
export function pathInFile(file: string, path: string): string {
  return resolve(
    dirname(file),
    path.replace(/^~(?=\/|$)/, () => homedir()),
  );
}

/**
 * The text of a small file.
 * @throws StowageError config_unreadable
 */
export function readText(path: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(readFileSync(path));
  } catch (error) {
    throw new StowageError("config_unreadable", { path, reason: reasonOf(error as NodeJS.ErrnoException) });
  }
}

function reasonOf({ code, message }: NodeJS.ErrnoException): string {
  const reasons: Readonly<Record<string, string>> = {
    ENOENT: "it does not exist",
    EISDIR: "it is a folder",
    EACCES: "this user may not read it",
    ERR_ENCODING_INVALID_ENCODED_DATA: "it is not UTF-8",
  };
  return reasons[code ?? ""] ?? message;
}

function parseToml(path: string): Record<string, unknown> {
  const source = readText(path);
  try {
    return parse(source);
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    const [firstLine] = error.message.split("\n");
    const reason = firstLine!.replace(/^Invalid TOML document: /, "");
    throw new StowageError("config_syntax", { path, line: error.line, column: error.column, reason });
  }
}

function checkConfig(path: string, document: Record<string, unknown>): ConfigFile {
  const { models = {}, ...top } = document;
  const tables = isTable(models) ? Object.entries(models) : refuse(path, "models", models);
  const layers = tables.map(([name, table]) => {
    const key = `models.${/^[\w-]+$/.test(name) ? name : JSON.stringify(name)}`;
    const values = isTable(table) ? table : refuse(path, key, table);
    return [name, checkTable(path, `${key}.`, values, modelTable, [])] as const;
  });
  return { path, top: checkTable(path, "", top, allSettings, ["models"]), models: new Map(layers) };
}

/** Every value is checked, also one that a flag will take the place of. */
function checkTable(
  path: string,
  prefix: string,
  table: Record<string, unknown>,
  settings: Settings,
  otherKeys: readonly string[],
): Layer {
  const names = new Map(Object.keys(settings).map((name) => [keyOf(name), name]));
  const values: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(table)) {
    const name = names.get(key);
    if (name === undefined) {
      throw new StowageError("setting_unknown", {
        path,
        key: `${prefix}${key}`,
        // It may be a misspelt key of the API.
        value: /key/i.test(key) ? "not shown" : shown(value),
        nearest: `${prefix}${nearest(key, [...names.keys(), ...otherKeys])}`,
      });
    }
    values[name] = value;
  }
  const layer = fileLayer(path, prefix, values);
  for (const name of Object.keys(values)) read(name, settings[name]!, layer);
  return layer;
}

function isTable(value: unknown): value is Record<string, unknown> {
  const isObject = typeof value === "object" && value !== null;
  return isObject && !Array.isArray(value) && !(value instanceof Date);
}

function refuse(path: string, key: string, value: unknown): never {
  throw new StowageError("setting_invalid", {
    setting: `${key} in ${path}`,
    value: shown(value),
    allowed: "a table, as in [models.NAME]",
  });
}
