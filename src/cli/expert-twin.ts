import { existsSync } from "node:fs";
import { rename } from "node:fs/promises";
import { requireArchitecture } from "../gguf/metadata.ts";
import { openGguf } from "../gguf/read.ts";
import { familyOf } from "../model/families.ts";
import { type SyntheticModel, writeSyntheticModel } from "../model/synth.ts";
import type { Locality } from "../model/synth-locality.ts";

/** Equal seeds give equal files. */
const seed = 1;

/**
 * A model of the same shape and types as another, with random weights and with routing that is as local as asked: what a
 * file is measured by, whatever its own routing is. Written beside the file, once; the file itself if it is such.
 * @param note told when it has to be written
 * @returns its path
 * @throws StowageError gguf_*, model_*, synth_invalid; what the file system throws
 */
export async function twinOf(
  path: string,
  locality: Locality,
  note: (text: string) => void,
): Promise<string> {
  const file = await openGguf(path);
  const name = locality === "uniform" ? "uniform" : `${Math.round(locality * 100)}%`;
  if (
    file.metadata.has("stowage.synth.locality") &&
    file.metadata.string("stowage.synth.locality") === name
  ) {
    return path;
  }
  const twin = path.replace(/(\.gguf)?$/, `-${name.replace("%", "")}.gguf`);
  if (existsSync(twin)) return twin;
  note(`writing ${twin}: the same shape with ${name} routing`);
  const h = familyOf(requireArchitecture(file.metadata)).read(file.metadata);
  const typeOf = (tensor: string) => file.tensors.get(`blk.0.${tensor}_exps.weight`)!.type;
  const model: SyntheticModel = {
    ...h,
    vocabulary: file.tensors.get("token_embd.weight")!.shape[1]!,
    context: h.contextTrained,
    ropeBase: h.rope.base,
    tiedEmbeddings: !file.tensors.has("output.weight"),
    type: typeOf("ffn_gate"),
    downType: typeOf("ffn_down"),
    seed,
    locality,
  };
  await writeSyntheticModel(`${twin}.part`, model);
  await rename(`${twin}.part`, twin);
  return twin;
}
