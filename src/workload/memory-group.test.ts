import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { StowageError } from "../errors.ts";
import { findGroupRoot, MemoryGroup } from "./memory-group.ts";
import { dropPageCache } from "./page-cache.ts";

const mebi = 2 ** 20;
const limit = 192 * mebi;

/** Runs a program in the group. */
async function run(group: MemoryGroup, program: string, ...args: string[]) {
  const [file, ...rest] = group.wrap([process.execPath, "--eval", program, ...args]);
  const child = spawn(file, rest, { stdio: ["ignore", "pipe", "inherit"] });
  let output = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    output += text;
  });
  const [code, signal] = (await once(child, "exit")) as [number | null, string | null];
  return { code, signal, output };
}

const withoutGroups = await MemoryGroup.create(limit).then(
  async (group) => {
    await group.remove();
    return false as const;
  },
  (error: Error) => error.message,
);

describe("a memory control group", { skip: withoutGroups }, () => {
  let folder: string;
  before(() => {
    folder = mkdtempSync(join(tmpdir(), "stowage-group-"));
  });
  after(() => rmSync(folder, { recursive: true }));

  it("sweeps up empty groups of processes that are gone", async () => {
    const abandoned = join(findGroupRoot().path, "stowage-4194304-1");
    mkdirSync(abandoned);
    await (await MemoryGroup.create(limit)).remove();
    assert.ok(!existsSync(abandoned));
  });

  /** Does `work` in a group, which is gone afterwards. */
  async function inGroup<T>(work: (group: MemoryGroup) => Promise<T>): Promise<T> {
    const group = await MemoryGroup.create(limit);
    try {
      return await work(group);
    } finally {
      await group.remove();
      assert.ok(!existsSync(group.path), "the group is removed");
      await group.remove();
    }
  }

  it("holds a process from its start, and tells its peak", () =>
    inGroup(async (group) => {
      const program = `const { readFileSync } = require("fs");
        Buffer.alloc(64 << 20, 1); console.log(process.argv[1], readFileSync("/proc/self/cgroup", "utf8"));`;
      const { code, output } = await run(group, program, `a "b" $HOME 'c'`);
      assert.equal(code, 0);
      assert.ok(output.startsWith(`a "b" $HOME 'c' `), "arguments arrive as they are");
      assert.ok(output.includes(group.path.split("/").at(-1)!), output);
      const { peakBytes, kills } = await group.usage();
      assert.ok(peakBytes === null || (peakBytes > 64 * mebi && peakBytes < limit), `peak ${peakBytes}`);
      assert.equal(kills, 0);
    }));

  it("ends a process that takes more than the limit, and says so", () =>
    inGroup(async (group) => {
      const { signal } = await run(group, "Buffer.alloc(300 << 20, 1)");
      assert.equal(signal, "SIGKILL");
      const { peakBytes, kills } = await group.usage();
      assert.equal(kills, 1);
      assert.ok(peakBytes === null || peakBytes <= limit, `peak ${peakBytes}`);
    }));

  it("counts the page cache, which gives way at the limit", async () => {
    const path = join(folder, "file");
    writeFileSync(path, Buffer.alloc(256 * mebi));
    await dropPageCache([path]);
    await inGroup(async (group) => {
      const program = `const { openSync, readSync } = require("fs"); const part = Buffer.alloc(1 << 20);
        const file = openSync(process.argv[1]); while (readSync(file, part) > 0);`;
      assert.equal((await run(group, program, path)).code, 0);
      const { cacheBytes, peakBytes, kills } = await group.usage();
      assert.ok(cacheBytes > 100 * mebi && cacheBytes <= limit, `cache ${cacheBytes}`);
      assert.ok(peakBytes === null || (peakBytes > 180 * mebi && peakBytes <= limit), `peak ${peakBytes}`);
      assert.equal(kills, 0);
    });
  });

  it("is removed with what still runs in it, and with nothing else", async () => {
    const outside = spawn(process.execPath, ["--eval", "setInterval(() => {}, 1000)"]);
    const ended = await inGroup(async (group) => {
      const [file, ...rest] = group.wrap([process.execPath, "--eval", "setInterval(() => {}, 1000)"]);
      const inside = spawn(file, rest);
      const members = () => readFileSync(join(group.path, "cgroup.procs"), "utf8").trim();
      for (let turn = 0; turn < 200 && members() === ""; turn++)
        await new Promise((resolve) => setTimeout(resolve, 50));
      assert.equal(members(), String(inside.pid));
      const waiting = once(inside, "exit");
      await MemoryGroup.removeAll();
      return waiting;
    });
    assert.equal(ended[1], "SIGKILL");
    assert.equal(outside.exitCode ?? outside.signalCode, null);
    outside.kill();
  });
});

describe("where groups are made", () => {
  let folder: string;
  before(() => {
    folder = mkdtempSync(join(tmpdir(), "stowage-group-root-"));
  });
  after(() => rmSync(folder, { recursive: true }));

  const refused = (pattern: RegExp) => (error: unknown) => {
    assert.ok(error instanceof StowageError && error.code === "memory_group", String(error));
    assert.match(error.message, pattern);
    return true;
  };
  const newer = () => `30 22 0:27 / ${folder} rw,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate\n`;

  it("the older interface, where it has the memory", () => {
    const mounts = `${newer()}34 30 0:31 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n`;
    assert.deepEqual(findGroupRoot(mounts), { path: "/sys/fs/cgroup/memory", version: 1 });
  });

  it("the newer one, where memory limits are switched on", async () => {
    assert.throws(() => findGroupRoot("1 1 0:1 / / rw - ext4 /dev/vda rw\n"), refused(/no control groups/));
    writeFileSync(join(folder, "cgroup.controllers"), "cpu io\n");
    assert.throws(() => findGroupRoot(newer()), refused(/have no memory limits/));
    writeFileSync(join(folder, "cgroup.controllers"), "cpu io memory\n");
    writeFileSync(join(folder, "cgroup.subtree_control"), "cpu\n");
    assert.throws(() => findGroupRoot(newer()), refused(/"\+memory" has to be written/));
    writeFileSync(join(folder, "cgroup.subtree_control"), "cpu memory\n");
    assert.deepEqual(findGroupRoot(newer()), { path: folder, version: 2 });
  });

  it("the newer one's files: read by their names", async () => {
    const group = await MemoryGroup.create(limit, { path: folder, version: 2 });
    assert.equal(readFileSync(join(group.path, "memory.max"), "utf8"), String(limit));
    writeFileSync(join(group.path, "memory.current"), "4096\n");
    writeFileSync(join(group.path, "memory.stat"), "anon 1000\nfile 3000\n");
    writeFileSync(join(group.path, "memory.events"), "low 0\noom 2\noom_kill 1\n");
    assert.deepEqual(await group.usage(), {
      peakBytes: null,
      currentBytes: 4096,
      anonymousBytes: 1000,
      cacheBytes: 3000,
      kills: 1,
    });
    rmSync(group.path, { recursive: true });
    await group.remove();
  });

  it("a place that takes none is refused", async () => {
    const root = { path: join(folder, "none"), version: 2 } as const;
    await assert.rejects(MemoryGroup.create(limit, root), refused(/ENOENT/));
  });
});
