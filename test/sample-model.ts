import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** The sample model: beside the sources, or where `STOWAGE_SAMPLE_MODEL` says. */
export const samplePath =
  process.env.STOWAGE_SAMPLE_MODEL ?? fileURLToPath(new URL("../models/sample-moe.gguf", import.meta.url));

/** For `skip` of tests that need the model: false where it is there, else the reason. */
export const withoutSample = existsSync(samplePath)
  ? false
  : `there is no sample model at ${samplePath}; STOWAGE_SAMPLE_MODEL names another path`;
