package schema

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"ayder/internal/query"
)

// none is a registry without schemas.
func none(uint32) (Schema, bool) { return Schema{}, false }

func compile(t testing.TB, d *query.Decode, lookup Lookup) query.Format {
	t.Helper()
	f, err := Compile(d, lookup)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func paths(t testing.TB, texts ...string) []query.Path {
	t.Helper()
	list := make([]query.Path, len(texts))
	for i, text := range texts {
		p, err := query.ParsePath(text)
		if err != nil {
			t.Fatal(err)
		}
		list[i] = p
	}
	return list
}

// wantShown decodes a message and compares all of it, and what the empty path leads to.
func wantShown(t *testing.T, f query.Format, b []byte, want string) {
	t.Helper()
	dst := make([]query.Value, 1)
	d := f.NewDecoder([]query.Path{{}})
	for range 2 { // the second time with used buffers
		if err := d.Decode(b, dst); err != nil {
			t.Errorf("%q: %v", b, err)
			return
		}
		if got := string(d.AppendJSON(nil)); got != want {
			t.Errorf("%q\n got %s\nwant %s", b, got, want)
		}
		if got := string(dst[0].AppendJSON(nil)); got != want {
			t.Errorf("%q: path: got %s, want %s", b, got, want)
		}
	}
	if !json.Valid([]byte(want)) {
		t.Errorf("%s: not JSON", want)
	}
}

type avroFixture struct {
	Name, Schema string
	Messages     []struct {
		Binary []byte
		Want   string
	}
	Texts   []struct{ Text, Want string }
	Readers []struct {
		Schema string
		Wants  []string
	}
}

func readFixtures(t testing.TB, name string, to any) {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err == nil {
		err = json.Unmarshal(b, to)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Messages that avsc wrote are read: as binary, behind Confluent's header, as Avro's JSON, by a reader's schema; and every beginning of
// them, and whatever follows, is refused.
func TestAvroByAnotherImplementation(t *testing.T) {
	var fixtures []avroFixture
	readFixtures(t, "avro.json", &fixtures)
	for _, c := range fixtures {
		t.Run(c.Name, func(t *testing.T) {
			registry := func(id uint32) (Schema, bool) { return Schema{ID: id, Type: Avro, Text: []byte(c.Schema)}, id == 7 }
			f := compile(t, &query.Decode{Type: "avro", Encoding: "binary", SchemaText: c.Schema}, none)
			confluent := compile(t, &query.Decode{Type: "avro", Encoding: "confluent"}, registry)
			for _, m := range c.Messages {
				wantShown(t, f, m.Binary, m.Want)
				wantShown(t, confluent, append([]byte{0, 0, 0, 0, 7}, m.Binary...), m.Want)
				wantCutsRefused(t, f, m.Binary)
			}
			asText := compile(t, &query.Decode{Type: "avro", Encoding: "json", SchemaText: c.Schema}, none)
			for _, m := range c.Texts {
				wantShown(t, asText, []byte(m.Text), m.Want)
			}
			for _, r := range c.Readers {
				seven := uint32(7)
				for _, f := range []query.Format{
					compile(t, &query.Decode{Type: "avro", SchemaText: r.Schema, SchemaID: &seven}, registry),
					compile(t, &query.Decode{Type: "avro", SchemaText: r.Schema, Encoding: "confluent"}, registry),
				} {
					for i, m := range c.Messages {
						b := m.Binary
						if f.(*avroFormat).encoding != "" {
							b = append([]byte{0, 0, 0, 0, 7}, b...)
						}
						wantShown(t, f, b, r.Wants[i])
					}
				}
				asWritten := compile(t, &query.Decode{Type: "avro", SchemaText: r.Schema, SchemaID: &seven, ApplyDefaults: new(bool)}, registry)
				wantShown(t, asWritten, c.Messages[0].Binary, c.Messages[0].Want)
			}
		})
	}
}

func wantCutsRefused(t *testing.T, f query.Format, b []byte) {
	t.Helper()
	d := f.NewDecoder(nil)
	for cut := range len(b) {
		if err := d.Decode(b[:cut], nil); !errors.Is(err, query.ErrUndecodable) {
			t.Errorf("the first %d of %d bytes: %v", cut, len(b), err)
		}
	}
	if err := d.Decode(append(b[:len(b):len(b)], 0), nil); !errors.Is(err, query.ErrUndecodable) {
		t.Errorf("a byte more than %d: %v", len(b), err)
	}
}

func TestAvroPaths(t *testing.T) {
	var fixtures []avroFixture
	readFixtures(t, "avro.json", &fixtures)
	for _, c := range []struct {
		fixture, message int
		path             string
		kind             query.Kind
		want             string
	}{
		{0, 1, "id", query.Int, "9007199254740993"},
		{0, 1, "age", query.Int, "-7"},
		{0, 0, "age", query.Null, "null"},
		{0, 0, "none", query.Missing, "null"},
		{0, 0, "id.x", query.Missing, "null"},
		{2, 0, "lines.1.sku", query.String, `"b"`},
		{2, 0, "lines.1", query.JSON, `{"sku":"b","n":2}`},
		{2, 0, "lines.2", query.Missing, "null"},
		{2, 0, "labels.m.n", query.Int, "3"},
		{2, 0, "labels.z", query.String, `"last"`},
		{2, 0, "labels.z.n", query.Missing, "null"},
		{2, 0, "labels.a", query.Null, "null"},
		{2, 0, "mac", query.Bytes, `"AQIDBAX/"`},
		{2, 0, "kind", query.String, `"B"`},
		{3, 0, "next.next.v", query.Int, "3"},
		{3, 0, "next.next.next.v", query.Missing, "null"},
		{4, 0, "ms", query.Time, `"2024-04-05T19:34:38.901Z"`},
		{4, 0, "lms", query.Time, `"1970-01-01T00:00:00Z"`},
		{4, 0, "d", query.String, `"2024-04-05"`},
		{4, 0, "dec", query.Float, "12.34"},
		{4, 0, "fdec", query.Int, "-123"},
		{5, 0, "2", query.String, `"x"`},
	} {
		f := compile(t, &query.Decode{Type: "avro", SchemaText: fixtures[c.fixture].Schema}, none)
		dst := make([]query.Value, 2)
		if err := f.NewDecoder(paths(t, c.path, c.path)).Decode(fixtures[c.fixture].Messages[c.message].Binary, dst); err != nil {
			t.Fatal(err)
		}
		if got := string(dst[1].AppendJSON(nil)); dst[1].Kind() != c.kind || got != c.want || dst[0].Order(dst[1]) != 0 {
			t.Errorf("%s of %s: kind %d %s, want %d %s", c.path, fixtures[c.fixture].Name, dst[1].Kind(), got, c.kind, c.want)
		}
	}
}

func TestAvroAllocatesNothing(t *testing.T) {
	var fixtures []avroFixture
	readFixtures(t, "avro.json", &fixtures)
	b := fixtures[2].Messages[0].Binary
	d := compile(t, &query.Decode{Type: "avro", SchemaText: fixtures[2].Schema}, none).NewDecoder(paths(t, "lines.1.sku", "labels", "kind", "f"))
	dst := make([]query.Value, 4)
	if n := testing.AllocsPerRun(100, func() {
		if err := d.Decode(b, dst); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// varints are numbers as Avro writes them.
func varints(numbers ...int64) []byte {
	var b []byte
	for _, n := range numbers {
		b = binary.AppendVarint(b, n)
	}
	return b
}

// nestedRecords is a schema in which each record has the one before it twice, and the innermost has nothing: a message without bytes has 2ⁿ of them.
func nestedRecords(n int) string {
	var s strings.Builder
	s.WriteString(`[{"type":"record","name":"D0","fields":[]}`)
	for i := 1; i <= n; i++ {
		fmt.Fprintf(&s, `,{"type":"record","name":"D%d","fields":[{"name":"a","type":"D%d"},{"name":"b","type":"D%d"}]}`, i, i-1, i-1)
	}
	return s.String() + "]"
}

// What claims more than it has is refused, without the time and memory that it would take.
func TestAvroHostileMessages(t *testing.T) {
	list := `{"type":"record","name":"N","fields":[{"name":"next","type":["null","N"]}]}`
	chain := func(n int) []byte { return append([]byte(strings.Repeat("\x02", n)), 0) }
	for name, c := range map[string]struct {
		schema  string
		message []byte
		taken   bool
	}{
		"2^60 nulls":                   {`{"type":"array","items":"null"}`, varints(1<<60, 0), false},
		"2^62 nulls in blocks":         {`{"type":"array","items":"null"}`, varints(-1<<62, 0, 0), false},
		"1000 nulls":                   {`{"type":"array","items":"null"}`, varints(1000, 0), true},
		"the smallest count":           {`{"type":"array","items":"null"}`, varints(-1<<63, 0, 0), false},
		"a negative size of a block":   {`{"type":"array","items":"null"}`, varints(-1, -1, 0), false},
		"2^60 longs":                   {`{"type":"array","items":"long"}`, varints(1<<60, 1, 2), false},
		"2^60 pairs":                   {`{"type":"map","values":"null"}`, varints(1<<60, 0, 0), false},
		"a string of 2^62 bytes":       {`"string"`, varints(1 << 62), false},
		"a string of -1 byte":          {`"string"`, varints(-1), false},
		"a branch that is not there":   {`["null","int"]`, varints(2), false},
		"a branch before the first":    {`["null","int"]`, varints(-1), false},
		"a symbol that is not there":   {`{"type":"enum","name":"E","symbols":["A"]}`, varints(1), false},
		"a boolean of two":             {`"boolean"`, []byte{2}, false},
		"an int of 33 bits":            {`"int"`, varints(1 << 31), false},
		"a varint of eleven bytes":     {`"long"`, []byte("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), false},
		"no end of a varint":           {`"long"`, []byte{0x80}, false},
		"nothing":                      {`"long"`, nil, false},
		"null":                         {`"null"`, nil, true},
		"999 levels":                   {list, chain(999), true},
		"1000 levels":                  {list, chain(1000), false},
		"ten million levels":           {list, chain(10_000_000), false},
		"2^60 values without bytes":    {nestedRecords(60), varints(60), false},
		"2^10 values without bytes":    {nestedRecords(10), varints(10), true},
		"ten million bytes":            {`"bytes"`, append(varints(10_000_000), make([]byte, 10_000_000)...), true},
		"ten million bytes, one short": {`"bytes"`, append(varints(10_000_000), make([]byte, 9_999_999)...), false},
	} {
		f := compile(t, &query.Decode{Type: "avro", SchemaText: c.schema}, none)
		err := f.NewDecoder([]query.Path{{"next", "next"}, {}}).Decode(c.message, make([]query.Value, 2))
		if (err == nil) != c.taken || err != nil && !errors.Is(err, query.ErrUndecodable) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// With two schemas the library makes a tree of a message: so many values are not put into one.
func TestAvroTreesAreBounded(t *testing.T) {
	registry := func(uint32) (Schema, bool) {
		return Schema{ID: 1, Type: Avro, Text: []byte(`{"type":"array","items":"int"}`)}, true
	}
	one := uint32(1)
	f := compile(t, &query.Decode{Type: "avro", SchemaText: `{"type":"array","items":"long"}`, SchemaID: &one}, registry)
	many := append(varints(2<<20), make([]byte, 2<<20+1)...)
	if err := f.NewDecoder(nil).Decode(many, nil); !errors.Is(err, query.ErrUndecodable) {
		t.Errorf("two million numbers: %v", err)
	}
	wantShown(t, f, varints(3, 1, 2, 3, 0), "[1,2,3]")
	asText := compile(t, &query.Decode{Type: "avro", Encoding: "json", SchemaText: `{"type":"array","items":"long"}`}, none)
	if err := asText.NewDecoder(nil).Decode([]byte("["+strings.Repeat("1,", 2<<20)+"1]"), nil); !errors.Is(err, query.ErrUndecodable) {
		t.Errorf("two million numbers as text: %v", err)
	}
}

func TestAvroConfluentIDs(t *testing.T) {
	registry := func(id uint32) (Schema, bool) {
		switch id {
		case 1:
			return Schema{ID: 1, Type: Avro, Text: []byte(`{"type":"record","name":"R","fields":[{"name":"a","type":"int"}]}`)}, true
		case 2:
			return Schema{ID: 2, Type: Avro, Text: []byte(`{"type":"record","name":"R","fields":[{"name":"b","type":"string"},{"name":"a","type":"int"}]}`)}, true
		case 3:
			return Schema{ID: 3, Type: Proto}, true
		case 4:
			return Schema{ID: 4, Type: Avro, Text: []byte(`"no such type"`)}, true
		}
		return Schema{}, false
	}
	one := uint32(1)
	text := `{"type":"record","name":"R","fields":[{"name":"a","type":"long"}]}`
	written := compile(t, &query.Decode{Type: "avro", Encoding: "confluent"}, registry)
	strict := compile(t, &query.Decode{Type: "avro", Encoding: "confluent", SchemaID: &one}, registry)
	lenient := compile(t, &query.Decode{Type: "avro", Encoding: "confluent", SchemaText: text}, registry)
	for _, c := range []struct {
		f       query.Format
		message string
		want    string // "": refused
	}{
		{written, "\x00\x00\x00\x00\x01\x04", `{"a":2}`},
		{written, "\x00\x00\x00\x00\x02\x02x\x04", `{"b":"x","a":2}`},
		{written, "\x00\x00\x00\x00\x09\x04", ""},
		{written, "\x00\x00\x00\x00\x03\x04", ""},
		{written, "\x00\x00\x00\x00\x04\x04", ""},
		{written, "\x01\x00\x00\x00\x01\x04", ""},
		{written, "\x00\x00\x00\x00", ""},
		{written, "", ""},
		{strict, "\x00\x00\x00\x00\x01\x04", `{"a":2}`},
		{strict, "\x00\x00\x00\x00\x02\x02x\x04", `{"a":2}`},
		{strict, "\x00\x00\x00\x00\x09\x04", ""},
		{lenient, "\x00\x00\x00\x00\x02\x02x\x04", `{"a":2}`},
		{lenient, "\x00\x00\x00\x00\x09\x04", `{"a":2}`}, // of a registry that is not ours
		{lenient, "\x00\x00\x00\x00\x09\x04\x04", ""},
	} {
		if c.want != "" {
			wantShown(t, c.f, []byte(c.message), c.want)
		} else if err := c.f.NewDecoder(nil).Decode([]byte(c.message), nil); !errors.Is(err, query.ErrUndecodable) {
			t.Errorf("%q: %v", c.message, err)
		}
	}
}

// A decoder forgets schemas rather than remember any number of them.
func TestAvroManyWriters(t *testing.T) {
	pad := strings.Repeat(" ", 200<<10)
	registry := func(id uint32) (Schema, bool) {
		return Schema{ID: id, Type: Avro, Text: fmt.Appendf(nil, `{"type":"record","name":"R%d","fields":[{"name":"f%d","type":"int"}]}%s`, id, id, pad)}, true
	}
	d := compile(t, &query.Decode{Type: "avro", Encoding: "confluent"}, registry).NewDecoder(nil)
	for id := range 100 {
		if err := d.Decode([]byte{0, 0, 0, 0, byte(id), 2}, nil); err != nil {
			t.Fatal(err)
		}
		if got, want := string(d.AppendJSON(nil)), fmt.Sprintf(`{"f%d":1}`, id); got != want {
			t.Fatalf("got %s, want %s", got, want)
		}
	}
	if n := len(d.(*avroDecoder).writers); n > writersBytesMax/len(pad) {
		t.Errorf("%d writers are remembered", n)
	}
}

func TestAvroDecimals(t *testing.T) {
	for _, c := range []struct {
		scale int
		bytes string
		want  string
	}{
		{2, "\x04\xd2", "12.34"},
		{2, "", "0"},
		{0, "\x80\x00\x00\x00\x00\x00\x00\x00", "-9223372036854775808"},
		{0, "\x00\x80\x00\x00\x00\x00\x00\x00\x00", "9223372036854775808"},
		{1, "\x7f\xff\xff\xff\xff\xff\xff\xff", "922337203685477600"},
		{20, "\x01", "1e-20"},
		{2, strings.Repeat("\x00", 5000) + "\x04\xd2", "12.34"},
		{2, strings.Repeat("\xff", 5000), "-0.01"},
		{0, strings.Repeat("\x77", 5000), "null"},
		{1000, strings.Repeat("\x01", 1000), "null"},
		{1000, strings.Repeat("\x01", 400), "7.752574427382604e-40"},
		{3, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe", "-0.002"},
	} {
		schema := fmt.Sprintf(`{"type":"bytes","logicalType":"decimal","precision":2000,"scale":%d}`, c.scale)
		f := compile(t, &query.Decode{Type: "avro", SchemaText: schema}, none)
		wantShown(t, f, append(varints(int64(len(c.bytes))), c.bytes...), c.want)
	}
}

func TestAvroMaps(t *testing.T) {
	f := compile(t, &query.Decode{Type: "avro", SchemaText: `{"type":"map","values":{"type":"map","values":"int"}}`}, none)
	message := "\x02\x02b\x04\x02y\x02\x02x\x04\x00" + // b: y 1, x 2
		"\x01\x08\x02a\x00" + "\x02\x02b\x02\x02z\x06\x00" + "\x00" // a: none; b again: z 3
	wantShown(t, f, []byte(message), `{"a":{},"b":{"z":3}}`)
	dst := make([]query.Value, 3)
	if err := f.NewDecoder(paths(t, "b.x", "b.z", "c")).Decode([]byte(message), dst); err != nil {
		t.Fatal(err)
	}
	if dst[0].Kind() != query.Missing || dst[1].Int() != 3 || dst[2].Kind() != query.Missing {
		t.Errorf("%v", dst)
	}
}

func TestAvroSchemasThatAreRefused(t *testing.T) {
	for _, text := range []string{
		``, `{`, `"nothing"`, `{"type":"record"}`, `{"type":"record","name":"R","fields":[{"name":"a","type":"S"}]}`, `["int","int"]`,
		strings.Repeat(`{"type":"array","items":`, 10_000) + `"int"` + strings.Repeat("}", 10_000),
		strings.Repeat("[", 200_000), `"` + strings.Repeat("x", textBytesMax) + `"`,
	} {
		if err := Check(Schema{Type: Avro, Text: []byte(text)}); err == nil {
			t.Errorf("%.40q is taken", text)
		} else if len(err.Error()) > 2000 {
			t.Errorf("%.40q: an error of %d bytes", text, len(err.Error()))
		}
	}
	if err := Check(Schema{Type: Avro, Text: []byte(nestedRecords(2500))}); err != nil {
		t.Error(err)
	}
}

var fuzzSchemas = []string{
	`{"type":"record","name":"R","fields":[{"name":"a","type":"long"},{"name":"b","type":["null","string","double"]},{"name":"c","type":{"type":"map","values":["null","R"]}},` +
		`{"name":"d","type":{"type":"array","items":{"type":"enum","name":"E","symbols":["X","Y"]}}},{"name":"e","type":{"type":"fixed","name":"F","size":3}}]}`,
	`{"type":"array","items":["null","boolean","bytes","float",{"type":"array","items":"null"}]}`,
	`{"type":"record","name":"T","fields":[{"name":"t","type":{"type":"long","logicalType":"timestamp-nanos"}},{"name":"d","type":{"type":"bytes","logicalType":"decimal","precision":9,"scale":3}},` +
		`{"name":"i","type":"int"},{"name":"tm","type":{"type":"int","logicalType":"time-millis"}},{"name":"da","type":{"type":"int","logicalType":"date"}}]}`,
}

// FuzzAvro compares with the library, which makes a tree of a message: what the walk takes the library takes, and it writes the same again.
func FuzzAvro(f *testing.F) {
	for i := range fuzzSchemas {
		f.Add(i, []byte{2, 2, 2, 'x', 0, 0, 1, 2, 3})
		f.Add(i, varints(1, 1, 0, 0))
	}
	f.Fuzz(func(t *testing.T, i int, b []byte) {
		text := fuzzSchemas[uint(i)%uint(len(fuzzSchemas))]
		s, err := parseAvro([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		d := compile(t, &query.Decode{Type: "avro", SchemaText: text}, none).NewDecoder(paths(t, "a", "b", "c.x.a", "1", "t"))
		dst := make([]query.Value, 5)
		err = d.Decode(b, dst)
		var tree any
		rest, libErr := s.lib.Decode(b, &tree)
		switch taken := libErr == nil && len(rest) == 0; {
		case err == nil && !taken:
			t.Fatalf("%x: taken, the library says %v, %d bytes left", b, libErr, len(rest))
		case err == nil:
			if shown := d.AppendJSON(nil); !json.Valid(shown) {
				t.Fatalf("%x: shown as %s", b, shown)
			}
		case taken && !bytesStrict(text):
			t.Fatalf("%x: %v, but the library takes it", b, err)
		}
	})
}

// bytesStrict tells the schema with booleans, of which the library takes other bytes than 0 and 1.
func bytesStrict(text string) bool { return strings.Contains(text, "boolean") }

func BenchmarkAvro(b *testing.B) {
	var fixtures []avroFixture
	readFixtures(b, "avro.json", &fixtures)
	message := fixtures[0].Messages[1].Binary
	d := compile(b, &query.Decode{Type: "avro", SchemaText: fixtures[0].Schema}, none).NewDecoder(paths(b, "id", "age", "score"))
	dst := make([]query.Value, 3)
	for b.Loop() {
		if err := d.Decode(message, dst); err != nil {
			b.Fatal(err)
		}
	}
}
