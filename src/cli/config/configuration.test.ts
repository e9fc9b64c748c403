import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, it } from "node:test";
import { hasCode } from "../../../test/has-code.ts";
import { StowageError } from "../../errors.ts";
import { pathInFile } from "./config-file.ts";
import { type Configuration, configure } from "./configuration.ts";
import { environmentLayer, flagLayer } from "./layers.ts";
import { configurationJson, configurationTable } from "./printed.ts";
import { isLoopback, localUrl, serverOptions } from "./server-options.ts";

let cwd: string;
beforeEach(() => {
  cwd = mkdtempSync(join(tmpdir(), "stowage-config-"));
});
afterEach(() => rmSync(cwd, { recursive: true }));

function write(path: string, text = ""): string {
  const absolute = join(cwd, path);
  mkdirSync(dirname(absolute), { recursive: true });
  writeFileSync(absolute, text);
  return absolute;
}

interface Given {
  readonly models?: readonly string[];
  readonly flags?: Record<string, unknown>;
  readonly environment?: Record<string, unknown>;
}

function configured({ models = [], flags = {}, environment = {} }: Given = {}): Configuration {
  return configure({
    models,
    flags: flagLayer(flags),
    environment: environmentLayer(environment),
    cwd,
    env: { XDG_CONFIG_HOME: join(cwd, "xdg") },
  });
}

function errorOf(given: Given = {}): StowageError {
  try {
    configured(given);
  } catch (error) {
    assert.ok(error instanceof StowageError, String(error));
    return error;
  }
  assert.fail("nothing was thrown");
}

describe("where a setting comes from", () => {
  for (const [name, key, [flag, variable, toml, fallback]] of [
    ["port", "port", ["1", "2", "3", 8321]],
    ["host", "host", ["a", "b", '"c"', "127.0.0.1"]],
    ["maxQueue", "max-queue", ["1", "2", "3", 256]],
    ["drainTimeout", "drain-timeout", ["1", "2s", '"3s"', 30]],
    ["logLevel", "log-level", ["error", "info", '"debug"', "warn"]],
  ] as const) {
    it(`${key}: flag, then environment, then file, then default`, () => {
      const path = join(cwd, "stowage.toml");
      const all = { flags: { [name]: flag }, environment: { [name]: variable } };
      assert.deepEqual(configured().server[name], { value: fallback, source: "default" });
      write("stowage.toml", `${key} = ${toml}`);
      assert.equal(configured().server[name].source, `file ${path}: ${key}`);
      const twin = `STOWAGE_${key.replaceAll("-", "_").toUpperCase()}`;
      assert.equal(configured({ environment: all.environment }).server[name].source, `environment ${twin}`);
      assert.equal(configured(all).server[name].source, "flag");
      const values = [configured(all), configured({ environment: all.environment }), configured()];
      assert.deepEqual(
        values.map(({ server }) => String(server[name].value)),
        [flag, variable, toml].map((text) => text.replaceAll('"', "").replace(/s$/, "")),
      );
    });
  }

  it("a model's: flag, environment, its table, the top of the file, default", () => {
    write("a.gguf");
    const path = write(
      "stowage.toml",
      'context = 5\nthreads = 2\n[models.a]\npath = "a.gguf"\ncontext = 4\n',
    );
    const one = (given: Given = {}) => configured(given).models[0]!.settings;
    assert.deepEqual(one().context, { value: 4, source: `file ${path}: models.a.context` });
    assert.deepEqual(one().threads, { value: 2, source: `file ${path}: threads` });
    assert.deepEqual(one().keepAlive, { value: Number.POSITIVE_INFINITY, source: "default" });
    const environment = { context: "3" };
    assert.deepEqual(one({ environment }).context, { value: 3, source: "environment STOWAGE_CONTEXT" });
    assert.deepEqual(one({ environment, flags: { context: "2" } }).context, { value: 2, source: "flag" });
  });

  it("takes the file that is named, else the one here, else the user's", () => {
    write("xdg/stowage/config.toml", "port = 1");
    assert.equal(configured().server.port.value, 1);
    write("stowage.toml", "port = 2");
    assert.equal(configured().server.port.value, 2);
    write("other.toml", "port = 3");
    assert.equal(configured({ environment: { config: "other.toml" } }).server.port.value, 3);
    assert.equal(configured({ flags: { config: join(cwd, "stowage.toml") } }).server.port.value, 2);
  });

  it("takes keys from a file as well, relative to the configuration", () => {
    write("keys", "# of the team\none\n\n  two  \n");
    write("stowage.toml", 'api-key = ["zero", "one"]\napi-key-file = "keys"');
    assert.deepEqual(configured().apiKeys, ["zero", "one", "two"]);
    write("keys", "# none\n");
    assert.match(errorOf().message, /^api-key-file is .*keys; it has to be a file with a key on each line/);
  });
});

