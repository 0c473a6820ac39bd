package api

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"ayder/engine"
)

// Several loops must answer as one does. The calls below are made one after the other, each from a new
// connection and so from the next loop, against a server of one loop and one of three.

// call is one request of a script.
type call struct {
	method, path, body string
	header             []string
}

func script() (calls []call) {
	add := func(method, path, body string, header ...string) {
		calls = append(calls, call{method, path, body, header})
	}
	add("POST", "/broker/topics", `{"name":"t","partitions":5}`)
	for p := range 5 {
		for i := range 4 {
			add("POST", fmt.Sprintf("/broker/topics/t/produce?partition=%d&ts_ms=%d&timing=0", p, i), fmt.Sprint("v", i))
			add("POST", fmt.Sprintf("/broker/topics/t/produce?partition=%d&ts_ms=1&idempotency_key=k", p), "once")
			add("POST", fmt.Sprintf("/broker/topics/t/produce?partition=%d&expected_offset=%d", p, i), "expected")
			add("POST", fmt.Sprintf("/broker/topics/t/produce?ts_ms=2&key=key-%d-%d", p, i), "keyed", "X-Ayder-H-A", "b")
			add("POST", fmt.Sprintf("/broker/topics/t/produce-ndjson?partition=%d&ts_ms=3", p), "1\n2\n")
			add("POST", fmt.Sprintf("/broker/topics/t/produce-ndjson?partition=%d&ts_ms=3&idempotency_key=nd", p), "3\n4\n")
			add("POST", fmt.Sprintf("/broker/topics/t/produce-ndjson?partition=%d&ts_ms=3&envelope=1", p), `{"value":"e","key":"k"}`)
			add("POST", fmt.Sprintf("/broker/topics/t/produce-ndjson?partition=%d", p), "1\n{\n")
			add("GET", fmt.Sprintf("/broker/consume/t/g/%d?limit=7", p), "")
			add("HEAD", fmt.Sprintf("/broker/consume/t/g/%d", p), "")
			add("GET", fmt.Sprintf("/broker/consume/t/g/%d?offset=1000", p), "")
			add("POST", "/broker/commit", fmt.Sprintf(`{"topic":"t","group":"g","partition":%d,"offset":%d}`, p, i))
			add("POST", "/broker/commit", fmt.Sprintf(`{"topic":"t","group":"g","partition":%d,"offset":1000}`, p))
		}
		add("POST", fmt.Sprintf("/broker/topics/t/produce-ndjson?partition=%d&ts_ms=3", p), strings.Repeat("[1,2,3]\n", 6000)) // read by a goroutine
		add("POST", fmt.Sprintf("/broker/topics/t/produce-ndjson?partition=%d&ts_ms=3", p), strings.Repeat("[1,2,3]\n", 6000)+"!")
		add("GET", fmt.Sprintf("/broker/consume/t/g/%d?max_bytes=9999999&limit=1000", p), "")
		add("POST", fmt.Sprintf("/broker/topics/t/produce?partition=%d", p), "v", "Authorization", "Bearer reader")
		add("POST", fmt.Sprintf("/broker/topics/t/produce?partition=%d", p), "v", "Content-Encoding", "gzip")
	}
	add("POST", "/broker/topics/t/produce?partition=5", "v")
	add("GET", "/broker/consume/t/g/5", "")
	add("POST", "/broker/commit", `{"topic":"t","group":"g","partition":5,"offset":0}`)
	for p := range 5 {
		for _, offset := range []int{3, 0, 3, 1000, 12} {
			add("POST", "/broker/delete-before", fmt.Sprintf(`{"topic":"t","partition":%d,"before_offset":%d}`, p, offset))
			add("GET", fmt.Sprintf("/broker/consume/t/g/%d?limit=7&offset=3", p), "")
			add("GET", fmt.Sprintf("/broker/consume/t/g/%d?limit=7&offset=earliest", p), "")
		}
	}
	for i := range 3 {
		add("POST", "/broker/topics/grown/produce?partition=0", "v")
		for _, n := range []int{9, 9, 8, 0, 1025} {
			add("POST", "/broker/topics/grown/partitions", fmt.Sprintf(`{"partitions":%d}`, n+i))
		}
		for _, body := range []string{`{"topic":"grown","ttl_ms":100000}`, `{"topic":"grown","partition":8,"max_bytes":7}`, `{"topic":"*","max_bytes":100000000}`, `{"topic":"none","ttl_ms":1}`} {
			add("POST", "/broker/retention", body)
		}
		add("POST", "/broker/topics/grown/produce?partition=8&ts_ms=1", "v")
		add("GET", "/broker/topics/grown", "")
		add("DELETE", "/broker/topics/grown", "")
		add("DELETE", "/broker/topics/grown", "")
		add("GET", "/broker/consume/grown/g/0", "")
		add("POST", "/broker/delete-before", `{"topic":"grown","partition":0,"before_offset":0}`)
	}
	add("POST", "/broker/retention", `{"topic":"*","max_bytes":0}`)
	for range 3 {
		add("POST", "/broker/topics", `{"name":"t","partitions":5}`)
		add("POST", "/broker/topics", `{"name":"t","partitions":6}`)
		add("POST", "/broker/topics", `{"name":"u","partitions":1025}`)
		add("POST", "/broker/topics", `{"name":"","partitions":1}`)
		add("POST", "/broker/topics/auto-a/produce?partition=2&ts_ms=1", "made on the way")
		add("POST", "/broker/topics/auto-b/produce-ndjson?partition=7&ts_ms=1", "1\n2\n3\n")
		add("POST", "/broker/topics/auto-c/produce?partition=8", "no such partition")
		add("GET", "/broker/topics/t", "")
		add("GET", "/broker/topics", "")
		for _, path := range []string{"/health", "/ready", "/docs/errors", "/nowhere", "/broker/topics/none"} {
			add("GET", path, "")
		}
	}
	return calls
}

