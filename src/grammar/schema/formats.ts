/** Formats of strings as patterns. Each allows only what the format allows, though not always all of it. */
const octet = "(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)";
const group = "[0-9a-fA-F]{1,4}";
const label = "[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?";
const host = `${label}(?:\\.${label}){0,3}`;
const leapYear = "(?:\\d\\d(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)";
const day =
  "(?:\\d{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\\d|3[01])|(?:0[469]|11)-(?:0[1-9]|[12]\\d|30)|02-(?:0[1-9]|1\\d|2[0-8]))" +
  `|${leapYear}-02-29)`;
const time = "(?:[01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(?:\\.\\d{1,9})?(?:Z|[+-](?:[01]\\d|2[0-3]):[0-5]\\d)";
const path = "(?:/[A-Za-z0-9._~-]*)*(?:\\?[A-Za-z0-9._~=&-]*)?(?:#[A-Za-z0-9._~-]*)?";
const weeks = "P\\d{1,4}W";
const clock = "T(?:\\d{1,4}H(?:\\d{1,4}M)?(?:\\d{1,4}S)?|\\d{1,4}M(?:\\d{1,4}S)?|\\d{1,4}S)";
const dates = "(?:\\d{1,4}Y(?:\\d{1,4}M)?(?:\\d{1,4}D)?|\\d{1,4}M(?:\\d{1,4}D)?|\\d{1,4}D)";
/** All but those of `::` in another place than before the last group. */
const ipv6 = `(?:(?:${group}:){7}${group}|(?:${group}:){1,6}:${group}|::${group}|::)`;

export const formatPatterns: Readonly<Record<string, string>> = {
  date: `^${day}$`,
  time: `^${time}$`,
  "date-time": `^${day}T${time}$`,
  duration: `^(?:${weeks}|P(?:${dates}(?:${clock})?|${clock}))$`,
  email: `^[a-zA-Z0-9_+-]{1,30}(?:\\.[a-zA-Z0-9_+-]{1,30})?@${label}(?:\\.${label}){1,2}$`,
  hostname: `^${host}$`,
  ipv4: `^${octet}(?:\\.${octet}){3}$`,
  ipv6: `^${ipv6}$`,
  uri: `^https?://${host}(?::[1-9]\\d{1,3})?${path}$`,
  "uri-reference": `^(?:https?://${host})?${path}$`,
  uuid: "^[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}$",
  "json-pointer": "^(?:/[A-Za-z0-9_.-]*)*$",
  byte: "^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$",
};

/** Formats that any string has, or that are about something else than its characters. */
export const freeFormats: readonly string[] = ["password", "binary", "int32", "int64", "float", "double"];
