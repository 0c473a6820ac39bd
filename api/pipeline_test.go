package api

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// pipeline creates one and wants it to be new.
func (f *fixture) pipeline(name, what, into string) {
	f.t.Helper()
	if status, m := f.call("POST", "/broker/pipelines", fmt.Sprintf(`{"name":%q,%s,"into":%q}`, name, what, into)); status != 201 {
		f.t.Fatalf("pipeline %s: %d %v", name, status, m)
	}
}

// describePipe is what a pipeline's description says.
func (f *fixture) describePipe(name string) map[string]any {
	f.t.Helper()
	status, m := f.call("GET", "/broker/pipelines/"+name, "")
	if status != 200 {
		f.t.Fatalf("pipeline %s: %d %v", name, status, m)
	}
	return m
}

// caughtUp waits until a pipeline has read everything.
func (f *fixture) caughtUp(name string) (m map[string]any) {
	f.t.Helper()
	waitFor(f.t, "pipeline "+name+" has read everything", func() bool {
		m = f.describePipe(name)
		if m["state"] == "failed" {
			f.t.Fatal(m)
		}
		return m["lag"] == 0.0 && m["state"] == "running"
	})
	return m
}

// stored are the values of a partition, and their keys and times.
func (f *fixture) stored(topic string, partition int) (values, keys []string, times []float64) {
	f.t.Helper()
	for offset := 0; ; {
		status, m := f.call("GET", fmt.Sprintf("/broker/consume/%s/g/%d?offset=%d&limit=1000", topic, partition, offset), "")
		if status != 200 {
			f.t.Fatal(status, m)
		}
		for _, v := range m["messages"].([]any) {
			values = append(values, at(v, "value").(string))
			key, _ := at(v, "key").(string)
			keys = append(keys, key)
			times = append(times, at(v, "ts_ms").(float64))
		}
		if m["truncated"] == false {
			return values, keys, times
		}
		offset = int(m["next_offset"].(float64))
	}
}

// holdPiper keeps the only worker of pipelines from working until leave is called.
func (f *fixture) holdPiper() (leave func()) {
	f.t.Helper()
	entered, left := make(chan struct{}), make(chan struct{})
	f.server.pipers.add(func(*worker) { close(entered); <-left })
	<-entered
	return func() { close(left) }
}

func TestPipelineFilters(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		f := newFixture(t, backend)
		f.call("POST", "/broker/topics", `{"name":"in","partitions":1}`)
		f.produceTo("in", 0, numbered(0, 10)...)
		f.pipeline("evens", `"query":{"source":{"topic":"in","partition":0,"offset":2},"filter":[{"field":"n","op":"in","value":[0,2,4,6,8,12]}],"transform":{"left_fields":["n"]}}`, "out")
		f.caughtUp("evens")
		f.produceTo("in", 0, numbered(10, 20)...)
		f.call("POST", "/broker/topics/in/produce?partition=0&key=k&ts_ms=77", `{"n":12}`)
		m := f.caughtUp("evens")
		values, keys, times := f.stored("out", 0)
		if n := f.server.produced(); n != 21 { // or the pipeline would take itself for a producer, and rest
			t.Errorf("producers have brought %d messages", n)
		}
		if want := []string{`{"n":2}`, `{"n":4}`, `{"n":6}`, `{"n":8}`, `{"n":12}`, `{"n":12}`}; !slices.Equal(values, want) || keys[5] != "k" || times[5] != 77 {
			t.Error(values, keys, times)
		}
		wantAt(t, m, `6`, "rows")
		wantAt(t, m, `[{"end":21,"offset":21,"partition":0,"side":"source","topic":"in"}]`, "positions")
		wantAt(t, m, `"in"`, "spec", "query", "source", "topic")
		wantAt(t, m, `null`, "reason")
		wantAt(t, m, `0`, "lost")
		_, list := f.call("GET", "/broker/pipelines", "")
		wantAt(t, list, `1`, "count")
		if _, text, _ := f.raw("GET", "/metrics", ""); !strings.Contains(string(text), `ayder_pipeline_rows{pipeline="evens"} 6`) || !strings.Contains(string(text), `ayder_pipeline_lag_messages{pipeline="evens"} 0`) {
			t.Error("metrics lack the pipeline")
		}
	})
}

