import assert from "node:assert/strict";
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { describe, it, type TestContext } from "node:test";
import { openStream, type StreamRequest, streamAgent } from "./stream-client.ts";

/** A server on a port of its own, for one test. */
async function serve(test: TestContext, listener: RequestListener) {
  const server = createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/v1/completions`);
  const agent = streamAgent(url);
  test.after(() => {
    agent.destroy();
    server.closeAllConnections();
    server.close();
  });
  const open = async (options: Partial<StreamRequest> = {}) => {
    const events: string[] = [];
    const times: number[] = [];
    const onEvent = (data: string, at: number) => {
      events.push(data);
      times.push(at);
    };
    const end = await openStream({ url, body: "{}", agent, onEvent, ...options });
    return { ...end, events, times };
  };
  return { server, url, open };
}

function begin(response: ServerResponse, ...events: string[]): ServerResponse {
  response.writeHead(200, { "content-type": "text/event-stream; charset=utf-8" });
  for (const data of events) response.write(`data: ${data}\n\n`);
  return response;
}

async function textOf(request: IncomingMessage): Promise<string> {
  return (await request.toArray()).join("");
}

describe("openStream", () => {
  it("sends a body and gives every event with its time", async (test) => {
    let received = {};
    const { open } = await serve(test, async (request, response) => {
      const { accept, authorization } = request.headers;
      received = { method: request.method, accept, authorization, body: await textOf(request) };
      begin(response, "1", "zwei €", "[DONE]").end();
    });
    const end = await open({ body: '{"ä":1}', headers: { authorization: "Bearer k" } });
    assert.deepEqual([end.events, end.fault, end.status], [["1", "zwei €"], undefined, 200]);
    const [accept, authorization] = ["text/event-stream", "Bearer k"];
    assert.deepEqual(received, { method: "POST", accept, authorization, body: '{"ä":1}' });
    assert.ok(end.sentAt <= end.times[0]! && end.times[1]! <= end.endedAt);
  });

  it("uses a connection again, and as many as it takes", async (test) => {
    const held: ServerResponse[] = [];
    const { server, open } = await serve(test, (_, response) => {
      held.push(begin(response, "1"));
      if (held.length < 40) return;
      for (const waiting of held.splice(0)) waiting.end("data: [DONE]\n\n");
    });
    let connections = 0;
    server.on("connection", () => connections++);
    for (let round = 0; round < 2; round++) {
      const ends = await Promise.all(Array.from({ length: 40 }, () => open()));
      assert.ok(ends.every(({ fault, events }) => fault === undefined && events.length === 1));
      // The sockets of the first round become free in the next turns of the event loop.
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    assert.equal(connections, 40);
  });

  it("does not wait for a server that keeps its answer open after [DONE]", async (test) => {
    const { open } = await serve(test, (_, response) => begin(response, "1", "[DONE]", "2"));
    const { events, fault } = await open();
    assert.deepEqual([events, fault], [["1"], undefined]);
  });

  it("tells of a refusal, with the server's code and its Retry-After", async (test) => {
    const { open } = await serve(test, (_, response) => {
      response.writeHead(503, { "retry-after": "7", "content-type": "application/json" });
      response.end('{"error":{"code":"overloaded","message":"come back later"}}');
    });
    const { fault, status } = await open();
    assert.equal(status, 503);
    const [code, message] = ["503 overloaded", "come back later"];
    assert.deepEqual(fault, { kind: "refused", code, message, retryAfter: "7" });
  });

  it("takes an answer that is no stream for a refusal", async (test) => {
    const { open } = await serve(test, (_, response) => response.end("<html>"));
    assert.deepEqual((await open()).fault, { kind: "refused", code: "200", message: "<html>" });
  });

  for (const [form, event] of [
    ["an error member", 'data: {"error":{"message":"lost","code":"engine_lost"}}'],
    ["an event of type error", 'event: error\ndata: {"message":"lost","type":"engine_lost"}'],
  ]) {
    it(`tells of an error within the stream: ${form}`, async (test) => {
      const { open } = await serve(test, (_, response) => {
        begin(response, '{"text":"say \\"error\\""}', '{"error":null}').end(`${event}\n\ndata: [DONE]\n\n`);
      });
      const { fault, events } = await open();
      assert.deepEqual(fault, { kind: "error", code: "engine_lost", message: "lost" });
      assert.equal(events.length, 2);
    });
  }

  it("tells of a stream that ends without [DONE], and of a connection that is cut", async (test) => {
    let isCut = false;
    const { open } = await serve(test, (_, response) => {
      begin(response, "1");
      if (isCut) setImmediate(() => response.destroy());
      else response.end();
    });
    for (isCut of [false, true]) {
      const { fault, events } = await open();
      assert.deepEqual([fault?.kind, events], ["broken", ["1"]]);
    }
  });

  it("gives up when no event comes in time, whatever comments come", async (test) => {
    const { open } = await serve(test, (_, response) => {
      begin(response, "1");
      const timer = setInterval(() => response.write(": ping\n\n"), 10);
      response.on("close", () => clearInterval(timer));
    });
    const { fault, events } = await open({ idleMs: 100 });
    assert.deepEqual([fault?.kind, events], ["timeout", ["1"]]);
  });

  it("drops the connection when it is cancelled, before an answer and within it", async (test) => {
    let isSilent = true;
    let closed = 0;
    const { open } = await serve(test, (_, response) => {
      response.on("close", () => closed++);
      if (!isSilent) begin(response, "1");
    });
    for (isSilent of [true, false]) {
      const { fault } = await open({ signal: AbortSignal.timeout(100) });
      assert.equal(fault?.kind, "cancelled");
    }
    assert.equal((await open({ signal: AbortSignal.abort() })).fault?.kind, "cancelled");
    while (closed < 2) await new Promise(setImmediate);
  });

  it("tells when there is no server", async (test) => {
    const { server, open } = await serve(test, () => {});
    await new Promise((resolve) => server.close(resolve));
    const { fault, status } = await open();
    assert.deepEqual([fault?.kind, fault?.code, status], ["unreachable", "ECONNREFUSED", undefined]);
  });

  it("tries again where an idle connection was closed at the moment of its use", async (test) => {
    let requests = 0;
    const { open } = await serve(test, (request, response) => {
      requests += 1;
      if (requests === 2) request.socket.destroy();
      else begin(response, "1", "[DONE]").end();
    });
    assert.equal((await open()).fault, undefined);
    await new Promise((resolve) => setTimeout(resolve, 20));
    assert.equal((await open()).fault, undefined);
    assert.equal(requests, 3);
  });
});
