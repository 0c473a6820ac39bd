package query

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

// decodeAll decodes a message with a new decoder for these paths, and renders what was found.
func decodeAll(t *testing.T, message string, paths ...string) []string {
	t.Helper()
	dst := make([]Value, len(paths))
	d := JSONFormat().NewDecoder(parsePaths(t, paths...))
	if err := d.Decode([]byte(message), dst); err != nil {
		if !errors.Is(err, ErrUndecodable) {
			t.Errorf("%q: %v", message, err)
		}
		return nil
	}
	found := make([]string, len(dst))
	for i, v := range dst {
		found[i] = fmt.Sprintf("%d %s", v.Kind(), v.AppendJSON(nil))
	}
	return found
}

func parsePaths(t testing.TB, texts ...string) []Path {
	t.Helper()
	paths := make([]Path, len(texts))
	for i, text := range texts {
		p, err := ParsePath(text)
		if err != nil {
			t.Fatal(err)
		}
		paths[i] = p
	}
	return paths
}

func show(k Kind, text string) string { return fmt.Sprintf("%d %s", k, text) }

func TestJSONDecoderFindsFields(t *testing.T) {
	missing := show(Missing, "null")
	for _, c := range []struct {
		message, paths string // paths are separated by commas
		want           []string
	}{
		{`{"a":1,"b":"x"}`, "a,b,c", []string{show(Int, "1"), show(String, `"x"`), missing}},
		{" {\n\"a\" : 1 , \"b\" :\t[ 1 , 2 ] } ", "a,b,b.1,b.2", []string{show(Int, "1"), show(JSON, "[ 1 , 2 ]"), show(Int, "2"), missing}},
		{`{"a":{"b":{"c":true}}}`, "a.b.c,a.b,a,a.c", []string{show(Bool, "true"), show(JSON, `{"c":true}`), show(JSON, `{"b":{"c":true}}`), missing}},
		{`{"a":null,"b":false}`, "a,b,a.b", []string{show(Null, "null"), show(Bool, "false"), missing}},
		{`{"a":1,"a":2}`, "a", []string{show(Int, "2")}},
		{`{"a":{"b":1},"a":{"c":2}}`, "a.b,a.c", []string{missing, show(Int, "2")}},
		{`{"a":{"b":1},"a":7}`, "a.b,a", []string{missing, show(Int, "7")}},
		{`{"a":[{"b":1},{"b":2}]}`, "a.0.b,a.1.b,a.01.b,a.-1,a.2", []string{show(Int, "1"), show(Int, "2"), missing, missing, missing}},
		{`{"a":{"0":"member"}}`, "a.0", []string{show(String, `"member"`)}},
		{`[{"x":1},2]`, "0.x,1", []string{show(Int, "1"), show(Int, "2")}},
		{`{"\u0061\n":"\u00e9\ud83d\ude00\ud800x\"\\\/\b\f\n\r\t"}`, "a\n", []string{show(String, `"é😀`+"\uFFFD"+`x\"\\/\u0008\u000c\n\r\t"`)}},
		{`{"a":"\ud800\u0041\udc00","b":"\ud83d\ud83d\ude00"}`, "a,b", []string{show(String, "\"\uFFFDA\uFFFD\""), show(String, "\"\uFFFD😀\"")}},
		{`{"a":"one\n","b":"two\n","\u0063":"three\n"}`, "a,b,c", []string{show(String, `"one\n"`), show(String, `"two\n"`), show(String, `"three\n"`)}},
		{`{"a.b":1,"a\\b":2}`, `a\.b,a\\b`, []string{show(Int, "1"), show(Int, "2")}},
		{`{"a":1}`, "a,a", []string{show(Int, "1"), show(Int, "1")}},
		{`{"":{"a":1}}`, "a", []string{missing}},
		{`"text"`, "a", []string{missing}},
		{`7`, "a", []string{missing}},
		{`{}`, "a", []string{missing}},
		{`{"a":{},"b":[]}`, "a,b,a.x,b.0", []string{show(JSON, "{}"), show(JSON, "[]"), missing, missing}},
		{"{\"a\":\"\xff\",\"\xfe\":1}", "a", []string{show(String, "\"\uFFFD\"")}},
		{"{\"a\":[\"\xff\"]}", "a", []string{show(JSON, "[\"\uFFFD\"]")}},
	} {
		compareFound(t, c.message, decodeAll(t, c.message, strings.Split(c.paths, ",")...), c.want)
	}
}

