// Topics: the list with what comes in per second, one topic with its partitions, creating and deleting.

import { h, text, badge, field, select, Table } from './dom.js';
import { address, call, get } from './api.js';
import { Notice, poll } from './poll.js';
import { confirm, form } from './dialog.js';
import { bytes, count, duration, plural, rate } from './format.js';

export async function show(context) {
  return context.args[1] ? showTopic(context, context.args[1]) : showList(context);
}

async function showList({ main, signal, say }) {
  const notice = new Notice();
  const rates = new Rates();
  const summary = h('p', { class: 'summary' });
  const table = new Table('Topics', [
    { name: 'Topic', node: (t) => h('a', { href: `#/topics/${encodeURIComponent(t.topic)}` }, t.topic) },
    { name: 'Mode', node: (t) => mode(t) },
    { name: 'Partitions', num: true, text: (t) => count(t.partitions) },
    { name: 'Messages', num: true, text: (t) => count(t.messages) },
    { name: 'Size', num: true, text: (t) => bytes(t.bytes) },
    { name: 'Messages in', num: true, text: (t) => rates.messages(t) },
    { name: 'Bytes in', num: true, text: (t) => rates.bytes(t) },
  ], (t) => t.id, 'There is no topic yet. Create one, or produce to a name that does not exist.');
  main.append(head('Topics', h('button', { type: 'button', class: 'primary', onclick: () => create(say, refresh) }, 'Create a topic')),
    notice.node, summary, table.node);
  async function refresh() {
    const { topics } = await get('/broker/topics', { signal });
    rates.note(topics);
    text(summary, plural(topics.length, 'topic'));
    table.update(topics);
  }
  poll(signal, notice, refresh);
}

function head(title, ...actions) {
  return h('div', { class: 'head' }, h('h1', {}, title), h('div', { class: 'actions' }, actions));
}

const mode = (t) => badge(t.mode === 'rocket' ? 'warn' : 'plain', t.mode === 'rocket' ? 'rocket: in memory' : 'sealed');

// Rates are what came in per second between two looks. Retention takes bytes away meanwhile; then the mean size of a
// message must do. A rocket topic's offsets jump by 2^32 when its node starts: that is no message.
class Rates {
  constructor() {
    this.before = new Map();
    this.now = new Map();
  }

  note(topics) {
    const at = performance.now();
    this.now = new Map(topics.map((t) => {
      const was = this.before.get(t.id);
      const seconds = was ? (at - was.at) / 1000 : 0;
      const came = was ? t.appended - was.appended : 0;
      const plain = was && t.messages - was.messages === came;
      const size = plain ? t.bytes - was.bytes : came * (t.bytes / t.messages || 0);
      return [t.id, seconds && came >= 0 && came < 2 ** 31 ? { came: came / seconds, size: Math.max(0, size) / seconds } : null];
    }));
    this.before = new Map(topics.map((t) => [t.id, { ...t, at }]));
  }

  messages(t) {
    const r = this.now.get(t.id);
    return r ? rate(r.came) : '–';
  }

  bytes(t) {
    const r = this.now.get(t.id);
    return r ? `${bytes(r.size)}/s` : '–';
  }
}

async function create(say, refresh) {
  const name = h('input', { required: true, pattern: '[A-Za-z0-9._\\-]{1,249}', autocomplete: 'off', spellcheck: 'false' });
  const partitions = h('input', { type: 'number', min: 1, max: 1024, value: 8, required: true });
  const kept = select({}, [['sealed', 'sealed: on disk, durable'], ['rocket', 'rocket: in memory, lost on restart']]);
  const hours = h('input', { type: 'number', min: 0, step: 'any', placeholder: 'for ever' });
  const mebibytes = h('input', { type: 'number', min: 0, step: 'any', placeholder: 'no limit' });
  const made = await form({
    title: 'Create a topic', action: 'Create',
    content: [field('Name', name, 'Letters, digits, dots, underscores and hyphens.'), field('Partitions', partitions), field('Messages are', kept),
      field('Keep messages for (hours)', hours), field('Keep per partition at most (MiB)', mebibytes)],
    submit: () => call('POST', '/broker/topics', {
      body: JSON.stringify({
        name: name.value, partitions: Number(partitions.value), mode: kept.value,
        ttl_ms: Math.round(Number(hours.value) * 36e5), max_bytes: Math.round(Number(mebibytes.value) * 2 ** 20),
      }),
    }),
  });
  if (!made) return;
  say(made.status === 201 ? `Topic ${name.value} is created.` : `Topic ${name.value} existed already, with these settings.`);
  await refresh();
}

