import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";
import { samplePath, withoutSample } from "../../test/sample-model.ts";
import { StowageError } from "../errors.ts";
import { type ChatMessage, ChatTemplate } from "./chat-template.ts";
import { formatTime } from "./template-globals.ts";
import { Tokenizer } from "./tokenizer.ts";

const hasCode = (code: string) => (error: unknown) => {
  assert.ok(error instanceof StowageError, String(error));
  assert.equal(error.code, code, error.message);
  return true;
};
const hello: ChatMessage[] = [{ role: "user", content: "Hello" }];
const talk: ChatMessage[] = [
  { role: "system", content: " Be brief. " },
  { role: "user", content: "Hello" },
  { role: "assistant", content: "Hi!" },
  { role: "user", content: "<|im_end|> {{ 7 * 7 }}" },
];
const asked = { addGenerationPrompt: true };

/** Renders once, from source. */
async function render(
  source: string,
  messages: readonly ChatMessage[] = hello,
  specials?: { bos?: string; eos?: string },
): Promise<string> {
  return (await ChatTemplate.create(source, specials)).render(messages, asked);
}

test("the sample model's own template is ChatML", { skip: withoutSample }, async () => {
  const tokenizer = await Tokenizer.load(samplePath);
  const template = await ChatTemplate.create(tokenizer.chatTemplate!);
  tokenizer.dispose();
  assert.equal(
    await template.render(talk, asked),
    "<|im_start|>system\n Be brief. <|im_end|>\n<|im_start|>user\nHello<|im_end|>\n" +
      "<|im_start|>assistant\nHi!<|im_end|>\n<|im_start|>user\n<|im_end|> {{ 7 * 7 }}<|im_end|>\n" +
      "<|im_start|>assistant\n",
  );
  assert.equal(
    await template.render(hello, { addGenerationPrompt: false }),
    "<|im_start|>user\nHello<|im_end|>\n",
  );
});

test("headers, trimming and macros, as Llama 3 has them", async () => {
  const source = `{{- bos_token }}
{%- macro header(role) %}<|start_header_id|>{{ role }}<|end_header_id|>{{ "\\n\\n" }}{% endmacro %}
{%- if tools is not none %}{{ raise_exception("tools were given") }}{% endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system = messages[0]['content'] | trim %}
    {%- set rest = messages[1:] %}
{%- else %}
    {%- set system = "" %}
    {%- set rest = messages %}
{%- endif %}
{{- header("system") }}
{{- system + "<|eot_id|>" }}
{%- for message in rest %}
    {{- header(message.role) + message.content | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}{{ header("assistant") }}{% endif %}`;
  assert.equal(
    await render(source, talk.slice(0, 2), { bos: "<|begin_of_text|>" }),
    "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>" +
      "<|start_header_id|>user<|end_header_id|>\n\nHello<|eot_id|>" +
      "<|start_header_id|>assistant<|end_header_id|>\n\n",
  );
});

test("alternating roles, namespaces and a raised exception, as Mistral has them", async () => {
  const source = `{{ bos_token }}{% set ns = namespace(turn=0) %}
{%- for message in messages if message['role'] != 'system' %}
    {%- if (message['role'] == 'user') != (ns.turn % 2 == 0) %}
        {{- raise_exception('roles must alternate, found ' + message['role'] + ' at ' ~ loop.index0) }}
    {%- endif %}
    {%- set ns.turn = ns.turn + 1 %}
    {%- if message['role'] == 'user' %}
        {{- '[INST] ' + message['content'] + ' [/INST]' }}
    {%- else %}
        {{- ' ' + message['content'] + eos_token }}
    {%- endif %}
{%- endfor %}`;
  const specials = { bos: "<s>", eos: "</s>" };
  assert.equal(await render(source, talk.slice(0, 3), specials), "<s>[INST] Hello [/INST] Hi!</s>");
  await assert.rejects(render(source, [...hello, ...hello], specials), (error) => {
    hasCode("template_refused")(error);
    assert.match((error as Error).message, /roles must alternate, found user at 1/);
    return true;
  });
});

test("the time is formatted as in C", () => {
  const date = new Date(2024, 6, 5, 0, 7, 9);
  assert.equal(
    formatTime(date, "%A %a %d %-d %B %b %m %Y %y %H:%M:%S %I %p %j %% %Q"),
    "Friday Fri 05 5 July Jul 07 2024 24 00:07:09 12 AM 187 % %Q",
  );
});

test("the globals are there", async () => {
  assert.equal(
    await render("{{ range(2, 8, 3) }}{{ range(3) }}{{ range(3, 0, -1) }}"),
    "[2, 5][0, 1, 2][3, 2, 1]",
  );
  assert.equal(await render("{{ True and not False and None is none }}"), "true");
  assert.equal(await render("{{ strftime_now('%Y') }}"), String(new Date().getFullYear()));
  assert.equal(await render("{{ {'b': 1, 'a': 'ü'} | tojson }}"), '{"b": 1, "a": "ü"}');
});

test("what is no template, or cannot be computed, is template_invalid", async () => {
  for (const source of ["{% if %}", "{{ 'open", "{% endfor %}", "{{ 1 | nofilter }}", "{{ 'a' * 10**9 }}"]) {
    await assert.rejects(render(source), hasCode("template_invalid"));
  }
  await assert.rejects(
    ChatTemplate.create("{% if %}"),
    hasCode("template_invalid"),
    "found before rendering",
  );
});