func compareFound(t *testing.T, message string, got, want []string) {
	t.Helper()
	if strings.Join(got, "|") != strings.Join(want, "|") {
		t.Errorf("%s\n got %q\nwant %q", message, got, want)
	}
}

func TestJSONDecoderNumbers(t *testing.T) {
	for text, want := range map[string]Value{
		"0": IntValue(0), "-0": IntValue(0), "-1": IntValue(-1), "12": IntValue(12),
		"9007199254740993":     IntValue(9007199254740993),
		"9223372036854775807":  IntValue(math.MaxInt64),
		"9223372036854775808":  UintValue(1 << 63),
		"18446744073709551615": UintValue(math.MaxUint64),
		"18446744073709551616": FloatValue(18446744073709551616),
		"99999999999999999999": FloatValue(99999999999999999999),
		"-9223372036854775808": IntValue(math.MinInt64),
		"-9223372036854775809": FloatValue(-9223372036854775809),
		"1.5":                  FloatValue(1.5), "-2.25e2": FloatValue(-225), "1E3": FloatValue(1000), "1e400": NullValue(), "1e-400": FloatValue(0),
		"0.1000000000000000055511151231257827021181583404541015625": FloatValue(0.1),
		"100000000000000000000000000000000000000000000000000000000": FloatValue(1e56),
	} {
		dst := make([]Value, 1)
		d := JSONFormat().NewDecoder(parsePaths(t, "n"))
		if err := d.Decode([]byte(`{"n":`+text+`}`), dst); err != nil {
			t.Errorf("%s: %v", text, err)
		}
		if dst[0].Kind() != want.Kind() || dst[0].Order(want) != 0 {
			t.Errorf("%s: kind %d %s", text, dst[0].Kind(), dst[0].AppendJSON(nil))
		}
	}
}

// TestJSONDecoderChecksAll breaks a message in every way that one byte can, also where no path leads.
func TestJSONDecoderChecksAll(t *testing.T) {
	message := `{"a":{"b":[1,{"c":"x\n"}],"d":-1.5e3},"e":[true,null,{}],"f":"\u0041"}`
	d := JSONFormat().NewDecoder(parsePaths(t, "a.b.1.c", "e.2", "f", "a.d"))
	dst := make([]Value, 4)
	for cut := range len(message) {
		if err := d.Decode([]byte(message[:cut]), dst); !errors.Is(err, ErrUndecodable) {
			t.Errorf("%s: %v", message[:cut], err)
		}
		for c := range 256 {
			b := []byte(message)
			b[cut] = byte(c)
			if got, want := d.Decode(b, dst) == nil, json.Valid(b); got != want {
				t.Errorf("%q: taken %v, encoding/json says %v", b, got, want)
			}
		}
	}
}

func TestJSONDecoderDepth(t *testing.T) {
	d := JSONFormat().NewDecoder(parsePaths(t, "a.a.a", "b"))
	dst := make([]Value, 2)
	for _, depth := range []int{3, 4, 9998, 9999, 10_000, 10_001, 100_000} {
		b := []byte(strings.Repeat(`{"a":`, depth) + "1" + strings.Repeat("}", depth))
		if got, want := d.Decode(b, dst) == nil, json.Valid(b); got != want {
			t.Errorf("depth %d: taken %v, encoding/json says %v", depth, got, want)
		}
	}
}

func TestJSONDecoderShowsTheMessage(t *testing.T) {
	d := JSONFormat().NewDecoder(nil)
	if err := d.Decode([]byte("{\"a\": \"\xff\"}"), nil); err != nil {
		t.Fatal(err)
	}
	if got := string(d.AppendJSON([]byte("x"))); got != "x{\"a\": \"\uFFFD\"}" {
		t.Errorf("%q", got)
	}
}

