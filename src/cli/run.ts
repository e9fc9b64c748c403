/** `stowage run`: generates in this terminal, without a server. */
import { basename } from "node:path";
import { text } from "node:stream/consumers";
import type { Command } from "commander";
import { type GenerateOptions, loadModel, type Model } from "../engine/model.ts";
import { StowageError } from "../errors.ts";
import type { AdapterOption } from "../model/lora/adapters.ts";
import { formatBytes } from "../workload/format.ts";
import { type AnswerStyle, answer } from "./answer.ts";
import { collect, parseNumber } from "./arguments.ts";
import { chat } from "./chat.ts";
import { adapters, parseAdapter } from "./config/adapters.ts";
import { addFormFlags, type FormFlags, formOf } from "./form-flags.ts";
import { type Interrupts, untilInterrupted } from "./interrupts.ts";
import { addLoadFlags, type LoadFlags, loadOptionsOf, loadShown } from "./load-flags.ts";
import { addSamplingFlags, type SamplingFlags, samplingOf } from "./sampling-flags.ts";

interface Flags extends LoadFlags, SamplingFlags, FormFlags {
  readonly maxTokens?: number;
  readonly system?: string;
  readonly raw?: true;
  readonly lora?: readonly string[];
  readonly recordRouting?: string;
  readonly json?: true;
  readonly stats?: true;
}

/** Adds the arguments, the flags and the action. */
export function register(command: Command): void {
  command
    .argument("<model>", "model file in GGUF format")
    .argument("[prompt]", "what to answer or go on from; default: stdin, or a chat at a terminal")
    .option("--max-tokens <n>", "most tokens of an answer (default: what the context leaves)", parseNumber);
  addSamplingFlags(command);
  addFormFlags(command);
  command.option("--raw", "go on from the prompt as it is, without the model's chat template");
  addLoadFlags(command, "longest prompt and answer together (default: the model's, at most 4096)")
    .option(
      "--lora <adapter>",
      "compute with this LoRA adapter, as [name=]path[,scale]; may be given several times",
      collect,
    )
    .option("--record-routing <file>", "write what the routers choose into this file, for `stowage lab`")
    .option("--json", "print each token, and the end, as a line of JSON")
    .option("--stats", "print speeds on stderr")
    .addOption(command.createOption("--system <text>", "instruction that a chat opens with").conflicts("raw"))
    .action(run);
}

async function run(path: string, prompt: string | undefined, flags: Flags): Promise<void> {
  await untilInterrupted(async (signal, interrupts) => {
    const generation = { ...generationOf(flags), ...(await formOf(flags)) };
    const mode = await modeOf(prompt, flags);
    const { recordRouting } = flags;
    const recording = recordRouting === undefined ? {} : { recordRouting };
    const lora = adaptersOf(flags);
    const options = { ...loadOptionsOf(flags), ...recording, lora, signal };
    const model = await loadShown(path, options, loadModel);
    try {
      if (mode.kind === "once") await once(model, mode.prompt, flags, generation, signal);
      else await converse(model, path, flags, generation, interrupts);
    } finally {
      await model.dispose();
    }
  });
}

type Mode = { kind: "once"; prompt: string } | { kind: "chat" };

/** @throws StowageError prompt_missing */
async function modeOf(prompt: string | undefined, { json }: Flags): Promise<Mode> {
  if (prompt !== undefined) return { kind: "once", prompt };
  if (process.stdin.isTTY) {
    if (json) throw new StowageError("prompt_missing", { reason: "--json answers one prompt" });
    return { kind: "chat" };
  }
  const piped = (await text(process.stdin)).replace(/\r?\n$/, "");
  if (piped === "") throw new StowageError("prompt_missing", { reason: "stdin is empty" });
  return { kind: "once", prompt: piped };
}

async function once(
  model: Model,
  prompt: string,
  flags: Flags,
  generation: GenerateOptions,
  signal: AbortSignal,
): Promise<void> {
  const system = flags.system === undefined ? [] : [{ role: "system", content: flags.system }];
  const input = isRaw(model, flags)
    ? { prompt }
    : { messages: [...system, { role: "user", content: prompt }] };
  await answer(model, { ...generation, ...input, signal }, styleOf(flags));
}

async function converse(
  model: Model,
  path: string,
  flags: Flags,
  generation: GenerateOptions,
  interrupts: Interrupts,
): Promise<void> {
  const raw = isRaw(model, flags);
  const hint = raw ? "Each line is a prompt of its own. " : "";
  process.stdout.write(`${summary(model, path)}\n${hint}/help shows the commands, Ctrl-D ends.\n`);
  const settings = { generation, style: styleOf(flags), system: flags.system, raw };
  await chat(model, settings, interrupts);
}

/** A model without a chat template takes prompts as they are; with a system message, it is asked and refuses. */
function isRaw(model: Model, flags: Flags): boolean {
  return flags.raw === true || (!model.info.hasChatTemplate && flags.system === undefined);
}

function summary({ info }: Model, path: string): string {
  const experts = info.experts > 0 ? `, ${info.experts} experts a layer, ${info.expertsUsed} at work` : "";
  const { mappedWeights, convertedWeights, experts: slots } = info.memory;
  const held = slots > 0 ? ` and ${formatBytes(slots)} for experts` : "";
  const weights = formatBytes(mappedWeights + convertedWeights);
  return `${basename(path)}: ${info.architecture}, ${info.layers} layers${experts}, ${weights} of weights${held}, context of ${info.contextTokens} tokens`;
}

function styleOf(flags: Flags): AnswerStyle {
  return { json: flags.json === true, stats: flags.stats === true };
}

/** @throws StowageError setting_invalid */
function adaptersOf({ lora = [] }: Flags): AdapterOption[] {
  return lora.map((text) => {
    const adapter = parseAdapter(text);
    if (adapter) return adapter;
    const value = JSON.stringify(text);
    throw new StowageError("setting_invalid", { setting: "--lora", value, allowed: adapters.allowed });
  });
}

function generationOf(flags: Flags): GenerateOptions {
  const lora = adaptersOf(flags).map(({ name }) => ({ name }));
  return { ...samplingOf(flags), lora, ...(flags.maxTokens !== undefined && { maxTokens: flags.maxTokens }) };
}
