/**
 * An engine that keeps to the protocol up to a point, and then does what `FAULTY_ENGINE` says: what real engines do only
 * when something is badly wrong, and what their gateway has to live with.
 */
import { Socket } from "node:net";

const mode = process.env.FAULTY_ENGINE ?? "";
const socket = new Socket({ fd: 3 });
const send = (message: unknown) => socket.write(`${JSON.stringify(message)}\n`);
const memory = {
  ...{
    mappedWeights: 1,
    convertedWeights: 1,
    adapters: 0,
    experts: 0,
    kv: 1,
    compute: 1,
    work: 1,
    total: 5,
    device: 0,
    deviceKv: 0,
    kvCells: 256,
  },
};
const info = {
  ...{
    architecture: "none",
    contextTokens: 512,
    maxSequences: 8,
    vocabulary: 10,
    experts: 0,
    expertsUsed: 0,
  },
};

function handle(message: { type: string; id?: number }): void {
  const { type, id } = message;
  if (type === "load") {
    if (mode === "dies while loading") process.exit(3);
    send({ type: "planned", memory });
  }
  if (type === "admit") send({ type: "ready", ...info, hasChatTemplate: true, memory });
  if (type === "generate") {
    send({ type: "accepted", id, promptTokens: 3 });
    send({ type: "events", events: [{ type: "token", id, text: "so far" }] });
    if (mode === "no JSON") socket.write("{this is no JSON\n");
    if (mode === "unknown type") send({ type: "surprise", id });
    if (mode === "wrong field") send({ type: "events", events: [{ type: "token", id, text: 5 }] });
    if (mode === "endless line") for (let part = 0; part < 80; part++) socket.write("x".repeat(2 ** 20));
    if (mode === "closes its end") socket.destroy();
    if (mode === "unknown error") {
      const fault = { code: "made_up", details: {} };
      send({ type: "events", events: [{ type: "failed", id, fault }] });
    }
    if (mode === "strangers") {
      send({ type: "accepted", id: 4711, promptTokens: 3 });
      send({ type: "events", events: [{ type: "token", id: 4712, text: "not mine" }] });
      const counts = { promptTokens: 3, cachedTokens: 0, generatedTokens: 1 };
      send({ type: "events", events: [{ type: "finished", id, reason: "stop", text: "", ...counts }] });
    }
  }
  if (type === "stop") process.exit(0);
}

let rest = "";
socket.setEncoding("utf8");
socket.on("error", () => process.exit(0));
socket.on("close", () => {
  if (mode !== "closes its end") process.exit(0);
  setTimeout(() => process.exit(0), 10_000);
});
socket.on("data", (text: string) => {
  const lines = (rest + text).split("\n");
  rest = lines.pop()!;
  for (const line of lines) handle(JSON.parse(line));
});
if (mode === "another version") send({ type: "hello", protocol: 99, pid: process.pid });
else if (mode === "dies at once") {
  process.stderr.write("something: terrible happened\n");
  process.exit(4);
} else send({ type: "hello", protocol: 1, pid: process.pid });
