package schema

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"

	"ayder/internal/query"
)

type protoFixture struct {
	Name, Schema, Message string
	ApplyDefaults         bool
	Messages              []struct {
		Binary     []byte
		Want, JSON string
	}
}

func protoFixtures(t testing.TB) map[string]protoFixture {
	t.Helper()
	var list []protoFixture
	readFixtures(t, "proto.json", &list)
	byName := map[string]protoFixture{}
	for _, f := range list {
		byName[f.Name] = f
	}
	return byName
}

// Messages that protobufjs wrote are read: as binary, behind Confluent's header, as JSON, by the text and by descriptors; and what is cut
// short is refused, or is a message with fewer fields.
func TestProtoByAnotherImplementation(t *testing.T) {
	for _, c := range protoFixtures(t) {
		t.Run(c.Name, func(t *testing.T) {
			registry := func(id uint32) (Schema, bool) { return Schema{ID: id, Type: Proto, Text: []byte(c.Schema)}, id == 7 }
			set := descriptorSet(t, c.Schema)
			d := query.Decode{Type: "proto", Message: c.Message, ApplyDefaults: &c.ApplyDefaults}
			byText, bySet, asJSON, confluent, written := d, d, d, d, d
			byText.SchemaText, asJSON.SchemaText = c.Schema, c.Schema
			bySet.DescriptorSetB64 = set
			asJSON.Encoding = "json"
			confluent.Encoding, confluent.SchemaText = "confluent", c.Schema
			written.Encoding = "confluent"
			for _, m := range c.Messages {
				wantShown(t, compile(t, &byText, none), m.Binary, m.Want)
				wantShown(t, compile(t, &bySet, none), m.Binary, m.Want)
				headed := append([]byte{0, 0, 0, 0, 7, 0}, m.Binary...)
				wantShown(t, compile(t, &confluent, none), headed, m.Want)
				wantShown(t, compile(t, &confluent, registry), headed, m.Want)
				wantShown(t, compile(t, &written, registry), headed, m.Want)
				if m.JSON != "" {
					wantShown(t, compile(t, &asJSON, none), []byte(m.JSON), m.Want)
				}
				wantProtoCuts(t, compile(t, &byText, none), m.Binary)
			}
		})
	}
}

// descriptorSet is what protoc --include_imports would write.
func descriptorSet(t testing.TB, text string) string {
	t.Helper()
	files, err := compileProtoText(text)
	if err != nil {
		t.Fatal(err)
	}
	b, err := proto.Marshal(&descriptorpb.FileDescriptorSet{File: files})
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(b)
}

// wantProtoCuts decodes every beginning; nothing but ErrUndecodable may come of it.
func wantProtoCuts(t *testing.T, f query.Format, b []byte) {
	t.Helper()
	d := f.NewDecoder(nil)
	for cut := range len(b) {
		if err := d.Decode(b[:cut], nil); err == nil {
			d.AppendJSON(nil)
		} else if !errors.Is(err, query.ErrUndecodable) {
			t.Errorf("the first %d of %d bytes: %v", cut, len(b), err)
		}
	}
	if err := d.Decode(append(b[:len(b):len(b)], 0x80), nil); !errors.Is(err, query.ErrUndecodable) {
		t.Errorf("half a tag behind it: %v", err)
	}
}

