import type { Command } from "commander";
import { collect } from "../arguments.ts";
import { allSettings, fallbackText, keyOf, type Setting } from "./settings.ts";

/** Adds a flag for every setting. What is given for it is checked with the rest of the configuration. */
export function addSettingFlags(command: Command): void {
  for (const [name, setting] of Object.entries<Setting<unknown>>(allSettings)) {
    const { placeholder, about } = setting;
    const value = placeholder === undefined ? "" : ` <${placeholder}>`;
    const option = command.createOption(
      `--${keyOf(name)}${value}`,
      `${about} (default: ${fallbackText(setting)})`,
    );
    if (Array.isArray(setting.fallback)) option.argParser(collect);
    command.addOption(option);
  }
  command.option(
    "--config <file>",
    "file with settings (default: stowage.toml here, else stowage/config.toml in the user's configuration folder)",
  );
}
