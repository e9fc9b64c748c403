/** What the arguments MODEL of `stowage serve` stand for: files, named files, folders. */
import { existsSync, readdirSync, type Stats, statSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { StowageError } from "../../errors.ts";

export interface GivenModel {
  readonly name: string;
  /** Absolute. */
  readonly path: string;
  /** Given itself, not by its folder. */
  readonly preload: boolean;
}

const shardSuffix = /-(\d{5})-of-\d{5}$/;

/** The file's name without `.gguf` and without the number of a shard. */
export function modelNameOf(path: string): string {
  return stemOf(path).replace(shardSuffix, "");
}

function stemOf(path: string): string {
  return basename(path).replace(/\.gguf$/i, "");
}

/**
 * The models that arguments stand for, in their order; one that is given twice is there once.
 * @throws StowageError model_argument, model_duplicate
 */
export function modelsOfArguments(args: readonly string[], cwd: string): GivenModel[] {
  const models = new Map<string, GivenModel>();
  for (const model of args.flatMap((argument) => modelsOf(argument, cwd))) {
    const other = models.get(model.name);
    if (other && other.path !== model.path) {
      const { name, path } = model;
      throw new StowageError("model_duplicate", { name, first: other.path, second: path });
    }
    models.set(model.name, { ...model, preload: model.preload || other?.preload === true });
  }
  return [...models.values()];
}

/** @throws StowageError model_argument when `path` is no file */
export function checkModelFile(path: string, argument: string): void {
  const found = statOf(path, argument);
  if (!found.isFile())
    throw refuse(argument, found.isDirectory() ? "it is a folder" : "it is no regular file");
}

function modelsOf(argument: string, cwd: string): GivenModel[] {
  const [, name, named] = /^([^=]*)=(.+)$/s.exec(argument) ?? [];
  // A path may hold a "=" itself.
  if (name !== undefined && !existsSync(resolve(cwd, argument))) {
    const path = resolve(cwd, named!);
    checkName(name, argument);
    checkModelFile(path, argument);
    return [{ name, path, preload: true }];
  }
  const path = resolve(cwd, argument);
  if (statOf(path, argument).isDirectory()) return modelsIn(path, argument);
  checkModelFile(path, argument);
  checkName(modelNameOf(path), argument);
  return [{ name: modelNameOf(path), path, preload: true }];
}

function modelsIn(folder: string, argument: string): GivenModel[] {
  const files = namesIn(folder, argument).filter((file) => /\.gguf$/i.test(file) && isModel(folder, file));
  if (files.length === 0) throw refuse(argument, "the folder has no .gguf file");
  return files.sort().map((file) => ({
    name: modelNameOf(file),
    path: join(folder, file),
    preload: false,
  }));
}

/** Of shards, only the first is one. */
function isModel(folder: string, file: string): boolean {
  const shard = shardSuffix.exec(stemOf(file))?.[1];
  const isFirst = shard === undefined || Number(shard) === 1;
  return isFirst && statSync(join(folder, file), { throwIfNoEntry: false })?.isFile() === true;
}

function namesIn(folder: string, argument: string): string[] {
  try {
    return readdirSync(folder);
  } catch (error) {
    throw refuse(argument, (error as Error).message);
  }
}

function statOf(path: string, argument: string): Stats {
  try {
    return statSync(path);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw refuse(argument, code === "ENOENT" ? "there is no such file" : message);
  }
}

const longestName = 200;

/** @throws StowageError model_argument */
function checkName(name: string, argument: string): void {
  if (name.trim() === "") throw refuse(argument, "its name is empty");
  if (name.length > longestName) throw refuse(argument, `its name is longer than ${longestName} characters`);
  if (/\p{C}/u.test(name)) throw refuse(argument, "its name has a character that cannot be shown");
}

function refuse(argument: string, reason: string): StowageError {
  return new StowageError("model_argument", { model: JSON.stringify(argument), reason });
}
