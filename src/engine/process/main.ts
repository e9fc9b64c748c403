/**
 * An engine process: one model for one gateway, which started it and speaks with it over file descriptor 3. It ends when
 * it is told to, and when the gateway is gone.
 */
import { Socket } from "node:net";
import { Link } from "./link.ts";
import { type FromEngine, protocolVersion, type ToEngine, toEngine } from "./messages.ts";
import { EngineService } from "./service.ts";

/** What a shell knows as "internal software error". */
const softwareError = 70;

// A terminal's Ctrl-C reaches every process of its group: the gateway decides when an engine ends.
process.on("SIGINT", () => {});
process.on("SIGTERM", () => {});

let ending = false;

async function end(code: number): Promise<void> {
  if (ending) return;
  ending = true;
  await service.dispose();
  process.exit(code);
}

const link: Link<ToEngine, FromEngine> = new Link<ToEngine, FromEngine>(new Socket({ fd: 3 }), toEngine, {
  message(message) {
    if (message.type === "stop") end(0);
    else service.handle(message);
  },
  malformed(error) {
    process.stderr.write(`${error.message}\n`);
    end(softwareError);
  },
  closed() {
    end(0);
  },
});
const service = new EngineService((message) => link.send(message));
link.send({ type: "hello", protocol: protocolVersion, pid: process.pid });
