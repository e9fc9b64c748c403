import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { stowage } from "../../test/stowage.ts";
import { StowageError } from "../errors.ts";
import type { Finding } from "./doctor/finding.ts";
import { checkFolder } from "./doctor/folder.ts";
import { checkEngines, checkPort } from "./doctor/neighbours.ts";
import { checkLibraries, checkNode } from "./doctor/software.ts";

describe("stowage doctor", () => {
  let folder: string;
  before(() => {
    folder = mkdtempSync(join(tmpdir(), "stowage-doctor-cli-"));
  });
  after(() => rmSync(folder, { recursive: true }));

  it("tells people and programs the same", () => {
    const args = ["doctor", "--models", folder, "--port", "0"];
    const { status, stdout, stderr } = stowage([...args, "--json"], folder);
    assert.deepEqual([status, stderr], [0, ""]);
    const { ready, findings }: { ready: boolean; findings: Finding[] } = JSON.parse(stdout);
    assert.ok(ready);
    const checks = findings.map(({ check }) => check);
    const expected = ["Node", "native libraries", "kernels", "devices", "processors", "memory", "port"];
    for (const check of [...expected, "models folder", "free space", "disk speed", "other engines"])
      assert.ok(checks.includes(check), check);
    for (const { verdict, next } of findings) assert.equal(verdict === "ok", next === undefined);
    assert.deepEqual(readdirSync(folder), [], "the file to measure with is gone");
    const people = stowage(args, folder);
    assert.equal(people.status, 0);
    assert.ok(people.stdout.endsWith("\n\nThis machine is ready.\n"), people.stdout);
    for (const check of checks) assert.ok(people.stdout.includes(check), check);
  });

  it("exits with 1 where something has to be mended", () => {
    const { status, stdout } = stowage(["doctor", "--models", "none", "--port", "0"], folder);
    assert.equal(status, 1);
    assert.match(stdout, /^fail +models folder +ENOENT/m);
    assert.match(stdout, /^fail models folder: Make the folder/m);
    assert.ok(stdout.endsWith("Something has to be mended first.\n"));
  });

  it("finds an old Node, and native libraries that are missing", async () => {
    assert.equal(checkNode("24.1.0").verdict, "ok");
    assert.equal(checkNode("22.9.1").verdict, "fail");
    const missing = await checkLibraries(async () => {
      throw new StowageError("native_library_missing", { platform: "linux-x64", reason: "gone." });
    });
    assert.equal(missing[0]!.verdict, "fail");
    assert.match(missing[0]!.found, /linux-x64.*gone/);
    const broken = await checkLibraries(() => Promise.reject(new Error("Cannot find package 'koffi'")));
    assert.deepEqual([broken.length, broken[0]!.verdict], [1, "fail"]);
    assert.match(broken[0]!.next!, /npm ci/);
  });

  it("finds who has the port", async () => {
    const server = createServer((socket) => socket.destroy()).listen(0, "127.0.0.1");
    await new Promise((resolve) => server.once("listening", resolve));
    const { port } = server.address() as AddressInfo;
    const taken = await checkPort(port);
    assert.deepEqual([taken.verdict, taken.found], ["warn", `${port} is taken by another program`]);
    await new Promise((resolve) => server.close(resolve));
    assert.equal((await checkPort(port)).verdict, "ok");
  });

  it("finds other engines", () => {
    const root = join(folder, "root");
    const add = (id: number, command: string) => {
      mkdirSync(join(root, "proc", String(id)), { recursive: true });
      writeFileSync(join(root, "proc", String(id), "cmdline"), command.replaceAll(" ", "\0"));
      writeFileSync(join(root, "proc", String(id), "status"), "VmRSS:\t  2048 kB\n");
    };
    assert.equal(checkEngines(root).verdict, "ok");
    add(70001, "node /opt/stowage/dist/engine/process/main.js");
    assert.deepEqual(
      [checkEngines(root).verdict, checkEngines(root).found],
      ["ok", "1 of Stowage, 2.00 MiB"],
    );
    add(70002, "/usr/local/bin/ollama serve");
    add(70003, "vi notes-on-llama-server.txt");
    const { verdict, found } = checkEngines(root);
    assert.deepEqual([verdict, found], ["warn", "1 of Stowage, 2.00 MiB; 1 of Ollama, 2.00 MiB"]);
  });

  it("measures the disk with the largest model", async () => {
    const models = join(folder, "models");
    mkdirSync(models);
    writeFileSync(join(models, "a.gguf"), new Uint8Array(16 << 20));
    writeFileSync(join(models, "b.gguf"), "small");
    const findings = await checkFolder(models, true);
    const speed = findings.find(({ check }) => check === "disk speed")!;
    assert.match(speed.found, /^[\d.]+ [KMGT]iB\/s in reads of 1\.00 MiB/);
    assert.match(findings[0]!.found, /2 model files$/);
  });
});
