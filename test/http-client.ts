import { Agent, request } from "node:http";
import { connect } from "node:net";

/** What a server answered, whole. */
export interface Answer {
  readonly status: number;
  readonly headers: NodeJS.Dict<string | string[]>;
  readonly text: string;
}

export interface Request {
  readonly method: string;
  /** As it stands in the first line, so with all its tricks. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string | Buffer;
  /** In chunks, without a Content-Length. */
  readonly chunked?: boolean;
}

/** No answer takes so long, ms. */
const patienceMs = 20_000;

/** Sends what `fetch` would refuse to send: any path, any header, any body with any method. */
export class HttpClient {
  readonly #port: number;
  readonly #agent: Agent;

  constructor(port: number, inFlight: number) {
    this.#port = port;
    this.#agent = new Agent({ keepAlive: true, maxSockets: inFlight });
  }

  send({ method, path, headers, body, chunked }: Request): Promise<Answer> {
    const length = chunked || body === undefined ? {} : { "content-length": String(Buffer.byteLength(body)) };
    return new Promise((resolve, reject) => {
      const sent = request({
        host: "127.0.0.1",
        port: this.#port,
        agent: this.#agent,
        method,
        path,
        headers: { host: `127.0.0.1:${this.#port}`, ...length, ...headers },
        timeout: patienceMs,
      });
      sent.once("response", (response) => {
        let text = "";
        response.setEncoding("utf8");
        response.on("data", (part) => {
          text += part;
        });
        // A server that has answered need not read the rest of a body.
        response.once("close", () =>
          resolve({ status: response.statusCode ?? 0, headers: response.headers, text }),
        );
      });
      sent.once("timeout", () => sent.destroy(new Error(`no answer to ${method} ${path}`)));
      sent.on("error", reject);
      sent.end(body);
    });
  }

  close(): void {
    this.#agent.destroy();
  }
}

/** What is sent once something came back. */
interface Later {
  readonly after: string;
  readonly bytes: string;
}

/**
 * Writes bytes to a connection of their own, and reads all that comes back until the server ends it.
 * @param end whether nothing more is said to follow
 */
export function sendRaw(port: number, bytes: string | Buffer, end = false, later?: Later): Promise<string> {
  let unsent = later;
  return new Promise((resolve, reject) => {
    let text = "";
    const socket = connect({ host: "127.0.0.1", port, allowHalfOpen: true }, () => {
      socket.write(bytes);
      if (end) socket.end();
    });
    socket.setEncoding("utf8");
    socket.setTimeout(patienceMs, () => socket.destroy(new Error(`no answer to ${bytes.slice(0, 80)}`)));
    socket.on("data", (part) => {
      text += part;
      if (!unsent || !text.includes(unsent.after)) return;
      socket.write(unsent.bytes);
      unsent = undefined;
    });
    socket.once("end", () => socket.destroy());
    // Once the answer is here, what the server did not want to read may be in vain.
    socket.once("error", (error) => (text === "" ? reject(error) : resolve(text)));
    socket.once("close", () => resolve(text));
  });
}

/** The answers in what came over a connection, each with a length. */
export function answersIn(text: string): Answer[] {
  const answers: Answer[] = [];
  for (let rest = text; rest !== ""; ) {
    const end = rest.indexOf("\r\n\r\n");
    if (end < 0) throw new Error(`no head of an answer: ${rest.slice(0, 200)}`);
    const [first = "", ...lines] = rest.slice(0, end).split("\r\n");
    const headers = Object.fromEntries(
      lines.map((line) => [line.split(":")[0]!.toLowerCase(), line.slice(line.indexOf(":") + 1).trim()]),
    );
    const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(first)?.[1]);
    const length = Number(headers["content-length"] ?? 0);
    answers.push({ status, headers, text: rest.slice(end + 4, end + 4 + length) });
    rest = rest.slice(end + 4 + length);
  }
  return answers.filter(({ status }) => status !== 100);
}
