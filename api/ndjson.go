package api

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"unicode/utf8"

	"ayder/engine"
	"ayder/internal/jsonscan"
	"ayder/internal/record"
)

// NDJSON: many messages in one request, all or nothing, to one partition, in one batch.
//
// Nothing is appended before every line was found good, because a batch cannot be taken back. Lines stay
// the bytes they came as; only with ?envelope=1 are they decoded.

// lines is what reading an NDJSON body found. The zero value: it was not read yet.
type lines struct {
	count     int
	envelopes []record.Record // with ?envelope=1; they own their bytes
}

// produceNDJSON appends every line of the body as one message, all or none, in one batch of one
// partition. The body is read twice: once to be sure of every line, once to append. A large body is
// read the first time by another goroutine: checking it takes milliseconds, appending it does not.
func produceNDJSON(l *loop, x *exchange) (reply, error) {
	if x.lines.count == 0 {
		if len(x.body) > inlineLinesBytes {
			return l.readLinesElsewhere(x)
		}
		var err error
		if x.lines, err = readLines(x.body, x.args.envelope); err != nil {
			return reply{}, err
		}
	}
	headers, err := l.messageHeaders(x.req)
	if err != nil {
		return reply{}, err
	}
	p, c, r, err := l.target(x, x.lines.count, x.lines.count*(record.RecordHeaderBytes+len(x.args.key)+len(headers)))
	if p == nil {
		return r, err
	}
	many, dup, err := l.begin(x, p, c, uint32(x.lines.count))
	if err != nil {
		return reply{}, produceError(err, p)
	}
	if dup.Duplicate {
		return l.appended(x, p, c, dup, owedNDJSON)
	}
	m := record.Record{TimeMs: l.eventTime(x, c), HasKey: x.args.has(pKey), Key: x.args.key, Headers: headers}
	if x.args.envelope {
		addEnvelopes(&many, x.lines.envelopes, &m)
	} else {
		addLines(&many, x.body, &m)
	}
	if c == nil {
		return l.launched(x, p, many.End(), owedNDJSON), nil
	}
	return l.appended(x, p, c, many.End(), owedNDJSON)
}

// addLines appends every line of body with what else m holds.
func addLines(many *engine.Many, body []byte, m *record.Record) {
	for len(body) > 0 {
		m.Value, body = nextLine(body)
		if len(m.Value) > 0 {
			many.Add(m)
		}
	}
}

// addEnvelopes appends decoded messages. What a line did not say is the request's, which is in m.
func addEnvelopes(many *engine.Many, envelopes []record.Record, m *record.Record) {
	for i := range envelopes {
		e := &envelopes[i]
		if e.TimeMs == timeUnset {
			e.TimeMs = m.TimeMs
		}
		if !e.HasKey {
			e.HasKey, e.Key = m.HasKey, m.Key
		}
		if e.Headers == nil {
			e.Headers = m.Headers
		}
		many.Add(e)
	}
}

// readLinesElsewhere has the body read by a readers goroutine; the request goes on here when that is done.
func (l *loop) readLinesElsewhere(x *exchange) (reply, error) {
	l.exclude(x.conn)
	envelope, c := x.args.envelope, x.cloned()
	ok := l.server.readers.add(func(Reader) {
		found, err := readLines(c.body, envelope)
		c.lines = found
		l.goOn(c, err)
	})
	if !ok {
		return reply{}, errOverloaded
	}
	return reply{later: true}, nil
}

// readLines checks the lines of a body and decodes them if they are envelopes.
func readLines(body []byte, envelope bool) (found lines, err error) {
	if found.count, err = checkLines(body); err != nil {
		return lines{}, err
	}
	if envelope {
		found.envelopes, err = readEnvelopes(body)
	}
	return found, err
}

// nextLine splits the first line off b, without its newline and without a carriage return before it.
func nextLine(b []byte) (line, rest []byte) {
	line = b
	if i := bytes.IndexByte(b, '\n'); i >= 0 {
		line, rest = b[:i], b[i+1:]
	}
	if n := len(line); n > 0 && line[n-1] == '\r' {
		line = line[:n-1]
	}
	return line, rest
}

