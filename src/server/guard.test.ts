import assert from "node:assert/strict";
import type { IncomingMessage } from "node:http";
import { describe, it } from "node:test";
import { Guard } from "./guard.ts";

const keyless = new Guard({ host: "127.0.0.1", apiKeys: [] });
const named = new Guard({ host: "Models.Example", apiKeys: [] });
const keyed = new Guard({ host: "0.0.0.0", apiKeys: ["first-key", "second-key"] });

describe("the names that a server without keys answers to", () => {
  const check = (host: string | undefined) => keyless.checkOrigin({ headers: { host } });
  for (const host of [
    "localhost",
    "localhost:8321",
    "LOCALHOST:8321",
    "chat.localhost:8321",
    "127.0.0.1",
    "127.0.0.1:8321",
    "192.168.1.20:8321",
    "[::1]",
    "[::1]:8321",
    "[2001:DB8::1]:8321",
    "[::ffff:127.0.0.1]:8321",
  ]) {
    it(`takes ${host}`, () => check(host));
  }
  for (const host of [
    undefined,
    "",
    "evil.example",
    "evil.example:8321",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "evillocalhost",
    "localhost.",
    "127.0.0.1.",
    "user@localhost",
    "localhost:8321@evil.example",
    "localhost:port",
    "localhost:123456",
    "localhost/",
    "localhost evil.example",
    "localhost,evil.example",
    "::1",
    "[::1",
    "[localhost]",
    "[::1].evil.example",
    "http://localhost",
  ]) {
    it(`refuses ${host}`, () => assert.throws(() => check(host), { code: "host_refused", status: 403 }));
  }

  it("takes the name that it was given, in any case", () => {
    named.checkOrigin({ headers: { host: "models.EXAMPLE:80" } });
    assert.throws(() => keyless.checkOrigin({ headers: { host: "models.example" } }), {
      code: "host_refused",
    });
  });

  it("takes every name where a key is asked for", () => {
    keyed.checkOrigin({ headers: { host: "anything.example", origin: "https://elsewhere.example" } });
  });
});

describe("the pages that may use a server without keys", () => {
  const check = (origin: string, host = "localhost:8321") =>
    keyless.checkOrigin({ headers: { host, origin } });

  it("are its own", () => {
    check("http://localhost:8321");
    check("HTTP://LOCALHOST:8321");
    check("http://[::1]:8321", "[::1]:8321");
    check("http://127.0.0.1", "127.0.0.1");
  });

  for (const origin of [
    "http://evil.example",
    "http://localhost:9999",
    "http://127.0.0.1:8321",
    "http://localhost.evil.example:8321",
    "http://localhost:8321.evil.example",
    "null",
    "",
    "localhost:8321",
    "file://",
    "data:text/html,x",
  ]) {
    it(`are not those of "${origin}"`, () => {
      assert.throws(() => check(origin), { code: "origin_refused", status: 403 });
    });
  }
});

describe("the keys of a server", () => {
  const check = (authorization: string | undefined, guard = keyed) =>
    guard.checkKey({ headers: { authorization } });

  it("open it, each of them", () => {
    check("Bearer first-key");
    check("bearer second-key");
    check("Bearer    first-key");
  });

  it("are not asked for where there are none", () => {
    check(undefined, keyless);
    check("Bearer anything", keyless);
  });

  for (const authorization of [
    undefined,
    "",
    "Bearer",
    "Bearer ",
    "Bearer wrong",
    "Bearer first-keys",
    "Bearer first-ke",
    "Bearer FIRST-KEY",
    "Bearer first-key second-key",
    "Basic first-key",
    "first-key",
    `Bearer ${"k".repeat(10_000)}`,
  ]) {
    it(`are not ${authorization?.slice(0, 40)}`, () => {
      assert.throws(() => check(authorization), { code: "key_missing", status: 401 });
    });
  }
});

describe("how a request is framed", () => {
  const check = (hosts: string[], coding?: string) => {
    const raw = { headersDistinct: { host: hosts }, headers: { "transfer-encoding": coding } };
    keyless.checkFraming({ raw: raw as unknown as IncomingMessage });
  };

  it("is clear with one host, whole or in chunks", () => {
    check(["localhost"]);
    check(["localhost"], "Chunked");
  });

  it("is not clear without a host, with two, or with a coding that we do not read", () => {
    const malformed = { code: "http_malformed", status: 400 };
    assert.throws(() => check([]), malformed);
    assert.throws(() => check(["localhost", "localhost"]), malformed);
    assert.throws(() => check(["localhost"], "gzip, chunked"), malformed);
  });
});
