/** `stowage lab engine`: every policy of experts on the engine itself, with real reads, under one budget. */
import { availableParallelism } from "node:os";
import { type Command, InvalidArgumentError } from "commander";
import { type PolicyName, policyNames } from "../experts/policies/policies.ts";
import { type MemoryAmount, parseExpertMemory, parseMemoryAmount, wholeNumber } from "./arguments.ts";
import { measurePolicies } from "./lab-engine-measure.ts";
import { note, reportAction } from "./report-action.ts";

interface Flags {
  readonly memory: MemoryAmount;
  readonly expertMemory?: number | string;
  readonly policies: readonly PolicyName[];
  readonly rounds: number;
  readonly settling: number;
  readonly steps: number;
  readonly threads: number;
}

export function register(command: Command): void {
  command
    .argument("<model>", "a mixture of experts in GGUF format")
    .addOption(
      command
        .createOption("--memory <amount>", "limit on all that a process takes: a share of the file, or bytes")
        .argParser(parseMemoryAmount)
        .default({ share: 0.6 }, "60%"),
    )
    .option(
      "--expert-memory <size>",
      "most memory for the experts instead: a size, or a share of them such as 50%",
      parseExpertMemory,
    )
    .addOption(
      command
        .createOption("--policies <names>", "policies between commas")
        .argParser(parsePolicies)
        .default(policyNames, "all"),
    )
    .addOption(
      command
        .createOption("--rounds <count>", "fresh processes of each policy, in another order each round")
        .argParser(wholeNumber(1))
        .default(3),
    )
    .addOption(
      command
        .createOption("--settling <count>", "decode steps in which a policy learns, not measured")
        .argParser(wholeNumber(0))
        .default(120),
    )
    .addOption(
      command
        .createOption("--steps <count>", "decode steps that are measured")
        .argParser(wholeNumber(1))
        .default(64),
    )
    .addOption(
      command
        .createOption("--threads <count>", "compute threads")
        .argParser(wholeNumber(1))
        .default(availableParallelism()),
    );
  reportAction(command, (modelPath: string, flags: Flags) => measurePolicies({ modelPath, ...flags, note }));
}

/** For `argParser`: names of policies, each once, the default among them: the others are compared with it. */
function parsePolicies(text: string): PolicyName[] {
  const names = new Set(text.split(",").map((name) => name.trim()));
  for (const name of names) {
    if (policyNames.some((known) => known === name)) continue;
    throw new InvalidArgumentError(`${name} is none of ${policyNames.join(", ")}.`);
  }
  return [...names] as PolicyName[];
}
