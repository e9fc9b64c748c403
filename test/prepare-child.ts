/** Prepares a model and kills itself, as `kill -9` would, after so many records: `prepare-child MODEL RECORDS`. */
import { prepare } from "../src/experts/prepare.ts";
import { openExpertModel } from "./expert-models.ts";

const [path, records] = process.argv.slice(2) as [string, string];
const { file, layout, backend } = await openExpertModel(path);
let done = 0;
await prepare(file, layout, backend, {
  progress: () => {
    done++;
    if (done === Number(records)) process.kill(process.pid, "SIGKILL");
  },
});
