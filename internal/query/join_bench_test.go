package query

import (
	"iter"
	"runtime"
	"strconv"
	"testing"
)

// orders are n messages of about 100 bytes, one per millisecond and side; one user in matching has one on either side at a time.
func orders(n int, side string, matching int) iter.Seq[*Message] {
	return func(yield func(*Message) bool) {
		var b []byte
		m := &Message{}
		for i := range n {
			b = strconv.AppendInt(append(b[:0], `{"id":`...), int64(i), 10)
			b = strconv.AppendInt(append(b, `,"user_id":"user-`...), int64(i*7919%50_000), 10)
			if i%matching != 0 {
				b = append(append(b, ' '), side...)
			}
			b = strconv.AppendInt(append(b, `","amount":`...), int64(i%1000), 10)
			b = append(append(b, `.5,"status":"`...), side...)
			b = strconv.AppendInt(append(b, `","note":"nobody asks for this","ts":`...), 1_700_000_000_000+int64(i), 10)
			b = append(b, '}')
			m.Offset, m.TimeMs, m.Value = uint64(i), uint64(1_700_000_000_000+i), b
			if !yield(m) {
				return
			}
		}
	}
}

func benchmarkJoin(b *testing.B, n, matching int, settings string) {
	j := mustJoin(b, `{"left":{"topic":"l","limit":100000},"right":{"topic":"r","limit":100000},"on":{"left_key":"user_id","right_key":"user_id"},
		"emit":{"left_fields":["id","amount"],"right_fields":["status"],"max_rows":100000},`+settings+`}`)
	j.sides[0].limit, j.sides[1].limit = n, n
	b.ReportAllocs()
	var rows, occupied int
	for b.Loop() {
		r := newJoinRun(j, Limits{})
		result, err := r.run(orders(n, "ordered", matching), orders(n, "paid", matching))
		if err != nil {
			b.Fatal(err)
		}
		rows, occupied = len(result.order), r.buf.occupied()
	}
	b.ReportMetric(float64(2*n*b.N)/b.Elapsed().Seconds(), "messages/s")
	b.ReportMetric(float64(rows), "rows")
	b.ReportMetric(float64(occupied), "buffer-bytes")
}

// BenchmarkJoin is both sides of 100,000 messages, and ten times as many with the same window: its buffer has to stay as large.
func BenchmarkJoin(b *testing.B) {
	for _, c := range []struct {
		name     string
		n        int
		matching int
		settings string
	}{
		{"inner/100k", 100_000, 1, `"window":{"size_ms":1000,"ts_field":"ts"}`},
		{"inner/100k/few", 100_000, 20, `"window":{"size_ms":1000,"ts_field":"ts"}`},
		{"inner/1M/few", 1_000_000, 20, `"window":{"size_ms":1000,"ts_field":"ts"}`},
		{"full/100k", 100_000, 1, `"window":{"size_ms":1000,"ts_field":"ts"},"join":{"type":"full"}`},
		{"once/100k", 100_000, 1, `"window":{"size_ms":1000,"ts_field":"ts"},"dedupe_once":true`},
		{"all/100k", 100_000, 1, `"window":{"size_ms":60000,"ts_field":"ts"}`},
	} {
		b.Run(c.name, func(b *testing.B) { benchmarkJoin(b, c.n, c.matching, c.settings) })
	}
}

// BenchmarkOrders is what making the messages costs, which is in the figures of BenchmarkJoin.
func BenchmarkOrders(b *testing.B) {
	for b.Loop() {
		for m := range orders(200_000, "ordered", 1) {
			runtime.KeepAlive(m)
		}
	}
}
