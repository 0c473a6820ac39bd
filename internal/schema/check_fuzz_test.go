package schema

import (
	"encoding/base64"
	"testing"

	"ayder/internal/query"
)

// FuzzSchemas compiles whatever is said to be a schema and decodes a message with it: nothing may panic, and what Check takes has to
// be of use.
func FuzzSchemas(f *testing.F) {
	for _, text := range fuzzSchemas {
		f.Add(byte(0), []byte(text), []byte{2, 2, 2, 0})
	}
	for _, fixture := range protoFixtures(f) {
		f.Add(byte(1), []byte(fixture.Schema), fixture.Messages[0].Binary)
		set, err := base64.StdEncoding.DecodeString(descriptorSet(f, fixture.Schema))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(byte(2), set, fixture.Messages[0].Binary)
	}
	f.Fuzz(func(t *testing.T, kind byte, schema, message []byte) {
		s := Schema{Type: Avro, Text: schema}
		switch kind % 3 {
		case 1:
			s = Schema{Type: Proto, Text: schema}
		case 2:
			s = Schema{Type: Proto, DescriptorSet: schema}
		}
		checked := Check(s)
		one := uint32(1)
		registry := func(uint32) (Schema, bool) { return s, true }
		for _, encoding := range []string{"binary", "json", "confluent"} {
			format, err := Compile(&query.Decode{Type: s.Type, Encoding: encoding, SchemaID: &one}, registry)
			if err == nil && checked != nil {
				t.Fatalf("Check says %v", checked)
			}
			if err != nil {
				continue
			}
			dst := make([]query.Value, 4)
			d := format.NewDecoder([]query.Path{{"a"}, {"lines", "0", "sku"}, {"data", "c"}, {}})
			for _, b := range [][]byte{message, append([]byte{0, 0, 0, 0, 1, 0}, message...)} {
				if d.Decode(b, dst) == nil {
					d.AppendJSON(nil)
				}
			}
		}
	})
}