// Several partitions, written side by side: windows see them in the order of time, so nothing is late when there is no disorder in time.
func TestPipelineWindowsOverPartitions(t *testing.T) {
	f := newFixture(t, "auto", func(o *Options) { o.Loops = 2 })
	f.call("POST", "/broker/topics", `{"name":"in","partitions":5}`)
	rng := rand.New(rand.NewPCG(5, 5))
	ts := 1_000_000
	send := func(n int) {
		lines := make([][]string, 5)
		for range n {
			ts += rng.IntN(50)
			p := rng.IntN(5)
			lines[p] = append(lines[p], fmt.Sprintf(`{"value":{"g":"g%d","n":%d},"ts_ms":%d}`, rng.IntN(3), rng.IntN(100), ts))
		}
		for p := range lines {
			if len(lines[p]) > 0 {
				if status, m := f.call("POST", fmt.Sprintf("/broker/topics/in/produce-ndjson?envelope=1&partition=%d", p), strings.Join(lines[p], "\n")); status != 200 {
					t.Fatal(status, m)
				}
			}
		}
	}
	send(30_000)
	window := `"window":{"type":"tumbling","size_ms":1000},"aggregate":{"group_by":["g"],"measures":[{"op":"count"},{"op":"sum","field":"n","as":"total"}]}`
	f.pipeline("sums", `"query":{"source":{"topic":"in"},`+window+`}`, "out")
	f.caughtUp("sums")
	ts += 1_000_000
	send(1) // closes all windows
	f.caughtUp("sums")
	values, keys, times := f.stored("out", 0)
	m := f.query(`{"source":{"topic":"in","limit":100000},` + window + `}`)
	var want []string
	aggregates := m["aggregates"].([]any)
	for _, a := range aggregates[:len(aggregates)-1] {
		text, _ := json.Marshal(a)
		want = append(want, string(text))
	}
	if len(values) != len(want) {
		t.Fatalf("%d rows, want %d", len(values), len(want))
	}
	for i := range values {
		if got := canonical(t, values[i]); got != want[i] {
			t.Fatalf("row %d is %s, want %s", i, got, want[i])
		}
		if end := at(aggregates[i], "window_end_ms").(float64); keys[i] != at(aggregates[i], "key") || times[i] != end-1 {
			t.Fatalf("row %d of %s has key %s and time %v", i, values[i], keys[i], times[i])
		}
	}
}

// canonical is JSON as encoding/json writes it.
func canonical(t *testing.T, text string) string {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(text, err)
	}
	b, _ := json.Marshal(v)
	return string(b)
}

// A join of sides that were written one after the other: the one that is behind is read first, so that little has to wait.
func TestPipelineJoins(t *testing.T) {
	f := newFixture(t, "auto", func(o *Options) { o.Loops = 2 })
	f.call("POST", "/broker/topics", `{"name":"orders","partitions":2}`)
	f.call("POST", "/broker/topics", `{"name":"pays","partitions":1}`)
	lines := func(name string, from, to int) (all []string) {
		for i := from; i < to; i++ {
			all = append(all, fmt.Sprintf(`{"id":%d,"ts":%d,%q:true}`, i, i*1000, name))
		}
		return all
	}
	const n = 6000
	all := lines("order", 0, n)
	f.produceTo("orders", 0, all[:n/2]...)
	f.produceTo("orders", 1, all[n/2:]...)
	f.produceTo("pays", 0, lines("pay", 0, n)...)
	join := `{"left":{"topic":"orders","limit":100000},"right":{"topic":"pays","partition":0,"limit":100000},"on":{"left_key":"id","right_key":"id"},` +
		`"window":{"size_ms":5000,"ts_field":"ts","allowed_lateness_ms":100000000},"emit":{"left_fields":["id"],"right_fields":["pay"],"max_rows":100000}}`
	f.pipeline("paid", `"join":`+join, "out")
	f.caughtUp("paid")
	values, keys, _ := f.stored("out", 0)
	if len(values) != n {
		t.Fatalf("%d rows, want %d", len(values), n)
	}
	slices.Sort(keys)
	if keys = slices.Compact(keys); len(keys) != n {
		t.Fatalf("%d keys, want %d", len(keys), n)
	}
	// One side alone is not read any further than pairs may reach.
	f.call("POST", "/broker/topics", `{"name":"slow","partitions":1}`)
	f.pipeline("waits", `"join":{"left":{"topic":"pays"},"right":{"topic":"slow"},"on":{"left_key":"id","right_key":"id"},"window":{"size_ms":5000,"ts_field":"ts"}}`, "out2")
	waitFor(t, "it waits", func() bool { m := f.describePipe("waits"); return m["state"] == "running" && m["steps"] != 0.0 })
	if m := f.describePipe("waits"); m["lag"].(float64) < n-2*scanPageMessages {
		t.Error(m)
	}
	f.produceTo("slow", 0, lines("slow", 0, n)...)
	waitFor(t, "it goes on", func() bool { return f.describePipe("waits")["lag"] == 0.0 })
}

