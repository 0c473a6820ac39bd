package query

import (
	"encoding/json"
	"errors"
	"testing"
	"unicode/utf8"
)

// FuzzQuery: any request is refused with a reason, or runs over any messages and gives JSON.
func FuzzQuery(f *testing.F) {
	messages := []byte("{\"a\":1,\"ts\":5,\"b\":{\"c\":[1,\"x\",null]}}\n{\"a\":\"1970-01-01T00:00:00Z\",\"ts\":1e300}\n{\"a\"\n[true]\n{\"a\":18446744073709551615}")
	for _, request := range []string{
		`{"source":{"topic":"orders","partition":0,"group":"g1","offset":0,"limit":2000},"filter":[{"field":"a","op":"gt","value":10}],
		"window":{"type":"tumbling","size_ms":60000,"ts_field":"ts"},"aggregate":{"group_by":["b"],"measures":[{"op":"count"},{"op":"sum","field":"a","as":"total"}]},
		"transform":{"left_fields":["a","b.c"],"emit_rows":10}}`,
		`{"source":{"topic":"t","offsets":{"0":1},"decode":{"type":"json","field_aliases":{"a":["b","b.c"]}}},"window":{"type":"session","gap_ms":5},
		"aggregate":{"measures":[{"op":"min","field":"a"},{"op":"max","field":"b"},{"op":"avg","field":"a"}]}}`,
		`{"source":{"topic":"t"},"filter":[{"any":[{"not":{"field":"b.c","op":"contains","value":"x"}},{"all":[{"field":"ts","op":"in","value":[1,"1970-01-01T00:00:00Z"]}]}]},{"field":"a","op":"exists"}],
		"window":{"type":"hopping","size_ms":10,"advance_ms":3,"ts_field":"ts","allowed_lateness_ms":1},"aggregate":{"group_by":["a"],"measures":[{"op":"count"}]},"transform":{"emit_rows":3}}`,
	} {
		f.Add([]byte(request), messages)
	}
	f.Fuzz(func(t *testing.T, request, lines []byte) {
		r, err := ParseQuery(request)
		var bad *RequestError
		if err != nil {
			if !errors.As(err, &bad) || bad.Code != "bad_json" && bad.Code != "unknown_field" && bad.Code != "bad_query" || bad.Message == "" {
				t.Fatalf("%q: %v", request, err)
			}
			return
		}
		if !json.Valid(request) || r.Source.Topic == "" || r.Source.Limit == nil {
			t.Fatalf("%q is taken", request)
		}
		q, err := r.Compile(JSONFormat())
		if err != nil {
			t.Fatalf("%q parses, but does not compile: %v", request, err)
		}
		var op Operator
		if op, err = q.Operator(); err != nil && !errors.As(err, &bad) {
			t.Fatal(err)
		}
		result, err := q.Run(Limits{StateBytes: 1 << 20, OutputBytes: 1 << 20}, func(yield func(*Message) bool) {
			for i, offset := 0, uint64(0); i < len(lines); offset++ {
				end := i
				for end < len(lines) && lines[end] != '\n' {
					end++
				}
				m := Message{Offset: offset, TimeMs: offset, Value: lines[i:end]}
				i = end + 1
				if op != nil && op.Push(0, &m, func(row Row) {
					if !json.Valid(row.JSON) {
						t.Fatalf("%q: a row is not JSON: %q", request, row.JSON)
					}
				}) != nil {
					op = nil
				}
				if !yield(&m) {
					return
				}
			}
		})
		if err != nil {
			if !errors.As(err, &bad) || bad.Code != "sum_overflow" && bad.Code != "output_too_large" {
				t.Fatalf("%q: %v", request, err)
			}
			return
		}
		if text := append(result.AppendJSON([]byte{'{'}), '}'); !json.Valid(text) || !utf8.Valid(text) {
			t.Fatalf("%q gives %q", request, text)
		}
	})
}
