package api

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"

	"ayder/internal/jsonscan"
)

func TestDecodeJSON(t *testing.T) {
	type target struct {
		A *uint32           `json:"a"`
		B string            `json:"b_c"`
		M map[string]string `json:"m"`
	}
	fields := fieldsOf(target{})
	for _, tt := range []struct{ body, code, want string }{
		{`{}`, "", ""},
		{` {"a":1,"b_c":"x","m":{"x":"y","x":"z","Q":""}} `, "", ""},
		{`{"a":null}`, "", ""},
		{`null`, "", ""},
		{`{"\u0061":1}`, "", ""},
		{``, "bad_json", "empty"},
		{` `, "bad_json", "end of JSON"},
		{`{`, "bad_json", "end of JSON"},
		{`{"a":1`, "bad_json", "end of JSON"},
		{`{"a":1}}`, "bad_json", "after top-level value"},
		{`{} {}`, "bad_json", "after top-level value"},
		{`{"a":1,}`, "bad_json", "invalid character"},
		{`[]`, "bad_json", "not this array"},
		{`7`, "bad_json", "not this number"},
		{`"x"`, "bad_json", "not this string"},
		{`true`, "bad_json", "not this bool"},
		{`{"a":"1"}`, "bad_json", `"a" cannot be this string`},
		{`{"a":-1}`, "bad_json", `"a" cannot be this number -1`},
		{`{"a":1.0}`, "bad_json", `"a" cannot be this number 1.0`},
		{`{"a":4294967296}`, "bad_json", `"a" cannot be this number 4294967296`},
		{`{"b_c":{}}`, "bad_json", `"b_c" cannot be this object`},
		{`{"m":[]}`, "bad_json", `"m" cannot be this array`},
		{`{"m":{"x":1}}`, "bad_json", `cannot be this number`},
		{`{"x":1}`, "unknown_field", `"x"`},
		{`{"a":1,"A":2}`, "unknown_field", `"A"`},
		{`{"B_C":""}`, "unknown_field", `"B_C"`},
		{`{"":1}`, "unknown_field", `""`},
		{`{"a\u0000\n\"":1}`, "unknown_field", `"a\x00\n\""`},
		{"{\"\xff\":1}", "unknown_field", "unknown field"},
		{`{"a":1,"b_c":"","a":2}`, "bad_json", `"a" occurs twice`},
		{`{"a":1,"\u0061":2}`, "bad_json", `"a" occurs twice`},
		{strings.Repeat(`{"a":`, 60_000) + "1" + strings.Repeat("}", 60_000), "bad_json", "depth"},
		{strings.Repeat("[", 60_000), "bad_json", "depth"},
	} {
		var v target
		err := decodeJSON([]byte(tt.body), &v, fields)
		if tt.code == "" {
			if err != nil {
				t.Errorf("%.60q: %v", tt.body, err)
			}
			continue
		}
		var e *Error
		if !errors.As(err, &e) || e.Code != tt.code || !strings.Contains(e.Message, tt.want) {
			t.Errorf("%.60q: %v, want %s with %s", tt.body, err, tt.code, tt.want)
		}
		if text := appendError(nil, e); !json.Valid(text) || !utf8.Valid(text) {
			t.Errorf("%.60q: the answer is not JSON: %s", tt.body, text)
		}
	}
}

func TestDecodeCommandIsBounded(t *testing.T) {
	var q commitRequest
	big := `{"topic":"` + strings.Repeat("t", jsonBodyMax) + `"}`
	var e *Error
	if err := decodeCommand([]byte(big), &q, commitFields); !errors.As(err, &e) || e.Status != 413 {
		t.Error(err)
	}
	if err := decodeCommand([]byte(`{}`+strings.Repeat(" ", jsonBodyMax-2)), &q, commitFields); err != nil {
		t.Error(err)
	}
}