describe("a configuration file that is wrong", () => {
  for (const [text, code, message] of [
    ["port = ", "config_syntax", /stowage\.toml, line 1, column \d+: .+\.$/],
    ["port = 1\nport = 2", "config_syntax", /line 2/],
    ["port = 99999999999999999999", "config_syntax", /line 1/],
    ["prot = 1", "setting_unknown", /stowage\.toml: there is no setting prot; its value is 1/],
    ["max_queue = 1", "setting_unknown", /max_queue/],
    ["config = 'x'", "setting_unknown", /config/],
    ["api-keys = 'secret'", "setting_unknown", /its value is not shown/],
    ["[model.a]\npath = 'x'", "setting_unknown", /no setting model; its value is a table/],
    ["[models.a]\ncontxt = 1", "setting_unknown", /no setting models\.a\.contxt/],
    ["[models.a]\nport = 1", "setting_unknown", /no setting models\.a\.port/],
    ["port = '8321'", "setting_invalid", /^port in .*stowage\.toml is "8321"; it has to be a whole number/],
    ["port = 65536", "setting_invalid", /is 65536; it has to be a whole number from 0 to 65535/],
    ["port = 1.5", "setting_invalid", /is 1\.5/],
    ["port = inf", "setting_invalid", /is Infinity/],
    ["port = [1]", "setting_invalid", /is a list/],
    ["port = 1979-05-27", "setting_invalid", /is a date/],
    ["host = 3", "setting_invalid", /host in .* is 3/],
    ["host = ''", "setting_invalid", /is ""/],
    ["memory = 'much'", "setting_invalid", /memory in .* is "much"; .*12GiB/],
    ["memory = -1", "setting_invalid", /is -1/],
    ["drain-timeout = 'soon'", "setting_invalid", /30s, 2m or 1h/],
    ["keep-alive = false", "setting_invalid", /is false; .*forever/],
    ["log-level = 'loud'", "setting_invalid", /silent, error, warn, info or debug/],
    ["expert-policy = 'best'", "setting_invalid", /lru, lfu, lfru, /],
    ["speculate = 'often'", "setting_invalid", /auto, off or a whole number from 1 to 15/],
    ["unprepared = 1", "setting_invalid", /true or false/],
    ["api-key = 'two words'", "setting_invalid", /api-key in .* is \(not shown\)/],
    ["models = 1", "setting_invalid", /^models in .* is 1; it has to be a table/],
    ["[[models]]", "setting_invalid", /^models in .* is a list/],
    ["[models]\na = 'x'", "setting_invalid", /^models\.a in .* is "x"; it has to be a table/],
    ["[models.'a b']\npath = 1", "setting_invalid", /^models\."a b"\.path in/],
    ["[models.a]\npreload = 'no'", "setting_invalid", /^models\.a\.preload in/],
    ["[models.a]\ncontext = 0", "setting_invalid", /^models\.a\.context in .* is 0/],
    ["[models.a]\ncontext = 1", "model_path_missing", /^models\.a in .* has no path/],
    [
      "[models.a]\npath = 'gone.gguf'",
      "model_argument",
      /gone\.gguf" cannot be offered: there is no such file/,
    ],
    ["[models.a]\npath = '.'", "model_argument", /it is a folder/],
    ["[models.__proto__]\npath = '.'", "model_argument", /models\.__proto__\.path/],
  ] as const) {
    it(`says so: ${text.replaceAll("\n", "; ")}`, () => {
      write("stowage.toml", text);
      const error = errorOf();
      assert.equal(error.code, code);
      assert.match(error.message, message);
      assert.doesNotMatch(`${error.message} ${error.next}`, /secret|two words/);
    });
  }

  for (const [key, nearest] of [
    ["prot", "port"],
    ["max_queue", "max-queue"],
    ["[model.a]", "models"],
    ["models.a.contxt", "models.a.context"],
    ["models.a.file", "models.a.path"],
  ] as const) {
    it(`names ${nearest} for ${key}`, () => {
      write("stowage.toml", key.startsWith("[") ? key : `${key} = 1`);
      assert.ok(errorOf().next.startsWith(`Did you mean ${nearest}?`), errorOf().next);
    });
  }

  it("refuses a value that a flag takes the place of, too", () => {
    write("stowage.toml", "port = 'x'");
    assert.equal(errorOf({ flags: { port: "1" } }).code, "setting_invalid");
  });

  it("says why a file cannot be read", () => {
    const reasons = [["gone.toml", /does not exist/] as const, [".", /is a folder/] as const];
    for (const [config, reason] of reasons) assert.match(errorOf({ flags: { config } }).message, reason);
    writeFileSync(join(cwd, "stowage.toml"), Buffer.from([0xff]));
    assert.match(errorOf().message, /not UTF-8/);
  });
});

