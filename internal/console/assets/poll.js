// Looking again every so often, while somebody can see it.
//
// A failure is told once, at the top of the view, and the view keeps what it shows; the next success takes it away.

import { h } from './dom.js';
import { consoleOf } from './api.js';
import { clock } from './format.js';

export const pollMs = 2000;

// poll runs task now and every ms until signal is aborted; notice says what goes wrong.
export async function poll(signal, notice, task, ms = pollMs) {
  while (!signal.aborted) {
    try {
      if (!document.hidden) {
        await task();
        notice.clear();
      }
    } catch (e) {
      if (signal.aborted) return;
      notice.show(e);
    }
    await pause(ms, signal);
  }
}

// pause waits; it ends early, without an error, when signal is aborted.
export function pause(ms, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener('abort', () => { clearTimeout(timer); resolve(); }, { once: true });
  });
}

// Notice is a place for what went wrong.
export class Notice {
  constructor() {
    this.node = h('div', { class: 'notice', role: 'alert', hidden: true });
    this.said = '';
  }

  show(error) {
    if (this.said === error.message) return;
    this.said = error.message;
    const since = error.status === 0 ? ` Since ${clock(Date.now()).slice(0, 8)}; trying again.` : '';
    this.node.replaceChildren(...words(error), since);
    this.node.hidden = false;
  }

  clear() {
    this.said = '';
    this.node.hidden = true;
    this.node.replaceChildren();
  }
}

// words are an error's message, with a link where the leader has a console.
export function words(error) {
  const link = error.code === 'redirect_to_leader' && consoleOf(error.fields.leader);
  return link ? [error.message, ' ', h('a', { href: link }, 'Open the leader’s console')] : [error.message];
}
