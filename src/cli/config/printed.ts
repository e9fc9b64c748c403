/** `--print-config`: every setting, its value, and where it comes from. */
import { table } from "../../workload/report-table.ts";
import type { Configuration, ModelConfiguration } from "./configuration.ts";
import type { Resolved } from "./layers.ts";
import { fallbackText, keyOf, modelSettings, type Settings, serverSettings } from "./settings.ts";

type Values = Readonly<Record<string, Resolved<unknown>>>;

/** The configuration as a table. */
export function configurationTable({ file, server, defaults, models }: Configuration): string {
  const rows = [
    ["setting", "value", "from"],
    ...settingRows("", serverSettings, server),
    ...settingRows("", modelSettings, defaults),
    ...models.flatMap(modelRows),
  ];
  return `Configuration file: ${file ?? "none"}\n\n${table(rows)}\n`;
}

/** The configuration as a JSON object. Settings without a value are null: the engine chooses. */
export function configurationJson({ file, server, defaults, models }: Configuration): object {
  return {
    file: file ?? null,
    settings: {
      ...settingValues(serverSettings, server),
      ...settingValues(modelSettings, defaults),
    },
    models: models.map(({ name, path, preload, settings }) => ({
      name,
      settings: { path, preload, ...settingValues(modelSettings, settings) },
    })),
  };
}

function modelRows({ name, path, preload, settings }: ModelConfiguration): string[][] {
  const prefix = `models.${name}.`;
  return [
    [`${prefix}path`, path.value, path.source],
    [`${prefix}preload`, preload.value ? "on" : "off", preload.source],
    ...settingRows(prefix, modelSettings, settings),
  ];
}

function settingRows(prefix: string, settings: Settings, values: Values): string[][] {
  return Object.entries(settings).map(([name, setting]) => {
    const { value, source } = values[name]!;
    const text = value === undefined ? fallbackText(setting) : setting.kind.show(value);
    const isHidden = setting.secret && source !== "default";
    return [`${prefix}${keyOf(name)}`, isHidden ? "(hidden)" : text || "none", source];
  });
}

function settingValues(settings: Settings, values: Values): Record<string, object> {
  const entries = Object.entries(settings).map(([name, setting]) => {
    const { value = null, source } = values[name]!;
    const shown = setting.secret && source !== "default" ? "(hidden)" : value;
    return [keyOf(name), { value: shown === Number.POSITIVE_INFINITY ? "forever" : shown, source }];
  });
  return Object.fromEntries(entries);
}