describe("flags and variables that are wrong", () => {
  it("are named as they were given", () => {
    assert.match(errorOf({ flags: { maxQueue: "x" } }).message, /^--max-queue is "x"; it has to be/);
    assert.match(errorOf({ environment: { maxQueue: "x" } }).message, /^STOWAGE_MAX_QUEUE is "x"/);
    assert.match(errorOf({ flags: { apiKey: ["my key"] } }).message, /^--api-key is \(not shown\)/);
  });
});

describe("models", () => {
  const pathOf = (path: string) => join(cwd, path);
  const named = (given: Given) =>
    configured(given).models.map(({ name, path, preload }) => [name, path.value, preload.value]);

  it("are named by their files, or as they are told", () => {
    for (const file of ["a.gguf", "B.GGUF", "blob", "x=y.gguf", "c-00001-of-00003.gguf"]) write(file);
    assert.deepEqual(
      named({ models: ["a.gguf", "B.GGUF", "blob", "x=y.gguf", "c-00001-of-00003.gguf", "d=a.gguf"] }),
      [
        ["a", pathOf("a.gguf"), true],
        ["B", pathOf("B.GGUF"), true],
        ["blob", pathOf("blob"), true],
        ["x=y", pathOf("x=y.gguf"), true],
        ["c", pathOf("c-00001-of-00003.gguf"), true],
        ["d", pathOf("a.gguf"), true],
      ],
    );
  });

  it("of a folder are offered in order, of shards only the first, and load on demand", () => {
    for (const file of [
      "b.gguf",
      "a-00001-of-00002.gguf",
      "a-00002-of-00002.gguf",
      "b.gguf.experts",
      "c/d.gguf",
    ])
      write(`folder/${file}`);
    assert.deepEqual(named({ models: ["folder"] }), [
      ["a", pathOf("folder/a-00001-of-00002.gguf"), false],
      ["b", pathOf("folder/b.gguf"), false],
    ]);
    assert.deepEqual(named({ models: ["folder", "folder/b.gguf"] }).at(-1), [
      "b",
      pathOf("folder/b.gguf"),
      true,
    ]);
  });

  it("get the settings of the table of their name, with the path of the command line", () => {
    const file = write(
      "stowage.toml",
      "[models.b]\npath = 'b.gguf'\n[models.a]\npath = 'gone.gguf'\ncontext = 7\npreload = false",
    );
    for (const path of ["a.gguf", "b.gguf"]) write(path);
    const { models } = configured({ models: ["a.gguf"] });
    assert.deepEqual(
      models.map(({ name, path, preload, settings }) => [name, path, preload.value, settings.context.value]),
      [
        ["a", { value: pathOf("a.gguf"), source: "argument" }, false, 7],
        ["b", { value: pathOf("b.gguf"), source: `file ${file}: models.b.path` }, true, undefined],
      ],
    );
  });

  it("a table for none of them names the nearest", () => {
    write("stowage.toml", "[models.lama]\ncontext = 7");
    for (const path of ["llama.gguf", "other.gguf"]) write(path);
    assert.match(errorOf({ models: ["llama.gguf", "other.gguf"] }).message, /the nearest is llama\.$/);
  });

  for (const [models, code, message] of [
    [["gone.gguf"], "model_argument", /^"gone\.gguf" cannot be offered: there is no such file/],
    [["=a.gguf"], "model_argument", /name is empty/],
    [["x=folder"], "model_argument", /it is a folder/],
    [["x\u0007=a.gguf"], "model_argument", /a character that cannot be shown/],
    [[`${"x".repeat(201)}=a.gguf`], "model_argument", /longer than 200/],
    [["empty"], "model_argument", /no \.gguf file/],
    [["/dev/null"], "model_argument", /no regular file/],
    [["a.gguf", "folder"], "model_duplicate", /^Two models are named a: .*a\.gguf and .*folder\/a\.gguf/],
  ] as const) {
    it(`are refused: ${JSON.stringify(models).slice(0, 40)}`, () => {
      for (const path of ["a.gguf", "folder/a.gguf", "empty/readme"]) write(path);
      const error = errorOf({ models });
      assert.equal(error.code, code);
      assert.match(error.message, message);
    });
  }

  it("in the file, paths start at its folder or at home", () => {
    assert.equal(pathInFile("/etc/x/stowage.toml", "m.gguf"), "/etc/x/m.gguf");
    assert.equal(pathInFile("/etc/x/stowage.toml", "~/m.gguf"), join(homedir(), "m.gguf"));
    assert.equal(pathInFile("/etc/x/stowage.toml", "/m.gguf"), "/m.gguf");
  });
});

