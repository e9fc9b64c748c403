const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** A token as text; bytes that are no whole character become U+FFFD. */
export function textOfBytes(bytes: readonly number[]): string {
  return decoder.decode(Uint8Array.from(bytes));
}
