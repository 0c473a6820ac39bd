// Dialogs: the browser's own, which keep the focus inside, close on Escape and give the focus back.

import { h, field } from './dom.js';
import { Notice } from './poll.js';

let dialogs = 0;

// form opens a dialog with fields. submit does the work; while it fails the dialog stays and says why. Resolves to what
// submit returned, or to undefined if the user thought better of it.
export function form({ title, content, action, danger = false, submit }) {
  return new Promise((resolve) => {
    const id = `dialog-${++dialogs}`;
    const notice = new Notice();
    const button = h('button', { type: 'submit', class: danger ? 'danger' : 'primary' }, action);
    const body = h('form', { method: 'dialog' },
      h('h2', { id }, title), notice.node, content,
      h('div', { class: 'actions' }, h('button', { type: 'button', onclick: () => dialog.close() }, 'Cancel'), button));
    const dialog = h('dialog', { 'aria-labelledby': id }, body);
    let result;
    body.addEventListener('submit', async (e) => {
      e.preventDefault();
      if (button.disabled) return;
      button.disabled = true;
      try {
        result = await submit();
        dialog.close();
      } catch (error) {
        notice.clear();
        notice.show(error);
      } finally {
        button.disabled = false;
      }
    });
    dialog.addEventListener('close', () => { dialog.remove(); resolve(result); });
    document.body.append(dialog);
    dialog.showModal();
    (body.querySelector('input, select, textarea') ?? button).focus();
  });
}

// confirm asks before something is destroyed; the user types its name.
export function confirm({ title, text, name, action, submit }) {
  const typed = h('input', { autocomplete: 'off', spellcheck: 'false' });
  return form({
    title, action, danger: true,
    content: [h('p', {}, text), field(`Type ${name} to confirm`, typed)],
    submit() {
      if (typed.value !== name) throw new Error(`That is not ${name}.`);
      return submit();
    },
  });
}