// checkString wants jsonscan.AppendString to be the inverse of decoding, for text, and to stay inside
// its quotes for any bytes.
func checkString(t *testing.T, s []byte) {
	t.Helper()
	out := jsonscan.AppendString([]byte("x"), s)[1:]
	if !json.Valid(out) || !(&jsonscan.Scanner{}).Valid(out) {
		t.Fatalf("%q is rendered as %q, which is not JSON", s, out)
	}
	var back string
	if err := json.Unmarshal(out, &back); err != nil {
		t.Fatalf("%q is rendered as %q: %v", s, out, err)
	}
	if utf8.Valid(s) && back != string(s) {
		t.Fatalf("%q comes back as %q", s, back)
	}
	if back != strings.ToValidUTF8(back, "") || utf8.Valid(s) != utf8.Valid(out) {
		t.Fatalf("%q is rendered as %q", s, out)
	}
}

// checkBytes wants whatever is stored to come back as the same bytes.
func checkBytes(t *testing.T, v []byte, b64 bool) {
	t.Helper()
	out := append(appendBytes([]byte("{"), "v", v, b64), '}')
	if !utf8.Valid(out) {
		t.Fatalf("%q is rendered as %q, which is not UTF-8", v, out)
	}
	var m map[string]string
	if err := json.Unmarshal(out, &m); err != nil || len(m) != 1 {
		t.Fatalf("%q is rendered as %q: %v", v, out, err)
	}
	text, plain := m["v"]
	if plain == (b64 || !utf8.Valid(v)) {
		t.Fatalf("%q is rendered as %q", v, out)
	}
	if !plain {
		decoded, err := base64.StdEncoding.DecodeString(m["v_b64"])
		if err != nil {
			t.Fatal(err)
		}
		text = string(decoded)
	}
	if text != string(v) {
		t.Fatalf("%q comes back as %q", v, text)
	}
}

func TestStringsRoundTrip(t *testing.T) {
	check := func(b []byte) {
		checkString(t, b)
		checkBytes(t, b, false)
		checkBytes(t, b, true)
	}
	check(nil)
	for a := range 256 {
		check([]byte{byte(a)})
		for b := range 256 {
			check([]byte{byte(a), byte(b)})
			check([]byte{'x', byte(a), 'y', byte(b), 'z'})
		}
	}
	for _, r := range []rune{0x7f, 0x80, 0x7ff, 0x800, 0x2028, 0x2029, 0xd7ff, 0xe000, 0xfffd, 0xffff, 0x10000, 0x10ffff} {
		check([]byte(string(r)))
		check([]byte("a" + string(r) + "\"" + string(r)))
		check([]byte(string(r))[1:])
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		b := make([]byte, random.IntN(40))
		for i := range b {
			b[i] = byte(random.IntN(256) >> random.IntN(4))
		}
		check(b)
	}
}

func TestParseUint(t *testing.T) {
	for _, tt := range []struct {
		text string
		max  uint64
		want uint64
		ok   bool
	}{
		{"0", 0, 0, true},
		{"007", 7, 7, true},
		{"8", 7, 0, false},
		{"9223372036854775807", 1<<63 - 1, 1<<63 - 1, true},
		{"9223372036854775808", 1<<63 - 1, 0, false},
		{"9999999999999999999", 1<<63 - 1, 0, false},
		{"18446744073709551617", 1<<64 - 1, 0, false},
		{"", 9, 0, false},
		{"-1", 9, 0, false},
		{"+1", 9, 0, false},
		{" 1", 9, 0, false},
		{"1 ", 9, 0, false},
		{"1.0", 9, 0, false},
		{"1e0", 9, 0, false},
		{"0x1", 9, 0, false},
		{"١", 9, 0, false},
		{"/", 9, 0, false},
		{":", 9, 0, false},
	} {
		if got, ok := parseUint([]byte(tt.text), tt.max); ok != tt.ok || ok && got != tt.want {
			t.Errorf("%q up to %d: %d, %v", tt.text, tt.max, got, ok)
		}
	}
}
