// The token: typed once, kept in the session storage of the tab, sent in a header and never part of an address.
//
// Whoever gets a 401 calls renew and tries again; all of them wait for the same dialog.

import { h, field } from './dom.js';

const place = 'ayder.token';
let asking = null;

export const token = () => sessionStorage.getItem(place) ?? '';

// ask has the user type a token and resolves when there is one.
export function ask(reason = '') {
  asking ??= new Promise((resolve) => open(reason, resolve)).finally(() => { asking = null; });
  return asking;
}

// renew is ask, unless somebody else has typed a newer token meanwhile.
export function renew(refused) {
  if (token() !== refused) return Promise.resolve();
  return ask(refused ? 'The server does not accept this token. It may have been changed or mistyped.' : '');
}

export function forget() {
  sessionStorage.removeItem(place);
}

function open(reason, resolve) {
  const input = h('input', { type: 'password', autocomplete: 'current-password', required: true, spellcheck: 'false' });
  const problem = h('p', { class: 'problem', role: 'alert' }, reason);
  const form = h('form', { method: 'dialog' },
    h('img', { src: '/console/icon.svg', alt: '', width: 40, height: 40 }),
    h('h2', { id: 'sign-in-title' }, 'Sign in'),
    h('p', {}, 'This server asks for a token. It is kept in this tab until you close it or sign out.'),
    problem,
    h('input', { autocomplete: 'username', value: 'token', hidden: true }), // password managers want one
    field('Token', input),
    h('div', { class: 'actions' }, h('button', { type: 'submit', class: 'primary' }, 'Sign in')));
  const dialog = h('dialog', { class: 'sign-in', id: 'sign-in', 'aria-labelledby': 'sign-in-title' }, form);
  dialog.addEventListener('cancel', (e) => e.preventDefault());
  form.addEventListener('submit', (e) => {
    e.preventDefault();
    const typed = input.value.trim();
    if (!/^[\x21-\x7e]+$/.test(typed)) {
      problem.textContent = 'A token has visible ASCII characters and no spaces.';
      return;
    }
    sessionStorage.setItem(place, typed);
    dialog.close();
  });
  dialog.addEventListener('close', () => {
    if (!token()) { // a browser may close it all the same when Escape is pressed twice
      dialog.showModal();
      return;
    }
    dialog.remove();
    resolve();
  });
  document.body.append(dialog);
  dialog.showModal();
  input.focus();
}
