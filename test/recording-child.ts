/**
 * recording-child.ts MODEL TRACE: has a model read long prompts and answer them, recording its routing as a server does;
 * prints what it was told of the trace, and how many tokens it answered each.
 */
import { loadEngine } from "../src/engine/load.ts";

const [model, path] = process.argv.slice(2);
const failures: string[] = [];
const { engine, recorder, dispose } = await loadEngine(model!, {
  threads: 1,
  kvTokens: 4096,
  recordRouting: { path: path!, keepEarlier: true, onFailure: ({ code }) => failures.push(code) },
});
/** Enough for a chunk of the trace while they run, none the beginning of another. */
const prompts = Array.from({ length: 8 }, (_, index) =>
  Array.from({ length: 460 }, (_, token) => 100 + ((token + index) % 500)),
);
const answers = prompts.map(async (prompt) => {
  const sequence = engine.submit({ prompt, maxTokens: 8, ignoreEnd: true, sampling: { temperature: 0 } });
  let answered = 0;
  for await (const event of sequence) if (event.type === "token") answered++;
  return answered;
});
const answered = await Promise.all(answers);
const { path: written } = recorder!;
const wasTold = failures.length;
await dispose();
process.stdout.write(JSON.stringify({ failures, wasTold, answered, written }));
