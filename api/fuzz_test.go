package api

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"ayder/httpparse"
	"ayder/internal/record"
)

// Every decoder of what clients send, against a slower one made of the standard library.

// FuzzTarget decodes a request target: route, path variables and query.
func FuzzTarget(f *testing.F) {
	f.Fuzz(func(t *testing.T, target string) {
		var p httpparse.Parser
		n, err := p.Head([]byte("GET "+target+" HTTP/1.1\r\nHost: x\r\n\r\n"), nil)
		if err != nil || n == 0 || len(p.Request.Path) == 0 || p.Request.Path[0] != '/' {
			return
		}
		l := &loop{}
		checkFind(t, l, p.Request.Path)
		var a args
		err = l.parseQuery(&a, p.Request.Query, (1<<32-1)&^pCursorOf)
		want, code := referenceQuery(string(p.Request.Query))
		if code != codeOf(err) {
			t.Fatalf("%q: %v, want %q", p.Request.Query, err, code)
		}
		if err == nil {
			checkArgs(t, &a, want)
		}
	})
}

// codeOf is the code of the answer that err becomes, "" for none.
func codeOf(err error) string {
	if err == nil {
		return ""
	}
	return asError(err).Code
}

// checkFind compares the tree of routes with a walk through the table.
func checkFind(t *testing.T, l *loop, path []byte) {
	t.Helper()
	var vars [pathVarsMax][]byte
	n, count := find(path, &vars)
	segments := strings.Split(string(path[1:]), "/")
	var matching []string
	for i := range routes {
		want := strings.Split(routes[i].path[1:], "/")
		rest := strings.HasSuffix(want[len(want)-1], "...}")
		matches := len(want) == len(segments) || rest && len(want) < len(segments)
		for j := 0; matches && j < len(want); j++ {
			matches = want[j] == segments[j] || strings.HasPrefix(want[j], "{")
		}
		if matches {
			matching = append(matching, routes[i].path)
		}
	}
	if (n != nil) != (len(matching) > 0) {
		t.Fatalf("%q: found %v, matching are %q", path, n != nil, matching)
	}
	if n == nil {
		return
	}
	var x exchange
	for _, x.route = range n.byMethod {
		break // all of a path have the same variables
	}
	err := l.decodePath(&x, nil, vars[:count])
	for i, v := range vars[:count] {
		text, bad := url.PathUnescape(string(v))
		got := [][]byte{x.args.topic, x.args.group, strconv.AppendUint(nil, uint64(x.args.partition), 10)}[x.route.vars[i]]
		number := x.route.vars[i] == varPartition
		if bad != nil && err == nil || err == nil && !number && text != string(got) {
			t.Fatalf("%q: variable %d is %q, want %q, %v", path, i, got, text, bad)
		}
		if n, bad := strconv.ParseUint(text, 10, 32); number && err == nil && (bad != nil || n != uint64(x.args.partition)) {
			t.Fatalf("%q: partition %d", path, x.args.partition)
		}
	}
}

// referenceQuery decodes a query with the standard library; code is that of the error that is due.
func referenceQuery(query string) (values map[string]string, code string) {
	values = map[string]string{}
	for pair := range strings.SplitSeq(query, "&") {
		if pair == "" {
			continue
		}
		k, v, _ := strings.Cut(pair, "=")
		name, err := url.QueryUnescape(k)
		if err != nil {
			return nil, "bad_parameter"
		}
		if name == "pagesizehint" {
			name = "pageSizeHint"
		}
		if _, known := badValues[name]; !known || name == "cursor0" { // which is not one name
			return nil, "unknown_parameter"
		}
		if _, twice := values[name]; twice {
			return nil, "repeated_parameter"
		}
		if v, err = url.QueryUnescape(v); err != nil || !referenceValue(name, v) {
			return nil, "bad_parameter"
		}
		values[name] = v
	}
	return values, ""
}