// checkLines counts the lines of an NDJSON body and verifies that each is one JSON value.
func checkLines(body []byte) (n int, err error) {
	var scanner jsonscan.Scanner
	number := 0
	for rest := body; len(rest) > 0; {
		var line []byte
		line, rest = nextLine(rest)
		number++
		if len(line) == 0 {
			continue
		}
		if !scanner.Valid(line) {
			return 0, errBadNDJSON.with("line %d is not one JSON value; nothing was appended", number)
		}
		if n++; n > ndjsonLinesMax {
			return 0, errTooLarge.with("more than %d lines", ndjsonLinesMax)
		}
	}
	if n == 0 {
		return 0, errEmptyNDJSON
	}
	return n, nil
}

// envelope is one line of an NDJSON body with ?envelope=1.
type envelope struct {
	Value    json.RawMessage   `json:"value"` // not a pointer: null is a value, too
	ValueB64 *string           `json:"value_b64"`
	Key      *string           `json:"key"`
	KeyB64   *string           `json:"key_b64"`
	Headers  map[string]string `json:"headers"`
	TimeMs   *uint64           `json:"ts_ms"`
}

var envelopeFields = fieldsOf(envelope{})

func readEnvelopes(body []byte) ([]record.Record, error) {
	var out []record.Record
	number := 0
	for rest := body; len(rest) > 0; {
		var line []byte
		line, rest = nextLine(rest)
		number++
		if len(line) == 0 {
			continue
		}
		r, err := readEnvelope(line)
		if err != nil {
			return nil, errBadNDJSON.with("line %d: %v; nothing was appended", number, err)
		}
		out = append(out, r)
	}
	return out, nil
}

// timeUnset marks a record without a time of its own. No client can send it.
const timeUnset = 1<<64 - 1

func readEnvelope(line []byte) (r record.Record, err error) {
	var e envelope
	switch err = decodeJSON(line, &e, envelopeFields); {
	case err != nil:
		return r, err
	case !utf8.Valid(line) || jsonscan.HasHalfPair(line): // decoding has put U+FFFD in their place
		return r, errBadJSON.with("it is not Unicode text; bytes can be sent as value_b64 and key_b64")
	case (e.Value == nil) == (e.ValueB64 == nil):
		return r, errBadJSON.with("exactly one of value and value_b64 is needed")
	case e.Key != nil && e.KeyB64 != nil:
		return r, errBadJSON.with("only one of key and key_b64 may be given")
	case e.TimeMs != nil && *e.TimeMs >= 1<<63:
		return r, errBadJSON.with("ts_ms is above 2^63-1")
	}
	r.TimeMs = timeUnset
	if e.TimeMs != nil {
		r.TimeMs = *e.TimeMs
	}
	if r.Value, err = valueOf(&e); err != nil {
		return r, err
	}
	if r.Key, r.HasKey, err = keyOf(&e); err != nil {
		return r, err
	}
	return r, appendEnvelopeHeaders(&r, e.Headers)
}

// keyOf is the message's key, if the envelope has one.
func keyOf(e *envelope) (key []byte, has bool, err error) {
	switch {
	case e.Key != nil:
		key, has = []byte(*e.Key), true
	case e.KeyB64 != nil:
		if key, err = base64.StdEncoding.DecodeString(*e.KeyB64); err != nil {
			return nil, false, errBadJSON.with("key_b64 is not base64")
		}
		has = true
	}
	if len(key) > keyBytesMax {
		return nil, false, errBadKey
	}
	return key, has, nil
}

// valueOf is the message: the text of a JSON string, the JSON itself of any other value, or the
// bytes that value_b64 stands for.
func valueOf(e *envelope) ([]byte, error) {
	if e.ValueB64 != nil {
		b, err := base64.StdEncoding.DecodeString(*e.ValueB64)
		if err != nil {
			return nil, errBadJSON.with("value_b64 is not base64")
		}
		return b, nil
	}
	if e.Value[0] != '"' {
		return e.Value, nil
	}
	var s string
	if err := json.Unmarshal(e.Value, &s); err != nil {
		return nil, err
	}
	return []byte(s), nil
}

func appendEnvelopeHeaders(r *record.Record, headers map[string]string) error {
	if len(headers) > headersMax {
		return errBadHeader
	}
	if headers != nil {
		r.Headers = []byte{} // none of the request's
	}
	for _, name := range sortedKeys(headers) {
		if len(name) == 0 || len(name) > record.HeaderNameMax {
			return errBadHeader
		}
		r.Headers = record.AppendHeader(r.Headers, []byte(name), []byte(headers[name]))
	}
	return nil
}
