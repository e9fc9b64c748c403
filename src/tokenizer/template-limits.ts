/** Longest template, in UTF-16 units. */
export const maxSourceLength = 1024 * 1024;
/** Most messages of one chat. */
export const maxMessages = 4096;
/** Longest text that goes in or comes out, and longest string on the way, in UTF-16 units. */
export const maxTextLength = 16 * 1024 * 1024;
/** Most items of a list on the way. */
export const maxItems = 1024 * 1024;
/** Longest time that rendering may take, ms. */
export const maxMilliseconds = 1000;
/** Memory for the lists and texts of one rendering, MiB: the heap of the template process. */
export const heapMebibytes = 256;

/** What came of a rendering. Travels from the template process to its parent. */
export type TemplateResult =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "refused" | "invalid"; readonly reason: string }
  | { readonly kind: "timeout" }
  | {
      readonly kind: "limit";
      readonly what: string;
      readonly found: number | string;
      readonly limit: number | string;
    };

/** Ends a rendering with a result other than a text. */
export class TemplateStop extends Error {
  readonly result: TemplateResult;

  constructor(result: TemplateResult) {
    super(result.kind);
    this.result = result;
  }
}