// referenceValue tells whether v is a value that the contract lets that parameter have.
func referenceValue(name, v string) bool {
	number := func(least, most uint64) bool {
		n, err := strconv.ParseUint(v, 10, 64)
		return err == nil && n >= least && n <= most && len(v) <= 19 && v[0] != '+'
	}
	switch name {
	case "partition":
		return number(0, 1<<32-1)
	case "key":
		return len(v) <= 64<<10
	case "idempotency_key":
		return len(v) >= 1 && len(v) <= 512
	case "timeout_ms":
		return number(0, 600_000)
	case "ts_ms", "expected_offset":
		return number(0, 1<<63-1)
	case "offset":
		return v == "earliest" || v == "latest" || number(0, 1<<63-1)
	case "limit":
		return number(1, 1000)
	case "max_bytes":
		return number(1, 16<<20)
	case "encoding":
		return v == "b64"
	case "concern":
		return v == "async" || v == "sync-majority" || v == "sync-all"
	case "consistency":
		return v == "leader"
	case "token", "cursor":
		return len(v) >= 1 && len(v) <= 128
	case "headers":
		return len(v) >= 1 && len(v) <= 1024
	case "pageSizeHint":
		return number(0, 1<<31)
	case "stream":
		return v == "y" || number(0, 1<<40)
	case "n":
		return number(0, 1<<32-1)
	}
	return v == "0" || v == "1" || v == "true" || v == "false"
}

// checkArgs compares what was decoded with the texts it came from.
func checkArgs(t *testing.T, a *args, want map[string]string) {
	t.Helper()
	number := func(name string) uint64 {
		n, _ := strconv.ParseUint(want[name], 10, 64)
		return n
	}
	flag := func(name string) bool { return want[name] == "1" || want[name] == "true" }
	for name := range badValues {
		if _, has := want[name]; has != a.has(paramOf([]byte(name))) {
			t.Fatalf("%s: %v in %v", name, !has, want)
		}
	}
	switch {
	case uint64(a.partition) != number("partition"), uint64(a.timeoutMs) != number("timeout_ms"), a.timeMs != number("ts_ms"),
		a.expected != number("expected_offset"), a.offset != number("offset"), uint64(a.limit) != number("limit"), uint64(a.maxBytes) != number("max_bytes"):
		t.Fatalf("numbers of %v: %+v", want, a)
	case string(a.key) != want["key"], string(a.idem) != want["idempotency_key"]:
		t.Fatalf("keys of %q: %q %q", want, a.key, a.idem)
	case want["concern"] != "" && a.concern.String() != want["concern"]:
		t.Fatalf("concern of %v: %v", want, a.concern)
	case a.timing != flag("timing"), a.envelope != flag("envelope"), a.reset != flag("reset"), a.b64 != (want["encoding"] != ""):
		t.Fatalf("flags of %v: %+v", want, a)
	}
}

// FuzzNDJSON splits and checks a body of lines.
func FuzzNDJSON(f *testing.F) {
	f.Fuzz(func(t *testing.T, body []byte) {
		var want [][]byte
		bad := 0
		for i, line := range bytes.Split(body, []byte("\n")) {
			if line = bytes.TrimSuffix(line, []byte("\r")); len(line) == 0 {
				continue
			}
			if want = append(want, line); !json.Valid(line) && bad == 0 {
				bad = i + 1
			}
		}
		n, err := checkLines(body)
		switch {
		case bad > 0:
			var e *Error
			if !errors.As(err, &e) || !strings.HasPrefix(e.Message, "line "+strconv.Itoa(bad)+" ") {
				t.Fatalf("%q: %v, want line %d", body, err, bad)
			}
			return
		case len(want) == 0:
			if !errors.Is(err, errEmptyNDJSON) {
				t.Fatalf("%q: %v", body, err)
			}
			return
		case err != nil || n != len(want):
			t.Fatalf("%q: %d lines, %v, want %d", body, n, err, len(want))
		}
		for line, rest := nextLine(body); ; line, rest = nextLine(rest) {
			if len(line) > 0 {
				if !bytes.Equal(line, want[0]) {
					t.Fatalf("%q: line %q, want %q", body, line, want[0])
				}
				want = want[1:]
			}
			if len(rest) == 0 {
				break
			}
		}
		if len(want) > 0 {
			t.Fatalf("%q: %q was left out", body, want)
		}
	})
}

