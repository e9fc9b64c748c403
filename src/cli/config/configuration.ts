/** Everything that a server is told, from the command line, the environment, the file and the defaults. */
import { StowageError } from "../../errors.ts";
import { type ConfigFile, pathInFile, readConfigFile, readText, type Surroundings } from "./config-file.ts";
import { type Layer, type Resolved, type ResolvedAll, read, resolveAll } from "./layers.ts";
import { checkModelFile, modelsOfArguments } from "./model-arguments.ts";
import { nearest } from "./nearest.ts";
import { modelSettings, serverSettings, tableSettings } from "./settings.ts";

export interface ModelConfiguration {
  readonly name: string;
  readonly path: Resolved<string>;
  readonly preload: Resolved<boolean>;
  readonly settings: ResolvedAll<typeof modelSettings>;
}

export interface Configuration {
  /** The file that was read. */
  readonly file: string | undefined;
  readonly server: ResolvedAll<typeof serverSettings>;
  /** The keys of `--api-key` and of `--api-key-file` together. */
  readonly apiKeys: readonly string[];
  /** What models have that no table says otherwise of. */
  readonly defaults: ResolvedAll<typeof modelSettings>;
  readonly models: readonly ModelConfiguration[];
}

export interface Given extends Surroundings {
  readonly models: readonly string[];
  readonly flags: Layer;
  readonly environment: Layer;
}

/**
 * Reads and checks everything; nothing is started.
 * @throws StowageError config_unreadable, config_syntax, setting_unknown, setting_invalid, model_argument,
 * model_duplicate, model_path_missing
 */
export function configure(given: Given): Configuration {
  const { flags, environment } = given;
  const named = [flags, environment].map(({ values }) => values.config).find((path) => path !== undefined);
  const file = readConfigFile(named as string | undefined, given);
  const layers = [flags, environment, ...(file ? [file.top] : [])];
  const server = resolveAll(serverSettings, layers);
  return {
    file: file?.path,
    server,
    apiKeys: [...new Set([...server.apiKey.value, ...keysOfFile(server.apiKeyFile, file)])],
    defaults: resolveAll(modelSettings, layers),
    models: modelsFrom(given, file),
  };
}

/** Models of the command line first, then those that only the file has. */
function modelsFrom(given: Given, file: ConfigFile | undefined): ModelConfiguration[] {
  const ofArguments = modelsOfArguments(given.models, given.cwd);
  const tables = new Map(file?.models);
  const make = (name: string, table: Layer | undefined, path: Resolved<string>, preload: boolean) => ({
    name,
    path,
    preload: resolveAll({ preload: { ...tableSettings.preload, fallback: preload } }, table ? [table] : [])
      .preload,
    settings: resolveAll(modelSettings, [
      given.flags,
      given.environment,
      ...(table ? [table] : []),
      ...(file ? [file.top] : []),
    ]),
  });
  const models = ofArguments.map(({ name, path, preload }) =>
    make(name, tables.get(name), { value: path, source: "argument" }, preload),
  );
  for (const { name } of models) tables.delete(name);
  for (const [name, table] of tables) {
    const names = ofArguments.map((model) => model.name);
    models.push(make(name, table, pathOfTable(table, file!, names), true));
  }
  return models;
}

/** A table without a path is there for a model of the command line: its name may be misspelt. */
function pathOfTable(table: Layer, file: ConfigFile, given: readonly string[]): Resolved<string> {
  const label = table.label("path");
  if (!Object.hasOwn(table.values, "path")) {
    const name = [...file.models].find(([, other]) => other === table)![0];
    throw new StowageError("model_path_missing", {
      setting: label.replace(/\.path in /, " in "),
      nearest: given.length === 0 ? "" : `; the nearest is ${nearest(name, given)}`,
    });
  }
  const value = pathInFile(file.path, read("path", tableSettings.path, table));
  checkModelFile(value, `${label}: ${value}`);
  return { value, source: table.source("path") };
}

/** One key a line; empty lines and those that begin with `#` are skipped. */
function keysOfFile({ value, source }: Resolved<string | undefined>, file: ConfigFile | undefined): string[] {
  if (value === undefined) return [];
  const path = source.startsWith("file ") ? pathInFile(file!.path, value) : value;
  const lines = readText(path)
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "" && !line.startsWith("#"));
  const keys = lines.length > 0 ? serverSettings.apiKey.kind.read(lines, "text") : undefined;
  if (keys) return [...keys];
  throw new StowageError("setting_invalid", {
    setting: "api-key-file",
    value: path,
    allowed: `a file with a key on each line: ${serverSettings.apiKey.kind.allowed}`,
  });
}
