package timing

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"
)

// within reports whether got lies in [want, want·1.01 + one step of the histogram], in microseconds
// rounded up.
func within(got, wantNs int64) bool {
	return got >= wantNs/1000 && float64(got) <= float64(wantNs)/1000*1.01+2
}

func TestPercentilesAgreeWithSortedValues(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	r := NewRecorder(2)
	values := make([]int64, 200_000)
	sum := int64(0)
	for i := range values {
		values[i] = int64(math.Exp(rng.Float64()*17) * 100) // 100 ns … 2.4 s
		sum += values[i]
		r.Record(1, Commit, values[i])
	}
	slices.Sort(values)
	st := r.Snapshot().Stats(1, Commit)
	if st.Count != int64(len(values)) || st.SumNs != sum {
		t.Errorf("count %d sum %d, want %d and %d", st.Count, st.SumNs, len(values), sum)
	}
	for i, p := range Percentiles {
		rank := int(math.Ceil(p/100*float64(len(values)))) - 1
		if !within(st.PercentilesUs[i], values[rank]) {
			t.Errorf("p%v = %d µs, want about %d ns", p, st.PercentilesUs[i], values[rank])
		}
	}
	if want := microsRoundedUp(values[len(values)-1]); st.MaxUs != want {
		t.Errorf("max = %d µs, want exactly %d", st.MaxUs, want)
	}
	if other := r.Snapshot().Stats(0, Commit); other != (Stats{}) {
		t.Errorf("the other route has %+v", other)
	}
}

func TestPercentilesNeverExceedTheMaximum(t *testing.T) {
	r := NewRecorder(1)
	r.Record(0, Total, 1_234_567_891)
	st := r.Snapshot().Stats(0, Total)
	for i, us := range st.PercentilesUs {
		if us != st.MaxUs {
			t.Errorf("p%v = %d of a single value, max %d", Percentiles[i], us, st.MaxUs)
		}
	}
}

func TestOutOfRangeTimesAreClamped(t *testing.T) {
	r := NewRecorder(1)
	for _, ns := range []int64{-5, math.MinInt64, 0, ValueNsMax, ValueNsMax + 1, math.MaxInt64} {
		r.Record(0, Queue, ns)
	}
	st := r.Snapshot().Stats(0, Queue)
	if st.Count != 6 || st.MaxUs != ValueNsMax/1000 || st.SumNs != 3*ValueNsMax {
		t.Errorf("stats = %+v", st)
	}
}

func TestSnapshotSharesNothingAndResetForgets(t *testing.T) {
	r := NewRecorder(1)
	r.Record(0, Server, 5000)
	before := r.Snapshot()
	r.Record(0, Server, 9000)
	if n := before.Stats(0, Server).Count; n != 1 {
		t.Errorf("a snapshot changed with its recorder: count %d", n)
	}
	r.Reset()
	if st := r.Snapshot().Stats(0, Server); st != (Stats{}) {
		t.Errorf("after Reset: %+v", st)
	}
	r.Record(0, Server, 7000)
	if st := r.Snapshot().Stats(0, Server); st.Count != 1 || st.MaxUs != 7 {
		t.Errorf("after Reset and one value: %+v", st)
	}
}

func TestMergeEqualsOneRecorder(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	one, loops := NewRecorder(3), []*Recorder{NewRecorder(3), NewRecorder(3), NewRecorder(3)}
	for range 30_000 {
		route, stage, ns := rng.IntN(3), Stage(rng.IntN(StageCount)), rng.Int64N(int64(time.Second))
		one.Record(route, stage, ns)
		loops[rng.IntN(3)].Record(route, stage, ns)
	}
	merged := Merge(loops[0].Snapshot(), nil, loops[1].Snapshot(), loops[2].Snapshot())
	want := one.Snapshot()
	for route := range 3 {
		for stage := range Stage(StageCount) {
			if got, want := merged.Stats(route, stage), want.Stats(route, stage); got != want {
				t.Errorf("route %d %v: merged %+v, want %+v", route, stage, got, want)
			}
		}
	}
	if n := Merge().Routes(); n != 0 {
		t.Errorf("merging nothing has %d routes", n)
	}
}

func TestCumulativeCounts(t *testing.T) {
	r := NewRecorder(1)
	for us := range int64(1000) {
		r.Record(0, Total, us*1000)
	}
	bounds := []int64{0, 100_000, 500_000, 10_000_000}
	got := r.Snapshot().Cumulative(0, Total, bounds)
	for i, want := range []uint64{0, 100, 500, 1000} {
		if diff := math.Abs(float64(got[i]) - float64(want)); diff > 6 {
			t.Errorf("at most %d ns: %d values, want about %d", bounds[i], got[i], want)
		}
	}
	if got[3] != 1000 {
		t.Errorf("%d of 1000 values are below 10 ms", got[3])
	}
	if empty := NewRecorder(1).Snapshot().Cumulative(0, Total, bounds); !slices.Equal(empty, make([]uint64, 4)) {
		t.Errorf("nothing recorded counts %v", empty)
	}
}