// FuzzEnvelope decodes a line. What it yields must be what the standard library finds in it, must not take
// more room than the line (on which the size of a batch is reckoned), and must survive being
// written as an envelope again.
func FuzzEnvelope(f *testing.F) {
	f.Fuzz(func(t *testing.T, line []byte) {
		r, err := readEnvelope(line)
		if err != nil {
			if _, ok := errors.AsType[*Error](err); !ok {
				t.Fatalf("%q: %v is not for a client", line, err)
			}
			return
		}
		if r.Size() > record.RecordHeaderBytes+len(line) {
			t.Fatalf("%q becomes %d bytes", line, r.Size())
		}
		var e map[string]any
		if err := json.Unmarshal(line, &e); err != nil || !utf8.Valid(line) {
			t.Fatalf("%q: %v", line, err)
		}
		if text, ok := e["value"].(string); ok && text != string(r.Value) {
			t.Fatalf("%q has the value %q", line, r.Value)
		}
		if text, ok := e["key"].(string); ok && (text != string(r.Key) || !r.HasKey) {
			t.Fatalf("%q has the key %q", line, r.Key)
		}
		again := map[string]any{"value_b64": base64.StdEncoding.EncodeToString(r.Value)}
		if r.HasKey {
			again["key_b64"] = base64.StdEncoding.EncodeToString(r.Key)
		}
		if r.TimeMs != timeUnset {
			again["ts_ms"] = r.TimeMs
		}
		if r.Headers != nil {
			headers := map[string]string{}
			for name, value, rest, ok := record.NextHeader(r.Headers); ok; name, value, rest, ok = record.NextHeader(rest) {
				headers[string(name)] = string(value)
			}
			again["headers"] = headers
		}
		text, err := json.Marshal(again)
		if err != nil {
			t.Fatal(err)
		}
		r2, err := readEnvelope(text)
		if err != nil || !bytes.Equal(r.Value, r2.Value) || r.HasKey != r2.HasKey || !bytes.Equal(r.Key, r2.Key) || r.TimeMs != r2.TimeMs || !bytes.Equal(r.Headers, r2.Headers) {
			t.Fatalf("%q: %+v, written as %s: %+v, %v", line, r, text, r2, err)
		}
	})
}

// FuzzCommand decodes the bodies of topic creation and of commit. We are stricter than encoding/json, never laxer.
func FuzzCommand(f *testing.F) {
	f.Fuzz(func(t *testing.T, body []byte) {
		var topic, topic2 topicRequest
		compare(t, body, decodeCommand(body, &topic, topicFields), &topic, &topic2)
		var commit, commit2 commitRequest
		compare(t, body, decodeCommand(body, &commit, commitFields), &commit, &commit2)
	})
}

// compare decodes body once more, with encoding/json, into reference.
func compare(t *testing.T, body []byte, err error, got, reference any) {
	t.Helper()
	if err != nil {
		e, ok := errors.AsType[*Error](err)
		if !ok || !json.Valid(appendError(nil, e)) || !utf8.Valid(appendError(nil, e)) {
			t.Fatalf("%q: %v is not for a client", body, err)
		}
		return
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(reference); err != nil {
		t.Fatalf("%q: accepted, encoding/json says %v", body, err)
	}
	a, _ := json.Marshal(got)
	b, _ := json.Marshal(reference)
	if !bytes.Equal(a, b) {
		t.Fatalf("%q: %s, encoding/json says %s", body, a, b)
	}
}

// FuzzString renders bytes as a string, as a member, and as a header of a message.
func FuzzString(f *testing.F) {
	f.Fuzz(func(t *testing.T, name, value []byte) {
		checkString(t, value)
		checkBytes(t, value, false)
		checkBytes(t, value, true)
		if !utf8.Valid(name) || len(name) > 1<<16-1 {
			return // names come from HTTP tokens and JSON, and are UTF-8
		}
		out := appendHeaders([]byte(`{"x":1`), record.AppendHeader(nil, name, value))
		var m struct{ Headers map[string]string }
		if err := json.Unmarshal(append(out, '}'), &m); err != nil || len(m.Headers) != 1 {
			t.Fatalf("%q: %q becomes %q: %v", name, value, out, err)
		}
		if text, ok := m.Headers[string(name)]; ok && utf8.Valid(value) && text != string(value) {
			t.Fatalf("%q: %q comes back as %q", name, value, text)
		}
		if text, ok := m.Headers[string(name)+"_b64"]; !utf8.Valid(value) && (!ok || text != base64.StdEncoding.EncodeToString(value)) {
			t.Fatalf("%q: %q comes back as %q", name, value, text)
		}
	})
}
