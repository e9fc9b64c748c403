import type { Endpoint } from "../endpoint.ts";
import { chatCompletions } from "./chat-completions.ts";
import { completions } from "./completions.ts";
import { embeddings } from "./embeddings.ts";
import { experts } from "./experts.ts";
import { models, oneModel } from "./models.ts";
import { healthCheck, metrics, status, stop, unload } from "./server.ts";
import { detokenize, tokenize } from "./tokens.ts";

/** Every endpoint but the pages and the document that describes these. */
export const endpoints: readonly Endpoint[] = [
  chatCompletions,
  completions,
  embeddings,
  models,
  oneModel,
  tokenize,
  detokenize,
  healthCheck,
  metrics,
  status,
  experts,
  unload,
  stop,
];
