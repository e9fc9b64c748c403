import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { Ajv2020 } from "ajv/dist/2020.js";
import formats from "ajv-formats";
import { hasCode } from "../../test/has-code.ts";
import { jsonSchemas } from "../../test/json-schemas.ts";
import { samplePath, withoutSample } from "../../test/sample-model.ts";
import { loadModel, type Model } from "./model.ts";

/** The 200 schemas are tried against the masks alone; of those, so many with the engine. */
const tried = 50;

describe("A generation that is held to a form", { skip: withoutSample }, () => {
  let model: Model;
  before(async () => {
    model = await loadModel(samplePath, { contextTokens: 512, maxSequences: 8, threads: 1 });
  });
  after(() => model.dispose());

  async function generate(options: object) {
    let text = "";
    let tokens = 0;
    for await (const part of model.generate({ prompt: "Here it is:", seed: 4, ...options })) {
      text += part.text;
      if (part.type === "finish") return { text, reason: part.reason, tokens, usage: part.usage };
      tokens++;
    }
    return assert.fail("it has no end");
  }

  it("is valid by its JSON schema, and a beginning of what is valid where it was cut", async () => {
    const ajv = new Ajv2020({ strict: false });
    (formats as unknown as (ajv: Ajv2020) => void)(ajv);
    const every = Math.floor(jsonSchemas.length / tried);
    const chosen = jsonSchemas.filter((_, index) => index % every === 0).slice(0, tried);
    const answers = await Promise.all(
      chosen.map((jsonSchema, seed) => generate({ jsonSchema, seed, maxTokens: 80, temperature: 1 })),
    );
    let whole = 0;
    answers.forEach(({ text, reason }, index) => {
      if (reason === "length") return;
      whole++;
      assert.equal(reason, "stop");
      const validate = ajv.compile(chosen[index] as object);
      assert.ok(validate(JSON.parse(text)), `${JSON.stringify(chosen[index])}: ${text}`);
    });
    assert.ok(whole > tried / 3, `${whole} of ${tried} came to an end`);
  });

  it("follows a grammar, and ends with it, whatever else is asked for", async () => {
    const { text, reason } = await generate({
      grammar: 'root ::= "no" | "yes, " [a-z]{3} "!"',
      maxTokens: 50,
    });
    assert.match(text, /^(no|yes, [a-z]{3}!)$/);
    assert.equal(reason, "stop");
    const greedy = await generate({ grammar: 'root ::= [0-9]{12} "."', temperature: 0 });
    assert.match(greedy.text, /^\d{12}\.$/);
    const cut = await generate({ grammar: 'root ::= "a"{500}', maxTokens: 3 });
    assert.deepEqual([cut.reason, cut.tokens], ["length", 3]);
    assert.match(cut.text, /^a+$/);
    const mirostat = await generate({
      grammar: 'root ::= ("ab" | "cd"){9}',
      mirostat: 2,
      logitBias: { 5: 100 },
    });
    assert.match(mirostat.text, /^(ab|cd){9}$/);
  });

  it("leaves its neighbours in the batch alone", async () => {
    const plain = { maxTokens: 12, temperature: 0 };
    const alone = await generate(plain);
    const [held, beside] = await Promise.all([
      generate({ ...plain, grammar: "root ::= [a-f]+" }),
      generate(plain),
    ]);
    assert.match(held.text, /^[a-f]+$/);
    assert.equal(beside.text, alone.text);
  });

  it("is refused where its form is", async () => {
    await assert.rejects(
      generate({ grammar: "root ::= " }).then(() => generate({ grammar: "root" })),
      hasCode("grammar_syntax"),
    );
    await assert.rejects(generate({ jsonSchema: { not: {} } }), hasCode("schema_unsupported"));
    await assert.rejects(generate({ jsonSchema: {}, grammar: 'root ::= "a"' }), hasCode("generate_form"));
  });
});
