package result

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/HdrHistogram/hdrhistogram-go"
)

func TestOf(t *testing.T) {
	h := hdrhistogram.New(1, 100e9, 3)
	for i := int64(1); i <= 100_000; i++ {
		if err := h.RecordValue(i * 1000); err != nil {
			t.Fatal(err)
		}
	}
	p := Of(h)
	want := []float64{50_000, 90_000, 99_000, 99_900, 99_990, 99_999, 100_000}
	for i, got := range p.Row() {
		if got < want[i]*0.998 || got > want[i]*1.002 {
			t.Errorf("%s: %v µs, want about %v", Columns[i], got, want[i])
		}
	}
	if p.Count != 100_000 {
		t.Errorf("count %d", p.Count)
	}
}

// TestJSONShape pins the names: reports of different days are compared by them,
// and the server's /admin/timing uses the same ones for its percentiles.
func TestJSONShape(t *testing.T) {
	r := Result{
		Errors: map[string]int64{"503": 2}, SendLag: &Percentiles{}, RatePerS: 5,
		Server:     &Server{},
		Operations: []Operation{{}}, Stages: []Route{{Stages: map[string]Percentiles{"commit": {}}}},
	}
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{
		"target", "workload", "connections", "pipeline", "rate_per_s", "elapsed_s", "requests", "messages",
		"requests_per_s", "messages_per_s", "errors", "bytes_sent", "bytes_received", "latency", "send_lag",
		"operations", "client_cpu", "server", "stages", "p50_us", "p90_us", "p99_us", "p99_9_us", "p99_99_us",
		"p99_999_us", "max_us", "mean_us", "count", "user_s", "system_s", "per_million_s", "pid", "rss_bytes",
		"rss_peak_bytes", "route",
	} {
		if !strings.Contains(string(text), `"`+name+`":`) {
			t.Errorf("no %q in %s", name, text)
		}
	}
	var back Result
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(back, r) {
		t.Errorf("came back as %+v, was %+v", back, r)
	}
}

func TestRouteReadsServersTiming(t *testing.T) {
	text := `{"routes":[{"route":"POST /broker/topics/{topic}/produce","stages":{
		"commit":{"count":3,"p50_us":181,"p90_us":190,"p99_us":204,"p99_9_us":204,"p99_99_us":204,"p99_999_us":204,"max_us":205}}}]}`
	var answer struct {
		Routes []Route `json:"routes"`
	}
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		t.Fatal(err)
	}
	got := answer.Routes[0].Stages["commit"]
	want := Percentiles{Count: 3, P50: 181, P90: 190, P99: 204, P999: 204, P9999: 204, P99999: 204, Max: 205}
	if got != want {
		t.Errorf("stage %+v, want %+v", got, want)
	}
}

func TestMedian(t *testing.T) {
	for _, test := range []struct {
		values []float64
		want   float64
	}{
		{nil, 0},
		{[]float64{7}, 7},
		{[]float64{9, 1, 5}, 5},
		{[]float64{4, 1, 3, 2}, 2.5},
	} {
		before := append([]float64(nil), test.values...)
		if got := Median(test.values); got != test.want {
			t.Errorf("median of %v is %v, want %v", test.values, got, test.want)
		}
		if !reflect.DeepEqual(before, test.values) {
			t.Errorf("values were reordered to %v", test.values)
		}
	}
}

func TestErrorCount(t *testing.T) {
	r := Result{Errors: map[string]int64{"503": 2, "connection closed": 3}}
	if r.ErrorCount() != 5 {
		t.Errorf("%d errors, want 5", r.ErrorCount())
	}
}

func TestFormatMicros(t *testing.T) {
	for value, want := range map[float64]string{
		41.23: "41.2 µs", 999: "999 µs", 9_999: "9999 µs", 12_340: "12.3 ms", 1_250_000: "1.25 s",
	} {
		if got := FormatMicros(value); got != want {
			t.Errorf("%v prints as %q, want %q", value, got, want)
		}
	}
}
