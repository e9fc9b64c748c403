import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { formatBytes, formatDuration, formatNumber } from "./format.ts";
import { machineInfo } from "./machine.ts";
import { plotHtml } from "./plot.ts";
import { check, exitCodeOfReport, type Report, reportJson } from "./report.ts";
import { reportHtml } from "./report-html.ts";
import { reportTable } from "./report-table.ts";

const machine = {
  cpu: "Test CPU",
  cores: 4,
  memoryBytes: 16 * 1024 ** 3,
  os: "Linux 6.1 x64",
  node: "24.0.0",
  ggml: "0.9",
};
const report = (...checks: Report["checks"]): Report => ({
  machine,
  settings: { model: "sample.gguf", threads: 2 },
  results: [
    { name: "stowage", tokens_per_s: 12.345 },
    { name: "peer", tokens_per_s: 9, note: "warm" },
  ],
  checks,
});

describe("check", () => {
  it("compares with the goal and states it", () => {
    assert.deepEqual(check("speed", 1.2, "x", ">=", 1), {
      name: "speed",
      value: 1.2,
      unit: "x",
      goal: ">= 1.00",
      ok: true,
    });
    for (const [comparison, below, same, above] of [
      [">=", false, true, true],
      [">", false, false, true],
      ["<=", true, true, false],
      ["<", true, false, false],
      ["==", false, true, false],
    ] as const) {
      const oks = [1, 2, 3].map((value) => check("n", value, "", comparison, 2).ok);
      assert.deepEqual(oks, [below, same, above], comparison);
    }
  });

  it("never rounds a goal", () => {
    const goals = [0, 1.5, 0.001, 1e-9, 12.345].map((goal) => check("n", 1, "", "<", goal).goal);
    assert.deepEqual(goals, ["< 0.00", "< 1.50", "< 0.001", "< 1e-9", "< 12.345"]);
  });

  it("is not ok when nothing could be measured", () => {
    for (const value of [null, Number.NaN]) {
      const { value: measured, ok } = check("n", value, "", "<=", 1);
      assert.deepEqual([measured, ok], [null, false]);
    }
  });
});

describe("exitCodeOfReport", () => {
  const good = check("a", 2, "x", ">=", 1);
  const short = check("b", 0, "x", ">=", 1);
  const unknown = check("c", null, "x", ">=", 1);
  it("is 0, 1 or 2", () => {
    assert.equal(exitCodeOfReport(report()), 0);
    assert.equal(exitCodeOfReport(report(good)), 0);
    assert.equal(exitCodeOfReport(report(good, short)), 1);
    assert.equal(exitCodeOfReport(report(good, short, unknown)), 2);
  });
});

describe("the forms of a report", () => {
  const full = report(check("speed <fast>", 1.2, "x", ">=", 1), check("latency", null, "ms", "<", 50));

  it("a table, its numbers aligned to the right", () => {
    assert.equal(
      reportTable(full),
      `Machine   Test CPU, 4 cores, 16.0 GiB, Linux 6.1 x64, Node 24.0.0, ggml 0.9
Settings  model sample.gguf, threads 2

name     tokens_per_s  note
stowage          12.3  -
peer                9  warm

verdict       check         measured  goal
ok            speed <fast>  1.20 x    >= 1.00
NOT MEASURED  latency       -         < 50.00
`,
    );
  });

  it("one JSON object that reads back as the report", () => {
    assert.deepEqual(JSON.parse(reportJson(full)), full);
  });

  it("a page that loads nothing, with escaped text and every curve", () => {
    const series = [
      { name: "LRU", points: [[0, 1] as const, [10, 5] as const] },
      { name: "A & B", points: [[0, 2] as const, [10, 3] as const] },
    ];
    const page = reportHtml(full, [{ title: "Hits", xLabel: "slots", yLabel: "hit rate", series }]);
    assert.doesNotMatch(page, /(src|href)=|url\(|@import|<script/);
    assert.match(page, /speed &lt;fast&gt;/);
    assert.match(page, /<li class="c1">A &amp; B<\/li>/);
    assert.equal(page.match(/<polyline/g)?.length, 2);
    assert.match(page, /prefers-color-scheme:dark/);
  });
});

describe("plotHtml", () => {
  const plot = (points: [number, number][]) =>
    plotHtml({ title: "t", xLabel: "x", yLabel: "y", series: [{ name: "s", points }] });

  it("puts larger values further right and further up, inside the picture", () => {
    const [, list] = /<polyline points="([^"]+)"/.exec(
      plot([
        [1, 10],
        [5, 200],
        [9, 1000],
      ]),
    )!;
    const pixels = list!.split(" ").map((pair) => pair.split(",").map(Number) as [number, number]);
    const [a, b, c] = pixels as [[number, number], [number, number], [number, number]];
    assert.ok(a[0] < b[0] && b[0] < c[0]);
    assert.ok(a[1] > b[1] && b[1] > c[1]);
    for (const [x, y] of pixels) assert.ok(x >= 0 && x <= 640 && y >= 0 && y <= 320, `${x},${y}`);
  });

  it("labels the axes with round values", () => {
    const labels = [
      ...plot([
        [0, 0],
        [1, 0.3],
      ]).matchAll(/text-anchor="end">([^<]+)</g),
    ];
    assert.deepEqual(
      labels.map((match) => match[1]),
      ["0", "0.0500", "0.100", "0.150", "0.200", "0.250", "0.300"],
    );
  });

  it("draws no points, one point and equal points", () => {
    for (const points of [[], [[3, 3]], [[3, 0]]] as [number, number][][]) {
      assert.doesNotMatch(plot(points), /NaN|Infinity/);
    }
  });
});

describe("machineInfo", () => {
  it("describes this machine", () => {
    const info = machineInfo("0.9.4");
    assert.equal(info.ggml, "0.9.4");
    assert.equal(info.node, process.versions.node);
    assert.ok(info.cores >= 1 && info.cpu.length > 0);
    assert.ok(info.memoryBytes > 64 * 1024 ** 2 && info.memoryBytes < 2 ** 50);
    assert.equal(machineInfo().ggml, null);
  });
});

describe("formats", () => {
  it("bytes with three digits", () => {
    const texts = [0, 999, 1023, 1024, 1536, 10 * 1024 ** 2, 1023.9 * 1024 ** 2, 3 * 1024 ** 4].map(
      formatBytes,
    );
    assert.deepEqual(texts, [
      "0 B",
      "999 B",
      "1.00 KiB",
      "1.00 KiB",
      "1.50 KiB",
      "10.0 MiB",
      "1.00 GiB",
      "3.00 TiB",
    ]);
  });

  it("durations", () => {
    assert.deepEqual([0, 65_000, 3_599_600, 7_384_000].map(formatDuration), [
      "0:00",
      "1:05",
      "1:00:00",
      "2:03:04",
    ]);
  });

  it("numbers with three digits, integers in full", () => {
    const texts = [0, 7, 123456, 1234.5, 12.345, 0.5, 0.00012].map(formatNumber);
    assert.deepEqual(texts, ["0", "7", "123456", "1235", "12.3", "0.500", "1.20e-4"]);
  });
});
