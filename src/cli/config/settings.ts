/** Every setting of the server: its key, its kind, its default. Flags, variables and keys of the file follow from it. */
import { policyNames, prefetchNames } from "../../experts/policies/policies.ts";
import { kvTypeNames } from "../../kv/types.ts";
import type { AdapterOption } from "../../model/lora/adapters.ts";
import { textPoolings } from "../../model/pooling.ts";
import type { ServerOptions } from "../../server/options.ts";
import { adapters } from "./adapters.ts";
import {
  duration,
  durationOrForever,
  expertMemory,
  type Kind,
  machineBytes,
  memory,
  oneOf,
  onOff,
  speculate,
  text,
  texts,
  wholeNumber,
} from "./kinds.ts";

export interface Setting<T> {
  readonly kind: Kind<T>;
  /** What the flag shows for its value; none for a flag that is on when it is there. */
  readonly placeholder?: string;
  /** One line for `--help`, without the default. */
  readonly about: string;
  readonly fallback?: T;
  /** Says the default in words, where it is no value or not a plain one. */
  readonly fallbackText?: string;
  /** Its value is never shown. */
  readonly secret?: true;
}

/** A setting that always has a value. */
export interface SettingWithDefault<T> extends Setting<T> {
  readonly fallback: T;
}

const keyPattern = /^[\x21-\x7e]+$/;

/** Settings of the server as a whole. */
export const serverSettings = {
  host: setting({
    kind: text("an address or the name of a host", /^[\w.:[\]%-]+$/),
    placeholder: "address",
    about: "address to listen at",
    fallback: "127.0.0.1",
  }),
  port: setting({
    kind: wholeNumber(0, 65_535),
    placeholder: "number",
    about: "port to listen at; 0 takes a free one",
    fallback: 8321,
  }),
  apiKey: setting({
    kind: texts("keys of printable characters without spaces", keyPattern),
    placeholder: "key",
    about: "key that requests have to bring; may be given several times",
    fallback: [] as readonly string[],
    fallbackText: "none",
    secret: true,
  }),
  apiKeyFile: setting({
    kind: text("the path of a file", /./),
    placeholder: "file",
    about: "file of such keys, one a line",
    fallbackText: "none",
  }),
  memory: setting({
    kind: memory,
    placeholder: "size",
    about: "most memory of all models together, such as 12GiB, or a share of the machine's",
    get fallback() {
      return Math.floor(0.8 * machineBytes());
    },
    fallbackText: "80% of the machine's",
  }),
  maxQueue: setting({
    kind: wholeNumber(0, 1_000_000),
    placeholder: "n",
    about: "most requests of a model that wait for a place in its batch",
    fallback: 256,
  }),
  drainTimeout: setting({
    kind: duration,
    placeholder: "duration",
    about: "how long running requests may take to end when the server stops",
    fallback: 30,
    fallbackText: "30s",
  }),
  logLevel: setting<ServerOptions["logLevel"]>({
    kind: oneOf(["silent", "error", "warn", "info", "debug"]),
    placeholder: "level",
    about: "what is logged on stderr: silent, error, warn, info or debug",
    fallback: "warn",
  }),
};

