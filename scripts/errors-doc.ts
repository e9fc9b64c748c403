/** `npm run docs`: writes docs/errors.md from the error catalogue. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { errorCatalogue } from "../src/errors.ts";

const head = `# Errors

Every error has a code, the HTTP status that it maps to, a message with the offending value, and the next thing to try.
In a message, \`{name}\` stands for the value. This page is generated from \`src/errors.ts\` by \`npm run docs\`.
`;

/** The page, in the order of the catalogue. */
export function errorsPage(): string {
  const sections = Object.entries(errorCatalogue).map(
    ([code, { status, message, next }]) => `## ${code}\n\nHTTP ${status}. ${message}\n\nNext: ${next}\n`,
  );
  return [head, ...sections].join("\n");
}

/** Where the page is. */
export const errorsPagePath = join(import.meta.dirname, "../docs/errors.md");

if (import.meta.main) writeFileSync(errorsPagePath, errorsPage());
