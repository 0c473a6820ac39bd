// The browser of keys and values: a namespace a page at a time, by prefix; one key with its value, and changing it only if
// nobody else did meanwhile (cas).

import { h, text, field, select, Table } from './dom.js';
import { address, call, get } from './api.js';
import { Notice } from './poll.js';
import { confirm, form } from './dialog.js';
import { asText, describe, fromBase64, hex } from './bytes.js';
import { bytes, count, duration } from './format.js';

const pageKeys = 50;
const remembered = 'ayder.namespaces';

export async function show(context) {
  const [, namespace, key] = context.args;
  return key === undefined ? showList(context, namespace ?? '') : showKey(context, namespace, key);
}

// Keys are bytes. In addresses, and as names of rows, they stand percent-encoded.
const encoded = (k) => (k.key !== undefined ? encodeURIComponent(k.key)
  : Array.from(fromBase64(k.key_b64), (b) => `%${b.toString(16).padStart(2, '0')}`).join(''));
const readable = (k) => k.key ?? `0x ${hex(fromBase64(k.key_b64))}`;
// A key that is not text cannot be decoded by the router, which then hands it on as it stands.
const pathOf = (namespace, key) => `/kv/${encodeURIComponent(namespace)}/${isEscaped(key) ? key : encodeURIComponent(key)}`;

function isEscaped(key) {
  if (!/^(%[0-9a-f]{2})+$/.test(key)) return false;
  try {
    decodeURIComponent(key);
    return false; // text that looks like it
  } catch {
    return true;
  }
}

async function showList({ main, signal, say }, namespace) {
  const notice = new Notice();
  const known = recall();
  const ns = h('input', { required: true, list: 'namespaces', value: namespace || known[0] || '', autocomplete: 'off', spellcheck: 'false' });
  const prefix = h('input', { autocomplete: 'off', spellcheck: 'false', placeholder: 'all keys' });
  const controls = h('form', { class: 'panel controls' }, field('Namespace', ns), field('Prefix', prefix),
    h('div', { class: 'actions' }, h('button', { type: 'submit', class: 'primary' }, 'Show'),
      h('button', { type: 'button', onclick: () => put({ namespace: ns.value, say, done: load }) }, 'Put a key')),
    h('datalist', { id: 'namespaces' }, known.map((n) => h('option', { value: n }))));
  const summary = h('p', { class: 'summary', role: 'status' });
  const table = keyTable(() => ns.value);
  const next = h('button', { type: 'button', hidden: true }, 'Next page');
  const first = h('button', { type: 'button', hidden: true }, 'First page');
  main.append(h('h1', {}, 'Keys'), controls, notice.node, summary, table.node, h('div', { class: 'actions' }, first, next));
  table.node.hidden = true;

  async function load(after) {
    notice.clear();
    try {
      const page = await get(address`/kv/${ns.value}`, { query: { prefix: prefix.value, limit: pageKeys, after }, signal });
      remember(ns.value);
      text(summary, `${page.count === 1 ? '1 key' : `${count(page.count)} keys`}${after || page.truncated ? ' on this page' : ''}`);
      table.node.hidden = false;
      table.update(page.keys);
      next.hidden = !page.truncated || page.next_after === undefined;
      next.onclick = () => load(page.next_after);
      first.hidden = !after;
    } catch (e) {
      if (!signal.aborted) notice.show(e);
    }
  }
  first.onclick = () => load();
  controls.addEventListener('submit', (e) => {
    e.preventDefault();
    load();
  });
  if (ns.value) await load();
}

function keyTable(namespace) {
  return new Table('Keys', [
    { name: 'Key', node: (k) => h('a', { href: `#/kv/${encodeURIComponent(namespace())}/${encoded(k)}` }, readable(k)) },
    { name: 'Size', num: true, text: (k) => bytes(k.size) },
    { name: 'CAS', num: true, text: (k) => count(k.cas) },
    { name: 'Expires in', text: (k) => (k.ttl_ms === null ? 'never' : duration(k.ttl_ms)) },
  ], encoded, 'There is no such key.');
}

const recall = () => JSON.parse(sessionStorage.getItem(remembered) ?? '[]');

function remember(namespace) {
  sessionStorage.setItem(remembered, JSON.stringify([namespace, ...recall().filter((n) => n !== namespace)].slice(0, 20)));
}