var batchID = regexp.MustCompile(`"batch_id":[1-9]\d*`)

func TestSeveralLoopsAnswerAsOne(t *testing.T) {
	one := newFixture(t, "auto")
	for _, loops := range []int{2, 3} {
		several := newFixture(t, readsOn(t), func(o *Options) { o.Loops = loops })
		if loops > 2 {
			one = newFixture(t, "auto")
		}
		for _, c := range script() {
			status, body, h := several.raw(c.method, c.path, c.body, c.header...)
			wantStatus, want, wantHeader := one.raw(c.method, c.path, c.body, c.header...)
			got, expected := batchID.ReplaceAllString(string(body), `"batch_id":1`), batchID.ReplaceAllString(string(want), `"batch_id":1`)
			if status != wantStatus || got != expected {
				t.Fatalf("%d loops: %s %s: %d %.500s\none: %d %.500s", loops, c.method, c.path, status, got, wantStatus, expected)
			}
			for name := range wantHeader {
				if h[name] == nil || name != "Date" && name != "Server-Timing" && name != "Content-Length" && h.Get(name) != wantHeader.Get(name) {
					t.Errorf("%d loops: %s %s: %s is %q", loops, c.method, c.path, name, h.Get(name))
				}
			}
		}
	}
}

// TestForwardedRequestsWaitForABatch: a loop that was asked by another holds the request back, too.
func TestForwardedRequestsWaitForABatch(t *testing.T) {
	f := newFixture(t, readsOn(t), func(o *Options) { o.Loops = 3 })
	f.call("POST", "/broker/topics", `{"name":"t","partitions":6}`)
	f.log.set(func(m *memLog) { m.refusal = ErrBusy })
	c, r := f.dial()
	for p := range 6 {
		fmt.Fprint(c, post(fmt.Sprintf("/broker/topics/t/produce?partition=%d", p), "v"))
	}
	fmt.Fprint(c, post("/broker/topics/new/produce?partition=1", "v"), get("/health"))
	waitFor(t, "a request to be held back", func() bool {
		_, text, _ := f.raw("GET", "/metrics", "")
		return regexp.MustCompile(`held_back[^\n]* 1\n`).Match(text)
	})
	f.log.set(func(m *memLog) { m.refusal = nil })
	done := make(chan struct{})
	go func() { // the log wakes every writer that it refused; here that is us
		for {
			select {
			case <-done:
				return
			case <-time.After(time.Millisecond):
				for _, l := range f.server.loops {
					l.net.Post(func() {})
				}
			}
		}
	}()
	defer close(done)
	for p := range 6 {
		if status, body := answer(t, r, "POST"); status != 200 || !strings.Contains(body, fmt.Sprintf(`"partition":%d,`, p)) {
			t.Fatalf("%d: %d %s", p, status, body)
		}
	}
	for _, want := range []string{`"partition":1,`, `{"ok":true}`} {
		if status, body := answer(t, r, "POST"); status != 200 || !strings.Contains(body, want) {
			t.Fatal(status, body)
		}
	}
}

// TestEveryLoopRefusesAfterAFailure: a log that has stopped is one log.
func TestEveryLoopRefusesAfterAFailure(t *testing.T) {
	f := newFixture(t, readsOn(t), func(o *Options) { o.Loops = 3 })
	f.call("POST", "/broker/topics", `{"name":"t","partitions":6}`)
	f.log.set(func(m *memLog) { m.failure = fmt.Errorf("no such device"); m.refusal = nil })
	for range 2 {
		for p := range 6 {
			f.refused("POST", fmt.Sprintf("/broker/topics/t/produce?partition=%d", p), "v").want(t, "produce", http.StatusInternalServerError, "storage_failed", "")
		}
	}
	f.refused("POST", "/broker/topics", `{"name":"u"}`).want(t, "create", 500, "storage_failed", "")
	f.refused("POST", "/broker/topics/u/produce", `v`).want(t, "auto-create", 500, "storage_failed", "")
	if status, m := f.call("GET", "/ready", ""); status != 503 || m["ready"] != false || !strings.Contains(m["reason"].(string), "no such device") {
		t.Error(status, m)
	}
	if status, _ := f.call("GET", "/health", ""); status != 200 {
		t.Error("health: ", status)
	}
}

// TestCheckpointOfAllLoops restores what the loops captured while requests went on.
func TestCheckpointOfAllLoops(t *testing.T) {
	for _, loops := range []int{1, 3} {
		f := newFixture(t, readsOn(t), func(o *Options) { o.Loops = loops })
		for i := range 5 {
			f.call("POST", fmt.Sprintf("/broker/topics/t%d/produce?partition=%d", i, i), "v")
		}
		payload := make(chan []byte, 1)
		f.server.Checkpoint(func(p []byte) { payload <- p })
		restored := engine.New(engine.Config{Shards: loops})
		if err := restored.Restore(<-payload); err != nil {
			t.Fatal(err)
		}
		for i := range 5 {
			topic := restored.Topic([]byte(fmt.Sprint("t", i)))
			if topic == nil || topic.Partition(uint32(i)).Next() != 1 {
				t.Errorf("%d loops: topic %d was not restored", loops, i)
			}
		}
	}
}