// A decoder is used for millions of messages: it allocates for none of them.
func TestJSONDecoderAllocatesNothing(t *testing.T) {
	d := JSONFormat().NewDecoder(parsePaths(t, "user.name", "amount", "tags.1", "ratio", "user"))
	b := []byte(`{"user":{"name":"a\tb","\u0069d":1},"amount":123456789012,"ratio":0.125,"tags":["x","y"],"rest":{"deep":[1,2,3]}}`)
	dst := make([]Value, 5)
	if n := testing.AllocsPerRun(100, func() {
		if err := d.Decode(b, dst); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzJSONDecoder compares with encoding/json: what is taken, and every path of up to three of the names that the message has.
func FuzzJSONDecoder(f *testing.F) {
	for _, s := range []string{
		`{"a":{"b":1,"a":"x"},"b":[1,{"a":2.5}],"c":null}`, `{"a":1,"a":{"b":true}}`, `[[["x"]]]`, `{"\u0061":"\ud83d\ude00"}`, `{"a":18446744073709551616}`, `{"a":`,
	} {
		f.Add([]byte(s), "a.b")
	}
	f.Add([]byte(`{"0":[5]}`), "0.0")
	f.Fuzz(func(t *testing.T, b []byte, text string) {
		path, err := ParsePath(text)
		if err != nil {
			t.Skip()
		}
		paths := []Path{path, path[:1], append(path[:len(path):len(path)], "a"), {"b", "a"}, {"a"}, {"0"}, {}}
		dst := make([]Value, len(paths))
		taken := JSONFormat().NewDecoder(paths).Decode(b, dst) == nil
		if taken != json.Valid(b) {
			t.Fatalf("%q: taken %v", b, taken)
		}
		if !taken || !utf8.Valid(b) {
			return
		}
		var tree any
		decoder := json.NewDecoder(bytes.NewReader(b))
		decoder.UseNumber()
		if err := decoder.Decode(&tree); err != nil {
			t.Fatal(err)
		}
		for i, p := range paths {
			compareTree(t, p, dst[i], walkTree(tree, p))
		}
	})
}

type nothing struct{}

// walkTree is what a path leads to in what encoding/json made.
func walkTree(tree any, path Path) any {
	for _, name := range path {
		switch inside := tree.(type) {
		case map[string]any:
			member, ok := inside[name]
			if !ok {
				return nothing{}
			}
			tree = member
		case []any:
			i, err := strconv.Atoi(name)
			if err != nil || i < 0 || i >= len(inside) || strconv.Itoa(i) != name {
				return nothing{}
			}
			tree = inside[i]
		default:
			return nothing{}
		}
	}
	return tree
}

func compareTree(t *testing.T, path Path, got Value, want any) {
	t.Helper()
	same := false
	switch w := want.(type) {
	case nothing:
		same = got.Kind() == Missing
	case nil:
		same = got.Kind() == Null
	case bool:
		same = got.Kind() == Bool && got.Bool() == w
	case string:
		same = got.Kind() == String && string(got.Text()) == w
	case json.Number:
		same = sameNumber(got, w.String())
	default:
		again, err := json.Marshal(w)
		var compact any
		decoder := json.NewDecoder(bytes.NewReader(got.AppendJSON(nil)))
		decoder.UseNumber()
		if err == nil && decoder.Decode(&compact) == nil {
			text, err := json.Marshal(compact)
			same = err == nil && got.Kind() == JSON && bytes.Equal(text, again)
		}
	}
	if !same {
		t.Errorf("%q: kind %d %q, encoding/json says %#v", path, got.Kind(), got.AppendJSON(nil), want)
	}
}

func sameNumber(got Value, text string) bool {
	if i, err := strconv.ParseInt(text, 10, 64); err == nil {
		return got.Kind() == Int && got.Int() == i
	}
	if u, err := strconv.ParseUint(text, 10, 64); err == nil {
		return got.Kind() == Uint && got.Uint() == u
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return got.Kind() == Null
	}
	return got.Kind() == Float && got.Float() == f
}

func BenchmarkJSONDecoder(b *testing.B) {
	message := []byte(`{"id":1234567,"user":{"id":"user-000042","country":"DE"},"amount":125.75,"ts":1712345678901,"status":"paid","tags":["web","promo"],` +
		`"note":"lorem ipsum dolor sit amet consectetur","ok":true}`)
	d := JSONFormat().NewDecoder(parsePaths(b, "user.country", "amount", "ts"))
	dst := make([]Value, 3)
	b.SetBytes(int64(len(message)))
	for b.Loop() {
		if err := d.Decode(message, dst); err != nil {
			b.Fatal(err)
		}
	}
}
