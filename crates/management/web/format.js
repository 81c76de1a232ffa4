// Numbers, sizes and times as text.

const whole = new Intl.NumberFormat("en");
const short = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });

export function count(value) {
  return value == null ? "" : whole.format(value);
}

/** Messages per second. */
export function rate(value) {
  return value == null ? "" : `${short.format(value)}/s`;
}

export function bytes(value) {
  if (value == null) return "";
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let index = 0;
  while (value >= 1024 && index < units.length - 1) {
    value /= 1024;
    index += 1;
  }
  return `${short.format(value)} ${units[index]}`;
}

/** A span of time in milliseconds. */
export function duration(milliseconds) {
  const seconds = Math.floor(milliseconds / 1000);
  const parts = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const first = parts.findIndex(([size]) => seconds >= size);
  if (first < 0) return "0 s";
  let rest = seconds;
  return parts.slice(first, first + 2).map(([size, unit]) => {
    const number = Math.floor(rest / size);
    rest %= size;
    return `${number} ${unit}`;
  }).join(" ");
}

export function time(milliseconds) {
  return milliseconds == null ? "" : new Date(milliseconds).toLocaleString();
}

/** A value of a table of arguments or properties. */
export function plain(value) {
  return typeof value === "string" ? value : JSON.stringify(value);
}

/** What an exchange is called; the default exchange has no name. */
export function exchangeName(name) {
  return name === "" ? "(default)" : name;
}
