// Two small charts, drawn as SVG with attributes and classes only.

import { s } from './dom.js';

const kept = 60; // points of a sparkline

// Sparkline shows how a figure went lately. The figure itself stands beside it, so it is hidden from screen readers.
export class Sparkline {
  constructor() {
    this.values = [];
    this.line = s('polyline', { class: 'line', 'vector-effect': 'non-scaling-stroke' });
    this.area = s('polygon', { class: 'area' });
    this.node = s('svg', { class: 'spark', viewBox: '0 0 100 30', preserveAspectRatio: 'none', 'aria-hidden': 'true' }, this.area, this.line);
  }

  add(value) {
    this.values = [...this.values, value].slice(-kept);
    const top = Math.max(...this.values) || 1;
    const step = 100 / (kept - 1);
    const first = 100 - (this.values.length - 1) * step;
    const points = this.values.map((v, i) => `${(first + i * step).toFixed(2)},${(28 - 25 * v / top).toFixed(2)}`);
    this.line.setAttribute('points', points.join(' '));
    this.area.setAttribute('points', `${first.toFixed(2)},30 ${points.join(' ')} 100,30`);
  }
}

// Percentiles are marked on an axis on which each further nine takes the same room: at -log10(1 - p).
const nines = [[50, 0.30103], [90, 1], [99, 2], [99.9, 3], [99.99, 4], [99.999, 5]];
const margin = { left: 58, right: 14, top: 12, bottom: 34 };

// percentilePlot draws series of {name, points: [[nines, µs], …]} on two logarithmic axes.
export function percentilePlot({ width, height, series, label, format }) {
  const all = series.flatMap((line) => line.points);
  const right = Math.max(2, ...all.map(([x]) => x));
  const low = 10 ** Math.floor(Math.log10(Math.max(1, Math.min(...all.map(([, y]) => Math.max(1, y))))));
  const high = 10 ** Math.ceil(Math.log10(Math.max(low * 10, ...all.map(([, y]) => y))));
  const x = (v) => margin.left + (width - margin.left - margin.right) * (v - nines[0][1]) / (right - nines[0][1]);
  const y = (v) => height - margin.bottom - (height - margin.top - margin.bottom) * Math.log10(Math.max(v, low) / low) / Math.log10(high / low);
  const node = s('svg', { class: 'plot', width, height, viewBox: `0 0 ${width} ${height}`, role: 'img', 'aria-label': label });
  for (let v = low; v <= high; v *= 10) {
    node.append(s('line', { class: 'grid', x1: margin.left, x2: width - margin.right, y1: y(v), y2: y(v) }),
      s('text', { class: 'tick', x: margin.left - 8, y: y(v) + 4, 'text-anchor': 'end' }, format(v)));
  }
  let free = 0; // from here on there is room for a number
  for (const [p, v] of nines.filter(([, v]) => v <= right + 0.001)) {
    node.append(s('line', { class: 'grid', x1: x(v), x2: x(v), y1: margin.top, y2: height - margin.bottom }));
    const label = `${p}%`, half = label.length * 4;
    if (x(v) - half < free || x(v) + half > width) continue;
    node.append(s('text', { class: 'tick', x: x(v), y: height - margin.bottom + 18, 'text-anchor': 'middle' }, label));
    free = x(v) + half + 4;
  }
  series.forEach((line, i) => {
    const points = line.points.map(([px, py]) => [x(px).toFixed(1), y(py).toFixed(1)]);
    node.append(s('polyline', { class: `line s${line.style ?? i}`, points: points.map((p) => p.join(',')).join(' ') }),
      ...points.map(([cx, cy]) => s('circle', { class: `point s${line.style ?? i}`, cx, cy, r: 3 })));
  });
  return node;
}

// pointsOf are the percentiles that so many samples can tell, and the maximum at its place.
export function pointsOf(stage) {
  const keys = ['p50_us', 'p90_us', 'p99_us', 'p99_9_us', 'p99_99_us', 'p99_999_us'];
  const end = Math.min(Math.log10(stage.count), 6);
  const points = nines.map(([, at], i) => [at, stage[keys[i]]]).filter(([at], i) => i === 0 || at < end);
  if (end > points.at(-1)[0]) points.push([end, stage.max_us]);
  return points;
}
