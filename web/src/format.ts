/** Numbers, times and names as a person reads them. */

const grouped = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const NBSP = "\u00a0";

const SCALES: [number, string][] = [
  [1e15, "quadrillion"],
  [1e12, "trillion"],
  [1e9, "billion"],
  [1e6, "million"],
];

/** "4.5 million"; exact below a million. */
export function inWords(value: number): string {
  if (value >= 1e18) {
    const power = Math.floor(Math.log10(value));
    return `${(value / 10 ** power).toFixed(1)}${NBSP}×${NBSP}10${superscript(power)}`;
  }
  const scale = SCALES.find(([size]) => value >= size);
  return scale ? `${grouped.format(value / scale[0])}${NBSP}${scale[1]}` : whole.format(value);
}

/** All digits, one after the point. */
export function exactly(value: number): string {
  return grouped.format(value);
}

export function count(value: number): string {
  return whole.format(value);
}

function superscript(power: number): string {
  return [...String(power)].map((digit) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[Number(digit)]).join("");
}

/** "46,200 keys/s", "3.2 million keys/s": a rate is never known to more digits. */
export function rate(perSecond: number): string {
  return `${inWords(perSecond < 1e6 ? Number(perSecond.toPrecision(3)) : perSecond)} keys/s`;
}

const UNITS: [number, string, string][] = [
  [31_557_600, "year", "years"],
  [86_400, "day", "days"],
  [3_600, "h", "h"],
  [60, "min", "min"],
  [1, "s", "s"],
];

/** Two units at most: "3 min 20 s", "12 days", "2 400 years". */
export function duration(seconds: number): string {
  if (!Number.isFinite(seconds)) return "forever";
  if (seconds < 1) return `less than 1${NBSP}s`;
  if (seconds >= 1e6 * 31_557_600) return `${inWords(seconds / 31_557_600)} years`;
  const rounded = Math.round(seconds);
  const at = UNITS.findIndex(([size]) => rounded >= size);
  const [size, one, many] = UNITS[at] ?? [1, "s", "s"];
  const value = Math.floor(rounded / size);
  const first = `${whole.format(value)}${NBSP}${value === 1 ? one : many}`;
  const next = UNITS[at + 1];
  const rest = next ? Math.floor((rounded % size) / next[0]) : 0;
  if (!next || rest === 0 || value >= 10) return first;
  return `${first} ${rest}${NBSP}${rest === 1 ? next[1] : next[2]}`;
}

/** Never "100 %" for what is only very likely, never "0 %" for what is only unlikely. */
export function percent(chance: number): string {
  if (chance > 0 && chance < 0.001) return `under 0.1${NBSP}%`;
  if (chance > 0.999 && chance < 1) return `over 99.9${NBSP}%`;
  const value = chance * 100;
  const digits = value > 0 && (value < 10 || value > 99) && value < 100 ? 1 : 0;
  return `${value.toFixed(digits)}${NBSP}%`;
}

/** Decimal fraction of an integer amount, without trailing zeros. */
export function amount(value: bigint, decimals: number, symbol: string, digitsMax = decimals): string {
  const unit = 10n ** BigInt(decimals);
  const dropped = 10n ** BigInt(Math.max(0, decimals - digitsMax));
  const shown = (value / dropped) * dropped;
  const fraction = (shown % unit).toString().padStart(decimals, "0").replace(/0+$/, "");
  const integer = whole.format(shown / unit);
  return `${integer}${fraction ? `.${fraction}` : ""}${NBSP}${symbol}`;
}

export function rlc(value: bigint): string {
  return amount(value, 9, "RLC");
}

export function ether(value: bigint): string {
  return amount(value, 18, "ETH", 6);
}

/** "0x1234…cdef" */
export function short(hex: string): string {
  return hex.length > 14 ? `${hex.slice(0, 6)}…${hex.slice(-4)}` : hex;
}

export function when(ms: number): string {
  return new Intl.DateTimeFormat("en", { dateStyle: "medium", timeStyle: "short" }).format(ms);
}