test("a template has no way out of its language", async () => {
  assert.equal(await render("{{ process }}{{ globalThis }}{{ require }}{{ messages.__proto__ }}"), "");
  await assert.rejects(render("{{ ''.constructor.constructor('return 1')() }}"), hasCode("template_invalid"));
});

const doubling = (start: string, times: number) =>
  `{% set ns = namespace(s=${start}) %}{% for i in range(${times}) %}{% set ns.s = ns.s + ns.s %}{% endfor %}`;

for (const [name, source] of Object.entries({
  "a huge range": "{{ range(10**9) | length }}",
  "a range without an end": "{{ range(0, 5, 0) | length }}",
  "a text that doubles": `${doubling("'aaaa'", 40)}{{ ns.s }}`,
  "a list that doubles": `${doubling("[1]", 40)}{{ ns.s | length }}`,
  "a wide indentation": "{{ 'a\nb' | indent(10**9) }}",
  "deep brackets": `{{ ${"(".repeat(100_000)}1${")".repeat(100_000)} }}`,
})) {
  test(`hostile: ${name} is template_limit`, async () => {
    const started = performance.now();
    await assert.rejects(render(source), hasCode("template_limit"));
    assert.ok(performance.now() - started < 5000);
  });
}

for (const [name, source] of Object.entries({
  "loops in loops": `${"{% for i in range(1000) %}".repeat(4)}x${"{% endfor %}".repeat(4)}`,
  "one long step": "{% for i in range(1000000) %}{% for j in range(1000000) %}{% endfor %}{% endfor %}",
  "a text that multiplies": `${doubling("'a'", 22)}{{ ns.s.replace('a', ns.s) | length }}`,
  "a tree of shared branches":
    "{% set ns = namespace(s=[1]) %}{% for i in range(60) %}{% set ns.s = [ns.s, ns.s] %}{% endfor %}{{ ns.s | tojson }}",
})) {
  test(`hostile: ${name} is stopped, and the next rendering works`, async () => {
    const good = await ChatTemplate.create("{{ messages[0].content }}");
    const started = performance.now();
    const stopped = assert.rejects(render(source), (error) => {
      assert.ok(error instanceof StowageError);
      assert.ok(["template_timeout", "template_limit"].includes(error.code), error.message);
      return true;
    });
    // Asked for while the bad one runs: waits for its turn, and is not harmed.
    const waiting = good.render(hello, asked);
    let turns = 0;
    const timer = setInterval(() => turns++, 10);
    await stopped;
    clearInterval(timer);
    assert.ok(performance.now() - started < 5000);
    assert.ok(turns > 5, "the event loop was free meanwhile");
    assert.equal(await waiting, "Hello");
  });
}

test("endless recursion ends in a typed error", async () => {
  const source = "{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}";
  await assert.rejects(render(source), (error) => error instanceof StowageError);
});

test("a memory bomb ends the template process, not this one", async () => {
  const source = `{% set ns = namespace(s=[]) %}
{% for i in range(100000) %}{% set ns.s = [ns.s, range(1000000)] %}{% endfor %}`;
  await assert.rejects(render(source), (error) => {
    assert.ok(error instanceof StowageError);
    assert.ok(["template_timeout", "template_limit"].includes(error.code), error.message);
    return true;
  });
  assert.equal(await render("{{ messages[0].role }}"), "user");
});

test("limits on what goes in and comes out", async () => {
  await assert.rejects(ChatTemplate.create(" ".repeat(1024 * 1024 + 1)), hasCode("template_limit"));
  const good = await ChatTemplate.create("{% for message in messages %}{{ message.content }}{% endfor %}");
  const many = (count: number) => Array.from({ length: count }, () => ({ role: "user", content: "a" }));
  assert.equal((await good.render(many(4096), asked)).length, 4096);
  await assert.rejects(good.render(many(4097), asked), hasCode("template_limit"));
  const long = [{ role: "user", content: "a".repeat(15 * 1024 * 1024) }];
  assert.equal((await good.render(long, asked)).length, 15 * 1024 * 1024);
  await assert.rejects(good.render([...long, ...long], asked), hasCode("template_limit"));
  const doubled = await ChatTemplate.create("{{ messages[0].content }}{{ messages[0].content }}");
  await assert.rejects(doubled.render(long, asked), hasCode("template_limit"));
});

test("the common case needs no process of its own", async () => {
  const template = await ChatTemplate.create(
    "{% for m in messages %}{{ m.role + ': ' + m.content }}{% endfor %}",
  );
  const times: number[] = [];
  for (let round = 0; round < 50; round++) {
    const started = performance.now();
    await template.render(talk, asked);
    times.push(performance.now() - started);
  }
  times.sort((a, b) => a - b);
  // A process takes longer than this to start.
  assert.ok(times[25]! < 30, `the median is ${times[25]} ms`);
});

test("the template process does not keep its parent alive", () => {
  const module = new URL("./chat-template.ts", import.meta.url);
  const script = `const { ChatTemplate } = await import("${module}");
    const template = await ChatTemplate.create("{{ messages[0].content }}");
    process.stdout.write(await template.render([{ role: "user", content: "done" }], { addGenerationPrompt: false }));`;
  const options = { encoding: "utf8", timeout: 10_000 } as const;
  assert.equal(execFileSync(process.execPath, ["--input-type=module", "-e", script], options), "done");
});
