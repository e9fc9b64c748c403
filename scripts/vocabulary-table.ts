/** The part of docs/parity.md about vocabularies. */
import { join } from "node:path";
import { splitters } from "../src/tokenizer/splitters.ts";
import { Tokenizer } from "../src/tokenizer/tokenizer.ts";
import { writeVocabulary } from "../test/vocabularies.ts";
import { vocabularyCases } from "../test/vocabulary-cases.ts";

/** @param folder for files that are needed meanwhile */
export async function vocabularySection(folder: string): Promise<string> {
  const rows: string[] = [];
  for (const { name, vocabulary, reference, texts, leftOut = "" } of vocabularyCases) {
    const path = join(folder, "vocabulary.gguf");
    await writeVocabulary(path, vocabulary);
    const tokenizer = await Tokenizer.load(path);
    const options = { addSpecial: false, parseSpecial: false };
    const same = texts.filter((text) => `${tokenizer.encode(text, options)}` === `${reference.encode(text)}`);
    tokenizer.dispose();
    rows.push(`| ${name} | ${texts.length} | ${same.length} | ${leftOut} |`);
  }
  return `## Vocabularies

Tokens are libllama's own, because its code makes them ([decision 4](decisions/0004-tokens-by-libllama.md)). So they are compared with slow and plain
programs of the project, written from the definitions: texts in many scripts, code, digits, emoji, white space. SentencePiece's byte
pairs are compared in \`src/tokenizer/tokenizer.test.ts\`, these in \`src/tokenizer/vocabularies.test.ts\`:

| Vocabulary | Texts | Same tokens | Left out |
|---|---|---|---|
${rows.join("\n")}

All ${splitters.size} ways to split texts before byte pairs that libllama knows (\`tokenizer.ggml.pre\`) are loaded; those over bytes give text back as it was. RWKV's
and PLaMo 2's vocabularies give texts back as they were.
`;
}
