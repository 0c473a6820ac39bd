package schema

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"ayder/internal/query"
)

const poisonText = `syntax = "proto3"; message Pay { int64 n = 1; string s = 2; Pay next = 3; }`

const poisonAvro = `{"type":"record","name":"Pay","fields":[{"name":"n","type":"long"},{"name":"s","type":"string","default":""},` +
	`{"name":"next","type":["null","Pay"],"default":null}]}`

// nests is a message in a message, n deep, as Protobuf has it.
func nests(n int) []byte {
	var heads [][]byte
	size := 0
	for range n {
		head := append([]byte{3<<3 | 2}, varintOf(size)...)
		heads = append(heads, head)
		size += len(head)
	}
	slices.Reverse(heads)
	return slices.Concat(heads...)
}

func varintOf(n int) (b []byte) {
	for ; n >= 0x80; n >>= 7 {
		b = append(b, byte(n)|0x80)
	}
	return append(b, byte(n))
}

// A stream in which every second message is poison: the good ones are all found, each of the others is counted, and nothing stalls.
func TestPoisonedStreams(t *testing.T) {
	registry := func(id uint32) (Schema, bool) {
		switch id {
		case 1:
			return Schema{ID: 1, Type: Avro, Text: []byte(poisonAvro)}, true
		case 2:
			return Schema{ID: 2, Type: Proto, Text: []byte(poisonText)}, true
		}
		return Schema{}, false
	}
	one, two := uint32(1), uint32(2)
	large := strings.Repeat("x", 10<<20)
	header := func(id byte, rest string) string { return "\x00\x00\x00\x00" + string(id) + rest }
	for name, c := range map[string]struct {
		decode *query.Decode
		good   string
		poison []string
	}{
		"json": {nil, `{"n":1,"s":"x"}`, []string{
			"", "{", `{"n":1`, `{"n":1}}`, "\x00\x01\x02", `{"n":01}`, `{"n":1,"s":"` + large, strings.Repeat("[", 10_001), strings.Repeat(`{"n":`, 10_001) + "1" + strings.Repeat("}", 10_001),
		}},
		"avro": {&query.Decode{Type: "avro", SchemaText: poisonAvro}, "\x02\x02x\x00", []string{
			"", "\x02", "\x02\x02x\x00\x00", "\x02\x02x\x04", "{\"n\":1}", large, strings.Repeat("\x02\x00\x02", 10_000) + "\x02\x00\x00", "\x02\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
		}},
		"avro confluent": {&query.Decode{Type: "avro", Encoding: "confluent", SchemaID: &one}, header(1, "\x02\x02x\x00"), []string{
			"", "\x00", "\x02\x02x\x00", header(9, "\x02\x02x\x00"), header(2, "\x02\x02x\x00"), header(1, "\x02"), "\x01" + header(1, "\x02\x02x\x00")[1:],
		}},
		"avro json": {&query.Decode{Type: "avro", Encoding: "json", SchemaText: poisonAvro}, `{"n":1,"s":"x","next":null}`, []string{
			"", "{", `{"n":"1"}`, `{"s":"x"}`, `{"n":1,"s":"` + large, `{"n":1,"s":"x","next":{"Other":{"n":1}}}`, strings.Repeat(`{"n":1,"s":"","next":{"Pay":`, 10_000), "[]",
		}},
		"proto": {&query.Decode{Type: "proto", SchemaText: poisonText}, "\x08\x01\x12\x01x", []string{
			"\x08", "\x12\x05x", "\x12\x01\xff", "\x0f", "{\"n\":1}", "\x12" + string(varintOf(11<<20)) + large, string(nests(10_000)), strings.Repeat("\x1b", 10_000), "\x00",
		}},
		"proto confluent": {&query.Decode{Type: "proto", Encoding: "confluent", SchemaID: &two}, header(2, "\x00\x08\x01\x12\x01x"), []string{
			"", header(2, ""), header(2, "\x02\x02\x08\x01"), header(9, "\x00\x08\x01"), header(1, "\x00\x08\x01"), header(2, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), "\x08\x01",
		}},
		"proto json": {&query.Decode{Type: "proto", Encoding: "json", SchemaText: poisonText}, `{"n":"1","s":"x"}`, []string{
			"", "{", `{"n":"x"}`, `{"n":1.5}`, `{"s":"` + large, strings.Repeat(`{"next":`, 10_000) + "{}" + strings.Repeat("}", 10_000), "[]", "null x",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			f := compile(t, c.decode, registry)
			request, err := query.ParseQuery([]byte(`{"source":{"topic":"t","limit":1000},"filter":[{"field":"s","op":"eq","value":"x"}],` +
				`"aggregate":{"group_by":[],"measures":[{"op":"sum","field":"n","as":"total"}]},"transform":{"left_fields":[],"emit_rows":1000}}`))
			if err != nil {
				t.Fatal(err)
			}
			q, err := request.Compile(f)
			if err != nil {
				t.Fatal(err)
			}
			result, err := q.Run(query.Limits{Rows: 1000, Scanned: 1000, StateBytes: 1 << 20, OutputBytes: 1 << 20}, func(yield func(*query.Message) bool) {
				for i, poison := range c.poison {
					if !yield(&query.Message{Offset: uint64(2 * i), Value: []byte(poison)}) || !yield(&query.Message{Offset: uint64(2*i + 1), Value: []byte(c.good)}) {
						return
					}
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			n := len(c.poison)
			if result.Scanned != 2*n || result.Matched != n || result.Skipped != n || result.Truncated || result.Next[0] != uint64(2*n) {
				t.Errorf("%d scanned, %d matched, %d skipped, truncated by %q, next %v: want %d skipped", result.Scanned, result.Matched, result.Skipped, result.TruncatedBy, result.Next, n)
			}
			var answer struct {
				Rows []struct {
					N json.Number
					S string
				}
				Aggregates []struct{ Total int }
			}
			text := "{" + string(result.AppendJSON(nil)) + "}"
			if err := json.Unmarshal([]byte(text), &answer); err != nil || len(answer.Rows) != n || answer.Rows[n-1].N != "1" || answer.Rows[n-1].S != "x" || answer.Aggregates[0].Total != n {
				t.Errorf("%s: %v", text, err)
			}
		})
	}
}
