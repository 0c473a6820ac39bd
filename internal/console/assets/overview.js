// The node and its cluster: who leads, how far everybody is, what comes in, how full the disk is.

import { h, text, badge, Table, updating } from './dom.js';
import { call, get, consoleOf } from './api.js';
import { Notice, poll } from './poll.js';
import { Sparkline } from './chart.js';
import { bytes, count, duration, rate } from './format.js';

export async function show({ main, signal }) {
  const notice = new Notice();
  const tiles = new Tiles();
  const facts = h('dl', { class: 'facts' });
  const nodes = nodeTable();
  main.append(h('h1', {}, 'Overview'), notice.node,
    h('section', { 'aria-label': 'Activity' }, tiles.node),
    h('section', { class: 'panel' }, h('h2', {}, 'Cluster'), facts, nodes.node));
  poll(signal, notice, async () => {
    const status = await get('/metrics_ha', { headers: { Accept: 'application/json' }, signal });
    const ready = (await call('GET', '/ready', { any: true, signal })).data;
    showFacts(facts, status, ready);
    nodes.update(status.peers);
  });
  poll(signal, notice, async () => tiles.update((await call('GET', '/metrics', { signal })).data));
}

function nodeTable() {
  return new Table('Nodes', [
    { name: 'Node', node: nodeName },
    { name: 'Role', node: role },
    { name: 'Log index', num: true, text: (p) => (p.match_index || p.leader || p.self ? count(p.match_index) : 'only the leader knows') },
    { name: 'Behind', num: true, text: (p) => (p.lag ? count(p.lag) : '0') },
    { name: 'Heard from', text: heard },
    { name: 'Priority', num: true, text: (p) => String(p.priority) },
  ], (p) => p.node_id);
}

function nodeName(peer) {
  const link = peer.self ? null : consoleOf(peer);
  const name = link ? h('a', { href: link }, peer.node_id) : peer.node_id;
  return h('span', {}, name, peer.self ? ' (this node)' : '');
}

function role() {
  const node = h('span');
  let shown = '';
  return updating(node, (p) => {
    const now = p.leader ? 'leader' : p.voter ? 'follower' : 'learner';
    const lost = !p.connected && !p.self;
    if (shown === now + lost) return;
    shown = now + lost;
    node.replaceChildren(badge(p.leader ? 'good' : 'plain', now), lost ? badge('bad', 'no connection') : '');
  });
}

function heard(peer) {
  if (peer.self) return 'here';
  return peer.last_contact_ms == null ? 'never' : `${duration(peer.last_contact_ms)} ago`;
}

// showFacts fills the list of what holds for the node as a whole.
function showFacts(list, status, ready) {
  const rows = {
    Ready: ready.ready ? 'yes' : `no: ${ready.reason}`,
    'This node': `${status.node_id}, ${status.role}`,
    Term: count(status.term),
    'Commit index': count(status.commit_index),
    'Applied index': count(status.applied_index),
    'Still to apply': count(status.lag),
    'A write waits for': status.write_concern === 1 ? 'one disk' : `${status.write_concern} disks`,
  };
  for (const [name, value] of Object.entries(rows)) {
    const id = `fact-${name.replaceAll(' ', '-')}`;
    let dd = list.querySelector(`#${id}`);
    if (!dd) list.append(h('div', {}, h('dt', {}, name), dd = h('dd', { id })));
    text(dd, value);
  }
}

// Tiles are the figures that move, from two scrapes of /metrics.
class Tiles {
  constructor() {
    this.tiles = { messages: tile('Messages in', true), bytes: tile('Bytes in', true), requests: tile('Requests', true), disk: tile('Disk') };
    this.meter = this.tiles.disk.node.appendChild(h('meter', { min: 0, max: 1, low: 0.8, high: 0.92, optimum: 0, 'aria-label': 'Part of the disk that is in use' }));
    this.node = h('div', { class: 'tiles' }, Object.values(this.tiles).map((t) => t.node));
  }

  update(metrics) {
    const now = read(metrics), at = performance.now();
    const { before, at: then } = this;
    Object.assign(this, { before: now, at });
    const per = (name) => (before ? Math.max(0, (now[name] - before[name]) / (at - then) * 1000) : null);
    this.tiles.messages.set(per('messages'), rate, `${count(now.messages)} since the start`);
    this.tiles.bytes.set(per('bytes'), (n) => `${bytes(n)}/s`, `${bytes(now.bytes)} since the start`);
    this.tiles.requests.set(per('requests'), rate, `${count(now.connections)} connections`);
    const used = now.diskSize - now.diskFree;
    this.tiles.disk.set(now.diskFree, (n) => (now.diskSize ? `${bytes(n)} free` : 'unknown'), now.diskSize ? `of ${bytes(now.diskSize)}` : '');
    this.meter.hidden = !now.diskSize;
    this.meter.value = now.diskSize ? used / now.diskSize : 0;
  }
}

function tile(name, moving) {
  const value = h('p', { class: 'value' }, '–'), note = h('p', { class: 'note' });
  const spark = moving ? new Sparkline() : null;
  return {
    node: h('div', { class: 'tile' }, h('h2', {}, name), value, note, spark?.node),
    set(figure, format, below) {
      text(value, figure === null ? '–' : format(figure));
      text(note, below);
      if (figure !== null) spark?.add(figure);
    },
  };
}

// read takes the figures out of Prometheus' text format.
function read(metrics) {
  const sum = (name) => {
    let total = 0;
    for (const [, value] of metrics.matchAll(new RegExp(`^${name}(?:\\{.*\\})? (\\S+)$`, 'gm'))) total += Number(value);
    return total;
  };
  return {
    messages: sum('ayder_messages_appended_total'), bytes: sum('ayder_appended_bytes_total'), requests: sum('ayder_http_requests_total'),
    connections: sum('ayder_http_connections'), diskFree: sum('ayder_disk_free_bytes'), diskSize: sum('ayder_disk_size_bytes'),
  };
}
