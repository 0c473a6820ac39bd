package timing

import (
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
)

func TestServerTiming(t *testing.T) {
	tests := []struct {
		recvParse, queue, commit, server int64
		want                             string
	}{
		{12_000, 1_000, 412_000, 20_000, "recv_parse;dur=0.012, queue;dur=0.001, commit;dur=0.412, server;dur=0.020"},
		{0, 499, 500, 1_499, "recv_parse;dur=0.000, queue;dur=0.000, commit;dur=0.001, server;dur=0.001"},
		{1_234_567_890, 60_000_000_000, Skip, 9_999_999, "recv_parse;dur=1234.568, queue;dur=60000.000, server;dur=10.000"},
		{-7, math.MinInt64, -2, 999_499, "recv_parse;dur=0.000, queue;dur=0.000, commit;dur=0.000, server;dur=0.999"},
	}
	for _, tt := range tests {
		got := string(AppendServerTiming([]byte("x: y\r\n"), tt.recvParse, tt.queue, tt.commit, tt.server))
		if want := "x: y\r\nServer-Timing: " + tt.want; got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

// TestMillisAgreesWithExactArithmetic compares the fixed-point rendering with big.Rat, over all
// magnitudes.
func TestMillisAgreesWithExactArithmetic(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	for range 20_000 {
		ns := int64(rng.Uint64() >> (1 + rng.UintN(63)))
		want := new(big.Rat).SetFrac64(ns, 1_000_000).FloatString(3) // rounds halves away from zero, as we do
		if got := string(appendMillis(nil, ns)); got != want {
			t.Fatalf("%d ns: got %s, want %s", ns, got, want)
		}
	}
}

func TestServerTimingFitsItsLimit(t *testing.T) {
	longest := AppendServerTiming(nil, math.MaxInt64, math.MaxInt64, math.MaxInt64, math.MaxInt64)
	if len(longest) != ServerTimingBytesMax {
		t.Errorf("the longest field has %d bytes, the limit is %d", len(longest), ServerTimingBytesMax)
	}
	dst := make([]byte, 0, ServerTimingBytesMax)
	n := testing.AllocsPerRun(1000, func() {
		dst = AppendServerTiming(dst[:0], math.MaxInt64, 12_000, 412_345, 20_000)
	})
	if n != 0 {
		t.Errorf("allocates %v times", n)
	}
}

func BenchmarkServerTiming(b *testing.B) {
	dst := make([]byte, 0, ServerTimingBytesMax)
	for ns := int64(0); b.Loop(); ns++ {
		dst = AppendServerTiming(dst[:0], 12_000+ns, 1_000, 412_000+ns, 20_000)
	}
}

func ExampleAppendServerTiming() {
	fmt.Println(string(AppendServerTiming(nil, 12_000, 1_000, 412_000, 20_000)))
	// Output: Server-Timing: recv_parse;dur=0.012, queue;dur=0.001, commit;dur=0.412, server;dur=0.020
}
