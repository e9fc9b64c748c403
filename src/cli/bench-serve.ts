/** `stowage bench serve`: any server that speaks the OpenAI API, under load. */
import type { Command } from "commander";
import { arrivalKinds } from "../workload/arrivals.ts";
import { traceFormats } from "../workload/traces/read.ts";
import { positiveNumber, wholeNumber } from "./arguments.ts";
import { parseGoals, parseLengths, parseServer } from "./bench-serve-arguments.ts";
import { measureServer } from "./bench-serve-measure.ts";
import { reportAction } from "./report-action.ts";

export function register(command: Command): void {
  addServerFlags(command);
  addArrivalFlags(command);
  addRequestFlags(command);
  command
    .addOption(
      command
        .createOption("--goodput <goals>", "the most ms of a good request, such as ttft:500,tpot:50,e2e:9000")
        .argParser(parseGoals),
    )
    .addOption(
      command
        .createOption("--seed <number>", "of arrivals, lengths and prompts")
        .argParser(wholeNumber(0))
        .default(1),
    );
  reportAction(command, measureServer);
}

function addServerFlags(command: Command): void {
  command
    .addOption(
      command
        .createOption("--url <url>", "where the server is")
        .argParser(parseServer)
        .default(parseServer("http://127.0.0.1:8321"), "http://127.0.0.1:8321"),
    )
    .option("--model <name>", "default: the first that the server lists")
    .option("--api-key <key>", "sent as a bearer token")
    .addOption(
      command
        .createOption("--endpoint <name>", "where requests go")
        .choices(["completions", "chat"])
        .default("completions"),
    )
    .addOption(
      command
        .createOption("--timeout <seconds>", "give a request up when nothing comes for so long")
        .argParser(positiveNumber)
        .default(300),
    );
}

/** Adds flags that have no value of their own unless they are given. */
function adder(command: Command) {
  return (flag: string, description: string, parse: (text: string) => unknown) => {
    command.addOption(command.createOption(flag, description).argParser(parse));
  };
}

function addArrivalFlags(command: Command): void {
  const option = adder(command);
  option(
    "--concurrency <count>",
    "requests at any time, each sent when another has ended; 4 unless a rate or a trace says when",
    wholeNumber(1),
  );
  option("--rate <count>", "requests a second, whether or not the server keeps up", positiveNumber);
  command.addOption(
    command
      .createOption("--arrivals <kind>", "how requests of a rate come; poisson if not given")
      .choices(arrivalKinds),
  );
  option(
    "--cv <number>",
    "of gamma arrivals: deviation of the gaps over their mean; above 1 come bursts; 2 if not given",
    positiveNumber,
  );
  option("--requests <count>", "how many are sent; 100, or the whole trace, if not given", wholeNumber(1));
  option("--duration <seconds>", "send no more after so long", positiveNumber);
  command.addOption(
    command
      .createOption("--warmup <count>", "requests before that, one after the other, that do not count")
      .argParser(wholeNumber(0))
      .default(2),
  );
}

function addRequestFlags(command: Command): void {
  const option = adder(command);
  option(
    "--input-tokens <count>",
    "of each request, such as 512, or 100-900 for any between; 256 if not given",
    parseLengths,
  );
  option("--output-tokens <count>", "of each request, likewise; 64 if not given", parseLengths);
  command
    .option(
      "--trace <file>",
      "requests as they came elsewhere: their lengths, and their times unless a flag says when",
    )
    .addOption(
      command
        .createOption("--trace-format <name>", "what the file is, where it is not recognised")
        .choices(traceFormats.map(({ name }) => name)),
    );
  option("--scale-rate <factor>", "the trace's requests come so many times as fast", positiveNumber);
  option("--scale-length <factor>", "its inputs and outputs are so many times as long", positiveNumber);
  option("--max-input <count>", "its longer inputs are cut to so many tokens", wholeNumber(1));
  option("--max-output <count>", "its longer outputs are cut to so many tokens", wholeNumber(1));
}
