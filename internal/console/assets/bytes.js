// Bytes that may be text, JSON, or anything: reading them, showing them.
//
// JSON is indented by looking at its punctuation, not by parsing and writing it again: that would round large numbers.

export const fromBase64 = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
export const fromHex = (text) => Uint8Array.from(text.match(/../g) ?? [], (pair) => parseInt(pair, 16));
export const hex = (bytes) => Array.from(bytes, (b) => b.toString(16).padStart(2, '0')).join(' ');

// asText returns bytes as text, or null if they are none.
export function asText(bytes) {
  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    return /[\x00-\x08\x0e-\x1a\x1c-\x1f]/.test(text) ? null : text;
  } catch {
    return null;
  }
}

export function isJSON(text) {
  if (!/^\s*[[{]/.test(text)) return false;
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

// indent lays out a text that is JSON.
export function indent(json) {
  let out = '', depth = 0;
  const line = () => '\n' + '  '.repeat(depth);
  const tokens = json.match(/"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s{}[\],:"]+/g) ?? [];
  tokens.forEach((t, i) => {
    if (t === '{' || t === '[') {
      depth++;
      out += t + (/[}\]]/.test(tokens[i + 1]) ? '' : line());
    } else if (t === '}' || t === ']') {
      depth--;
      out += (/[{[]/.test(tokens[i - 1]) ? '' : line()) + t;
    } else if (t === ',') out += t + line();
    else out += t === ':' ? ': ' : t;
  });
  return out;
}

const dumpBytesMax = 4096; // shown as hex; more of them help nobody

// dump shows bytes in hex and ASCII, eight a line so that it fits on a phone.
export function dump(bytes) {
  const lines = [];
  for (let at = 0; at < Math.min(bytes.length, dumpBytesMax); at += 8) {
    const part = bytes.subarray(at, at + 8);
    const ascii = Array.from(part, (b) => (b > 31 && b < 127 ? String.fromCharCode(b) : '·')).join('');
    lines.push(`${at.toString(16).padStart(4, '0')}  ${hex(part).padEnd(23)}  ${ascii}`);
  }
  if (bytes.length > dumpBytesMax) lines.push(`… ${bytes.length - dumpBytesMax} more bytes`);
  return lines.join('\n');
}

// describe says what bytes are and how to show them: {kind, shown, preview}. given: {text} or {base64}.
export function describe({ text, base64 }) {
  if (text == null) {
    const bytes = fromBase64(base64);
    text = asText(bytes);
    if (text === null) return { kind: 'binary', shown: dump(bytes), preview: hex(bytes.subarray(0, 32)), base64 };
  }
  const preview = text.slice(0, 300).replace(/\s+/g, ' ');
  if (isJSON(text)) return { kind: 'JSON', shown: indent(text), preview };
  return { kind: text === '' ? 'empty' : 'text', shown: text, preview };
}
