// Calling the server. One function, one kind of error.
//
// Redirects are not followed: a follower sends writes to the leader, which is another origin, and the token is for the
// origin that it was typed for (a browser would not take it along anyway, and the policy of the page forbids the call).
// The error then says where the leader's console is.

import { token, renew } from './session.js';

// Failure is an answer that is not a success, or the lack of one. status 0: there was none.
export class Failure extends Error {
  constructor(status, code, message, fields = {}) {
    super(message);
    Object.assign(this, { status, code, fields });
  }
}

// address is a path with its variables encoded: address`/kv/${ns}/${key}`.
export function address(strings, ...values) {
  return strings.reduce((out, part, i) => out + encodeURIComponent(values[i - 1]) + part);
}

function withQuery(path, query = {}) {
  const pairs = Object.entries(query).filter(([, v]) => v !== undefined && v !== null && v !== '');
  return pairs.length ? `${path}?${pairs.map(([k, v]) => `${k}=${encodeURIComponent(v)}`).join('&')}` : path;
}

// open sends a request and returns the response once its head is there. A refused token is asked for again.
export async function open(method, path, { query, body, headers = {}, signal } = {}) {
  for (;;) {
    const used = token();
    const authorization = used ? { Authorization: `Bearer ${used}` } : {};
    const response = await send(withQuery(path, query), { method, body, signal, headers: { ...headers, ...authorization } });
    if (response.type === 'opaqueredirect') throw await elsewhere(signal);
    if (response.status !== 401) return response;
    await renew(used);
    signal?.throwIfAborted();
  }
}

async function send(path, options) {
  try {
    return await fetch(path, { ...options, redirect: 'manual', cache: 'no-store', credentials: 'omit' });
  } catch (e) {
    if (options.signal?.aborted) throw e;
    throw new Failure(0, 'unreachable', 'The server cannot be reached.');
  }
}

// call sends a request and returns its answer: {status, data, headers, ms}. data is what the JSON says.
export async function call(method, path, options = {}) {
  const started = performance.now();
  const response = await open(method, path, options);
  const content = await response.text();
  const ms = performance.now() - started;
  let data = content;
  if (response.headers.get('content-type')?.startsWith('application/json')) data = JSON.parse(content);
  if (!response.ok && !options.any) throw failure(response, data);
  return { status: response.status, data, headers: response.headers, ms };
}

// get is call for what is read as JSON.
export async function get(path, options) {
  return (await call('GET', path, options)).data;
}

// failure is what an answer says of itself, in words.
export function failure(response, data) {
  const { error = 'error', message = `The server answered ${response.status}.`, ...fields } = data ?? {};
  const said = message[0].toUpperCase() + message.slice(1);
  const words = response.status === 403 ? `Your token is not enough for this: ${message}. Sign out and use another one.` : said;
  return new Failure(response.status, error, words, fields);
}

// elsewhere is the failure of a write that another node must do.
async function elsewhere(signal) {
  let leader = null;
  try {
    ({ leader } = await get('/metrics_ha', { headers: { Accept: 'application/json' }, signal }));
  } catch (e) {
    if (signal?.aborted) throw e;
  }
  const who = leader ? `${leader.node_id} does` : 'another node does';
  return new Failure(307, 'redirect_to_leader', `Nothing was changed: this node does not lead, ${who}.`, { leader });
}

// consoleOf is the address of a node's console, or null if none is known that keeps to this page's scheme.
export function consoleOf(node) {
  const secure = location.protocol === 'https:';
  const host = secure ? node?.https_addr : node?.http_addr;
  return host ? `${location.protocol}//${host}/console${location.hash}` : null;
}