func TestPipelineIsMadeOnce(t *testing.T) {
	f := newFixture(t, "auto", func(o *Options) { o.Loops = 2 })
	for i := range 4 {
		f.call("POST", "/broker/topics", fmt.Sprintf(`{"name":"t%d","partitions":2}`, i))
	}
	body := `{"name":"p","query":{"source":{"topic":"t1"}},"into":"t2","into_partition":1}`
	if status, m := f.call("POST", "/broker/pipelines", body); status != 201 || m["id"] != 1.0 {
		t.Fatal(status, m)
	}
	for _, c := range []struct {
		body, code string
		status     int
	}{
		{body, "", 200},
		{strings.ReplaceAll(body, ":", " :\n"), "", 200},
		{strings.Replace(body, `"t1"`, `"t1","partition":0`, 1), "pipeline_exists", 409},
		{strings.Replace(body, `_partition":1`, `_partition":0`, 1), "pipeline_exists", 409},
		{strings.Replace(body, `t2`, `t3`, 1), "pipeline_exists", 409},
	} {
		if status, m := f.call("POST", "/broker/pipelines", c.body); status != c.status || c.code != "" && m["error"] != c.code {
			t.Errorf("%s: %d %v", c.body, status, m)
		}
	}
	if status, m := f.call("DELETE", "/broker/pipelines/p", ""); status != 200 || m["deleted"] != true {
		t.Error(status, m)
	}
	for _, method := range []string{"DELETE", "GET"} {
		if status, m := f.call(method, "/broker/pipelines/p", ""); status != 404 || m["error"] != "unknown_pipeline" {
			t.Error(status, m)
		}
	}
	if status, m := f.call("POST", "/broker/pipelines", body); status != 201 || m["id"] != 2.0 {
		t.Error(status, m)
	}
}

// Where reading begins: at what the group had committed when the pipeline was created, whatever it commits later.
func TestPipelineBeginsWhereTheGroupWas(t *testing.T) {
	f := newFixture(t, "auto", func(o *Options) { o.Loops = 2 })
	f.call("POST", "/broker/topics", `{"name":"in","partitions":3}`)
	for p := range 3 {
		f.produceTo("in", p, numbered(100*p, 100*p+10)...)
	}
	commit := func(partition, offset int) {
		f.call("POST", "/broker/commit", fmt.Sprintf(`{"topic":"in","group":"g","partition":%d,"offset":%d}`, partition, offset))
	}
	commit(1, 7)
	commit(2, 10)
	f.call("POST", "/broker/delete-before", `{"topic":"in","partition":0,"before_offset":4}`)
	f.log.set(func(m *memLog) { m.damage, m.cold = fmt.Errorf("a bad checksum"), true })
	f.pipeline("p", `"query":{"source":{"topic":"in","group":"g"}}`, "out")
	waitFor(t, "it waits for what cannot be read", func() bool {
		m := f.describePipe("p")
		return m["state"] == "waiting" && strings.Contains(fmt.Sprint(m["reason"]), "a bad checksum")
	})
	commit(1, 9)
	f.produceTo("in", 2, numbered(210, 212)...)
	f.log.set(func(m *memLog) { m.damage, m.cold = nil, false })
	f.caughtUp("p")
	values, _, _ := f.stored("out", 0)
	got, want := values, []string(nil)
	for _, n := range []int{4, 5, 6, 7, 8, 9, 107, 108, 109, 210, 211} {
		want = append(want, fmt.Sprintf(`{"n":%d}`, n))
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Error(got)
	}
	// Partitions that come later are read from their beginning.
	f.call("POST", "/broker/topics/in/partitions", `{"partitions":4}`)
	f.produceTo("in", 3, numbered(300, 305)...)
	waitFor(t, "the new partition was read", func() bool { return f.describePipe("p")["rows"] == 16.0 })
}

