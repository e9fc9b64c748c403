import type { OfferedModel } from "../src/gateway/options.ts";
import type { ServerOptions } from "../src/server/options.ts";
import type { Status } from "../src/server/schemas/status.ts";
import { type StartHooks, startServer } from "../src/server/start.ts";
import { samplePath } from "./sample-model.ts";

/** The sample model as a server offers it. */
export const sampleOffered: OfferedModel = {
  name: "sample",
  path: samplePath,
  preload: true,
  keepAliveSeconds: Number.POSITIVE_INFINITY,
};

/** A real server with the sample model on a free port, for tests. */
export class TestServer {
  readonly url: string;
  readonly port: number;
  readonly close: () => Promise<void>;
  readonly closed: Promise<void>;

  /** Listens; `until` says whether the models have to be there when it resolves. */
  static async start(
    options: Partial<ServerOptions> = {},
    hooks: StartHooks & { readonly until?: "loaded" | "listening" } = {},
  ): Promise<TestServer> {
    const server = await startServer(
      {
        host: "127.0.0.1",
        port: 0,
        apiKeys: [],
        drainTimeoutSeconds: 20,
        logLevel: "silent",
        memoryBytes: 4 * 2 ** 30,
        maxQueue: 256,
        models: [sampleOffered],
        ...options,
      },
      hooks,
    );
    if (hooks.until !== "listening") await server.loaded;
    return new TestServer(server);
  }

  private constructor({ url, port, close, closed }: Awaited<ReturnType<typeof startServer>>) {
    this.url = url;
    this.port = port;
    this.close = close;
    this.closed = closed;
  }

  get(path: string, headers: Record<string, string> = {}): Promise<Response> {
    return fetch(`${this.url}${path}`, { headers });
  }

  /** Posts JSON. */
  post(path: string, body: unknown, init: RequestInit = {}): Promise<Response> {
    const headers = { "content-type": "application/json", ...(init.headers as Record<string, string>) };
    return fetch(`${this.url}${path}`, { method: "POST", body: JSON.stringify(body), ...init, headers });
  }

  async status(): Promise<Status> {
    return (await this.get("/api/status")).json() as Promise<Status>;
  }

  /** Asks for the status until it is as wanted. */
  async until(wanted: (status: Status) => boolean, withinMs = 15_000): Promise<Status> {
    const deadline = Date.now() + withinMs;
    for (;;) {
      const status = await this.status();
      if (wanted(status)) return status;
      if (Date.now() > deadline) throw new Error(`it did not come to that: ${summaryOf(status)}`);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }
}

function summaryOf({ state, models, requests }: Status): string {
  const lines = models.map(({ name, state, running, waiting, paused, restarts, problem }) =>
    JSON.stringify({ name, state, running, waiting, paused, restarts, problem: problem?.message }),
  );
  const phases = requests.live.map(({ phase }) => phase).join(" ");
  return [state, ...lines, `${requests.live.length} live: ${phases}`.slice(0, 200)].join("\n");
}

/** The data of a stream's events, to its end. */
export async function eventsOf(response: Response): Promise<string[]> {
  const text = await response.text();
  return text
    .split("\n\n")
    .filter((block) => block.startsWith("data: "))
    .map((block) => block.slice("data: ".length));
}
