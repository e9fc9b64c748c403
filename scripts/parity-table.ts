/** Measures how far the logits are from libllama's, on this machine, and writes docs/parity.md. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadNative } from "../src/ggml/library.ts";
import { machineInfo } from "../src/workload/machine.ts";
import { boundOf, clearTokens, parityCases, typeName, writeCase } from "../test/parity-cases.ts";
import { greedyTokens, measureParity, worst } from "../test/parity-measure.ts";
import { embeddingSection } from "./embedding-table.ts";
import { vocabularySection } from "./vocabulary-table.ts";

const path = join(import.meta.dirname, "../docs/parity.md");
const folder = mkdtempSync(join(tmpdir(), "stowage-parity-"));
const rows: string[] = [];
let outputs = 0;
let same = 0;
let sections: string[] = [];
try {
  for (const parityCase of parityCases) {
    for (const type of parityCase.types) {
      const { kvTypes, tie } = parityCase;
      const model = join(folder, "model.gguf");
      await writeCase(model, parityCase, type);
      const { prefill, decode, batch, divergences } = await measureParity(
        model,
        clearTokens,
        kvTypes && { kvTypes },
      );
      const bound = boundOf(parityCase, type.type);
      const cells = [...[prefill, decode, batch].map((steps) => worst(steps, tie)), bound].map(shown);
      rows.push(`| ${[parityCase.name, typeName(type), ...cells].join(" | ")} |`);
      outputs += 2;
      same += 2 - divergences.length;
    }
  }
  sections = [await embeddingSection(folder), await vocabularySection(folder)];
} finally {
  rmSync(folder, { recursive: true });
}

const { cpu, ggml } = machineInfo(loadNative().version);
const page = `# Parity with llama.cpp

How far our logits are from libllama's on the same file and the same tokens: the largest difference in a row of logits, over the
row's standard deviation, the worst of all rows but those where the router all but ties. Models of random weights, ${cpu}, ggml ${ggml}. Both sides use repacked weights,
flash attention, and keys and values in F16 where nothing else is said.

- Prefill: prompts of 8 and 48 tokens. Decode: 8 steps after each.
- Batch: 8 sequences of 1 to 48 tokens that join while others decode; libllama runs each alone.
- Greedy output: ${same} of ${outputs} outputs of ${greedyTokens} tokens are the same to the last token.

\`test/parity.test.ts\` holds every row to its bound, and any greedy output that differs to a gap below the bound between the two best
logits. Why each type has its bound stands at \`boundOf\` in \`test/parity-cases.ts\`. This page is written by \`scripts/parity-table.ts\`.

| Architecture | Type | Prefill | Decode | Batch | Bound |
|---|---|---|---|---|---|
${rows.join("\n")}

${sections.join("\n")}`;
writeFileSync(path, page);

function shown(value: number): string {
  return value === 0 ? "0" : value.toExponential(1);
}
