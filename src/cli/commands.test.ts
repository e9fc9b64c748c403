import assert from "node:assert/strict";
import { afterEach, describe, it } from "node:test";
import { Command } from "commander";
import { addCommands, type CommandEntry } from "./commands.ts";

describe("addCommands", () => {
  afterEach(() => {
    delete process.env.STOWAGE_CONTEXT_SIZE;
    delete process.env.STOWAGE_JSON;
  });

  /** Parses a command line with two commands; returns the flags that `run` got and the modules that were loaded. */
  async function parse(argv: string[]) {
    const loaded: string[] = [];
    let flags: unknown;
    const entry = (name: string): CommandEntry => ({
      name,
      summary: `does ${name}`,
      load: async () => {
        loaded.push(name);
        return {
          register: (command) => {
            command.option("--context-size <tokens>").option("--json");
            command.action((options) => {
              flags = options;
            });
          },
        };
      },
    });
    const program = new Command().exitOverride();
    await addCommands(program, [entry("run"), entry("show")], argv);
    await program.parseAsync(argv, { from: "user" });
    return { loaded, flags };
  }

  it("loads only the command that is named", async () => {
    assert.deepEqual((await parse(["run", "--json"])).loaded, ["run"]);
  });

  it("reads a flag from the environment, and prefers the command line", async () => {
    process.env.STOWAGE_CONTEXT_SIZE = "4096";
    process.env.STOWAGE_JSON = "1";
    assert.deepEqual((await parse(["run"])).flags, { contextSize: "4096", json: true });
    assert.deepEqual((await parse(["run", "--context-size", "1"])).flags, { contextSize: "1", json: true });
  });
});
