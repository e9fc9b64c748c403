/** Flags that say what an answer has to be. */
import { readFile } from "node:fs/promises";
import type { Command } from "commander";
import type { GenerateOptions } from "../engine/model.ts";
import { StowageError } from "../errors.ts";
import { parseSchema } from "../grammar/schema/compile-schema.ts";

/** What {@link addFormFlags} reads: paths. */
export interface FormFlags {
  readonly grammar?: string;
  readonly jsonSchema?: string;
}

export function addFormFlags(command: Command): void {
  command
    .option("--grammar <file>", "hold the answer to the grammar in this file, in GBNF")
    .addOption(
      command
        .createOption("--json-schema <file>", "hold the answer to the JSON schema in this file")
        .conflicts("grammar"),
    );
}

/** @throws StowageError config_unreadable, schema_invalid, grammar_limit */
export async function formOf({
  grammar,
  jsonSchema,
}: FormFlags): Promise<Pick<GenerateOptions, "grammar" | "jsonSchema">> {
  if (grammar !== undefined) return { grammar: await textOf(grammar) };
  if (jsonSchema === undefined) return {};
  return { jsonSchema: parseSchema(await textOf(jsonSchema)) as object };
}

async function textOf(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    throw new StowageError("config_unreadable", { path, reason: (error as Error).message });
  }
}
