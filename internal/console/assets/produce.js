// Producing one message, and what the server said about it: where it is, whether it is durable, how long each step took.

import { h, field, select } from './dom.js';
import { address, call } from './api.js';
import { Notice } from './poll.js';
import { fromBase64, fromHex } from './bytes.js';
import { suggest } from './tail.js';
import { count, micros } from './format.js';

export async function show({ main, args, signal, say }) {
  const notice = new Notice();
  const answer = h('section', { class: 'panel answer', hidden: true, 'aria-label': 'Answer' });
  const page = inputs(args[1] ?? '');
  main.append(h('h1', {}, 'Produce'), page.node, notice.node, answer);
  suggest(page.names, signal);
  page.node.addEventListener('submit', async (e) => {
    e.preventDefault();
    if (page.send.disabled) return;
    page.send.disabled = true;
    notice.clear();
    try {
      const got = await send(page, signal);
      showAnswer(answer, got);
      say(`Written to partition ${got.data.partition} at offset ${got.data.offset}.`);
    } catch (error) {
      answer.hidden = true;
      notice.show(error);
    } finally {
      page.send.disabled = false;
    }
  });
}

function inputs(topicName) {
  const names = h('datalist', { id: 'produce-topics' });
  const plain = { autocomplete: 'off', spellcheck: 'false' };
  const page = {
    names,
    topic: h('input', { required: true, list: 'produce-topics', value: topicName, ...plain }),
    partition: h('input', { type: 'number', min: 0, max: 1023, placeholder: 'by key, or in turns' }),
    key: h('input', { placeholder: 'none', ...plain }),
    encoding: select({}, [['text', 'text'], ['base64', 'base64'], ['hex', 'hex']]),
    value: h('textarea', { rows: 7, spellcheck: 'false' }),
    headers: h('fieldset', {}, h('legend', {}, 'Headers')),
    send: h('button', { type: 'submit', class: 'primary' }, 'Produce'),
  };
  const more = h('button', { type: 'button', onclick: () => addHeader(page.headers, more) }, 'Add a header');
  page.headers.append(more);
  page.node = h('form', { class: 'panel' },
    h('div', { class: 'columns' }, field('Topic', page.topic), field('Partition', page.partition), field('Key', page.key), field('Value is', page.encoding)),
    field('Value', page.value), page.headers, h('div', { class: 'actions' }, page.send), names);
  return page;
}

// addHeader puts a pair of fields before the button that asks for it.
function addHeader(headers, more) {
  const name = h('input', { class: 'header-name', required: true, pattern: "[!#$%&'*+.^_`\\|~0-9A-Za-z\\-]+", autocomplete: 'off', spellcheck: 'false' });
  const value = h('input', { class: 'header-value', autocomplete: 'off', spellcheck: 'false' });
  const remove = h('button', { type: 'button', onclick: () => { pair.remove(); more.focus(); } }, 'Remove');
  const pair = h('div', { class: 'pair' }, field('Name', name), field('Value', value), remove);
  more.before(pair);
  name.focus();
}

async function send(page, signal) {
  const headers = { 'Content-Type': 'application/octet-stream' };
  for (const pair of page.headers.querySelectorAll('.pair')) {
    const name = pair.querySelector('.header-name').value, value = pair.querySelector('.header-value').value;
    if (/[^\x20-\x7e]/.test(value)) throw new Error(`The value of the header ${name} must be visible ASCII characters.`);
    headers[`X-Ayder-H-${name}`] = value;
  }
  const query = { partition: page.partition.value, key: page.key.value, timing: 1 };
  return call('POST', address`/broker/topics/${page.topic.value}/produce`, { query, headers, body: body(page), signal });
}

// body is the value as bytes.
function body({ encoding, value }) {
  const packed = value.value.replace(/\s/g, '');
  switch (encoding.value) {
    case 'base64':
      try {
        return fromBase64(packed);
      } catch {
        throw new Error('The value is not base64.');
      }
    case 'hex':
      if (!/^([0-9a-f]{2})*$/i.test(packed)) throw new Error('The value is not hex: two digits per byte.');
      return fromHex(packed);
  }
  return value.value;
}

const steps = [
  ['recv_parse_us', 'Receive and parse'], ['queue_us', 'Wait for the handler'], ['produce_us', 'Append'], ['sync_wait_us', 'Wait for the disk'],
];

function showAnswer(section, { data, ms }) {
  const durable = data.durable ? 'Durable: it survives a power cut.' : 'Not durable: it is in memory only.';
  const rows = [...steps.map(([name, label]) => [label, data[name]]), ['Until your browser had the answer', ms * 1000]];
  const most = Math.max(...rows.map(([, us]) => us));
  section.replaceChildren(
    h('h2', {}, 'Written'),
    h('p', {}, `Partition ${data.partition}, offset ${count(data.offset)}. ${durable}`),
    h('table', { class: 'steps' }, h('caption', { class: 'unseen' }, 'How long each step took'),
      h('tbody', {}, rows.map(([label, us]) => h('tr', {}, h('th', { scope: 'row' }, label),
        h('td', {}, h('progress', { max: 1, value: us / most, 'aria-hidden': 'true' })), h('td', { class: 'num' }, micros(us)))))),
    h('details', {}, h('summary', {}, 'The whole answer'), h('pre', {}, JSON.stringify(data, null, 2))));
  section.hidden = false;
}
