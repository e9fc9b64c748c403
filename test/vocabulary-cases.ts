import { Metadata } from "../src/gguf/metadata.ts";
import { gguf } from "../src/gguf/values.ts";
import { BpeReference, referenceSplitters } from "./bpe-reference.ts";
import { sampleTexts } from "./texts.ts";
import { UnigramReference } from "./unigram-reference.ts";
import {
  bytePairVocabulary,
  unigramVocabulary,
  type Vocabulary,
  wordPieceVocabulary,
} from "./vocabularies.ts";
import { WordPieceReference } from "./wordpiece-reference.ts";

/** A vocabulary whose tokens are compared with those of a slow and plain program of the project's own. */
export interface VocabularyCase {
  readonly name: string;
  readonly vocabulary: Vocabulary;
  readonly reference: { encode(text: string): number[] };
  readonly texts: readonly string[];
  /** Which texts are left out, and why. */
  readonly leftOut?: string;
}

const all = sampleTexts(400);
const bytePairs = bytePairVocabulary("gpt-2");
/** Here libllama's patterns are not those of the model. */
const caseBlind = new Set(["gpt-4o", "tekken"]);
const cased = /\p{M}|(?![A-Za-z])[\p{Lu}\p{Lt}\p{Ll}]/u;
const spaces = [
  { addSpacePrefix: true, mergeSpaces: true },
  { addSpacePrefix: true, mergeSpaces: false },
  { addSpacePrefix: false, mergeSpaces: false },
];

export const vocabularyCases: readonly VocabularyCase[] = [
  ...referenceSplitters.map((splitter): VocabularyCase => {
    const vocabulary = { ...bytePairs, "tokenizer.ggml.pre": gguf.string(splitter) };
    const blind = caseBlind.has(splitter);
    return {
      name: `byte pairs, split as ${splitter}`,
      vocabulary,
      reference: new BpeReference(metadataOf(vocabulary), splitter),
      texts: blind ? all.filter((text) => !cased.test(text)) : all,
      ...(blind && {
        leftOut:
          "capitals and small letters beyond ASCII, marks: libllama takes such a letter for both, a mark for none",
      }),
    };
  }),
  ...spaces.map((options): VocabularyCase => {
    const vocabulary = unigramVocabulary(options);
    const { addSpacePrefix, mergeSpaces } = options;
    return {
      name: `unigram, ${addSpacePrefix ? "a space first" : "no space first"}${mergeSpaces ? ", spaces merged" : ""}`,
      vocabulary,
      reference: new UnigramReference(metadataOf(vocabulary)),
      texts: all,
    };
  }),
  {
    name: "word pieces",
    vocabulary: wordPieceVocabulary(),
    reference: new WordPieceReference(metadataOf(wordPieceVocabulary())),
    texts: all.filter((text) => !/\p{Script=Hangul}/u.test(text)),
    leftOut: "Korean: of a syllable libllama keeps the first letter alone, where accents are taken away",
  },
];

function metadataOf(vocabulary: Vocabulary): Metadata {
  return new Metadata(new Map(Object.entries(vocabulary)), "test");
}
