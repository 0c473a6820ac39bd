// Making and changing elements. Text goes in as text nodes and nothing is ever parsed as HTML, whatever a topic, a key or
// a message is called.
//
// Pages are built once and then updated in place: what is replaced while somebody reads it with a screen reader, or
// stands on it with the keyboard, is lost to them.

const svgNamespace = 'http://www.w3.org/2000/svg';

// h makes an element. Properties: on… are listeners, class and others attributes; true is an empty attribute, and
// false, null and undefined are none. Children: nodes, strings, lists of them.
export function h(tag, properties = {}, ...children) {
  return fill(document.createElement(tag), properties, children);
}

// s is h for SVG.
export function s(tag, properties = {}, ...children) {
  return fill(document.createElementNS(svgNamespace, tag), properties, children);
}

function fill(element, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (value !== false && value != null) element.setAttribute(name, value === true ? '' : value);
  }
  element.append(...children.flat(Infinity).filter((c) => c != null && c !== false));
  return element;
}

// text changes an element's text, if it is another one.
export function text(element, value) {
  if (element.textContent !== value) element.textContent = value;
}

let labels = 0;

// field is a labelled control. Further nodes stand below it; the last of them may be a hint, which then describes it.
export function field(label, control, hint) {
  control.id ||= `field-${++labels}`;
  const below = hint ? h('small', { class: 'hint', id: `${control.id}-hint` }, hint) : null;
  if (below) control.setAttribute('aria-describedby', below.id);
  return h('div', { class: 'field' }, h('label', { for: control.id }, label), control, below);
}

// select is a list to choose from, of values or of [value, text].
export function select(properties, options) {
  return h('select', properties, options.map((o) => {
    const [value, shown] = Array.isArray(o) ? o : [o, o];
    return h('option', { value }, String(shown));
  }));
}

// badge is a word with a colour; the word says it all.
export function badge(kind, word) {
  return h('span', { class: `badge ${kind}` }, word);
}

// Table is a table whose rows are kept by key. On a phone each row becomes a card: that takes the meaning from the
// elements in some browsers, so their roles are spelled out.
export class Table {
  // columns: {name, num, text(row)} or {name, node(row)}, the latter made once per row; a node may have update(row).
  constructor(caption, columns, key, empty = 'Nothing yet.') {
    this.columns = columns;
    this.key = key;
    this.rows = new Map();
    this.body = h('tbody', { role: 'rowgroup' });
    this.empty = h('p', { class: 'empty', hidden: true }, empty);
    this.table = h('table', { role: 'table' },
      h('caption', { class: 'unseen' }, caption),
      h('thead', { role: 'rowgroup' }, h('tr', { role: 'row' },
        columns.map((c) => h('th', { role: 'columnheader', scope: 'col', class: c.num ? 'num' : false }, c.name)))),
      this.body);
    this.node = h('div', { class: 'table' }, this.table, this.empty);
  }

  update(rows) {
    const gone = new Set(this.rows.keys());
    let place = this.body.firstChild;
    for (const row of rows) {
      const key = this.key(row);
      gone.delete(key);
      let line = this.rows.get(key);
      if (!line) this.rows.set(key, line = this.make(row));
      if (line.row === place) place = place.nextSibling;
      else this.body.insertBefore(line.row, place);
      for (const set of line.setters) set(row);
    }
    for (const key of gone) {
      this.rows.get(key).row.remove();
      this.rows.delete(key);
    }
    this.table.hidden = rows.length === 0;
    this.empty.hidden = rows.length > 0;
  }

  make(row) {
    const setters = [];
    const cells = this.columns.map((c, i) => {
      const cell = h(i ? 'td' : 'th', { role: i ? 'cell' : 'rowheader', scope: i ? false : 'row', 'data-label': c.name, class: c.num ? 'num' : false });
      if (c.text) {
        const value = cell.appendChild(h('span'));
        setters.push((r) => text(value, c.text(r)));
      } else {
        const node = cell.appendChild(c.node(row));
        if (node.update) setters.push(node.update);
      }
      return cell;
    });
    return { row: h('tr', { role: 'row' }, cells), setters };
  }
}

// updating gives a node an update that a Table calls.
export function updating(node, update) {
  node.update = update;
  return node;
}