func TestPipelineRequestsThatAreRefused(t *testing.T) {
	f := newFixture(t, "auto")
	f.call("POST", "/broker/topics", `{"name":"in","partitions":1}`)
	f.call("POST", "/broker/topics", `{"name":"r","partitions":1,"mode":"rocket"}`)
	f.call("POST", "/broker/topics", `{"name":"allowed.t","partitions":1}`)
	const q = `"query":{"source":{"topic":"in"}}`
	for _, c := range []struct {
		body, code string
		status     int
	}{
		{``, "bad_json", 400},
		{`[]`, "bad_json", 400},
		{`{"name":"p",` + q + `,"into":"out","more":1}`, "unknown_field", 400},
		{`{"name":"p","name":"q",` + q + `,"into":"out"}`, "bad_json", 400},
		{`{` + q + `,"into":"out"}`, "bad_pipeline", 400},
		{`{"name":"a/b",` + q + `,"into":"out"}`, "bad_pipeline", 400},
		{`{"name":"p",` + q + `}`, "bad_query", 400},
		{`{"name":"p","into":"out"}`, "bad_query", 400},
		{`{"name":"p",` + q + `,"join":{},"into":"out"}`, "bad_query", 400},
		{`{"name":"p",` + q + `,"into":"a/b"}`, "bad_topic", 400},
		{`{"name":"p",` + q + `,"into":""}`, "missing_topic", 400},
		{`{"name":"p",` + q + `,"into":"in"}`, "bad_query", 400},
		{`{"name":"p",` + q + `,"into":"r"}`, "needs_sealed", 400},
		{`{"name":"p",` + q + `,"into":"out","into_partition":8}`, "unknown_partition", 404},
		{`{"name":"p",` + q + `,"into":"out","into_partition":-1}`, "bad_json", 400},
		{`{"name":"p","query":{"source":{"topic":"r"}},"into":"out"}`, "needs_sealed", 400},
		{`{"name":"p","query":{"source":{"topic":"none"}},"into":"out"}`, "unknown_topic", 404},
		{`{"name":"p","query":{"source":{"topic":"in","partition":1}},"into":"out"}`, "unknown_partition", 404},
		{`{"name":"p","query":{"source":{"topic":"in","offset":1}},"into":"out"}`, "offset_out_of_range", 416},
		{`{"name":"p","query":{"source":{"topic":"in"},"x":1},"into":"out"}`, "unknown_field", 400},
		{`{"name":"p","query":{"source":{"topic":"in"},"filter":[{"field":"a","op":"like","value":1}]},"into":"out"}`, "bad_query", 400},
		{`{"name":"p","query":{"source":{"topic":"in"},"aggregate":{"measures":[{"op":"count"}]}},"into":"out"}`, "bad_query", 400},
		{`{"name":"p","query":{"source":{"topic":"in","decode":{"type":"avro","schema_id":9}}},"into":"out"}`, "bad_query", 400},
		{`{"name":"p","query":{"source":{"topic":"in","decode":{"type":"avro","schema_text":"{"}}},"into":"out"}`, "bad_query", 400},
		{`{"name":"p","join":{"left":{"topic":"in"},"right":{"topic":"in"},"on":{}},"into":"out"}`, "bad_query", 400},
		{`{"name":"p","query":null,"into":"out"}`, "bad_json", 400},
		{`{"name":"p","query":7,"into":"out"}`, "bad_json", 400},
		{strings.Repeat(" ", queryBodyMax) + `{}`, "body_too_large", 413},
	} {
		if status, m := f.call("POST", "/broker/pipelines", c.body); status != c.status || m["error"] != c.code {
			t.Errorf("%.120s: %d %v, want %d %s", c.body, status, m, c.status, c.code)
		}
	}
	for _, token := range []string{"reader", "writer"} {
		if status, m := f.call("POST", "/broker/pipelines", `{"name":"p",`+q+`,"into":"out"}`, "Authorization", "Bearer "+token); status != 403 {
			t.Errorf("%s: %d %v", token, status, m)
		}
	}
	if status, m := f.call("GET", "/broker/pipelines/a%2Fb", ""); status != 404 || m["error"] != "unknown_pipeline" {
		t.Error(status, m)
	}
	if n := len(f.server.options.Engine.Pipelines()); n != 0 {
		t.Errorf("%d pipelines", n)
	}
}

