package cloudevent

import (
	"bytes"
	"encoding/json"
	"testing"

	"ayder/internal/jsonscan"
	"ayder/internal/record"
)

// again reads what an accepted event is rendered as: it must be accepted, and be the same message.
func again(t *testing.T, e *Event) {
	t.Helper()
	if len(e.ID) == 0 || len(e.Source) == 0 {
		t.Fatalf("accepted without id or source: %q", e.Headers)
	}
	var s jsonscan.Scanner
	m := record.Record{Value: e.Value, Headers: e.Headers, TimeMs: e.TimeMs}
	text := Append(nil, &m, Place{}, &s)
	if !json.Valid(text) || bytes.ContainsAny(text, "\r\n") {
		t.Fatalf("%q is rendered as %q", e.Headers, text)
	}
	var r Reader
	back, err := r.Structured(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	if !bytes.Equal(back.ID, e.ID) || !bytes.Equal(back.Source, e.Source) || !bytes.Equal(back.Key, e.Key) || back.TimeMs != e.TimeMs || back.HasTime != e.HasTime {
		t.Fatalf("%s is %+v, was %+v", text, back, e)
	}
	was, is := e.Value, back.Value
	if isJSONMedia(find(e.Headers, contentType)) && json.Valid(was) && json.Valid(is) { // white space around it, and line breaks in it, are not kept
		was, is = bytes.TrimSpace(jsonscan.AppendOnOneLine(nil, was)), bytes.TrimSpace(is)
	}
	if !bytes.Equal(was, is) {
		t.Fatalf("%s has the data %q, had %q", text, is, was)
	}
}

// FuzzStructured reads a body as an event and as a batch.
func FuzzStructured(f *testing.F) {
	for _, p := range published {
		f.Add([]byte(p.event))
		f.Add([]byte("[" + p.event + "," + p.event + "]"))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var r Reader
		e, err := r.Structured(b)
		if err == nil {
			again(t, &e)
			if !json.Valid(b) {
				t.Fatalf("%q is accepted", b)
			}
		} else if err.Message == "" {
			t.Fatalf("%q: an error without words", b)
		}
		events, err := r.Batch(b, 10)
		if err != nil {
			return
		}
		var all []json.RawMessage
		if err := json.Unmarshal(b, &all); err != nil || len(all) != len(events) {
			t.Fatalf("%q: %d events, %v", b, len(events), err)
		}
		for i := range events {
			again(t, &events[i])
			if one, err := new(Reader).Structured(all[i]); err != nil || !bytes.Equal(one.Headers, events[i].Headers) {
				t.Fatalf("%q alone: %v", all[i], err)
			}
		}
	})
}

// FuzzBinary reads headers: two attributes besides those that are needed.
func FuzzBinary(f *testing.F) {
	f.Add("ce-ext", "Euro%20%E2%82%AC", "ce-time", "2018-04-05T03:56:24Z", "text/plain", []byte("x"))
	f.Add("CE-subject", `"a \"b\""`, "ce-partitionkey", "k", "application/json", []byte("{}"))
	f.Add("ce-x", "%C0%A0", "ce-x", "1", "", []byte{0xff})
	f.Fuzz(func(t *testing.T, name, value, name2, value2, media string, body []byte) {
		var r Reader
		r.Begin()
		for _, h := range [][2]string{{"ce-specversion", "1.0"}, {"ce-id", "1"}, {"ce-source", "/s"}, {"ce-type", "t"}, {name, value}, {name2, value2}} {
			if err := r.Header([]byte(h[0]), []byte(h[1])); err != nil {
				return
			}
		}
		if e, err := r.Body([]byte(media), body); err == nil {
			again(t, &e)
		}
	})
}
