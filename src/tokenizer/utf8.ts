/**
 * Text from the bytes of tokens, which may end in the middle of a character.
 *
 * `TextDecoder` with `stream: true` would be the plain way, but Node's drops a U+FEFF after an invalid sequence at
 * the start of the stream. So the unfinished end is kept here, and only whole pieces are decoded.
 */

const first = new TextDecoder("utf-8");
const later = new TextDecoder("utf-8", { ignoreBOM: true });

/** Decodes a stream of UTF-8: all that it returns, joined, is what `TextDecoder` makes of all the bytes at once. */
export class Utf8Stream {
  #held: Uint8Array = new Uint8Array(0);
  #decoder = first;

  /** Takes the next bytes; returns the text up to the last finished character. Invalid bytes become U+FFFD. */
  push(bytes: Uint8Array): string {
    const all = this.#held.length === 0 ? bytes : concat(this.#held, bytes);
    const end = all.length - unfinishedLength(all);
    // A copy, as the caller may use the memory of `bytes` again; `slice` of a Buffer would not be one.
    this.#held = new Uint8Array(all.subarray(end));
    return this.#decode(all.subarray(0, end));
  }

  /** As {@link Utf8Stream.push} with the bytes of `text`, which is all ASCII: nothing to decode, if none is held. */
  pushAscii(text: string, bytes: Uint8Array): string {
    if (this.#held.length > 0) return this.push(bytes);
    if (text !== "") this.#decoder = later;
    return text;
  }

  /** Ends the stream: an unfinished character becomes U+FFFD. The next push starts a new stream. */
  flush(): string {
    const text = this.#decode(this.#held);
    this.#held = new Uint8Array(0);
    this.#decoder = first;
    return text;
  }

  #decode(bytes: Uint8Array): string {
    if (bytes.length === 0) return "";
    const text = this.#decoder.decode(bytes);
    // Only a U+FEFF that opens the stream is a byte order mark.
    this.#decoder = later;
    return text;
  }
}

function concat(a: Uint8Array, b: Uint8Array): Uint8Array {
  const joined = new Uint8Array(a.length + b.length);
  joined.set(a);
  joined.set(b, a.length);
  return joined;
}

/**
 * Bytes at the end of `bytes` that may begin a character and need more to finish it: 0 to 3.
 * A byte that is no continuation always begins anew, so decoding may be cut before it, be it valid or not.
 */
function unfinishedLength(bytes: Uint8Array): number {
  for (let length = 1; length <= Math.min(3, bytes.length); length++) {
    const byte = bytes[bytes.length - length]!;
    const isContinuation = byte >= 0x80 && byte < 0xc0;
    if (!isContinuation) return length < sequenceLength(byte) ? length : 0;
  }
  return 0;
}

/** Bytes of a character that begins with `lead`. */
function sequenceLength(lead: number): number {
  if (lead < 0xc0) return 1;
  if (lead < 0xe0) return 2;
  return lead < 0xf0 ? 3 : 4;
}
