/** A text from elsewhere (a file, a server) without control characters for the terminal. */
export function printable(value: string | number): string {
  return String(value).replace(/\p{C}+/gu, " ");
}
