// Groups: who reads what, and how far behind.

import { h, text, badge, Table, updating } from './dom.js';
import { address, get } from './api.js';
import { Notice, poll } from './poll.js';
import { count, duration, plural } from './format.js';

export async function show(context) {
  return context.args[1] ? showGroup(context, context.args[1]) : showList(context);
}

async function showList({ main, signal }) {
  const notice = new Notice();
  const summary = h('p', { class: 'summary' });
  const table = new Table('Groups', [
    { name: 'Group', node: (g) => h('a', { href: `#/groups/${encodeURIComponent(g.group)}` }, g.group) },
    { name: 'State', node: state },
    { name: 'Topics', text: (g) => g.topics.join(', ') || 'none' },
    { name: 'Members', num: true, text: (g) => count(g.members) },
    { name: 'Partitions', num: true, text: (g) => count(g.partitions) },
    { name: 'Lag', num: true, text: (g) => count(g.lag) },
  ], (g) => g.group, 'No group has committed anything yet, and none has members.');
  main.append(h('h1', {}, 'Groups'), notice.node, summary, table.node);
  poll(signal, notice, async () => {
    const { groups, truncated } = await get('/broker/groups', { query: { limit: 1000 }, signal });
    text(summary, plural(groups.length, 'group') + (truncated ? ', the first of more' : ''));
    table.update(groups);
  });
}

function state() {
  const node = h('span');
  return updating(node, (g) => {
    if (node.textContent !== g.state) node.replaceChildren(badge(g.state === 'stable' ? 'good' : g.state === 'empty' ? 'plain' : 'warn', g.state));
  });
}

async function showGroup({ main, signal }, name) {
  const notice = new Notice();
  const summary = h('p', { class: 'summary' });
  const partitions = partitionTable();
  const members = memberTable();
  main.append(
    h('p', { class: 'crumb' }, h('a', { href: '#/groups' }, 'Groups')), h('h1', {}, name), notice.node, summary,
    h('section', { class: 'panel' }, h('h2', {}, 'Partitions'), partitions.node),
    h('section', { class: 'panel' }, h('h2', {}, 'Members'), members.node));
  poll(signal, notice, async () => {
    const group = await get(address`/broker/groups/${name}`, { signal });
    const most = Math.max(1, ...group.partitions.map((p) => p.lag));
    text(summary, `${group.state}, ${plural(group.members.length, 'member')}, ${plural(group.lag, 'message')} behind${group.truncated ? ' (the first partitions of more)' : ''}`);
    partitions.update(group.partitions.map((p) => ({ ...p, most })));
    members.update(group.members);
  });
}

function partitionTable() {
  return new Table('Lag per partition', [
    { name: 'Topic', node: (p) => h('a', { href: `#/topics/${encodeURIComponent(p.topic)}` }, p.topic) },
    { name: 'Partition', num: true, text: (p) => String(p.partition) },
    { name: 'Committed', num: true, text: (p) => (p.committed_offset === null ? 'nothing' : count(p.committed_offset)) },
    { name: 'End', num: true, text: (p) => count(p.next_offset) },
    { name: 'Lag', num: true, node: lag },
    { name: 'Member', text: (p) => p.member ?? 'nobody' },
  ], (p) => `${p.topic} ${p.partition}`, 'Nothing is committed, and no partition has a reader.');
}

// lag is the number with a bar against the largest one.
function lag() {
  const value = h('span'), bar = h('progress', { 'aria-hidden': 'true', max: 1 });
  return updating(h('span', { class: 'lag' }, bar, value), (p) => {
    text(value, count(p.lag));
    bar.value = p.lag / p.most;
  });
}

function memberTable() {
  return new Table('Members', [
    { name: 'Member', text: (m) => m.member },
    { name: 'Reads', text: (m) => m.topics.join(', ') },
    { name: 'Has', text: (m) => places(m.assigned) },
    { name: 'Gives up', text: (m) => places(m.revoked) },
    { name: 'Session', text: (m) => duration(m.session_ms) },
  ], (m) => m.member, 'No members: who reads in this group commits offsets and says no more.');
}

const places = (list) => list.map((p) => `${p.topic}/${p.partition}`).join(', ') || 'nothing';
