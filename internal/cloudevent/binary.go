package cloudevent

import (
	"bytes"
	"unicode/utf8"
)

// Binary mode: attributes are HTTP headers named ce-, the body is the data, and Content-Type is what it is.
//
//	r.Begin()
//	r.Header(name, value)        for every header of the request; others than ce-… are passed over
//	e, err := r.Body(contentType, body)
//
// A value is unquoted if it is in double quotes (earlier versions of the binding did that), and percent-decoded once.

const httpPrefix = "ce-"

// Begin begins an event.
func (r *Reader) Begin() { r.begin() }

// Header takes a header if it is an attribute.
func (r *Reader) Header(name, value []byte) *Error {
	if len(name) < len(httpPrefix) || !bytes.EqualFold(name[:len(httpPrefix)], []byte(httpPrefix)) {
		return nil
	}
	from := len(r.memory)
	r.memory = append(r.memory, name[len(httpPrefix):]...)
	name = r.memory[from:len(r.memory):len(r.memory)]
	for i, c := range name {
		if c-'A' < 26 {
			name[i] = c | 0x20
		}
	}
	if string(name) == dataTypeName {
		return wrong(name, "in binary mode Content-Type says what the data is, and nothing else may")
	}
	from = len(r.memory)
	var ok bool
	if r.memory, ok = unescape(r.memory, value); !ok {
		return wrong(name, "the header has a broken percent escape, or quotes that do not end")
	}
	value = r.memory[from:len(r.memory):len(r.memory)]
	if !utf8.Valid(value) {
		return wrong(name, "the header does not stand for UTF-8")
	}
	return r.add(name, value)
}

// Body ends the event.
func (r *Reader) Body(media, body []byte) (Event, *Error) {
	if media != nil {
		if err := check([]byte(dataTypeName), media); err != nil {
			return Event{}, wrong([]byte(dataTypeName), "the Content-Type %q is not a media type (RFC 2046)", media)
		}
		r.attributes = append(r.attributes, attribute{[]byte(dataTypeName), media})
	}
	r.data.bytes = body
	return r.end()
}

// unescape appends what a header's value stands for.
func unescape(b, v []byte) ([]byte, bool) {
	if v = bytes.TrimSpace(v); len(v) > 0 && v[0] == '"' {
		return unescapeQuoted(b, v[1:])
	}
	for i := 0; i < len(v); i++ {
		if v[i] != '%' {
			b = append(b, v[i])
			continue
		}
		if len(v)-i < 3 || unhex(v[i+1]) < 0 || unhex(v[i+2]) < 0 {
			return b, false
		}
		b = append(b, byte(unhex(v[i+1])<<4|unhex(v[i+2])))
		i += 2
	}
	return b, true
}

// unescapeQuoted does it for a quoted string, whose first quote is gone.
func unescapeQuoted(b, v []byte) ([]byte, bool) {
	var plain []byte
	for i := 0; i < len(v); i++ {
		switch v[i] {
		case '"':
			if i != len(v)-1 || len(plain) > 0 && plain[0] == '"' {
				return b, false
			}
			return unescape(b, plain)
		case '\\':
			if i++; i == len(v) {
				return b, false
			}
		}
		plain = append(plain, v[i])
	}
	return b, false
}
