import { StowageError } from "../errors.ts";

/**
 * A budget for experts in bytes, out of bytes or a share of all experts such as "50%".
 * @param option its name, for the error
 * @param all bytes of all experts
 * @throws StowageError load_option
 */
export function budgetOf(option: string, budget: number | string, all: number): number {
  const percent = typeof budget === "string" ? /^(\d+(?:\.\d+)?)%$/.exec(budget) : null;
  const bytes = percent ? (Number(percent[1]) / 100) * all : budget;
  if (typeof bytes === "number" && Number.isFinite(bytes) && bytes >= 0) return Math.floor(bytes);
  const range = 'a number of bytes, or a share of all experts such as "50%"';
  throw new StowageError("load_option", { option, value: budget, range });
}
