/**
 * What a policy has learnt, in a file beside the model. Little-endian.
 *
 * - byte 0: magic, 8 bytes; then 32-bit numbers: version, bytes of the description, bytes of what was learnt, CRC-32 of
 *   the two;
 * - byte 24: the description, JSON: which model, which policy, which shape;
 * - then what was learnt, as the policy has it.
 *
 * Nothing depends on it: a file that is damaged, or of something else, is as none, and where none can be written
 * nothing is kept.
 */
import { constants } from "node:fs";
import { open, rename, rm } from "node:fs/promises";
import { crc32 } from "../ggml/checksum.ts";

const magic = Buffer.from("STOWLRN\n");
const version = 1;
const headerBytes = 24;
const fields = { version: 8, description: 12, learnt: 16, sum: 20 } as const;
/** A larger file is none of ours. */
const mostBytes = 128 * 2 ** 20;

export class LearntFile {
  readonly path: string;
  readonly #description: Buffer;

  /** @param facts what it has to be of: another file counts as none */
  constructor(path: string, facts: unknown) {
    this.path = path;
    this.#description = Buffer.from(JSON.stringify(facts));
  }

  /** What was learnt; undefined where there is no sound file of this. */
  async read(): Promise<Uint8Array | undefined> {
    try {
      const body = await this.#body();
      const { length } = this.#description;
      return body?.subarray(0, length).equals(this.#description) ? body.subarray(length) : undefined;
    } catch {
      return undefined;
    }
  }

  /** Puts a whole file in the place of the one before. @returns false where that cannot be done here */
  async write(learnt: Uint8Array): Promise<boolean> {
    const body = Buffer.concat([this.#description, learnt]);
    if (headerBytes + body.length > mostBytes) return false;
    const header = Buffer.alloc(headerBytes);
    magic.copy(header);
    header.writeUInt32LE(version, fields.version);
    header.writeUInt32LE(this.#description.length, fields.description);
    header.writeUInt32LE(learnt.length, fields.learnt);
    header.writeUInt32LE(await crc32(body), fields.sum);
    // A name of its own: two processes may serve one model.
    const part = `${this.path}.${process.pid}.part`;
    try {
      const file = await open(part, "w");
      try {
        await file.writeFile(header);
        await file.writeFile(body);
        await file.sync();
      } finally {
        await file.close();
      }
      await rename(part, this.path);
      return true;
    } catch {
      await rm(part, { force: true }).catch(() => {});
      return false;
    }
  }

  /** Description and what was learnt, where their checksum is right. */
  async #body(): Promise<Buffer | undefined> {
    const file = await open(this.path, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      const found = await file.stat();
      if (!found.isFile() || found.size < headerBytes || found.size > mostBytes) return undefined;
      const bytes = await file.readFile();
      const number = (field: keyof typeof fields) => bytes.readUInt32LE(fields[field]);
      const body = bytes.subarray(headerBytes);
      const sound =
        bytes.subarray(0, magic.length).equals(magic) &&
        number("version") === version &&
        number("description") === this.#description.length &&
        number("description") + number("learnt") === body.length;
      return sound && (await crc32(body)) === number("sum") ? body : undefined;
    } finally {
      await file.close();
    }
  }
}
