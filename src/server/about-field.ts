import { StowageError } from "../errors.ts";

/**
 * What is wrong with a prompt shows only in the engine, which knows no fields: errors of `work` about what it was
 * given get the one that it came in.
 */
export async function about<T>(field: string, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    throw withField(error, field);
  }
}

function withField(error: unknown, field: string): unknown {
  if (!(error instanceof StowageError)) return error;
  const own = error.details.field;
  // A sampling parameter has its name in the library, of which the field's is the same word with underscores.
  if (error.code === "sampling_param") {
    const name = String(own).replace(/[A-Z]/g, (capital) => `_${capital.toLowerCase()}`);
    return new StowageError(error.code, { ...error.details, field: name }, { cause: error });
  }
  if (own !== undefined) return error;
  const isInput = error.status === 400 || error.status === 413;
  return isInput ? new StowageError(error.code, { ...error.details, field }, { cause: error }) : error;
}