func TestCumulativeNeverShrinks(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	r := NewRecorder(1)
	bounds := []int64{1_000, 50_000, 1_000_000, 1_000_000_000}
	last := make([]uint64, len(bounds))
	for range 200 {
		for range 50 {
			r.Record(0, Total, rng.Int64N(2_000_000))
		}
		next := r.Snapshot().Cumulative(0, Total, bounds)
		for i := range next {
			if next[i] < last[i] || i > 0 && next[i] < next[i-1] {
				t.Fatalf("counts went from %v to %v", last, next)
			}
		}
		last = next
	}
}

// TestJSONShape reads the document back into the shape that the API promises, with no field more or
// less.
func TestJSONShape(t *testing.T) {
	r := NewRecorder(3)
	r.Record(1, RecvParse, 1500)
	r.Record(1, Total, 999_000)
	text := r.Snapshot().AppendJSON(nil, []string{"GET /a", "POST /broker/topics/{topic}/produce", "GET /c"})
	want := `{"routes":[{"route":"POST /broker/topics/{topic}/produce","stages":{` +
		`"recv_parse":{"count":1,"p50_us":2,"p90_us":2,"p99_us":2,"p99_9_us":2,"p99_99_us":2,"p99_999_us":2,"max_us":2},` +
		`"queue":{"count":0,"p50_us":0,"p90_us":0,"p99_us":0,"p99_9_us":0,"p99_99_us":0,"p99_999_us":0,"max_us":0},` +
		`"server":{"count":0,"p50_us":0,"p90_us":0,"p99_us":0,"p99_9_us":0,"p99_99_us":0,"p99_999_us":0,"max_us":0},` +
		`"commit":{"count":0,"p50_us":0,"p90_us":0,"p99_us":0,"p99_9_us":0,"p99_99_us":0,"p99_999_us":0,"max_us":0},` +
		`"total":{"count":1,"p50_us":999,"p90_us":999,"p99_us":999,"p99_9_us":999,"p99_99_us":999,"p99_999_us":999,"max_us":999}}}]}`
	if string(text) != want {
		t.Errorf("got  %s\nwant %s", text, want)
	}
	if !json.Valid(text) {
		t.Error("not JSON")
	}
	r.Record(0, Total, 1)
	r.Record(2, Total, 1)
	all := r.Snapshot().AppendJSON([]byte("x"), []string{"GET /a", "GET /b", "GET /c"})
	if all[0] != 'x' || !json.Valid(all[1:]) {
		t.Errorf("three routes: %s", all)
	}
	if empty := string(NewRecorder(3).Snapshot().AppendJSON(nil, make([]string, 3))); empty != `{"routes":[]}` {
		t.Errorf("nothing recorded: %s", empty)
	}
}

func TestRecordAllocatesNothing(t *testing.T) {
	r := NewRecorder(1)
	r.Record(0, Total, 1)
	ns := int64(0)
	if n := testing.AllocsPerRun(1000, func() { ns += 777; r.Record(0, Total, ns) }); n != 0 {
		t.Errorf("Record allocates %v times", n)
	}
}

// TestHistogramSize keeps the figure of the package comment honest.
func TestHistogramSize(t *testing.T) {
	if n := newHistogram().ByteSize(); n < 20<<10 || n > 26<<10 {
		t.Errorf("a histogram takes %d bytes, the package comment says 24 KiB", n)
	}
}

// TestScrapesWhileRecording is the protocol of the package comment under the race detector: each
// loop records and snapshots on its own goroutine, scrapers merge what they are handed.
func TestScrapesWhileRecording(t *testing.T) {
	const loops, scrapes = 3, 20
	requests := make([]chan chan *Snapshot, loops)
	var running sync.WaitGroup
	for i := range requests {
		requests[i] = make(chan chan *Snapshot)
		running.Go(func() {
			r := NewRecorder(2)
			for reply := range requests[i] {
				for n := range int64(100) {
					r.Record(i%2, Stage(n%int64(StageCount)), n)
				}
				reply <- r.Snapshot()
			}
		})
	}
	for n := 1; n <= scrapes; n++ {
		var parts []*Snapshot
		for _, request := range requests {
			reply := make(chan *Snapshot)
			request <- reply
			parts = append(parts, <-reply)
		}
		if got := Merge(parts...).Stats(0, Total).Count; got != int64(2*20*n) {
			t.Fatalf("scrape %d counts %d", n, got)
		}
	}
	for _, request := range requests {
		close(request)
	}
	running.Wait()
}

func TestStageNames(t *testing.T) {
	want := []string{"recv_parse", "queue", "server", "commit", "total", "unknown"}
	for i, name := range want {
		if got := Stage(i).String(); got != name {
			t.Errorf("stage %d is called %q, want %q", i, got, name)
		}
	}
}

func BenchmarkRecord(b *testing.B) {
	r := NewRecorder(1)
	for ns := int64(0); b.Loop(); ns += 1000 {
		r.Record(0, Total, ns%ValueNsMax)
	}
}
