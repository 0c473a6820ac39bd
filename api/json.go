package api

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
)

// decodeJSON reads exactly one JSON value with no unknown field into v.
func decodeJSON(body []byte, v any) error {
	if len(body) == 0 {
		return errBadJSON.with("the request body is empty")
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
			return errUnknownField.with("unknown field %s", name)
		}
		return errBadJSON.with("%s", strings.TrimPrefix(err.Error(), "json: "))
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errBadJSON.with("more than one JSON value")
	}
	return nil
}

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }

const hexDigits = "0123456789abcdef"

// appendJSONString appends s as a JSON string. s must be valid UTF-8 where the answer has to be.
func appendJSONString(b, s []byte) []byte {
	b = append(b, '"')
	from := 0
	for i, c := range s {
		if c >= 0x20 && c != '"' && c != '\\' {
			continue
		}
		b = append(b, s[from:i]...)
		from = i + 1
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, '\\', 'n')
		case '\r':
			b = append(b, '\\', 'r')
		case '\t':
			b = append(b, '\\', 't')
		default:
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	return append(append(b, s[from:]...), '"')
}

// appendBytes appends `"name":"text"`, or `"name_b64":"base64"` when asked to or when the bytes
// are not UTF-8, so that nothing is ever altered.
func appendBytes(b []byte, name string, v []byte, b64 bool) []byte {
	b = append(b, '"')
	b = append(b, name...)
	if b64 || !utf8.Valid(v) {
		b = append(b, `_b64":"`...)
		b = base64.StdEncoding.AppendEncode(b, v)
		return append(b, '"')
	}
	b = append(b, '"', ':')
	return appendJSONString(b, v)
}
