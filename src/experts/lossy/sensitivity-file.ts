import { readFile, writeFile } from "node:fs/promises";
import { isDeepStrictEqual } from "node:util";
import { z } from "zod";
import { StowageError } from "../../errors.ts";

/** What the low-precision copy of each expert costs, and which files that was measured on. */
export interface SensitivityTable {
  /** What tells the model's files, and those of the copies, from others. */
  readonly model: unknown;
  readonly low: unknown;
  /** [layer][expert], null for a layer without experts. */
  readonly sensitivity: readonly (readonly number[] | null)[];
}

const format = "stowage-expert-sensitivity";
const version = 1;

const schema = z.object({
  format: z.literal(format),
  version: z.literal(version),
  model: z.unknown(),
  low: z.unknown(),
  sensitivity: z.array(z.array(z.number().min(0)).nullable()),
});

/** Where the table is, unless somebody says otherwise: beside the file of the copies. */
export function sensitivityPath(low: string): string {
  return `${low}.sensitivity`;
}

/** @throws StowageError report_not_written */
export async function writeSensitivity(path: string, table: SensitivityTable): Promise<void> {
  try {
    await writeFile(path, `${JSON.stringify({ format, version, ...table })}\n`);
  } catch (cause) {
    throw new StowageError("report_not_written", { path, reason: (cause as Error).message }, { cause });
  }
}

/**
 * Reads a table, which has to be of these files and of this many experts.
 * @throws StowageError sensitivity_file
 */
export async function readSensitivity(
  path: string,
  expected: Pick<SensitivityTable, "model" | "low"> & { readonly experts: readonly (number | null)[] },
): Promise<SensitivityTable> {
  const table = parse(await textOf(path), path);
  for (const key of ["model", "low"] as const) {
    if (isDeepStrictEqual(table[key], JSON.parse(JSON.stringify(expected[key])))) continue;
    const which = key === "model" ? "another model file" : "another file of low-precision copies";
    throw invalid(path, `it was measured on ${which}`);
  }
  const counts = table.sensitivity.map((layer) => layer?.length ?? null);
  if (isDeepStrictEqual(counts, expected.experts)) return table;
  throw invalid(path, "it has other layers or experts than the model");
}

async function textOf(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (cause) {
    throw invalid(path, (cause as Error).message, cause);
  }
}

function parse(text: string, path: string): SensitivityTable {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw invalid(path, "it is no JSON", cause);
  }
  const parsed = schema.safeParse(json);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw invalid(path, `${issue!.path.join(".") || "it"}: ${issue!.message}`);
}

function invalid(path: string, reason: string, cause?: unknown): StowageError {
  return new StowageError("sensitivity_file", { path, reason }, { cause });
}
