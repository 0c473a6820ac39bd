package api

import (
	"encoding/json"
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"

	"ayder/internal/jsonscan"
)

// JSON in and out. Bodies of commands are small and rare, so encoding/json reads them, strictly: one value, no
// unknown or repeated field, named in the error. What is written is written by appending, because answers
// and pages are the hot path.

// decodeCommand is decodeJSON for the body of a call that is not a message.
func decodeCommand(body []byte, v any, fields []string) error {
	if len(body) > jsonBodyMax {
		return errTooLarge.with("the body of this call is at most %d bytes", jsonBodyMax)
	}
	return decodeJSON(body, v, fields)
}

// decodeJSON reads exactly one JSON object into v, whose fields these are.
func decodeJSON(body []byte, v any, fields []string) error {
	if len(body) == 0 {
		return errBadJSON.with("the request body is empty")
	}
	var s jsonscan.Scanner
	if s.Valid(body) {
		if err := checkFields(&s, body, fields); err != nil {
			return err
		}
	}
	err := json.Unmarshal(body, v)
	var wrong *json.UnmarshalTypeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &wrong) && wrong.Field == "":
		return errBadJSON.with("a JSON object is needed here, not this %s", wrong.Value)
	case errors.As(err, &wrong):
		return errBadJSON.with("the field %q cannot be this %s", wrong.Field, wrong.Value)
	}
	return errBadJSON.with("%s", strings.TrimPrefix(err.Error(), "json: "))
}

// fieldsOf lists the JSON names of a struct's fields.
func fieldsOf(v any) (names []string) {
	t := reflect.TypeOf(v)
	for i := range t.NumField() {
		names = append(names, t.Field(i).Tag.Get("json"))
	}
	return names
}

// checkFields wants every member of the valid object b to be one of fields, spelled like that, and to
// occur once. encoding/json would take "Name" for "name", and the last of two.
func checkFields(s *jsonscan.Scanner, b []byte, fields []string) error {
	seen := make([]bool, len(fields))
	for name, rest := s.Member(b, jsonscan.SkipSpace(b, 0)); name != nil; name, rest = s.Member(b, rest) {
		var text string
		if err := json.Unmarshal(name, &text); err != nil {
			return errBadJSON.with("%v", err)
		}
		i := slices.Index(fields, text)
		if i < 0 {
			return errUnknownField.with("unknown field %q", text)
		}
		if seen[i] {
			return errBadJSON.with("the field %q occurs twice", text)
		}
		seen[i] = true
	}
	return nil
}

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }

// appendBytes appends `"name":"text"`, or `"name_b64":"base64"` when asked to or when the bytes
// are not UTF-8, so that nothing is ever altered.
func appendBytes(b []byte, name string, v []byte, b64 bool) []byte {
	b = append(b, '"')
	b = append(b, name...)
	if b64 || !utf8.Valid(v) {
		b = append(b, `_b64":"`...)
		b = appendBase64(b, v)
		return append(b, '"')
	}
	b = append(b, '"', ':')
	return jsonscan.AppendString(b, v)
}
