/** Those for which libllama has a loop of its own: each was given words of 200,000 characters. */
const loops = (
  "a.x-4.0 chatglm-bpe codeshell command-r dbrx deepseek-r1-qwen exaone exaone4 f2llmv2 falcon-h1 " +
  "falcon3 gemma4 gigachat glm4 gpt-2 granite-docling granite-embed-multi-311m grok-2 hunyuan jais " +
  "jina-de jina-es jina-v1-en jina-v2-code jina-v2-de jina-v2-es jina-v5-nano kimi-k2 kormo laguna " +
  "lfm2 llama-bpe llama-v3 llama3 megrez mellum mellum2 midm-2.0 minerva-7b modern-bert mpt olmo " +
  "phi-2 pixtral qwen2 qwen35 refact roberta-bpe sarvam-moe smaug-bpe smollm solar-open stablelm2 " +
  "starcoder trillion"
).split(" ");

/** Those that go through a library that recurses once a character of each word, and runs out of stack. */
const recursive = (
  "afmoe bailingmoe bailingmoe2 bloom chameleon cohere2moe deepseek-coder deepseek-llm deepseek-v3 " +
  "default exaone-moe falcon gpt-4o gpt3-finnish granite-embed-multi-97m hunyuan-dense hy_v4 jais-2 " +
  "joyai-llm kanana2 llada-moe llama4 minicpm5 minimax-m2 poro-chat seed-coder spark2_5 superbpe " +
  "talkie tekken tiny_aya ufakzeka viking whitespace youtu"
).split(" ");

/** Every value of `tokenizer.ggml.pre` that libllama v0.5.0 knows, and how it goes through a word. */
export const splitters: ReadonlyMap<string, "loop" | "recursive"> = new Map([
  ...loops.map((name) => [name, "loop"] as const),
  ...recursive.map((name) => [name, "recursive"] as const),
]);