// What ends a pipeline is said, and costs nothing else.
func TestPipelinesThatFail(t *testing.T) {
	f := newFixture(t, "auto", func(o *Options) { o.Loops = 2 })
	for _, name := range []string{"in", "in2", "out", "out2", "big", "sums"} {
		f.call("POST", "/broker/topics", fmt.Sprintf(`{"name":%q,"partitions":2}`, name))
	}
	f.produceTo("in", 0, numbered(0, 10)...)
	f.pipeline("output", `"query":{"source":{"topic":"in"}}`, "out")
	f.pipeline("input", `"query":{"source":{"topic":"in2"}}`, "out2")
	f.pipeline("overflow", `"query":{"source":{"topic":"sums"},"window":{"size_ms":1000,"ts_field":"ts"},"aggregate":{"measures":[{"op":"sum","field":"n"}]}}`, "out2")
	f.pipeline("large", `"query":{"source":{"topic":"big"},"window":{"size_ms":1000,"ts_field":"ts"},"aggregate":{"group_by":["g"],"measures":[{"op":"count"}]}}`, "out2")
	f.caughtUp("output")
	f.call("DELETE", "/broker/topics/out", "")
	f.call("DELETE", "/broker/topics/in2", "")
	f.produceTo("sums", 0, `{"ts":1,"n":9223372036854775807}`, `{"ts":1,"n":9223372036854775807}`, `{"ts":1,"n":9223372036854775807}`, `{"ts":5000,"n":1}`)
	var lines []string
	for i := range 700 {
		lines = append(lines, fmt.Sprintf(`{"ts":1,"g":"%d%s"}`, i, strings.Repeat("x", 8000)))
	}
	f.produceTo("big", 0, lines...)
	for name, reason := range map[string]string{"output": "writes to was deleted", "input": "reads was deleted", "overflow": "sum_n", "large": "state too large"} {
		var m map[string]any
		waitFor(t, name+" fails", func() bool {
			f.produceTo("big", 0, lines[0]) // more steps
			m = f.describePipe(name)
			return m["state"] == "failed"
		})
		if !strings.Contains(fmt.Sprint(m["reason"]), reason) {
			t.Errorf("%s: %v", name, m["reason"])
		}
		if status, m := f.call("DELETE", "/broker/pipelines/"+name, ""); status != 200 {
			t.Error(status, m)
		}
	}
}

// Messages that are gone before they were read are passed over and counted.
func TestPipelineLosesWhatRetentionTakes(t *testing.T) {
	f := newFixture(t, "auto", func(o *Options) { o.QueryWorkers = 1 })
	f.call("POST", "/broker/topics", `{"name":"in","partitions":2}`)
	f.pipeline("p", `"query":{"source":{"topic":"in"}}`, "out")
	leave := f.holdPiper()
	f.produceTo("in", 0, numbered(0, 50)...)
	f.produceTo("in", 1, numbered(100, 150)...)
	for _, body := range []string{`{"topic":"in","partition":0,"before_offset":20}`, `{"topic":"in","partition":1,"before_offset":50}`} {
		if status, m := f.call("POST", "/broker/delete-before", body); status != 200 {
			t.Fatal(status, m)
		}
	}
	leave()
	waitFor(t, "the rest was read", func() bool { m := f.describePipe("p"); return m["rows"] == 30.0 && m["lost"] == 70.0 })
}

// A full disk holds a step up, and is said; when there is space it is written.
func TestPipelineWaitsForSpace(t *testing.T) {
	f := newFixture(t, "auto", func(o *Options) { o.QueryWorkers = 1 })
	f.call("POST", "/broker/topics", `{"name":"in","partitions":1}`)
	f.pipeline("p", `"query":{"source":{"topic":"in"}}`, "out")
	leave := f.holdPiper()
	f.produceTo("in", 0, numbered(0, 10)...)
	f.log.set(func(m *memLog) { m.refusal = ErrNoSpace })
	leave()
	waitFor(t, "it waits", func() bool {
		m := f.describePipe("p")
		return m["state"] == "waiting" && m["reason"] == errNoSpace.Message
	})
	f.log.set(func(m *memLog) { m.refusal = nil })
	wantAt(t, f.caughtUp("p"), `10`, "rows")
	// A log that has stopped ends it, and the server goes on reading.
	f.log.set(func(m *memLog) { m.failure = fmt.Errorf("as a test") })
	f.call("POST", "/broker/topics/in/produce?partition=0", `{"n":10}`)
	m := f.describePipe("p")
	wantAt(t, m, `10`, "rows")
	wantAt(t, m, `"waiting"`, "state")
	if m["reason"] != errStorage.Message {
		t.Error(m["reason"])
	}
}

