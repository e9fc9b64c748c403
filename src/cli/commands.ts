import { type Command, Option } from "commander";

/**
 * A command of the CLI. Its module is loaded only when the command line names it, so that `--help` and every
 * other command start fast.
 */
export interface CommandEntry {
  readonly name: string;
  readonly summary: string;
  readonly load: () => Promise<CommandModule>;
}

/** What the file of a command exports: it adds arguments, flags and the action, or its own subcommands. */
export interface CommandModule {
  register(command: Command, argv: readonly string[]): void | Promise<void>;
}

/**
 * Adds commands below `parent`. Every flag gets an environment twin: `--context-size` reads STOWAGE_CONTEXT_SIZE, and a
 * flag without a value is on when its variable exists. Flags come from `command.option` or `command.createOption`.
 *
 * @param argv - The command line, without the program: tells which modules to load.
 */
export async function addCommands(
  parent: Command,
  entries: readonly CommandEntry[],
  argv: readonly string[],
): Promise<void> {
  for (const { name, summary, load } of entries) {
    const command = parent.command(name).description(summary);
    command.createOption = createOption;
    if (argv.includes(name)) await (await load()).register(command, argv);
  }
}

function createOption(flags: string, description?: string): Option {
  const option = new Option(flags, description);
  return option.long === undefined || option.long === "--help" ? option : option.env(twinOf(option.long));
}

/** The environment variable that is the twin of a flag, with or without its dashes. */
export function twinOf(flag: string): string {
  return `STOWAGE_${flag.replace(/^--/, "").replaceAll("-", "_").toUpperCase()}`;
}
