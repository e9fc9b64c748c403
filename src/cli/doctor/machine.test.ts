import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, it } from "node:test";
import { checkMachine, type System } from "./machine.ts";

const gibi = 2 ** 30;

describe("checkMachine", () => {
  let root: string;
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), "stowage-doctor-"));
  });
  afterEach(() => rmSync(root, { recursive: true }));

  /** The verdicts by check, on a system with these files. */
  function verdicts(files: Record<string, string>, more: Partial<System> = {}) {
    for (const [path, text] of Object.entries(files)) {
      mkdirSync(dirname(join(root, path)), { recursive: true });
      writeFileSync(join(root, path), text);
    }
    const system = { root, processors: 8, memoryLimit: 0, totalMemory: 16 * gibi, ...more };
    const findings = checkMachine(system);
    for (const { verdict, next } of findings) assert.equal(verdict === "ok", next === undefined);
    return Object.fromEntries(findings.map(({ check, verdict, found }) => [check, { verdict, found }]));
  }

  it("says nothing of what the system does not tell", () => {
    assert.deepEqual(Object.keys(verdicts({})), ["processors", "memory"]);
  });

  const cases: [string, string, Record<string, string>, string, RegExp][] = [
    [
      "plenty of memory",
      "memory",
      { "proc/meminfo": "MemAvailable:   9000000 kB\n" },
      "ok",
      /8\.58 GiB avail/,
    ],
    ["little memory", "memory", { "proc/meminfo": "MemAvailable:   900000 kB\n" }, "warn", /879 MiB avail/],
    ["no memory", "memory", { "proc/meminfo": "MemAvailable:   90000 kB\n" }, "fail", /87\.9 MiB avail/],
    ["no swap", "swap", { "proc/meminfo": "SwapTotal: 0 kB\n" }, "ok", /none/],
    ["idle swap", "swap", { "proc/meminfo": "SwapTotal: 2000 kB\nSwapFree: 1990 kB\n" }, "ok", /of/],
    ["swap at work", "swap", { "proc/meminfo": "SwapTotal: 2000 kB\nSwapFree: 100 kB\n" }, "warn", /used/],
    ["few files", "open files", { "proc/self/limits": "Max open files   256  4096  files\n" }, "warn", /256/],
    ["too few files", "open files", { "proc/self/limits": "Max open files   64  64  files\n" }, "fail", /64/],
    [
      "any number of files",
      "open files",
      { "proc/self/limits": "Max open files   unlimited  unlimited  files\n" },
      "ok",
      /unlimited/,
    ],
    [
      "no large pages",
      "large pages",
      { "sys/kernel/mm/transparent_hugepage/enabled": "always madvise [never]\n" },
      "warn",
      /never/,
    ],
    [
      "large pages",
      "large pages",
      { "sys/kernel/mm/transparent_hugepage/enabled": "[always] madvise never\n" },
      "ok",
      /always/,
    ],
    [
      "a quota, version 2",
      "processors",
      { "proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/cpu.max": "150000 100000\n" },
      "warn",
      /the time of 1\.5/,
    ],
    ["no quota, version 2", "processors", { "sys/fs/cgroup/cpu.max": "max 100000\n" }, "ok", /8 usable/],
    [
      "a quota, version 1",
      "processors",
      {
        "proc/self/cgroup": "4:cpu,cpuacct:/c\n0::/\n",
        "sys/fs/cgroup/cpu/c/cpu.cfs_quota_us": "200000\n",
        "sys/fs/cgroup/cpu/c/cpu.cfs_period_us": "100000\n",
      },
      "warn",
      /the time of 2\.0/,
    ],
    ["no quota, version 1", "processors", { "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n" }, "ok", /8 usable/],
  ];
  for (const [name, check, files, verdict, found] of cases) {
    it(`${name}: ${verdict}`, () => {
      const finding = verdicts(files)[check]!;
      assert.equal(finding.verdict, verdict);
      assert.match(finding.found, found);
    });
  }

  it("counts the memory that a control group allows", () => {
    const finding = verdicts({}, { memoryLimit: gibi }).memory!;
    assert.equal(finding.verdict, "warn");
    assert.match(finding.found, /16\.0 GiB, 1\.00 GiB available; a control group allows 1\.00 GiB/);
    assert.equal(verdicts({}, { memoryLimit: 2 ** 63 }).memory!.verdict, "ok");
  });
});
