package metrics

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"ayder/internal/timing"
)

var testBuild = Build{Version: "1.2.3", Revision: "abc", Ring: "sys"}

// fullSample is a sample with every field set, of two loops.
func fullSample() *Sample {
	routes := []string{"GET /health", "POST /broker/topics/{topic}/produce"}
	recorder := timing.NewRecorder(len(routes))
	for us := range int64(1000) {
		recorder.Record(1, timing.Commit, us*1000)
	}
	s := &Sample{
		Routes:      routes,
		Counters:    []*Counters{NewCounters(len(routes)), NewCounters(len(routes))},
		Commits:     []*CommitStats{NewCommitStats(), NewCommitStats()},
		Timing:      recorder.Snapshot(),
		Queues:      []Queue{{"mailbox", 0, 3}, {"mailbox", 1, 4}},
		Partitions:  []Partition{{"orders", 0, 5, 17, 1200}, {"orders", 1, 0, 2, 99}},
		Topics:      1,
		Keys:        7,
		RocketBytes: 262144,
		GroupLags:   []GroupLag{{"g", "orders", 1, 7}}, GroupLagsTotal: 4,
		Queries:   Queries{Running: 1, Waiting: 2, Ended: 3, Refused: 4, Scanned: 5, WorkedNs: 6_500_000_000},
		Pipelines: []Pipeline{{Name: "p", State: "running", Lag: 8, Rows: 9}, {Name: "q", State: "failed"}},
		Network:   Network{Conns: 12, ConnsAccepted: 100, ConnsRefused: 1, BytesReceived: 4096, BytesSent: 8192},
		Log:       Log{LastIndex: 20, DurableIndex: 18, DiskBytes: 64 << 20, FreeBytes: 3 << 20, SizeBytes: 4 << 20, AsideBytes: 5 << 20},
		Backend:   "uring", BackendReason: "io_uring works here", Ready: true,
	}
	for i, c := range s.Counters {
		c.CountRequest(0, 200)
		c.CountRequest(1, 200)
		c.CountRequest(1, 507)
		c.CountRequest(1, 299+i)
		c.MessagesAppended.Add(7)
		c.MessagesConsumed.Add(3)
	}
	for _, c := range s.Commits {
		c.Observe(int64(180*time.Microsecond), 3, 4096)
		c.Observe(int64(300*time.Microsecond), 1, 4096)
		c.Failures.Add(1)
	}
	return s
}