describe("what the server is started with", () => {
  it("has what was set, and leaves the rest to the engine", () => {
    write("a.gguf");
    const flags = {
      maxSequences: "2",
      unprepared: true,
      keepAlive: "5m",
      memory: "1GiB",
      expertMemory: "50%",
    };
    const options = serverOptions(configured({ models: ["a.gguf"], flags }));
    assert.deepEqual(options, {
      host: "127.0.0.1",
      port: 8321,
      apiKeys: [],
      memoryBytes: 2 ** 30,
      maxQueue: 256,
      drainTimeoutSeconds: 30,
      logLevel: "warn",
      models: [
        {
          name: "a",
          path: join(cwd, "a.gguf"),
          preload: true,
          maxSequences: 2,
          expertMemory: "50%",
          prepare: "never",
          keepAliveSeconds: 300,
        },
      ],
    });
  });

  it("records routing beside the file that says so, or where the command was given", () => {
    write("a.gguf");
    const pathOf = (flags: Record<string, string>) =>
      serverOptions(configured({ models: ["a.gguf"], flags })).models[0]!.recordRouting;
    assert.equal(pathOf({}), undefined);
    assert.equal(pathOf({ recordRouting: "/tmp/a.routing" }), "/tmp/a.routing");
    write("stowage.toml", '[models.a]\nrecord-routing = "traces/a.routing"');
    assert.equal(pathOf({}), join(cwd, "traces/a.routing"));
  });

  it("needs a model", () => {
    assert.throws(() => serverOptions(configured()), hasCode("models_none"));
    write("stowage.toml", "port = 1");
    assert.throws(() => serverOptions(configured()), /stowage\.toml has no table \[models\.NAME\]/);
  });

  it("needs a key where other machines reach it", () => {
    write("a.gguf");
    const at = (host: string, apiKey?: string[]) =>
      serverOptions(configured({ models: ["a.gguf"], flags: { host, ...(apiKey && { apiKey }) } }));
    for (const host of ["127.0.0.1", "127.9.9.9", "::1", "[::1]", "localhost"]) at(host);
    for (const host of ["0.0.0.0", "::", "192.168.0.1", "example.org", "127.0.0.1.example.org"]) {
      assert.throws(() => at(host), hasCode("host_open"), host);
      assert.deepEqual(at(host, ["k"]).apiKeys, ["k"]);
    }
  });

  it("is reached by this machine at an address that can be called", () => {
    assert.equal(localUrl("0.0.0.0", 1), "http://127.0.0.1:1");
    assert.equal(localUrl("::", 1), "http://[::1]:1");
    assert.equal(localUrl("[::1]", 1), "http://[::1]:1");
    assert.equal(localUrl("example.org", 1), "http://example.org:1");
    assert.equal(isLoopback("::ffff:10.0.0.1"), false);
  });
});

