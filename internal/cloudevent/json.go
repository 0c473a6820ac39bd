package cloudevent

import (
	"encoding/base64"
	"strconv"
	"unicode/utf8"

	"ayder/internal/jsonscan"
)

// The JSON format: a text is checked as a whole first (JSON, UTF-8, whole surrogate pairs), then walked member by member. What stands in it
// stays where it is; only strings with escapes, base64 and headers take memory. Rejected: encoding/json into a map, which would lose
// repeated members and the data as it was written, and take ten times the memory of the text.

// Structured reads the event that is the JSON text b.
func (r *Reader) Structured(b []byte) (Event, *Error) {
	if err := r.checkText(b); err != nil {
		return Event{}, err
	}
	return r.object(b, jsonscan.SkipSpace(b, 0))
}

// Batch reads the array of events that is the JSON text b, at most so many.
func (r *Reader) Batch(b []byte, most int) (events []Event, err *Error) {
	if err := r.checkText(b); err != nil {
		return nil, err
	}
	i := jsonscan.SkipSpace(b, 0)
	if b[i] != '[' {
		return nil, wrong(nil, "a batch is a JSON array of events")
	}
	for i = jsonscan.SkipSpace(b, i+1); b[i] != ']'; {
		if len(events) == most {
			return nil, wrong(nil, "more than %d events", most)
		}
		e, err := r.object(b, i)
		if err != nil {
			err.Index = len(events)
			return nil, err
		}
		events = append(events, e)
		if i = jsonscan.SkipSpace(b, r.scanner.Skip(b, i)); b[i] == ',' {
			i = jsonscan.SkipSpace(b, i+1)
		}
	}
	return events, nil
}

func (r *Reader) checkText(b []byte) *Error {
	if !r.scanner.Valid(b) {
		return wrong(nil, "the body is not one JSON value")
	}
	if !utf8.Valid(b) || jsonscan.HasHalfPair(b) {
		return wrong(nil, "the body is not Unicode text; data that is none goes into data_base64")
	}
	return nil
}

// object reads the event at i of a text that was checked.
func (r *Reader) object(b []byte, i int) (Event, *Error) {
	if b[i] != '{' {
		return Event{}, wrong(nil, "an event is a JSON object")
	}
	r.begin()
	for i = jsonscan.SkipSpace(b, i+1); b[i] != '}'; {
		end, plain := jsonscan.String(b, i)
		name := r.text(b[i+1:end-1], plain)
		at := jsonscan.SkipSpace(b, jsonscan.SkipSpace(b, end)+1) // behind the colon
		end = r.scanner.Skip(b, at)
		if err := r.member(name, b[at:end]); err != nil {
			return Event{}, err
		}
		if i = jsonscan.SkipSpace(b, end); b[i] == ',' {
			i = jsonscan.SkipSpace(b, i+1)
		}
	}
	return r.end()
}

// text is what the content of a JSON string stands for.
func (r *Reader) text(s []byte, plain bool) []byte {
	if plain {
		return s
	}
	from := len(r.memory)
	r.memory = jsonscan.AppendText(r.memory, s)
	return r.memory[from:len(r.memory):len(r.memory)]
}

// member reads one member of an event.
func (r *Reader) member(name, value []byte) *Error {
	switch string(name) {
	case dataName:
		if r.data.json != nil {
			return wrong(name, "the member occurs twice")
		}
		r.data.json = value
		return nil
	case dataBase64Name:
		return r.base64(name, value)
	}
	text, err := r.canonical(name, value)
	if err != nil || text == nil {
		return err
	}
	return r.add(name, text)
}

func (r *Reader) base64(name, value []byte) *Error {
	switch {
	case string(value) == "null":
		return nil
	case r.data.base64 != nil:
		return wrong(name, "the member occurs twice")
	case value[0] != '"':
		return wrong(name, "a JSON string is needed")
	}
	_, plain := jsonscan.String(value, 0)
	text := r.text(value[1:len(value)-1], plain)
	b := make([]byte, base64.StdEncoding.DecodedLen(len(text)))
	n, err := base64.StdEncoding.Decode(b, text)
	if err != nil {
		return wrong(name, "the string is not base64")
	}
	r.data.base64 = b[:n:n]
	return nil
}

// canonical is the canonical string of an attribute's value, nil if it is unset.
func (r *Reader) canonical(name, value []byte) ([]byte, *Error) {
	switch c := value[0]; {
	case c == '"':
		_, plain := jsonscan.String(value, 0)
		return r.text(value[1:len(value)-1], plain), nil
	case c == 'n':
		return nil, nil
	case isCore(name):
		return nil, wrong(name, "a JSON string is needed")
	case c == 't' || c == 'f':
		return value, nil
	case c == '-' || c-'0' < 10:
		if n, err := strconv.ParseInt(string(value), 10, 32); err != nil || strconv.FormatInt(n, 10) != string(value) {
			return nil, wrong(name, "a number is an integer of 32 bits")
		}
		return value, nil
	}
	return nil, wrong(name, "a value is a string, an integer, a truth value or null")
}

// isCore tells whether an attribute is one that the specification defines, all of which are strings.
func isCore(name []byte) bool {
	switch string(name) {
	case "specversion", "id", "source", "type", dataTypeName, "dataschema", "subject", "time":
		return true
	}
	return false
}

// value is the event's data as bytes, and what it is: JSON without being said is application/json from here on, as
// section 3.1.2 of the JSON format wants it.
func (r *Reader) value(media []byte) (value, as []byte, err *Error) {
	d := &r.data
	switch {
	case d.json != nil && d.base64 != nil:
		return nil, nil, wrong([]byte(dataBase64Name), "an event has either data or data_base64")
	case d.base64 != nil:
		return d.base64, media, nil
	case d.json == nil:
		return d.bytes, media, nil
	case media == nil:
		return d.json, []byte("application/json"), nil
	case isJSONMedia(media):
		return d.json, media, nil
	case string(d.json) == "null":
		return nil, media, nil
	case d.json[0] != '"':
		return nil, nil, wrong([]byte(dataName), "data that is %s must be a JSON string, or data_base64", media)
	}
	_, plain := jsonscan.String(d.json, 0)
	return r.text(d.json[1:len(d.json)-1], plain), media, nil
}
