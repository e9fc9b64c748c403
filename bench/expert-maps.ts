/**
 * How long fMoE's search takes: `node bench/expert-maps.ts`. A store of 1000 maps, of three shapes of models; the median over many
 * layers of one pass over a layer's maps and the choice of the best, and over many tokens of the search by embedding.
 */
import { ExpertMaps } from "../src/experts/policies/expert-maps.ts";
import { embeddingWidth } from "../src/experts/policies/token-embeddings.ts";
import { table } from "../src/workload/report-table.ts";

const tokens = 300;

const rows = [
  [6, 32],
  [16, 64],
  [48, 128],
].map(([layers, experts]) => {
  const shape = { layers: layers!, experts: experts! };
  const maps = new ExpertMaps(shape, { most: 1000, distance: 3, width: embeddingWidth });
  const draw = () =>
    normalised(
      Float32Array.from({ length: embeddingWidth }, () => Math.random() - 0.5),
      2,
    );
  // Logits of a spread as routers have it: a few experts of a layer have most of the probability.
  const router = () =>
    normalised(
      Float32Array.from({ length: experts! }, () => Math.exp(8 * Math.random())),
      1,
    );
  const times = { semantic: [] as number[], layer: [] as number[], add: [] as number[] };
  for (let token = 0; token < 1000 + tokens; token++) {
    const kept = token >= 1000;
    const search = timed(kept && times.semantic, () => {
      const begun = maps.begin(draw());
      maps.bySemantic(begun);
      return begun;
    });
    for (let layer = 0; layer < layers!; layer++) {
      const probabilities = router();
      timed(kept && times.layer, () => {
        maps.see(search, probabilities);
        maps.byTrajectory(search);
      });
    }
    timed(kept && times.add, () => maps.add(search));
  }
  const median = (all: number[]) => (1000 * all.sort((a, b) => a - b)[all.length >> 1]!).toFixed(0);
  return [
    `${layers} x ${experts}`,
    String(maps.size),
    median(times.layer),
    median(times.semantic),
    median(times.add),
  ];
});
console.log(
  table([
    ["layers x experts", "maps", "a layer, µs", "by embedding, µs a token", "adding, µs a token"],
    ...rows,
  ]),
);

function timed<T>(into: number[] | false, run: () => T): T {
  const started = performance.now();
  const result = run();
  if (into) into.push(performance.now() - started);
  return result;
}

function normalised(values: Float32Array, power: 1 | 2): Float32Array {
  const sum = values.reduce((total, value) => total + value ** power, 0);
  return values.map((value) => value / (power === 1 ? sum : Math.sqrt(sum)));
}
