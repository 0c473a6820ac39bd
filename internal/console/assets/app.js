// The frame of the console: which view is shown, what the node says of itself, the theme, signing out.
//
// A view is a module with a function show({main, args, signal, say}). It builds its page in main once and keeps it up to
// date until signal is aborted, which happens when another view is chosen. The address is #/view/argument….

import { h, text } from './dom.js';
import { call, consoleOf } from './api.js';
import { Notice, poll, words } from './poll.js';
import * as session from './session.js';
import * as overview from './overview.js';
import * as topics from './topics.js';
import * as groups from './groups.js';
import * as tail from './tail.js';
import * as produce from './produce.js';
import * as kv from './kv.js';
import * as latency from './latency.js';

const views = [
  ['', 'Overview', overview], ['topics', 'Topics', topics], ['groups', 'Groups', groups], ['tail', 'Tail', tail],
  ['produce', 'Produce', produce], ['kv', 'Keys', kv], ['latency', 'Latency', latency],
];

const main = document.getElementById('main');
const news = document.getElementById('news');
const menu = document.getElementById('menu');
const nav = document.getElementById('nav');
let current = new AbortController();
let fading;

// say tells news, on the screen for a while and by voice.
function say(message) {
  clearTimeout(fading);
  news.textContent = message;
  fading = setTimeout(() => { news.textContent = ''; }, 8000);
}

function route() {
  const args = location.hash.replace(/^#\/?/, '').split('/').map(decode);
  return { view: views.find(([name]) => name === args[0]) ?? views[0], args };
}

function decode(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

// show goes to the view of the address. Whoever came by a link inside finds the focus on the new heading.
async function show(arriving) {
  current.abort();
  const { signal } = current = new AbortController();
  const { view: [name, title, view], args } = route();
  document.title = `${[...args.slice(1).filter(Boolean), title].join(' · ')} – Ayder`;
  for (const link of nav.querySelectorAll('a')) {
    if (link.dataset.view === name) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  openMenu(false);
  main.replaceChildren();
  main.dataset.view = name || 'overview';
  try {
    const showing = view.show({ main, args, signal, say });
    if (!arriving) headline();
    await showing;
  } catch (e) {
    if (signal.aborted) return;
    const notice = new Notice();
    if (!main.querySelector('h1')) main.append(h('h1', { tabindex: -1 }, title));
    main.append(notice.node);
    notice.show(e);
  }
}

function headline() {
  const heading = main.querySelector('h1');
  heading?.setAttribute('tabindex', '-1');
  heading?.focus();
  scrollTo(0, 0);
}

function openMenu(open) {
  menu.setAttribute('aria-expanded', String(open));
  nav.classList.toggle('open', open);
}

// watchNode keeps the line in the bar, and on a follower the link to the leader.
function watchNode() {
  const line = document.getElementById('node');
  const dot = h('span', { class: 'dot', 'aria-hidden': 'true' });
  const said = h('span');
  const leader = h('p', { class: 'notice info', hidden: true });
  let followed = null;
  line.append(dot, said);
  main.before(leader);
  const notice = { clear() {}, show: () => condition('bad', 'not reachable') };
  function condition(kind, says) {
    line.className = `node ${kind}`;
    text(said, says);
  }
  poll(new AbortController().signal, notice, async () => {
    const ready = await call('GET', '/ready', { any: true });
    const status = await call('GET', '/metrics_ha', { any: true, headers: { Accept: 'application/json' } });
    const { node_id, role, leader: leads } = status.status === 200 ? status.data : {};
    const name = node_id === 'single' ? 'single node' : [node_id, role].filter(Boolean).join(', ');
    condition(ready.data.ready ? 'good' : 'bad', [name, ready.data.ready ? 'ready' : ready.data.reason].filter(Boolean).join(' · '));
    followed = role && role !== 'leader' ? leads : null;
    showLeader();
  }, 3000);
  addEventListener('hashchange', showLeader);

  // showLeader has the link lead to the view that is open here.
  function showLeader() {
    leader.hidden = !followed;
    const key = JSON.stringify(followed) + location.hash;
    if (!followed || leader.dataset.key === key) return;
    leader.dataset.key = key;
    const where = consoleOf(followed) ? '' : ' This node knows no address of it for this kind of connection.';
    const message = `This node follows ${followed.node_id}: it shows what it has, and changes are made there.${where}`;
    leader.replaceChildren(...words({ code: 'redirect_to_leader', fields: { leader: followed }, message }));
  }
}

function watchTheme() {
  const button = document.getElementById('theme');
  const root = document.documentElement;
  const name = () => root.dataset.theme ?? 'system';
  const label = () => button.replaceChildren(h('span', { class: 'prefix' }, 'Theme: '), name());
  button.addEventListener('click', () => {
    const next = { system: 'light', light: 'dark', dark: 'system' }[name()];
    if (next === 'system') {
      delete root.dataset.theme;
      localStorage.removeItem('ayder.theme');
    } else {
      root.dataset.theme = next;
      localStorage.setItem('ayder.theme', next);
    }
    label();
  });
  label();
}

nav.append(h('ul', {}, views.map(([name, title]) => h('li', {}, h('a', { href: `#/${name}`, 'data-view': name }, title)))),
  h('p', { class: 'aside' }, h('a', { href: '/docs' }, 'Documentation')));
menu.addEventListener('click', () => openMenu(menu.getAttribute('aria-expanded') !== 'true'));
nav.addEventListener('keydown', (e) => {
  if (e.key === 'Escape' && nav.classList.contains('open')) {
    openMenu(false);
    menu.focus();
  }
});
document.getElementById('skip').addEventListener('click', (e) => {
  e.preventDefault();
  main.focus();
});
document.getElementById('sign-out').addEventListener('click', () => {
  session.forget();
  location.reload();
});
addEventListener('hashchange', () => show(false));
watchTheme();
if (!session.token()) await session.ask();
watchNode();
show(true);
