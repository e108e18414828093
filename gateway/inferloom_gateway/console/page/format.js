// Numbers and moments as people read them.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const day = new Intl.DateTimeFormat("en-CA", { year: "numeric", month: "2-digit", day: "2-digit" });

export const NONE = "–";

export function count(value) {
  if (value === null || value === undefined) return NONE;
  return Math.abs(value) >= 100000 ? short.format(value) : whole.format(value);
}

export function rate(value) {
  if (value === null || value === undefined) return NONE;
  return value >= 10 || value === 0 ? count(value) : value.toFixed(1);
}

// Seconds as 740 ms, 3.21 s, 2 min 5 s.
export function seconds(value) {
  if (value === null || value === undefined) return NONE;
  if (value === 0) return "0 ms";
  if (value < 0.9995) return `${value < 0.01 ? (value * 1000).toFixed(1) : Math.round(value * 1000)} ms`;
  if (value < 59.95) return `${value.toFixed(value < 9.995 ? 2 : 1)} s`;
  const rounded = Math.round(value);
  const minutes = Math.floor(rounded / 60);
  return minutes < 60 ? `${minutes} min ${rounded % 60} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

export function bytes(value) {
  if (!value) return NONE;
  return value >= 2 ** 30 ? `${(value / 2 ** 30).toFixed(1)} GiB` : `${whole.format(value / 2 ** 20)} MiB`;
}

export function moment(at) {
  return at ? clock.format(new Date(at * 1000)) : NONE;
}

export function date(at) {
  return at ? day.format(new Date(at * 1000)) : NONE;
}

export function ago(at, now = Date.now() / 1000) {
  const gone = Math.max(0, now - at);
  if (gone < 60) return `${Math.floor(gone)} s`;
  if (gone < 3600) return `${Math.floor(gone / 60)} min`;
  return gone < 86400 ? `${Math.floor(gone / 3600)} h` : `${Math.floor(gone / 86400)} d`;
}

export function plural(number, one, several = `${one}s`) {
  return `${count(number)} ${number === 1 ? one : several}`;
}
