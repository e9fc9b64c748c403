/** The template process: renders what its parent sends, one after another, until the parent is gone. */
import type { TemplateJob } from "./template-process.ts";
import { renderTemplate } from "./template-render.ts";

process.on("message", ({ source, variables }: TemplateJob) => {
  process.send!(renderTemplate(source, variables));
});
process.send!("ready");