func render(t *testing.T, s *Sample) string {
	t.Helper()
	e, err := NewExposition(testBuild)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := e.Render(&out, s); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestRenderedSeries(t *testing.T) {
	text := render(t, fullSample())
	for _, line := range []string{
		`ayder_build_info{goversion="go1.`,
		`revision="abc",ring="sys",version="1.2.3"} 1`,
		`ayder_backend_info{backend="uring",reason="io_uring works here"} 1`,
		"ayder_ready 1\n",
		"# TYPE ayder_http_requests_total counter\n",
		`ayder_http_requests_total{route="GET /health",status="200"} 2`,
		`ayder_http_requests_total{route="POST /broker/topics/{topic}/produce",status="507"} 2`,
		`ayder_http_requests_total{route="POST /broker/topics/{topic}/produce",status="other"} 2`,
		"ayder_http_connections 12\n",
		"ayder_http_connections_accepted_total 100\n",
		"ayder_http_connections_refused_total 1\n",
		"ayder_http_received_bytes_total 4096\n",
		"ayder_http_sent_bytes_total 8192\n",
		"ayder_messages_appended_total 14\n",
		"ayder_messages_consumed_total 6\n",
		"ayder_commits_total 4\n",
		"ayder_commit_failures_total 2\n",
		"# TYPE ayder_commit_sync_duration_seconds histogram\n",
		`ayder_commit_sync_duration_seconds_bucket{le="0.00015"} 0`,
		`ayder_commit_sync_duration_seconds_bucket{le="0.0002"} 2`,
		`ayder_commit_sync_duration_seconds_bucket{le="0.0003"} 4`,
		`ayder_commit_sync_duration_seconds_bucket{le="+Inf"} 4`,
		"ayder_commit_sync_duration_seconds_sum 0.00096\n",
		"ayder_commit_sync_duration_seconds_count 4\n",
		`ayder_commit_batch_messages_bucket{le="1"} 2`,
		`ayder_commit_batch_messages_bucket{le="4"} 4`,
		`ayder_commit_batch_bytes_bucket{le="4096"} 4`,
		`ayder_http_stage_duration_seconds_count{route="POST /broker/topics/{topic}/produce",stage="commit"} 1000`,
		`ayder_http_stage_duration_seconds_sum{route="POST /broker/topics/{topic}/produce",stage="commit"} 0.4995`,
		`stage="commit",le="0.001"} 1000`,
		`ayder_queue_depth{loop="1",queue="mailbox"} 4`,
		"ayder_log_last_index 20\n",
		"ayder_log_durable_index 18\n",
		"ayder_log_disk_bytes 6.7108864e+07\n",
		"ayder_storage_failed 0\n",
		"ayder_disk_free_bytes 3.145728e+06\n",
		"ayder_disk_size_bytes 4.194304e+06\n",
		"ayder_log_quarantine_bytes 5.24288e+06\n",
		`ayder_group_lag_messages{group="g",partition="1",topic="orders"} 7`,
		"ayder_group_lags_omitted 3\n",
		"ayder_topics 1\n",
		"ayder_kv_keys 7\n",
		"ayder_rocket_memory_bytes 262144\n",
		"ayder_queries_running 1\n",
		"ayder_queries_waiting 2\n",
		"ayder_queries_total 3\n",
		"ayder_queries_refused_total 4\n",
		"ayder_query_messages_scanned_total 5\n",
		"ayder_query_seconds_total 6.5\n",
		`ayder_pipeline_lag_messages{pipeline="p"} 8`,
		`ayder_pipeline_rows{pipeline="p"} 9`,
		`ayder_pipeline_failed{pipeline="p"} 0`,
		`ayder_pipeline_failed{pipeline="q"} 1`,
		"ayder_partitions 2\n",
		"ayder_partitions_omitted 0\n",
		`ayder_partition_earliest_offset{partition="0",topic="orders"} 5`,
		`ayder_partition_next_offset{partition="0",topic="orders"} 17`,
		`ayder_partition_bytes{partition="1",topic="orders"} 99`,
		"go_goroutines ",
	} {
		if !strings.Contains(text, line) {
			t.Errorf("%q is missing", line)
		}
	}
	if strings.Contains(text, `stage="queue"`) || strings.Contains(text, `status="404"`) {
		t.Error("a stage or status that never occurred has series")
	}
	if t.Failed() {
		t.Log(text)
	}
}

// TestPrometheusConventions runs the linter of the Prometheus project over everything of ours.
func TestPrometheusConventions(t *testing.T) {
	problems, err := promlint.New(strings.NewReader(render(t, fullSample()))).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

func TestOutputIsParsedByTheStandardParser(t *testing.T) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	parsed, err := parser.TextToMetricFamilies(strings.NewReader(render(t, fullSample())))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		name := strings.Split(f.desc.String(), `"`)[1]
		if parsed[name] == nil {
			t.Errorf("%s is not rendered", name)
		}
	}
}

func TestEmptySampleRenders(t *testing.T) {
	text := render(t, &Sample{})
	for _, line := range []string{"ayder_ready 0\n", "ayder_commits_total 0\n", `ayder_commit_sync_duration_seconds_bucket{le="+Inf"} 0`} {
		if !strings.Contains(text, line) {
			t.Errorf("%q is missing", line)
		}
	}
}

func TestStorageFailureShows(t *testing.T) {
	if text := render(t, &Sample{Log: Log{Failed: true}}); !strings.Contains(text, "ayder_storage_failed 1\n") {
		t.Error("a failed log is not reported")
	}
}

func TestPartitionSeriesAreBounded(t *testing.T) {
	s := &Sample{}
	for i := range uint32(PartitionsMax + 5) {
		s.Partitions = append(s.Partitions, Partition{Topic: "t", Partition: i})
	}
	text := render(t, s)
	if n := strings.Count(text, "\nayder_partition_bytes{"); n != PartitionsMax {
		t.Errorf("%d series, want %d", n, PartitionsMax)
	}
	if !strings.Contains(text, "ayder_partitions_omitted 5\n") {
		t.Error("the omitted partitions are not counted")
	}
	s.PartitionsTotal = PartitionsMax + 7_000
	text = render(t, s)
	if !strings.Contains(text, "ayder_partitions 9000\n") || !strings.Contains(text, "ayder_partitions_omitted 7000\n") {
		t.Error("partitions that were not given are not counted")
	}
}

