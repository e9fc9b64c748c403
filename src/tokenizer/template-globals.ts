import { Environment } from "./jinja.ts";
import { maxItems, TemplateStop } from "./template-limits.ts";

/**
 * The names that every chat template may use besides its variables, as the Transformers library has them.
 * @param variables the template's own, which hide a global of the same name
 */
export function templateEnvironment(variables: Readonly<Record<string, unknown>>): Environment {
  const globals: Record<string, unknown> = {
    true: true,
    True: true,
    false: false,
    False: false,
    none: null,
    None: null,
    range: boundedRange,
    raise_exception: (message: unknown) => {
      throw new TemplateStop({ kind: "refused", reason: String(message) });
    },
    strftime_now: (format: unknown) => formatTime(new Date(), String(format)),
  };
  const environment = new Environment();
  for (const [name, value] of Object.entries({ ...globals, ...variables })) environment.set(name, value);
  return environment;
}

function boundedRange(first: number, second?: number, step = 1): number[] {
  const [start, stop] = second === undefined ? [0, first] : [first, second];
  const count = Math.max(0, Math.ceil((stop - start) / step));
  // Also what is no number and a step of zero end here.
  if (!(count <= maxItems)) {
    throw new TemplateStop({ kind: "limit", what: "the length of a range", found: count, limit: maxItems });
  }
  return Array.from({ length: count }, (_, index) => start + index * step);
}

const days = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const months = "January February March April May June July August September October November December".split(
  " ",
);

/** Python's `strftime` in its C locale; unknown directives stay as they are. */
export function formatTime(date: Date, format: string): string {
  const two = (value: number) => String(value).padStart(2, "0");
  const hour12 = date.getHours() % 12 || 12;
  const startOfYear = Date.UTC(date.getFullYear(), 0, 1);
  const dayOfYear =
    (Date.UTC(date.getFullYear(), date.getMonth(), date.getDate()) - startOfYear) / 86_400_000 + 1;
  const directives: Record<string, string> = {
    Y: String(date.getFullYear()),
    y: two(date.getFullYear() % 100),
    m: two(date.getMonth() + 1),
    B: months[date.getMonth()]!,
    b: months[date.getMonth()]!.slice(0, 3),
    d: two(date.getDate()),
    j: String(dayOfYear).padStart(3, "0"),
    A: days[date.getDay()]!,
    a: days[date.getDay()]!.slice(0, 3),
    H: two(date.getHours()),
    I: two(hour12),
    p: date.getHours() < 12 ? "AM" : "PM",
    M: two(date.getMinutes()),
    S: two(date.getSeconds()),
    "%": "%",
  };
  return format.replace(/%(-?)([a-zA-Z%])/g, (whole, dash: string, letter: string) => {
    const value = directives[letter];
    if (value === undefined) return whole;
    return dash ? value.replace(/^0+(?=\d)/, "") : value;
  });
}
