// How long requests take, per stage: percentiles since the start of the node or the last reset, as a plot and as a table.

import { h, s, text, field, Table } from './dom.js';
import { call, get } from './api.js';
import { Notice, poll } from './poll.js';
import { percentilePlot, pointsOf } from './chart.js';
import { count, micros } from './format.js';

const stages = [
  ['total', 'Total'], ['commit', 'Wait for the disk'], ['server', 'Handler'], ['queue', 'Wait for the handler'], ['recv_parse', 'Receive and parse'],
];
const percentiles = [['50%', 'p50_us'], ['90%', 'p90_us'], ['99%', 'p99_us'], ['99.9%', 'p99_9_us'], ['99.99%', 'p99_99_us'], ['99.999%', 'p99_999_us'], ['Max', 'max_us']];

export async function show({ main, signal, say }) {
  const notice = new Notice();
  const choice = h('select', {});
  const reset = h('button', { type: 'button' }, 'Start anew');
  const summary = h('p', { class: 'summary' });
  const figure = h('div', { class: 'figure' });
  const table = new Table('Percentiles per stage', [
    { name: 'Stage', text: (r) => r.label }, { name: 'Requests', num: true, text: (r) => count(r.count) },
    ...percentiles.map(([name, key]) => ({ name, num: true, text: (r) => micros(r[key]) })),
  ], (r) => r.name, 'Nothing was measured yet.');
  main.append(h('h1', {}, 'Latency'), notice.node,
    h('div', { class: 'panel controls' }, field('Request', choice), h('div', { class: 'actions' }, reset)),
    h('section', { class: 'panel', 'aria-label': 'Plot' }, summary, legend(), figure), h('section', { class: 'panel' }, h('h2', {}, 'The same as a table'), table.node));

  let routes = [];
  const draw = () => {
    const route = routes.find((r) => r.route === choice.value);
    const rows = route ? stages.map(([name, label], style) => ({ name, label, style, ...route.stages[name] })).filter((r) => r.count > 0) : [];
    text(summary, route ? `${route.route}: percentiles on a logarithmic axis` : 'Nothing was measured yet.');
    table.update(rows);
    plot(figure, route?.route, rows);
  };
  const refresh = async () => {
    ({ routes } = await get('/admin/timing', { signal }));
    choose(choice, routes);
    draw();
  };
  choice.addEventListener('change', draw);
  reset.addEventListener('click', async () => {
    try {
      await call('GET', '/admin/timing', { query: { reset: 1 }, signal });
      say('Measuring starts anew.');
      await refresh();
    } catch (e) {
      notice.show(e);
    }
  });
  const resized = new ResizeObserver(draw);
  resized.observe(figure);
  signal.addEventListener('abort', () => resized.disconnect());
  poll(signal, notice, refresh, 3000);
}

// choose keeps the list of routes, the busiest first of all, without moving what is chosen.
function choose(choice, routes) {
  const requests = (r) => r.stages.total.count;
  const known = new Set(Array.from(choice.options, (o) => o.value));
  const produces = (r) => (r.route.endsWith('/produce') ? 1 : 0);
  for (const r of [...routes].sort((a, b) => produces(b) - produces(a) || requests(b) - requests(a))) {
    if (!known.has(r.route)) choice.append(h('option', { value: r.route }, r.route));
  }
}

function legend() {
  return h('ul', { class: 'legend', 'aria-hidden': 'true' }, stages.map(([, label], i) => h('li', {}, s('svg', { width: 26, height: 8 }, s('line', { class: `line s${i}`, x1: 1, x2: 25, y1: 4, y2: 4 })), label)));
}

function plot(figure, route, rows) {
  const width = figure.clientWidth;
  if (!rows.length || !width) {
    figure.replaceChildren();
    return;
  }
  const series = rows.map((r) => ({ style: r.style, points: pointsOf(r) }));
  const label = `Latency of ${route} by percentile, one line per stage; the table below has the figures.`;
  figure.replaceChildren(percentilePlot({ width, height: Math.max(240, Math.min(380, width / 2)), series, label, format: micros }));
}