func TestRenderErrors(t *testing.T) {
	e, err := NewExposition(testBuild)
	if err != nil {
		t.Fatal(err)
	}
	twice := &Sample{Partitions: []Partition{{Topic: "t"}, {Topic: "t"}}}
	if err := e.Render(&bytes.Buffer{}, twice); err == nil || !strings.Contains(err.Error(), "render metrics: ") {
		t.Errorf("the same partition twice: %v", err)
	}
	if err := e.Render(failing{}, &Sample{}); !errors.Is(err, errFull) {
		t.Errorf("a writer that fails: %v", err)
	}
}

var errFull = errors.New("full")

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errFull }

func TestHistogramBuckets(t *testing.T) {
	h := NewHistogram(10, 20, 30)
	for _, v := range []uint64{0, 10, 11, 20, 30, 31, 1000} {
		h.Observe(v)
	}
	s := h.Snapshot()
	if !slices.Equal(s.Counts, []uint64{2, 2, 1, 2}) || s.Sum != 1102 {
		t.Errorf("snapshot = %+v", s)
	}
	var total HistogramSnapshot
	total.add(s)
	total.add(s)
	count, buckets := total.cumulative(10)
	if want := map[float64]uint64{1: 4, 2: 8, 3: 10}; count != 14 || fmt.Sprint(buckets) != fmt.Sprint(want) {
		t.Errorf("cumulative = %d, %v", count, buckets)
	}
	if !slices.Equal(h.Snapshot().Counts, []uint64{2, 2, 1, 2}) {
		t.Error("adding a snapshot changed its histogram")
	}
}

func TestHistogramMisuseIsABug(t *testing.T) {
	wantBug := func(name string, fn func()) {
		defer func() {
			if text, _ := recover().(string); !strings.HasPrefix(text, "bug:") {
				t.Errorf("%s: recovered %q", name, text)
			}
		}()
		fn()
	}
	wantBug("descending bounds", func() { NewHistogram(2, 1) })
	wantBug("too many bounds", func() { NewHistogram(make([]uint64, boundsMax+1)...) })
	wantBug("unlike histograms", func() {
		s := NewHistogram(1, 2).Snapshot()
		s.add(NewHistogram(1, 3).Snapshot())
	})
}

func TestStatusColumns(t *testing.T) {
	for kind, status := range statuses {
		if statusKind(status) != kind || statusLabel(kind) != fmt.Sprint(status) {
			t.Errorf("%d: column %d, label %s", status, statusKind(status), statusLabel(kind))
		}
	}
	for _, status := range []int{-1, 0, 99, 299, 418, 599, 600, 1 << 40} {
		if statusLabel(statusKind(status)) != "other" {
			t.Errorf("%d has the label %s", status, statusLabel(statusKind(status)))
		}
	}
}

// TestScrapesWhileCounting has loops count and scrapers render at the same time, for the race
// detector and for the totals.
func TestScrapesWhileCounting(t *testing.T) {
	const rounds = 2000
	s := fullSample()
	var loops sync.WaitGroup
	for i := range s.Counters {
		loops.Go(func() {
			for n := range rounds {
				s.Counters[i].CountRequest(0, 204)
				s.Commits[i].Observe(int64(n)*1000, n, n)
			}
		})
	}
	for range 5 {
		render(t, s)
	}
	loops.Wait()
	if text := render(t, s); !strings.Contains(text, `{route="GET /health",status="204"} 4000`) {
		t.Error("requests were lost")
	}
}

func TestCountingAllocatesNothing(t *testing.T) {
	c, commits := NewCounters(3), NewCommitStats()
	n := testing.AllocsPerRun(1000, func() {
		c.CountRequest(2, 200)
		c.MessagesAppended.Add(1)
		commits.Observe(170_000, 12, 4096)
	})
	if n != 0 {
		t.Errorf("counting allocates %v times", n)
	}
}

func BenchmarkCountRequest(b *testing.B) {
	c := NewCounters(3)
	for b.Loop() {
		c.CountRequest(2, 200)
	}
}

func BenchmarkRender(b *testing.B) {
	e, err := NewExposition(testBuild)
	if err != nil {
		b.Fatal(err)
	}
	s := fullSample()
	var out bytes.Buffer
	for b.Loop() {
		out.Reset()
		if err := e.Render(&out, s); err != nil {
			b.Fatal(err)
		}
	}
}
