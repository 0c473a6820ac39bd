// Numbers, times and bytes for people.

const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat('en', { maximumSignificantDigits: 3, notation: 'compact' });
const exact = new Intl.NumberFormat('en', { maximumSignificantDigits: 3 });

export const count = (n) => whole.format(n);

// rate is a number per second.
export const rate = (n) => (n < 1000 ? exact.format(n) : short.format(n)) + '/s';

const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];

export function bytes(n) {
  let unit = 0;
  for (; n >= 1024 && unit < units.length - 1; unit++) n /= 1024;
  return `${unit ? exact.format(n) : whole.format(n)} ${units[unit]}`;
}

// micros is a duration given in microseconds.
export function micros(us) {
  if (us < 1000) return `${exact.format(us)} µs`;
  if (us < 1e6) return `${exact.format(us / 1e3)} ms`;
  return `${exact.format(us / 1e6)} s`;
}

// duration is one given in milliseconds, in the largest unit that fits.
export function duration(ms) {
  for (const [size, unit] of [[864e5, 'd'], [36e5, 'h'], [6e4, 'min'], [1e3, 's']]) {
    if (ms >= size) return `${exact.format(ms / size)} ${unit}`;
  }
  return `${whole.format(ms)} ms`;
}

const two = (n) => String(n).padStart(2, '0');

// clock is the time of the day, to the millisecond.
export function clock(ms) {
  const d = new Date(ms);
  return `${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}.${String(d.getMilliseconds()).padStart(3, '0')}`;
}

export function dateTime(ms) {
  const d = new Date(ms);
  return `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())} ${clock(ms)}`;
}

export const plural = (n, one, many = `${one}s`) => `${count(n)} ${n === 1 ? one : many}`;