/** Settings of each model. On the command line and at the top of the file they are meant for all models. */
export const modelSettings = {
  keepAlive: setting({
    kind: durationOrForever,
    placeholder: "duration",
    about: "how long a model stays loaded after its last request; forever: until its memory is wanted",
    fallback: Number.POSITIVE_INFINITY,
    fallbackText: "forever",
  }),
  context: setting({
    kind: wholeNumber(1, 1 << 30),
    placeholder: "tokens",
    about: "longest prompt and answer together",
    fallbackText: "the model's, at most 4096",
  }),
  maxSequences: setting({
    kind: wholeNumber(1, 1024),
    placeholder: "n",
    about: "sequences that run side by side",
    fallbackText: "8",
  }),
  kvTokens: setting({
    kind: wholeNumber(1, 1 << 30),
    placeholder: "tokens",
    about: "tokens that the KV cache holds for all sequences together",
    fallbackText: "two contexts",
  }),
  cacheTypeK: setting({
    kind: oneOf(kvTypeNames),
    placeholder: "type",
    about: `type of the KV cache's keys: ${kvTypeNames.join(", ")}`,
    fallbackText: "f16",
  }),
  cacheTypeV: setting({
    kind: oneOf(kvTypeNames),
    placeholder: "type",
    about: `type of the KV cache's values: ${kvTypeNames.join(", ")}`,
    fallbackText: "f16",
  }),
  pooling: setting({
    kind: oneOf(textPoolings),
    placeholder: "name",
    about: `how an embedding is made of the tokens': ${textPoolings.join(", ")}`,
    fallbackText: "the model's",
  }),
  stepTokens: setting({
    kind: wholeNumber(1, 1 << 16),
    placeholder: "tokens",
    about: "most tokens of one step, prefill and decode together",
    fallbackText: "512",
  }),
  threads: setting({
    kind: wholeNumber(1, 512),
    placeholder: "n",
    about: "compute threads",
    fallbackText: "the processors of this machine",
  }),
  lora: setting({
    kind: adapters,
    placeholder: "adapter",
    about: "LoRA adapter that requests may compute with, as name=path[,scale]; may be given several times",
    fallback: [] as readonly AdapterOption[],
    fallbackText: "none",
  }),
  speculate: setting({
    kind: speculate,
    placeholder: "how",
    about: "draft tokens out of what a sequence holds: auto (as long as it pays), off, or so many at a time",
    fallbackText: "auto",
  }),
  expertMemory: setting({
    kind: expertMemory,
    placeholder: "size",
    about: "most memory for the experts, such as 3GiB, or a share of them such as 50%",
    fallbackText: "all stay in memory",
  }),
  expertPolicy: setting({
    kind: oneOf(policyNames),
    placeholder: "name",
    about: `which experts stay and which are read ahead: ${policyNames.join(", ")}`,
    fallbackText: "composite",
  }),
  expertPrefetch: setting({
    kind: oneOf(prefetchNames),
    placeholder: "name",
    about: `what is read ahead, in the place of the policy's own choice: ${prefetchNames.join(", ")}`,
    fallbackText: "as the policy says",
  }),
  regroupExperts: setting({
    kind: wholeNumber(1, 1024),
    placeholder: "n",
    about: "so many sequences decode in a step at most, those that are expected to use the same experts",
    fallbackText: "all that are there",
  }),
  recordRouting: setting({
    kind: text("the path of a file", /./),
    placeholder: "file",
    about: "write what the routers choose into this file, for `stowage lab`; it tells what users wrote",
    fallbackText: "none",
  }),
  device: setting({
    kind: text("the name or number of a device, as `stowage devices` lists them", /^\w[\w.: -]*$/),
    placeholder: "name",
    about: "device that computes, as `stowage devices` lists them",
    fallbackText: "the processor",
  }),
  deviceLayers: setting({
    kind: wholeNumber(1, 1 << 16),
    placeholder: "n",
    about: "so many layers at the end are on the device, the others on the processor",
    fallbackText: "all",
  }),
  unprepared: setting({
    kind: onOff,
    about: "read experts from the model's own file: slower, and nothing is written beside it",
    fallback: false,
    fallbackText: "off",
  }),
};

/** Settings that only a table `[models.NAME]` has. */
export const tableSettings = {
  path: setting({ kind: text("the path of a GGUF file", /./), about: "the model's file" }),
  preload: setting({
    kind: onOff,
    about: "load it at the start",
    fallback: true,
    fallbackText: "on",
  }),
};

export const allSettings = { ...serverSettings, ...modelSettings };

export type Settings = Readonly<Record<string, Setting<unknown>>>;

/** "maxQueue" → "max-queue", as flags and keys of the file are written. */
export function keyOf(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

/** The default in words. */
export function fallbackText({ kind, fallback, fallbackText }: Setting<unknown>): string {
  return fallbackText ?? kind.show(fallback);
}

/** Keeps the type of the value, and whether there always is one. */
function setting<T>(definition: SettingWithDefault<T>): SettingWithDefault<T>;
function setting<T>(definition: Setting<T>): Setting<T>;
function setting<T>(definition: Setting<T>): Setting<T> {
  return definition;
}
