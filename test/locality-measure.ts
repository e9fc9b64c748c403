/** Measures the routing of a synthetic model on text of its topics: `node test/locality-measure.ts MODEL [TOKENS [SEED]]`. */
import { segmentCacheHits, segmentRouting } from "../src/experts/locality.ts";
import { openGguf } from "../src/gguf/read.ts";
import { topicalTokens, topicsOf } from "../src/model/topics.ts";
import { loadForTest } from "./forward.ts";
import { dispersionOf, routingOf, usesOf } from "./routing.ts";

const [path = "", count = "512", seed = "1000"] = process.argv.slice(2);
const topics = topicsOf((await openGguf(path)).metadata);
if (!topics) throw new Error(`${path} was not written with --locality`);
const tokens = topicalTokens(Number(seed), Number(count), topics);
const model = await loadForTest(path, tokens.length);
const { trace, lookAhead, fromEmbedding } = await routingOf(model.runtime, tokens);
const logits = await model.logits(tokens);
model.dispose();

const uses = usesOf(trace);
const even = (trace.tokens * trace.used) / trace.experts;
const percent = (value: number) => Number((value * 100).toFixed(1));
const srp = segmentRouting([trace], 16);
console.log(
  JSON.stringify({
    topics,
    tokens: trace.tokens,
    srp16: percent(srp.model.performance),
    sizeRatio: Number(srp.model.sizeRatio.toFixed(2)),
    srp16OfLayers: srp.layers.map(({ performance }) => percent(performance)),
    cacheHits: Object.fromEntries(
      [1, 2, 3, 4].map((ratio) => [
        `${ratio * trace.used} experts`,
        percent(segmentCacheHits([trace], 16, ratio * trace.used).model),
      ]),
    ),
    expertUse: {
      even,
      least: Math.min(...uses),
      most: Math.max(...uses),
      dispersion: Number(dispersionOf(trace).toFixed(2)),
    },
    lookAhead: {
      mean: percent(lookAhead.reduce((sum, value) => sum + value, 0) / lookAhead.length),
      least: percent(Math.min(...lookAhead)),
    },
    fromEmbedding: fromEmbedding.map(percent),
    finiteLogits: logits.every((row) => row.every(Number.isFinite)),
  }),
);