describe("the printed configuration", () => {
  it("names every setting with its value and source, and no key", () => {
    write("a.gguf");
    write(
      "stowage.toml",
      'keep-alive = "2m"\napi-key = "secret-1"\n[models.a]\npath = "a.gguf"\nthreads = 3',
    );
    const configuration = configured({ environment: { port: "7", memory: "2GiB" } });
    const text = configurationTable(configuration);
    const file = join(cwd, "stowage.toml").replaceAll(".", "\\.");
    for (const line of [
      "^Configuration file: .*stowage\\.toml$",
      "^port +7 +environment STOWAGE_PORT$",
      "^memory +2\\.00 GiB +environment STOWAGE_MEMORY$",
      `^api-key +\\(hidden\\) +file ${file}: api-key$`,
      "^host +127\\.0\\.0\\.1 +default$",
      "^context +the model's, at most 4096 +default$",
      `^models\\.a\\.threads +3 +file ${file}: models\\.a\\.threads$`,
      `^models\\.a\\.keep-alive +120 s +file ${file}: keep-alive$`,
    ]) {
      assert.match(text, new RegExp(line, "m"));
    }
    const json = JSON.parse(JSON.stringify(configurationJson(configuration)));
    assert.deepEqual(json.settings.port, { value: 7, source: "environment STOWAGE_PORT" });
    assert.equal(json.settings.context.value, null);
    assert.equal(json.models[0].settings.threads.value, 3);
    assert.doesNotMatch(text + JSON.stringify(json), /secret-1/);
  });
});

describe("adapters", () => {
  it("are found beside the file that names them, or from where the command runs", () => {
    write("models/a.gguf");
    write("stowage.toml", '[models.a]\npath = "models/a.gguf"\nlora = ["poet=loras/poet.gguf,0.5"]\n');
    const offered = (given: Given) => serverOptions(configured(given)).models[0]!.lora;
    assert.deepEqual(offered({}), [{ name: "poet", path: join(cwd, "loras/poet.gguf"), scale: 0.5 }]);
    const flags = { lora: ["/loras/bard.gguf"] };
    assert.deepEqual(offered({ flags }), [{ name: "bard", path: "/loras/bard.gguf" }]);
    assert.equal(errorOf({ flags: { lora: ["="] } }).code, "setting_invalid");
  });

  it("are none by default", () => {
    write("a.gguf");
    assert.equal(serverOptions(configured({ models: ["a.gguf"] })).models[0]!.lora, undefined);
  });
});
