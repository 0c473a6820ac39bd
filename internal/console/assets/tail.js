// The live tail of a partition: messages as they become durable.
//
// A stream that is cut resumes behind the last message that came, by Last-Event-ID; before the first one, from the
// offset at which it was to begin, which is looked up first so that "latest" means the same all the time. The page keeps
// the newest rows only, and draws once per frame whatever comes.

import { h, text, field, select } from './dom.js';
import { address, failure, get, open } from './api.js';
import { Notice, pause } from './poll.js';
import { describe } from './bytes.js';
import { parse } from './events.js';
import { clock, count, dateTime, plural } from './format.js';

const rowsMax = 200; // messages kept on the page
const retryMs = [500, 1000, 2000, 4000];

export async function show({ main, args, signal }) {
  const notice = new Notice();
  const page = controls(args);
  const rows = h('ol', { class: 'messages', 'aria-label': 'Messages, newest first', reversed: true });
  const state = h('p', { class: 'summary', id: 'tail-state' }, 'Choose a topic and start.');
  const voice = h('p', { class: 'unseen', role: 'status' });
  main.append(h('h1', {}, 'Tail'), notice.node, page.node, state, voice, rows);
  const tail = new Tail({ page, rows, state, notice, voice, signal });
  page.node.addEventListener('submit', (e) => {
    e.preventDefault();
    tail.running ? tail.pause() : tail.start();
  });
  page.clear.addEventListener('click', () => tail.clear());
  for (const control of [page.topic, page.partition, page.from]) control.addEventListener('change', () => tail.reset());
  signal.addEventListener('abort', () => tail.stop());
  suggest(page.names, signal);
  if (args[1]) tail.start();
}

function controls([, topicName = '', partitionNumber = '0']) {
  const names = h('datalist', { id: 'tail-topics' });
  const topic = h('input', { required: true, list: 'tail-topics', value: topicName, autocomplete: 'off', spellcheck: 'false' });
  const partition = h('input', { type: 'number', min: 0, max: 1023, required: true, value: partitionNumber });
  const from = select({}, [['latest', 'now'], ['earliest', 'the beginning']]);
  const run = h('button', { type: 'submit', class: 'primary' }, 'Start');
  const clear = h('button', { type: 'button' }, 'Clear');
  const node = h('form', { class: 'panel controls' }, field('Topic', topic), field('Partition', partition), field('From', from),
    h('div', { class: 'actions' }, run, clear), names);
  return { node, names, topic, partition, from, run, clear };
}

// suggest fills a list with the names of topics; a token that may not list them types.
export async function suggest(list, signal) {
  try {
    const { topics } = await get('/broker/topics', { signal });
    list.append(...topics.map((t) => h('option', { value: t.topic })));
  } catch {
    // the list stays empty
  }
}

class Tail {
  constructor(parts) {
    Object.assign(this, parts);
    this.waiting = [];
    this.reset();
  }

  // reset forgets the place, so that the next start begins anew.
  reset() {
    const again = this.running;
    this.stop();
    this.last = null;
    this.begin = null;
    this.seen = 0;
    if (again) this.start();
  }

  clear() {
    this.waiting = [];
    this.rows.replaceChildren();
  }

  async start() {
    const { page } = this;
    if (!page.topic.value) return;
    this.stop();
    this.running = new AbortController();
    page.run.textContent = 'Pause';
    const { signal } = this.running;
    for (let failures = 0; !signal.aborted; failures++) {
      const before = this.seen;
      try {
        await this.follow(signal);
      } catch (e) {
        if (signal.aborted) return;
        this.notice.show(e);
        if (e.status >= 400 && e.status < 500 && e.status !== 429) {
          this.last = this.begin = null; // what cannot be had once is not asked for again
          return this.pause('Stopped.');
        }
      }
      if (signal.aborted) return;
      if (this.seen > before) failures = 0;
      this.tell('Cut off; connecting again…');
      await pause(retryMs[Math.min(failures, retryMs.length - 1)], signal);
    }
  }

  // follow reads one stream to its end.
  async follow(signal) {
    const topic = this.page.topic.value, partition = this.page.partition.value;
    this.begin ??= await beginning(topic, partition, this.page.from.value, signal);
    const headers = { Accept: 'text/event-stream' };
    if (this.last !== null) headers['Last-Event-ID'] = this.last;
    const response = await open('GET', address`/broker/consume/${topic}/console/${partition}`, { query: { offset: this.begin }, headers, signal });
    if (!response.ok) throw failure(response, await response.json());
    this.notice.clear();
    this.tell(`Following ${topic}, partition ${partition}.`);
    await parse(response.body, (e) => this.take(e, signal));
  }

  take({ event, id, data }, signal) {
    if (signal.aborted) return;
    if (event === 'error') throw failure({ status: 400 }, JSON.parse(data));
    this.last = id;
    this.seen++;
    this.waiting.push(JSON.parse(data));
    if (this.waiting.length > rowsMax) this.waiting.shift();
    this.drawing ??= requestAnimationFrame(() => this.draw());
  }

  draw() {
    this.drawing = null;
    const fresh = this.waiting.splice(0).map(row).reverse();
    this.rows.prepend(...fresh);
    while (this.rows.childElementCount > rowsMax) this.rows.lastChild.remove();
    const kept = this.seen > rowsMax ? `, of which the last ${rowsMax} are shown` : '';
    text(this.state, `${plural(this.seen, 'message')}${kept}. ${this.condition}`);
  }

  tell(condition) {
    this.condition = condition;
    text(this.voice, condition);
    this.draw();
  }

  pause(condition = 'Paused.') {
    this.stop();
    this.tell(condition);
  }

  stop() {
    this.running?.abort();
    this.running = null;
    this.page.run.textContent = this.seen ? 'Resume' : 'Start';
  }
}

// beginning is the offset that a word stands for now.
async function beginning(topic, partition, from, signal) {
  const { partition_list: list } = await get(address`/broker/topics/${topic}`, { signal });
  const at = list[Number(partition)];
  if (!at) return from; // the server says what is wrong
  return from === 'earliest' ? at.earliest_offset : at.next_offset;
}

// row is a message: a line, and all of it when opened.
function row(m) {
  const value = describe({ text: m.value, base64: m.value_b64 });
  const key = m.key == null && m.key_b64 == null ? null : describe({ text: m.key, base64: m.key_b64 });
  const line = h('summary', {},
    h('span', { class: 'offset' }, count(m.offset)),
    h('time', { datetime: new Date(m.ts_ms).toISOString() }, clock(m.ts_ms)),
    key && h('span', { class: 'key' }, key.preview),
    h('span', { class: 'preview' }, value.kind === 'empty' ? 'empty' : value.preview));
  const details = h('details', {}, line);
  details.addEventListener('toggle', () => { // made when it is looked at
    if (details.childElementCount === 1) details.append(all(m, key, value));
  });
  return h('li', {}, details);
}

function all(m, key, value) {
  const headers = Object.entries(m.headers ?? {}).map(([name, v]) => [`Header ${name}`, typeof v === 'string' ? v : JSON.stringify(v)]);
  const facts = [['Time', dateTime(m.ts_ms)], ...(key ? [[`Key (${key.kind})`, key.shown]] : []), ...headers];
  return h('div', { class: 'message' },
    h('dl', { class: 'facts' }, facts.map(([name, v]) => h('div', {}, h('dt', {}, name), h('dd', {}, v)))),
    h('h2', {}, `Value (${value.kind})`), h('pre', {}, value.shown),
    value.base64 && [h('h2', {}, 'Value (base64)'), h('pre', {}, value.base64)]);
}