// A run that is thrown away at any time is followed by one that goes on exactly there: steps are refused, workers come back to nothing, and the
// rows are those of one that was left alone.
func TestPipelineIsTakenUpAgain(t *testing.T) {
	f := newFixture(t, "auto", func(o *Options) { o.Loops = 2 })
	f.call("POST", "/broker/topics", `{"name":"in","partitions":3}`)
	window := `"window":{"type":"session","gap_ms":40,"ts_field":"ts","allowed_lateness_ms":200000},"aggregate":{"group_by":["g"],"measures":[{"op":"count"},{"op":"avg","field":"n"}]}`
	for _, name := range []string{"disturbed", "alone"} {
		f.pipeline(name, `"query":{"source":{"topic":"in"},`+window+`}`, name)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	drop := func() {
		l := f.server.loops[rng.IntN(2)]
		done := make(chan struct{})
		l.net.Post(func() {
			for _, p := range l.pipes {
				if p.of.Spec().Name == "disturbed" {
					switch rng.IntN(3) {
					case 0:
						l.dropPipe(p)
					case 1:
						p.wait("as a test")
					default:
						p.run = nil // and its step is written, or comes back
					}
				}
			}
			l.tendPipes()
			close(done)
		})
		<-done
	}
	ts := 0
	for range 60 {
		lines := make([]string, 0, 3000)
		for range 1 + rng.IntN(3000) {
			ts += rng.IntN(20)
			lines = append(lines, fmt.Sprintf(`{"g":%d,"n":%d,"ts":%d}`, rng.IntN(200), rng.IntN(1000), ts-rng.IntN(100)))
		}
		f.produceTo("in", rng.IntN(3), lines...)
		for range rng.IntN(4) {
			drop()
		}
	}
	f.caughtUp("disturbed")
	f.caughtUp("alone")
	got, _, _ := f.stored("disturbed", 0)
	want, _, _ := f.stored("alone", 0)
	slices.Sort(got) // sessions that close together may do so at another message
	slices.Sort(want)
	if len(got) == 0 || !slices.Equal(got, want) {
		t.Errorf("%d rows, of one that was left alone %d", len(got), len(want))
	}
	a, b := f.describePipe("disturbed"), f.describePipe("alone")
	t.Log(len(got), len(want), a["steps"], b["steps"])
	if a["rows"] != float64(len(got)) {
		t.Error(a["rows"], len(got))
	}
}

// Terms of leadership end in the middle, again and again: whatever of the steps in flight was committed in the end, the next term goes on where the
// log says, and no row is missing or there twice.
func TestPipelinesOverTerms(t *testing.T) {
	f := newLeader(t, "auto", 3, func(o *Options) { o.Loops = 2 })
	f.pipeline("p", `"query":{"source":{"topic":"t"},"filter":[{"field":"n","op":"ge","value":0}]}`, "out")
	f.pipeline("q", `"query":{"source":{"topic":"t"},"window":{"size_ms":10,"ts_field":"n","allowed_lateness_ms":1000000},"aggregate":{"measures":[{"op":"count"}]}}`, "counts")
	rng := rand.New(rand.NewPCG(3, 4))
	n := 0
	for range 25 {
		count := 1 + rng.IntN(4000)
		f.produceTo("t", rng.IntN(3), numbered(n, n+count)...)
		n += count
		for range rng.IntN(400) {
			runtime.Gosched()
		}
		lost := f.depose("")
		var kept [][]byte
		for _, p := range lost[:rng.IntN(len(lost)+1)] {
			kept = append(kept, p.frame)
		}
		f.foreign(kept...)
		f.lead()
	}
	f.produceTo("t", 0, `{"n":10000000}`)
	f.caughtUp("p")
	f.caughtUp("q")
	values, _, _ := f.stored("out", 0)
	seen := map[string]bool{}
	for _, v := range values {
		if seen[v] {
			t.Fatal("twice: ", v)
		}
		seen[v] = true
	}
	if len(seen) != n+1 {
		t.Errorf("%d rows, want %d", len(seen), n+1)
	}
	counts, _, _ := f.stored("counts", 0)
	total := 0
	for _, v := range counts {
		var row struct{ Count int }
		if err := json.Unmarshal([]byte(v), &row); err != nil {
			t.Fatal(err)
		}
		total += row.Count
	}
	if total != n || len(counts) != (n+9)/10 {
		t.Errorf("%d windows count %d messages, want %d of %d", len(counts), total, (n+9)/10, n)
	}
}

// A node that does not lead runs nothing, and says so.
func TestPipelinesOfAFollower(t *testing.T) {
	f := newLeader(t, "auto", 1)
	f.pipeline("p", `"query":{"source":{"topic":"t"}}`, "out")
	f.produceTo("t", 0, numbered(0, 10)...)
	f.caughtUp("p")
	f.depose("n2")
	m := f.describePipe("p")
	wantAt(t, m, `"waiting"`, "state")
	wantAt(t, m, `"follower"`, "role")
	wantAt(t, m, `10`, "rows")
}

// What comes when its window is closed, or does not decode, is in no row, and the description says how many there were.
func TestPipelineCountsWhatIsInNoRow(t *testing.T) {
	f := newFixture(t, "auto")
	for _, topic := range []string{"t", "u", "counts", "pairs"} {
		f.call("POST", "/broker/topics", fmt.Sprintf(`{"name":%q,"partitions":1}`, topic))
	}
	f.pipeline("q", `"query":{"source":{"topic":"t"},"window":{"size_ms":10,"ts_field":"n"},"aggregate":{"measures":[{"op":"count"}]}}`, "counts")
	f.pipeline("j", `"join":{"left":{"topic":"t"},"right":{"topic":"u"},"on":{"left_key":"n","right_key":"n"},"window":{"size_ms":10,"ts_field":"n"}}`, "pairs")
	f.produceTo("u", 0, `{"n":5}`, `{"n":2000}`)
	for _, value := range []string{`{"n":5}`, `{"n":1000}`, `{"n":4}`, `{`, `{"n":1001}`} {
		f.call("POST", "/broker/topics/t/produce?partition=0", value)
	}
	waitFor(t, "the counts of the query", func() bool {
		m := f.caughtUp("q")
		return m["scanned"] == 5.0 && m["skipped"] == 1.0 && m["late"] == 1.0
	})
	waitFor(t, "the counts of the join", func() bool {
		m := f.caughtUp("j")
		return m["scanned"] == 7.0 && m["skipped"] == 1.0 && m["late"] == 1.0
	})
}

// What was lost is counted once, however often the pipeline is taken up again.
func TestPipelineCountsALossOnce(t *testing.T) {
	f := newFixture(t, "auto", func(o *Options) { o.QueryWorkers = 1 })
	f.call("POST", "/broker/topics", `{"name":"in","partitions":1}`)
	f.pipeline("p", `"query":{"source":{"topic":"in"},"window":{"size_ms":1000000,"ts_field":"n"},"aggregate":{"group_by":["n"],"measures":[{"op":"count"}]}}`, "out")
	f.produceTo("in", 0, numbered(0, 1000)...) // so much to remember that steps are read again after a restart
	f.caughtUp("p")
	leave := f.holdPiper()
	f.produceTo("in", 0, numbered(1000, 1050)...)
	if status, m := f.call("POST", "/broker/delete-before", `{"topic":"in","partition":0,"before_offset":1020}`); status != 200 {
		t.Fatal(status, m)
	}
	leave()
	lost := f.caughtUp("p")["lost"].(float64)
	if lost < 20 {
		t.Fatal("lost: ", lost)
	}
	for i := range 3 {
		l := f.loops()[0]
		done := make(chan struct{})
		l.net.Post(func() {
			for _, p := range l.pipes {
				p.wait("a test says so")
			}
			close(done)
		})
		<-done
		f.produceTo("in", 0, numbered(1050+i, 1051+i)...)
		waitFor(t, "one more", func() bool { return f.caughtUp("p")["scanned"] == 1050-lost+float64(i+1) })
		if now := f.describePipe("p")["lost"]; now != lost {
			t.Fatalf("%v lost, and %v when it was taken up again", lost, now)
		}
	}
}
