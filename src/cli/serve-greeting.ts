import { printable } from "./printable.ts";

export interface Greeting {
  /** Where this machine reaches the server. */
  readonly url: string;
  /** Reached from other machines as well. */
  readonly isOpen: boolean;
  readonly needsKey: boolean;
  readonly models: readonly {
    readonly name: string;
    readonly state: string;
    /** Where what it is asked for is recorded. */
    readonly recordRouting?: string | undefined;
  }[];
}

/** The lines that a server prints when it is ready. */
export function greeting({ url, isOpen, needsKey, models }: Greeting): string {
  const ready = models.find(({ state }) => state === "ready");
  const recorded = models.filter(({ recordRouting }) => recordRouting !== undefined);
  const rows = [
    ["chat", `${url}/`],
    ["dashboard", `${url}/dashboard`],
    ["models", models.map(({ name, state }) => `${printable(name)} (${state})`).join(", ")],
    ...recorded.map(({ name, recordRouting }) => [
      "recording",
      `what ${printable(name)} is asked for, into ${printable(recordRouting!)}`,
    ]),
    ["try", curlLine(url, (ready ?? models[0]!).name, needsKey)],
  ];
  const lines = rows.map(([label, value]) => `  ${label!.padEnd(9)}  ${value}`);
  return `Stowage listens at ${url}${isOpen ? ", and at this machine's other addresses" : ""}\n${lines.join("\n")}\n`;
}

/** A request to paste into a shell. */
function curlLine(url: string, model: string, needsKey: boolean): string {
  const body = JSON.stringify({ model, messages: [{ role: "user", content: "Hello" }] });
  const headers = [
    "'content-type: application/json'",
    ...(needsKey ? [`"authorization: Bearer $STOWAGE_API_KEY"`] : []),
  ];
  const quoted = `'${body.replaceAll("'", "'\\''")}'`;
  return `curl ${url}/v1/chat/completions ${headers.map((header) => `-H ${header}`).join(" ")} -d ${quoted}`;
}