func TestProtoPaths(t *testing.T) {
	fixtures := protoFixtures(t)
	for _, c := range []struct {
		fixture string
		message int
		path    string
		kind    query.Kind
		want    string
	}{
		{"scalars", 0, "i64", query.Int, "-9007199254740993"},
		{"scalars", 0, "u64", query.Uint, "18446744073709551615"},
		{"scalars", 0, "s32", query.Int, "-2147483648"},
		{"scalars", 0, "f", query.Float, "0.5"},
		{"scalars", 0, "kind", query.String, `"BIG"`},
		{"scalars", 0, "raw", query.Bytes, `"AP8="`},
		{"scalars", 0, "maybe", query.Int, "0"},
		{"scalars", 1, "maybe", query.Missing, "null"},
		{"scalars", 1, "text", query.String, `""`},
		{"scalars", 2, "kind", query.Int, "77"},
		{"scalars without defaults", 1, "text", query.Missing, "null"},
		{"scalars", 0, "nothing", query.Missing, "null"},
		{"nested", 0, "lines.0.sku", query.String, `"a"`},
		{"nested", 0, "lines.1.n", query.Int, "0"},
		{"nested", 0, "lines.2.n", query.Missing, "null"},
		{"nested", 0, "by_name.z.sku", query.String, `"z"`},
		{"nested", 0, "byName.z.sku", query.String, `"z"`},
		{"nested", 0, "names.-1", query.String, `"minus"`},
		{"nested", 0, "flags.false", query.Int, "-2"},
		{"nested", 0, "line.n", query.Int, "4"},
		{"nested", 0, "card", query.Missing, "null"},
		{"nested", 0, "parent.cash", query.Bool, "false"},
		{"nested", 0, "parent.tags.0", query.String, `"p"`},
		{"nested", 1, "parent.cash", query.Missing, "null"},
		{"nested", 1, "tags", query.JSON, "[]"},
		{"nested", 0, "kinds", query.JSON, `["B","A",9]`},
		{"proto2", 1, "name", query.String, `"anon"`},
		{"proto2", 1, "count", query.Int, "0"},
		{"proto2", 0, "count", query.Missing, "null"},
		{"well-known types", 0, "at", query.Time, `"2024-04-05T19:34:38.901Z"`},
		{"well-known types", 0, "at.seconds", query.Int, "1712345678"},
		{"well-known types", 0, "n", query.Int, "0"},
		{"well-known types", 1, "n", query.Missing, "null"},
		{"well-known types", 0, "took", query.String, `"-1.5s"`},
		{"well-known types", 0, "data.c.d", query.String, `"deep"`},
		{"well-known types", 0, "data.a.0", query.Bool, "true"},
		{"well-known types", 0, "data.a.1", query.Null, "null"},
		{"well-known types", 0, "data.x", query.Missing, "null"},
		{"well-known types", 0, "list.0", query.Float, "1"},
	} {
		f := fixtures[c.fixture]
		format := compile(t, &query.Decode{Type: "proto", SchemaText: f.Schema, Message: f.Message, ApplyDefaults: &f.ApplyDefaults}, none)
		dst := make([]query.Value, 3)
		// alone, as the walk finds it if it can, and with another path for which it cannot
		for _, all := range [][]query.Path{paths(t, c.path, c.path, c.path), append(paths(t, c.path, c.path), query.Path{})} {
			if err := format.NewDecoder(all).Decode(f.Messages[c.message].Binary, dst); err != nil {
				t.Fatal(err)
			}
			kind := dst[1].Kind()
			if kind == query.Float && c.kind == query.Int || kind == query.Int && c.kind == query.Float {
				kind = c.kind
			}
			if got := string(dst[1].AppendJSON(nil)); kind != c.kind || got != c.want || dst[0].Order(dst[1]) != 0 {
				t.Errorf("%s of %s: kind %d %s, want %d %s", c.path, c.fixture, dst[1].Kind(), got, c.kind, c.want)
			}
		}
	}
}