async function showTopic({ main, signal, say }, name) {
  const notice = new Notice();
  const facts = h('p', { class: 'summary' });
  const partitions = partitionTable(name);
  const groups = groupTable();
  const at = encodeURIComponent(name);
  main.append(
    h('p', { class: 'crumb' }, h('a', { href: '#/topics' }, 'Topics')),
    head(name, h('a', { class: 'button', href: `#/tail/${at}` }, 'Tail'), h('a', { class: 'button', href: `#/produce/${at}` }, 'Produce'),
      h('button', { type: 'button', class: 'danger', onclick: () => remove(name, say) }, 'Delete')),
    notice.node, facts,
    h('section', { class: 'panel' }, h('h2', {}, 'Partitions'), partitions.node),
    h('section', { class: 'panel' }, h('h2', {}, 'Groups that read it'), groups.node));
  poll(signal, notice, async () => {
    const topic = await get(address`/broker/topics/${name}`, { signal });
    text(facts, settings(topic));
    partitions.update(topic.partition_list);
  });
  poll(signal, notice, async () => groups.update(await positions(name, signal)));
}

function settings(t) {
  return [t.mode === 'rocket' ? 'Rocket: messages are in memory only.' : 'Sealed: messages are on disk.',
    plural(t.partitions, 'partition') + '.',
    t.ttl_ms ? `Kept for ${duration(t.ttl_ms)}.` : 'Kept for ever.',
    t.max_bytes ? `At most ${bytes(t.max_bytes)} per partition.` : ''].join(' ');
}

function partitionTable(topic) {
  return new Table(`Partitions of ${topic}`, [
    { name: 'Partition', node: (p) => h('a', { href: `#/tail/${encodeURIComponent(topic)}/${p.partition}` }, String(p.partition)) },
    { name: 'Begin', num: true, text: (p) => count(p.earliest_offset) },
    { name: 'End', num: true, text: (p) => count(p.next_offset) },
    { name: 'Messages', num: true, text: (p) => count(p.messages) },
    { name: 'Size', num: true, text: (p) => bytes(p.bytes) },
  ], (p) => p.partition);
}

function groupTable() {
  return new Table('Committed offsets', [
    { name: 'Group', node: (p) => h('a', { href: `#/groups/${encodeURIComponent(p.group)}` }, p.group) },
    { name: 'Partition', num: true, text: (p) => String(p.partition) },
    { name: 'Committed', num: true, text: (p) => (p.committed_offset === null ? 'nothing' : count(p.committed_offset)) },
    { name: 'End', num: true, text: (p) => count(p.next_offset) },
    { name: 'Lag', num: true, text: (p) => count(p.lag) },
  ], (p) => `${p.group} ${p.partition}`, 'No group has committed anything here.');
}

const groupsAsked = 20; // groups whose positions a topic shows

// positions are what groups have committed in a topic.
async function positions(topic, signal) {
  const { groups } = await get('/broker/groups', { query: { limit: 1000 }, signal });
  const readers = groups.filter((g) => g.topics.includes(topic)).slice(0, groupsAsked);
  const all = await Promise.all(readers.map((g) => get(address`/broker/groups/${g.group}`, { signal })));
  return all.flatMap((g) => g.partitions.filter((p) => p.topic === topic).map((p) => ({ ...p, group: g.group })));
}

async function remove(name, say) {
  const gone = await confirm({
    title: 'Delete this topic?', name, action: 'Delete the topic',
    text: 'Its messages, and what groups have committed in it, will be gone for good.',
    submit: () => call('DELETE', address`/broker/topics/${name}`),
  });
  if (!gone) return;
  location.hash = '#/topics';
  say(`Topic ${name} is deleted.`);
}
