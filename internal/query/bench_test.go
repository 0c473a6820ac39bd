package query

import (
	"fmt"
	"testing"
)

// fixedFormat decodes nothing: what is left of a benchmark is the query's own work.
type fixedFormat struct{ values []Value }

func (f fixedFormat) NewDecoder([]Path) Decoder          { return f }
func (f fixedFormat) AppendJSON(dst []byte) []byte       { return append(dst, "{}"...) }
func (f fixedFormat) Decode(_ []byte, dst []Value) error { copy(dst, f.values); return nil }

// sampleStream is 1000 messages of about 200 bytes, of 50 countries, 10 ms apart.
func sampleStream() (messages []*Message) {
	for i := range 1000 {
		value := fmt.Appendf(nil, `{"id":%d,"customer":"customer-%06d","country":"C%02d","amount":%d.5,"count":%d,"ts":%d,"items":[{"sku":"a-1","n":2},{"sku":"b-2","n":1}],"note":"%050d"}`,
			i, i*7919%1000, i*31%50, i%100, i, 1_700_000_000_000+10*i, i)
		messages = append(messages, &Message{Offset: uint64(i), TimeMs: uint64(1_700_000_000_000 + 10*i), Value: value})
	}
	return messages
}

// benchmarks are queries by name. The values of fixedFormat are in the order in which a query asks for its fields.
var benchmarks = []struct {
	name, request string
	fixed         []Value
}{
	{
		"filter", `"filter":[{"field":"amount","op":"gt","value":10},{"field":"country","op":"ne","value":"C07"}]`,
		[]Value{FloatValue(50), StringValue([]byte("C08"))},
	},
	{
		"sum", `"filter":[{"field":"amount","op":"gt","value":10}],"aggregate":{"group_by":["country"],"measures":[{"op":"count"},{"op":"sum","field":"amount"}]}`,
		[]Value{FloatValue(50), StringValue([]byte("C08"))},
	},
	{
		"tumbling", `"filter":[{"field":"amount","op":"gt","value":10}],"window":{"size_ms":1000,"ts_field":"ts"},"aggregate":{"group_by":["country"],"measures":[{"op":"count"},{"op":"sum","field":"amount"},{"op":"max","field":"customer"}]}`,
		[]Value{IntValue(1_700_000_000_000), FloatValue(50), StringValue([]byte("C08")), StringValue([]byte("customer-000001"))},
	},
	{
		"hopping", `"window":{"type":"hopping","size_ms":1000,"advance_ms":100},"aggregate":{"group_by":["country"],"measures":[{"op":"avg","field":"amount"}]}`,
		[]Value{StringValue([]byte("C08")), FloatValue(50)},
	},
	{
		"session", `"window":{"type":"session","gap_ms":200},"aggregate":{"group_by":["country"],"measures":[{"op":"avg","field":"amount"}]}`,
		[]Value{StringValue([]byte("C08")), FloatValue(50)},
	},
}

// BenchmarkQuery is a query over JSON messages of 200 bytes; "alone" is the same without decoding.
func BenchmarkQuery(b *testing.B) {
	messages := sampleStream()
	for _, c := range benchmarks {
		r, err := ParseQuery([]byte(`{"source":{"topic":"t","limit":100000},` + c.request + `}`))
		if err != nil {
			b.Fatal(err)
		}
		for _, f := range []struct {
			name   string
			format Format
		}{{"json", JSONFormat()}, {"alone", fixedFormat{c.fixed}}} {
			q, err := r.Compile(f.format)
			if err != nil {
				b.Fatal(err)
			}
			b.Run(c.name+"/"+f.name, func(b *testing.B) {
				b.SetBytes(int64(len(messages[500].Value)))
				b.ReportAllocs()
				for left := b.N; left > 0; left -= scanMax {
					result, err := q.Run(Limits{}, func(yield func(*Message) bool) {
						for i := range min(left, scanMax) {
							if !yield(messages[i%len(messages)]) {
								return
							}
						}
					})
					if err != nil || result.Scanned == 0 {
						b.Fatal(result, err)
					}
				}
			})
		}
	}
}

// A message of a group that is known allocates nothing.
func TestMessagesAllocateNothing(t *testing.T) {
	messages := sampleStream()
	for _, c := range benchmarks {
		q := compiled(t, c.request)
		r := &run{evaluator: newEvaluator(q), limits: Limits{}}
		r.result.Next = make(map[uint32]uint64)
		if len(q.measures) > 0 {
			r.groups = newAggregation(q)
		}
		each := func() {
			for _, m := range messages {
				if more, err := r.take(m); !more || err != nil {
					t.Fatal(more, err)
				}
			}
		}
		each()
		if n := testing.AllocsPerRun(5, each); n != 0 {
			t.Errorf("%s: %v allocations per %d messages", c.name, n, len(messages))
		}
		op, err := q.Operator()
		if err != nil {
			continue // it has no windows
		}
		emit := func(Row) {}
		push := func() {
			for _, m := range messages[:100] {
				if err := op.Push(0, m, emit); err != nil {
					t.Fatal(err)
				}
			}
		}
		push()
		if n := testing.AllocsPerRun(5, push); n != 0 {
			t.Errorf("%s, for good: %v allocations per 100 messages", c.name, n)
		}
	}
}

// BenchmarkForGood is a pipeline's query: messages 10 ms apart, windows that close all the time.
func BenchmarkForGood(b *testing.B) {
	messages := sampleStream()
	for _, c := range benchmarks {
		q := compiled(b, c.request)
		op, err := q.Operator()
		if err != nil {
			continue
		}
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			rows := 0
			for i := range b.N {
				m := *messages[i%len(messages)]
				m.TimeMs, m.Offset = uint64(10*i), uint64(i)
				if err := op.Push(0, &m, func(Row) { rows++ }); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(rows)/float64(b.N), "rows/op")
		})
	}
}
