import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { Ajv2020 } from "ajv/dist/2020.js";
import formats from "ajv-formats";
import { jsonSchemas } from "../../../test/json-schemas.ts";
import { samplePath, withoutSample } from "../../../test/sample-model.ts";
import { Tokenizer } from "../../tokenizer/tokenizer.ts";
import { Random } from "../../workload/random.ts";
import { automatonOf } from "../compile.ts";
import { TokenGrammar } from "../constraint.ts";
import { TokenTrie } from "../token-trie.ts";
import { walk } from "../walk.fixture.ts";
import { schemaGrammar } from "./compile-schema.ts";

/** Tokens that are taken at random before the text is brought to its end. */
const wanders = [3, 12, 40];

describe("Whatever tokens are taken, a text is valid by its JSON schema", { skip: withoutSample }, () => {
  let tokenizer: Tokenizer;
  let trie: TokenTrie;
  before(async () => {
    tokenizer = await Tokenizer.load(samplePath);
    trie = new TokenTrie(tokenizer);
  });
  after(() => tokenizer.dispose());

  it("for each of 200 schemas", () => {
    assert.ok(jsonSchemas.length >= 200, `there are ${jsonSchemas.length}`);
    const ajv = new Ajv2020({ strict: false });
    (formats as unknown as (ajv: Ajv2020) => void)(ajv);
    jsonSchemas.forEach((schema, index) => {
      const validate = ajv.compile(schema as object);
      const grammar = new TokenGrammar(automatonOf(schemaGrammar(schema)), trie);
      wanders.forEach((wander, round) => {
        const text = walk(grammar, new Random(index, round), wander);
        const about = `schema ${index} ${JSON.stringify(schema).slice(0, 300)}\n${text.slice(0, 500)}`;
        assert.ok(validate(JSON.parse(text)), `${ajv.errorsText(validate.errors)}: ${about}`);
      });
    });
  });
});