func TestProtoAllocatesNothing(t *testing.T) {
	f := protoFixtures(t)["scalars"]
	d := compile(t, &query.Decode{Type: "proto", SchemaText: f.Schema}, none).NewDecoder(paths(t, "i64", "text", "d", "raw"))
	dst := make([]query.Value, 4)
	if n := testing.AllocsPerRun(100, func() {
		if err := d.Decode(f.Messages[0].Binary, dst); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

const piecesText = `syntax = "proto3";
message M { N n = 1; int32 a = 2; oneof o { N x = 3; int32 y = 4; string z = 5; } message N { int32 p = 1; int32 q = 2; N n = 3; } map<string, int32> m = 7; }`

// A message may come in pieces, and say one thing after the other.
func TestProtoUnusualMessages(t *testing.T) {
	tag := protowire.AppendTag
	varint := func(b []byte, number protowire.Number, v uint64) []byte {
		return protowire.AppendVarint(tag(b, number, protowire.VarintType), v)
	}
	sub := func(b []byte, number protowire.Number, inner []byte) []byte {
		return protowire.AppendBytes(tag(b, number, protowire.BytesType), inner)
	}
	p, q := varint(nil, 1, 7), varint(nil, 2, 8)
	for name, c := range map[string]struct {
		message []byte
		want    string // of n.p, n.q, x.p, y, z
	}{
		"in two pieces":          {sub(sub(nil, 1, p), 1, q), "7 8 null null null"},
		"a number twice":         {varint(varint(nil, 4, 1), 4, 2), "null null null 2 null"},
		"one of three":           {sub(varint(sub(nil, 3, p), 4, 5), 5, []byte("z")), `null null null null "z"`},
		"a message of one of":    {sub(varint(nil, 4, 5), 3, p), "null null 7 null null"},
		"again after another":    {sub(varint(sub(nil, 3, p), 4, 5), 3, q), "null null 0 null null"},
		"a wrong wire type":      {protowire.AppendFixed32(tag(nil, 4, protowire.Fixed32Type), 5), "null null null null null"},
		"an unknown field":       {varint(sub(nil, 900, []byte("x")), 4, 5), "null null null 5 null"},
		"an unknown group":       {varint(tag(varint(tag(nil, 99, protowire.StartGroupType), 4, 9), 99, protowire.EndGroupType), 4, 5), "null null null 5 null"},
		"more than 32 bits":      {varint(nil, 4, 1<<40|3), "null null null 3 null"},
		"nothing":                {nil, "null null null null null"},
		"a message with nothing": {sub(nil, 1, nil), "0 0 null null null"},
	} {
		d := compile(t, &query.Decode{Type: "proto", SchemaText: piecesText}, none).NewDecoder(paths(t, "n.p", "n.q", "x.p", "y", "z"))
		dst := make([]query.Value, 5)
		for range 2 {
			if err := d.Decode(c.message, dst); err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, v := range dst {
				got = append(got, string(v.AppendJSON(nil)))
			}
			if s := strings.Join(got, " "); s != c.want {
				t.Errorf("%s: %s, want %s", name, s, c.want)
			}
		}
	}
}

func TestProtoHostileMessages(t *testing.T) {
	tag := protowire.AppendTag
	var deep []byte // each level is shorter than the one around it, whose length comes first
	for range 2000 {
		deep = protowire.AppendBytes(tag(nil, 3, protowire.BytesType), deep)
	}
	groups := []byte(strings.Repeat("\xe3\x06", 5_000_000)) // field 108: nobody ends them
	for name, message := range map[string][]byte{
		"a tag of field 0":      {0},
		"a length of 2^62":      protowire.AppendVarint(tag(nil, 3, protowire.BytesType), 1<<62),
		"the end of no group":   tag(nil, 3, protowire.EndGroupType),
		"groups without end":    groups,
		"a wire type of 6":      {0x0e},
		"half a varint":         {0x10, 0x80},
		"2000 levels":           protowire.AppendBytes(tag(nil, 1, protowire.BytesType), deep),
		"text that is no UTF-8": protowire.AppendBytes(tag(nil, 5, protowire.BytesType), []byte{0xff}),
		"two million fields":    []byte(strings.Repeat("\x10\x01", 2<<20)),
		"two million messages":  []byte(strings.Repeat("\x0a\x00", 2<<20)),
		"a key of another type": []byte("\x3a\x02\x08\x01"),
		"ten million bytes":     protowire.AppendVarint(tag(nil, 5, protowire.BytesType), 10_000_001),
	} {
		d := compile(t, &query.Decode{Type: "proto", SchemaText: piecesText}, none).NewDecoder(paths(t, "n.n.n.p", "z"))
		if err := d.Decode(message, make([]query.Value, 2)); !errors.Is(err, query.ErrUndecodable) {
			t.Errorf("%s: %v", name, err)
		}
	}
	long := protowire.AppendBytes(tag(nil, 5, protowire.BytesType), make([]byte, 10_000_000))
	dst := make([]query.Value, 1)
	if err := compile(t, &query.Decode{Type: "proto", SchemaText: piecesText}, none).NewDecoder(paths(t, "z")).Decode(long, dst); err != nil || len(dst[0].Text()) != 10_000_000 {
		t.Errorf("ten million bytes of text: %v", err)
	}
	asJSON := compile(t, &query.Decode{Type: "proto", Encoding: "json", SchemaText: piecesText}, none).NewDecoder(nil)
	for _, text := range []string{``, `{`, `[]`, `{"a":"x"}`, `{"n":` + strings.Repeat(`{"n":`, 50_000), "{\"z\":\"\xff\"}", strings.Repeat("[", 2_000_000)} {
		if err := asJSON.Decode([]byte(text), nil); !errors.Is(err, query.ErrUndecodable) {
			t.Errorf("%.20q: %v", text, err)
		}
	}
}

func TestProtoConfluentMessages(t *testing.T) {
	text := `syntax = "proto3"; package p; message A { int32 a = 1; message B { int32 b = 1; message C { int32 c = 1; } } } message D { int32 d = 1; }`
	registry := func(id uint32) (Schema, bool) { return Schema{ID: id, Type: Proto, Text: []byte(text)}, id == 1 }
	one := uint32(1)
	all := compile(t, &query.Decode{Type: "proto", Encoding: "confluent"}, registry)
	onlyB := compile(t, &query.Decode{Type: "proto", Encoding: "confluent", Message: "B"}, registry)
	inline := compile(t, &query.Decode{Type: "proto", Encoding: "confluent", SchemaText: text, Message: "p.D"}, none)
	strict := compile(t, &query.Decode{Type: "proto", Encoding: "confluent", SchemaID: &one}, registry)
	for _, c := range []struct {
		f             query.Format
		message, want string
	}{
		{all, "\x00\x00\x00\x00\x01\x00\x08\x05", `{"a":5}`},
		{all, "\x00\x00\x00\x00\x01\x02\x00\x08\x05", `{"a":5}`},
		{all, "\x00\x00\x00\x00\x01\x02\x02\x08\x05", `{"d":5}`},
		{all, "\x00\x00\x00\x00\x01\x04\x00\x00\x08\x05", `{"b":5}`},
		{all, "\x00\x00\x00\x00\x01\x06\x00\x00\x00\x08\x05", `{"c":5}`},
		{all, "\x00\x00\x00\x00\x01\x02\x04\x08\x05", ""},         // a third message
		{all, "\x00\x00\x00\x00\x01\x08\x00\x00\x00\x00\x08", ""}, // a fourth level
		{all, "\x00\x00\x00\x00\x01\x01\x08\x05", ""},             // minus one index
		{all, "\x00\x00\x00\x00\x01\xff\xff\xff\xff\x0f\x08\x05", ""},
		{all, "\x00\x00\x00\x00\x01", ""},
		{all, "\x00\x00\x00\x00\x02\x00\x08\x05", ""},
		{all, "\x02\x00\x00\x00\x01\x00\x08\x05", ""},
		{onlyB, "\x00\x00\x00\x00\x01\x04\x00\x00\x08\x05", `{"b":5}`},
		{onlyB, "\x00\x00\x00\x00\x01\x00\x08\x05", ""},
		{inline, "\x00\x00\x00\x00\x63\x02\x02\x08\x05", `{"d":5}`},
		{inline, "\x00\x00\x00\x00\x63\x00\x08\x05", ""},
		{strict, "\x00\x00\x00\x00\x01\x00\x08\x05", `{"a":5}`},
		{strict, "\x00\x00\x00\x00\x63\x00\x08\x05", ""},
	} {
		if c.want != "" {
			wantShown(t, c.f, []byte(c.message), c.want)
		} else if err := c.f.NewDecoder(nil).Decode([]byte(c.message), nil); !errors.Is(err, query.ErrUndecodable) {
			t.Errorf("%q: %v", c.message, err)
		}
	}
}

// A schema is compiled once, also if none of its messages is what is wanted.
func TestProtoWritersAreCompiledOnce(t *testing.T) {
	asked := 0
	registry := func(id uint32) (Schema, bool) {
		asked++
		return Schema{ID: id, Type: Proto, Text: []byte(`syntax = "proto3"; message A { int32 a = 1; }`)}, true
	}
	d := compile(t, &query.Decode{Type: "proto", Encoding: "confluent", Message: "B"}, registry).NewDecoder(nil)
	for range 10 {
		for _, message := range []string{"\x00\x00\x00\x00\x01\x00\x08\x05", "\x00\x00\x00\x00\x01\x02\x10\x08\x05"} {
			if err := d.Decode([]byte(message), nil); !errors.Is(err, query.ErrUndecodable) {
				t.Fatal(err)
			}
		}
	}
	if asked != 1 {
		t.Errorf("compiled %d times", asked)
	}
}

func TestProtoEditions(t *testing.T) {
	text := `edition = "2023"; message E { int32 a = 1; int32 b = 2 [features.field_presence = IMPLICIT]; E c = 3 [features.message_encoding = DELIMITED]; }`
	f := compile(t, &query.Decode{Type: "proto", SchemaText: text}, none)
	wantShown(t, f, nil, `{"b":0}`)
	wantShown(t, f, []byte("\x08\x00\x1b\x10\x05\x1c"), `{"a":0,"b":0,"c":{"b":5}}`)
}

// A message that only has the name of a well-known one is an ordinary message.
func TestProtoFalseFriends(t *testing.T) {
	text := `syntax = "proto3"; package google.protobuf; message Timestamp { string x = 5; } message Struct {} message Value {} message ListValue {} message BoolValue {}
message M { Timestamp a = 1; Struct b = 2; Value c = 3; ListValue d = 4; BoolValue e = 5; }`
	f := compile(t, &query.Decode{Type: "proto", SchemaText: text, Message: "M"}, none)
	wantShown(t, f, []byte("\x0a\x03\x2a\x01x\x12\x00\x1a\x00\x22\x00\x2a\x00"), `{"a":{"x":"x"},"b":{},"c":{},"d":{},"e":{}}`)
	dst := make([]query.Value, 6)
	if err := f.NewDecoder(paths(t, "a", "b", "c", "d.0", "e", "a.x")).Decode([]byte("\x0a\x03\x2a\x01x\x12\x00\x1a\x00\x22\x00\x2a\x00"), dst); err != nil {
		t.Error(err)
	}
	// the same in a set that brings a file of its own under a bundled name
	set := &descriptorpb.FileDescriptorSet{File: []*descriptorpb.FileDescriptorProto{
		{Name: proto.String("google/protobuf/timestamp.proto"), Package: proto.String("google.protobuf"), MessageType: []*descriptorpb.DescriptorProto{{Name: proto.String("Timestamp")}}},
		{Name: proto.String("own.proto"), Dependency: []string{"google/protobuf/timestamp.proto"}, MessageType: []*descriptorpb.DescriptorProto{{
			Name: proto.String("M"), Field: []*descriptorpb.FieldDescriptorProto{{
				Name: proto.String("at"), Number: proto.Int32(1), Type: descriptorpb.FieldDescriptorProto_TYPE_MESSAGE.Enum(), TypeName: proto.String(".google.protobuf.Timestamp"),
				Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum(),
			}},
		}}},
	}}
	b, err := proto.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	f = compile(t, &query.Decode{Type: "proto", DescriptorSetB64: base64.StdEncoding.EncodeToString(b)}, none)
	wantShown(t, f, []byte("\x0a\x02\x08\x01"), `{"at":"1970-01-01T00:00:01Z"}`)
}

func TestProtoSchemasThatAreRefused(t *testing.T) {
	deep := "syntax = \"proto3\";" + strings.Repeat("message A{", 20_000)
	for _, s := range []Schema{
		{Text: []byte(``)},
		{Text: []byte(`syntax = "proto3";`), Message: "A"},
		{Text: []byte(`message`)},
		{Text: []byte(deep)},
		{Text: []byte(`syntax = "proto3"; import "/etc/passwd"; message A {}`)},
		{Text: []byte(`syntax = "proto3"; import "schema.proto"; message A {}`)},
		{Text: []byte(`syntax = "proto3"; import "google/protobuf/none.proto"; message A {}`)},
		{Text: []byte(`syntax = "proto3"; message A { B b = 1; }`)},
		{Text: []byte(`syntax = "proto3"; message A { message X {} } message B { message X {} }`), Message: "X"},
		{Text: []byte(`syntax = "proto3"; message A {} // ` + strings.Repeat("x\n//", textBytesMax/4))},
		{Text: []byte(`syntax = "proto3"; message A {} //` + strings.Repeat(" ", 10_000))},
		{DescriptorSet: []byte("nonsense")},
		{DescriptorSet: []byte{}, Text: nil},
	} {
		s.Type = Proto
		if err := Check(s); err == nil {
			t.Errorf("%.60q %q is taken", s.Text, s.Message)
		} else if len(err.Error()) > 2000 {
			t.Errorf("%.60q: an error of %d bytes", s.Text, len(err.Error()))
		}
	}
}

// The largest schemas compile; nothing here is timed, but what took minutes would be seen.
func TestProtoLargeSchemas(t *testing.T) {
	var fields, messages, names, ladder strings.Builder
	for i := 1; fields.Len() < textBytesMax-100; i++ {
		fmt.Fprintf(&fields, "int32 f%d=%d;\n", i, i+20_000)
	}
	for i := 1; messages.Len() < textBytesMax-100; i++ {
		fmt.Fprintf(&messages, "message M%d{M1 a=1;}\n", i)
	}
	for i := range 30 {
		fmt.Fprintf(&ladder, "message A%d{A%d a=1;", i, i)
	}
	names.WriteString("reserved \"a\"")
	for i := 1; names.Len() < textBytesMax-100; i++ {
		fmt.Fprintf(&names, ",\n\"a%d\"", i)
	}
	for _, text := range []string{
		"message A{" + names.String() + ";}", "message A{" + fields.String() + "}", messages.String(), ladder.String() + strings.Repeat("}", 30),
	} {
		if err := Check(Schema{Type: Proto, Text: []byte(`syntax="proto3";` + text)}); err != nil {
			t.Errorf("%.40s: %v", text, err)
		}
	}
}

func TestCompileRefusals(t *testing.T) {
	id := uint32(5)
	registry := func(id uint32) (Schema, bool) { return Schema{ID: id, Type: Avro, Text: []byte(`"int"`)}, id == 5 }
	nine := uint32(9)
	for name, d := range map[string]query.Decode{
		"type":             {Type: "xml"},
		"encoding":         {Type: "avro", Encoding: "text", SchemaText: `"int"`},
		"json as binary":   {Type: "json", Encoding: "binary"},
		"json with schema": {SchemaText: `"int"`},
		"no schema":        {Type: "avro"},
		"two schemas":      {Type: "proto", SchemaText: "x", DescriptorSetB64: "eA=="},
		"no such id":       {Type: "avro", SchemaID: &nine},
		"id of avro":       {Type: "proto", SchemaID: &id},
		"no base64":        {Type: "proto", DescriptorSetB64: "?"},
		"avro message":     {Type: "avro", SchemaText: `"int"`, Message: "M"},
		"several messages": {Type: "proto", SchemaText: `syntax="proto3"; message A{} message B{}`},
		"incompatible":     {Type: "avro", SchemaText: `"string"`, SchemaID: &id},
	} {
		if _, err := Compile(&d, registry); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
	if f, err := Compile(nil, none); err != nil || f == nil {
		t.Error("nothing is not JSON:", err)
	}
}

// FuzzProto compares with the library: what is taken, and each field by the walk alone with the same from a tree.
func FuzzProto(f *testing.F) {
	fixtures := protoFixtures(f)
	texts := []string{fixtures["scalars"].Schema, fixtures["nested"].Schema, fixtures["proto2"].Schema, fixtures["well-known types"].Schema, piecesText}
	wanted := [][]query.Path{
		paths(f, "i32", "s64", "kind", "f", "text"), paths(f, "card", "line.n", "parent.line.sku", "cash", "parent.parent.card"),
		paths(f, "id", "name", "count", "level", "raw"), paths(f, "at", "at", "at", "at", "at"), paths(f, "n.p", "n.n.q", "x.p", "y", "z"),
	}
	for i, name := range []string{"scalars", "nested", "proto2", "well-known types"} {
		for _, m := range fixtures[name].Messages {
			f.Add(i, m.Binary)
		}
	}
	f.Add(4, []byte("\x0a\x02\x08\x07\x0a\x02\x10\x08\x20\x05"))
	formats := make([]query.Format, len(texts))
	for i, text := range texts {
		formats[i] = compile(f, &query.Decode{Type: "proto", SchemaText: text}, none)
	}
	f.Fuzz(func(t *testing.T, i int, b []byte) {
		i = int(uint(i) % uint(len(texts)))
		d := formats[i].NewDecoder(wanted[i]).(*protoDecoder)
		dst, again := make([]query.Value, 5), make([]query.Value, 6)
		err := d.Decode(b, dst)
		d.message, d.taken = b, d.usual
		_, libErr := d.make()
		if (err == nil) != (libErr == nil) && !d.walk.foreign {
			t.Fatalf("%x: %v, the library says %v", b, err, libErr)
		}
		if err != nil {
			return
		}
		if shown := d.AppendJSON(nil); !json.Valid(shown) {
			t.Fatalf("%x: shown as %s", b, shown)
		}
		if err := formats[i].NewDecoder(append(wanted[i][:5:5], query.Path{})).Decode(b, again); err != nil {
			t.Fatal(err)
		}
		for k := range dst {
			if dst[k].Kind() != again[k].Kind() || dst[k].Order(again[k]) != 0 {
				t.Fatalf("%x: %v: the walk found %s, the tree has %s", b, wanted[i][k], dst[k].AppendJSON(nil), again[k].AppendJSON(nil))
			}
		}
	})
}

func BenchmarkProto(b *testing.B) {
	f := protoFixtures(b)["scalars"]
	format := compile(b, &query.Decode{Type: "proto", SchemaText: f.Schema}, none)
	for name, wanted := range map[string][]query.Path{"walk": paths(b, "i64", "u64", "d"), "tree": append(paths(b, "i64", "u64"), query.Path{})} {
		b.Run(name, func(b *testing.B) {
			d := format.NewDecoder(wanted)
			dst := make([]query.Value, 3)
			for b.Loop() {
				if err := d.Decode(f.Messages[0].Binary, dst); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