async function showKey({ main, signal, say }, namespace, key) {
  const notice = new Notice();
  const shown = h('section', { class: 'panel', 'aria-label': 'Value' });
  const list = `#/kv/${encodeURIComponent(namespace)}`;
  const path = pathOf(namespace, key);
  let entry = null;
  const edit = h('button', { type: 'button', class: 'primary', disabled: true, onclick: () => put({ namespace, key, path, entry, say, done: load }) }, 'Change');
  const gone = h('button', { type: 'button', class: 'danger', disabled: true, onclick: () => remove({ key, path, entry, say, list }) }, 'Delete');
  main.append(h('p', { class: 'crumb' }, h('a', { href: '#/kv' }, 'Keys'), ' / ', h('a', { href: list }, namespace)),
    h('div', { class: 'head' }, h('h1', {}, key), h('div', { class: 'actions' }, edit, gone)), notice.node, shown);
  async function load() {
    notice.clear();
    try {
      const [value, meta] = await Promise.all([get(path, { signal }), get(`${path}/meta`, { signal })]);
      entry = { base64: value.value, cas: value.cas, ttl: meta.ttl_ms };
      showValue(shown, entry, meta.size);
    } catch (e) {
      if (signal.aborted) return;
      shown.replaceChildren();
      notice.show(e);
    }
    edit.disabled = gone.disabled = entry === null;
  }
  await load();
}

function showValue(section, { base64, cas, ttl }, size) {
  const value = describe({ base64 });
  const facts = [['Size', bytes(size)], ['CAS', count(cas)], ['Expires in', ttl === null ? 'never' : duration(ttl)]];
  section.replaceChildren(
    h('dl', { class: 'facts' }, facts.map(([name, v]) => h('div', {}, h('dt', {}, name), h('dd', {}, v)))),
    h('h2', {}, `Value (${value.kind})`), h('pre', {}, value.shown));
}

// put asks for a value and writes it: a new key, or entry, the one that is shown.
async function put({ namespace, key, path, entry, say, done }) {
  const content = entry ? asText(fromBase64(entry.base64)) : '';
  const inputs = {
    namespace: h('input', { required: true, value: namespace, autocomplete: 'off', spellcheck: 'false' }),
    key: h('input', { required: true, autocomplete: 'off', spellcheck: 'false' }),
    encoding: select({}, [['text', 'text'], ['base64', 'base64']]),
    value: h('textarea', { rows: 8, spellcheck: 'false' }),
    ttl: h('input', { type: 'number', min: 0, step: 'any', placeholder: 'never', value: entry?.ttl ? Math.ceil(entry.ttl / 1000) : '' }),
    guard: select({}, entry ? [['cas', `only if it is unchanged (CAS ${entry.cas})`], ['any', 'whatever it is now']]
      : [['new', 'only if it does not exist'], ['any', 'whatever it is now']]),
  };
  inputs.encoding.value = content === null ? 'base64' : 'text';
  inputs.value.value = content ?? entry.base64;
  const got = await form({
    title: entry ? `Change ${key}` : 'Put a key', action: 'Write',
    content: [!entry && [field('Namespace', inputs.namespace), field('Key', inputs.key)], field('Value is', inputs.encoding), field('Value', inputs.value),
      field('Expires in (seconds)', inputs.ttl), field('Write', inputs.guard)].flat().filter(Boolean),
    submit: () => write(path ?? address`/kv/${inputs.namespace.value}/${inputs.key.value}`, inputs, entry),
  });
  if (!got) return;
  say(`Written; its CAS is now ${got.data.cas}.`);
  await done();
}

async function write(path, { encoding, value, ttl, guard }, entry) {
  let body = value.value;
  if (encoding.value === 'base64') {
    try {
      body = fromBase64(body.replace(/\s/g, ''));
    } catch {
      throw new Error('The value is not base64.');
    }
  }
  const cas = { cas: entry?.cas, new: 0, any: undefined }[guard.value];
  return inWords(() => call('PUT', path, { query: { cas, ttl_ms: ttl.value ? Math.round(Number(ttl.value) * 1000) : undefined }, body }));
}

// inWords says what a conflict means.
async function inWords(change) {
  try {
    return await change();
  } catch (e) {
    if (e.code === 'cas_mismatch') {
      e.message = e.fields.current ? `Somebody has changed it meanwhile: its CAS is ${e.fields.current} now. Nothing was written.`
        : 'There is no such key any more. Nothing was written.';
    }
    throw e;
  }
}

async function remove({ key, path, entry, say, list }) {
  const gone = await confirm({
    title: 'Delete this key?', name: key, action: 'Delete the key', text: 'It is deleted only if nobody has changed it since it was shown.',
    submit: () => inWords(() => call('DELETE', path, { query: { cas: entry.cas } })),
  });
  if (!gone) return;
  location.hash = list;
  say(`The key ${key} is deleted.`);
}
