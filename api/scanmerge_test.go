package api

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// enveloped are lines of produce-ndjson?envelope=1: n messages with this key, this far apart.
func enveloped(key, from, to, stepMs int) (lines []string) {
	for i := from; i < to; i++ {
		lines = append(lines, fmt.Sprintf(`{"ts_ms":%d,"value":{"k":"%d-%d"}}`, 1_000_000+i*stepMs, key, i))
	}
	return lines
}

func (f *fixture) produceEnveloped(topic string, partition int, lines ...string) {
	f.t.Helper()
	for page := range slices.Chunk(lines, 1000) {
		status, m := f.call("POST", fmt.Sprintf("/broker/topics/%s/produce-ndjson?envelope=1&partition=%d", topic, partition), strings.Join(page, "\n"))
		if status != 200 {
			f.t.Fatal(status, m)
		}
	}
}

// TestJoinReadsPartitionsByTime joins topics whose partitions cover the same hours, one with few messages and one with many. None may be taken for
// late, which they would be if the few were read first; nor because of one whose clock is wrong.
func TestJoinReadsPartitionsByTime(t *testing.T) {
	f := newFixture(t, "auto")
	for _, topic := range []string{"l", "r"} {
		f.call("POST", "/broker/topics", fmt.Sprintf(`{"name":%q,"partitions":4}`, topic))
		f.produceEnveloped(topic, 0, enveloped(0, 0, 10, 3_600_000)...)
		f.produceEnveloped(topic, 1, enveloped(1, 0, 3000, 12_000)...)
	}
	f.produceEnveloped("l", 3, append([]string{`{"ts_ms":1000000000000000,"value":{"k":"no"}}`}, enveloped(3, 0, 600, 60_000)...)...)
	f.produceEnveloped("r", 2, enveloped(3, 0, 600, 60_000)...)
	status, m := f.call("POST", "/broker/join", `{"left":{"topic":"l","limit":100000},"right":{"topic":"r","limit":100000},"on":{"left_key":"k","right_key":"k"},
		"window":{"size_ms":1000},"emit":{"max_rows":100000}}`)
	if status != 200 {
		t.Fatal(status, m)
	}
	wantAt(t, m, `3610`, "stats", "rows")
	wantAt(t, m, `0`, "stats", "late_left")
	wantAt(t, m, `0`, "stats", "late_right")
	wantAt(t, m, `false`, "truncated")
	wantAt(t, m, `{"left":{"0":10,"1":3000,"2":0,"3":601},"right":{"0":10,"1":3000,"2":600,"3":0}}`, "next_offsets")
}

// TestJoinOfLargeMessagesInManyPartitions has messages that are larger than a partition's share of memory.
func TestJoinOfLargeMessagesInManyPartitions(t *testing.T) {
	f := newFixture(t, "auto")
	for _, topic := range []string{"l", "r"} {
		f.call("POST", "/broker/topics", fmt.Sprintf(`{"name":%q,"partitions":64}`, topic))
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range 60 {
		for _, topic := range []string{"l", "r"} {
			pad := strings.Repeat("x", rng.IntN(2)*200_000+rng.IntN(50_000))
			status, m := f.call("POST", fmt.Sprintf("/broker/topics/%s/produce?partition=%d&ts_ms=%d", topic, rng.IntN(10), 1000+i), fmt.Sprintf(`{"k":%d,"pad":%q}`, i, pad))
			if status != 200 {
				t.Fatal(status, m)
			}
		}
	}
	status, m := f.call("POST", "/broker/join", `{"left":{"topic":"l"},"right":{"topic":"r"},"on":{"left_key":"k","right_key":"k"},
		"window":{"size_ms":0},"emit":{"left_fields":["k"],"right_fields":["k"]}}`)
	if status != 200 {
		t.Fatal(status, m)
	}
	wantAt(t, m, `60`, "stats", "rows")
	wantAt(t, m, `0`, "stats", "left_skipped")
	for i, row := range at(m, "rows").([]any) {
		wantAt(t, row, fmt.Sprint(1000+i), "left_ts_ms")
		wantAt(t, row, fmt.Sprint(i), "right", "k")
	}
}
