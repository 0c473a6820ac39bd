// Server-sent events over fetch, because EventSource cannot send the token: the event stream format of the HTML standard,
// section 9.2, as far as this server uses it.

// parse calls onEvent with {id, event, data} for every event in a stream of bytes, and returns when it ends.
export async function parse(body, onEvent) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '', event = {}, lines = [];
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const parts = (rest + value).split('\n'); // the server ends lines so
    rest = parts.pop();
    for (const line of parts) {
      if (line === '') {
        if (lines.length) onEvent({ event: 'message', ...event, data: lines.join('\n') });
        event = {};
        lines = [];
        continue;
      }
      const colon = line.indexOf(':');
      const name = colon < 0 ? line : line.slice(0, colon);
      const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
      if (name === 'data') lines.push(value);
      else if (name === 'id' || name === 'event') event[name] = value;
    }
  }
}
