package api

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestProduceThenConsume(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		f := newFixture(t, backend)
		for i := range 3 {
			status, m := f.call("POST", "/broker/topics/t/produce?partition=1&key=k%201&ts_ms=77", fmt.Sprint("v", i), "X-Ayder-H-Trace", "abc")
			if status != 200 || m["offset"] != float64(i) || m["partition"] != 1.0 || m["durable"] != true || m["synced"] != true || m["sealed"] != true || m["mode"] != "sealed" {
				t.Fatalf("%d %v", status, m)
			}
			if m["batch_id"].(float64) < 1 {
				t.Fatalf("batch_id %v", m["batch_id"])
			}
		}
		_, m := f.call("GET", "/broker/consume/t/g/1?limit=2", "")
		want := `map[committed_offset:0 count:2 messages:[map[headers:map[Trace:abc] key:k 1 offset:0 partition:1 ts_ms:77 value:v0] map[headers:map[Trace:abc] key:k 1 offset:1 partition:1 ts_ms:77 value:v1]] next_offset:2 truncated:true]`
		if got := fmt.Sprint(m); got != want {
			t.Fatalf("got  %s\nwant %s", got, want)
		}
		_, m = f.call("GET", "/broker/consume/t/g/1?offset=2&encoding=b64", "")
		if got := fmt.Sprint(m); got != `map[committed_offset:0 count:1 messages:[map[headers:map[Trace:abc] key_b64:ayAx offset:2 partition:1 ts_ms:77 value_b64:djI=]] next_offset:3 truncated:false]` {
			t.Fatal(got)
		}
	})
}

func TestAnswersWaitForTheCommit(t *testing.T) {
	f := newFixture(t, "auto")
	f.call("POST", "/broker/topics", `{"name":"t","partitions":1}`)
	f.log.set(func(m *memLog) { m.hold = true })
	c, r := f.dial()
	fmt.Fprint(c, post("/broker/topics/t/produce", "a"), post("/broker/topics/t/produce?timeout_ms=20", "b"), get("/health"))
	time.Sleep(50 * time.Millisecond)
	if n := r.Buffered(); n != 0 {
		t.Fatal("an answer came before the commit")
	}
	_, m := f.call("GET", "/broker/consume/t/g/0", "")
	if m["count"] != 0.0 {
		t.Fatalf("a message that is not durable was shown: %v", m)
	}
	f.log.release()
	for i, want := range []string{`"offset":0,"partition":0`, `"offset":1,"partition":0`, `{"ok":true}`} {
		if status, body := answer(t, r, "POST"); status != 200 || !strings.Contains(body, want) {
			t.Fatalf("answer %d: %d %s", i, status, body)
		}
	}
}

func TestTimeouts(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		f := newFixture(t, backend, func(o *Options) { o.CommitTimeoutNs = int64(30 * time.Millisecond) })
		f.create(1)
		f.log.set(func(m *memLog) { m.hold = true })
		status, m := f.call("POST", "/broker/topics/t/produce?timeout_ms=1", "a")
		if status != 200 || m["synced"] != false || m["durable"] != false || m["offset"] != 0.0 {
			t.Fatal(status, m)
		}
		status, m = f.call("POST", "/broker/topics/t/produce?timeout_ms=0", "b")
		if status != 200 || m["synced"] != false || m["offset"] != 1.0 {
			t.Fatal(status, m)
		}
		status, m = f.call("POST", "/broker/topics/t/produce", "c")
		if status != 504 || m["error"] != "commit_timeout" {
			t.Fatal(status, m)
		}
		f.log.release()
		for {
			if _, m = f.call("GET", "/broker/consume/t/g/0", ""); m["count"] == 3.0 {
				break
			}
			time.Sleep(time.Millisecond)
		}
	})
}

func TestStorageFailure(t *testing.T) {
	f := newFixture(t, "auto")
	f.call("POST", "/broker/topics/t/produce?partition=0", "kept")
	f.log.set(func(m *memLog) { m.failure = errors.New("input/output error") })
	for range 3 {
		status, m := f.call("POST", "/broker/topics/t/produce?partition=0", "lost")
		if status != 500 || m["error"] != "storage_failed" {
			t.Fatal(status, m)
		}
	}
	if status, m := f.call("GET", "/ready", ""); status != 503 || !strings.Contains(fmt.Sprint(m["reason"]), "input/output error") {
		t.Fatal(status, m)
	}
	if status, m := f.call("GET", "/broker/consume/t/g/0", ""); status != 200 || m["count"] != 1.0 {
		t.Fatal(status, m)
	}
}

func TestFullDiskIsRefusedAndSurvived(t *testing.T) {
	f := newFixture(t, "auto")
	f.call("POST", "/broker/topics/t/produce?partition=0", "a")
	f.log.set(func(m *memLog) { m.refusal = ErrNoSpace })
	if status, m := f.call("POST", "/broker/topics/t/produce?partition=0", "b"); status != 507 || m["error"] != "disk_full" {
		t.Fatal(status, m)
	}
	f.log.set(func(m *memLog) { m.refusal = nil })
	if status, m := f.call("POST", "/broker/topics/t/produce?partition=0", "b"); status != 200 || m["offset"] != 1.0 {
		t.Fatal(status, m)
	}
}

func TestBusyLogHoldsRequestsBack(t *testing.T) {
	f := newFixture(t, "auto")
	f.call("POST", "/broker/topics/t/produce?partition=0", "a")
	f.log.set(func(m *memLog) { m.refusal = ErrBusy })
	c, r := f.dial()
	fmt.Fprint(c, post("/broker/topics/t/produce?partition=0", "b"), post("/broker/topics/t/produce?partition=0", "c"))
	time.Sleep(20 * time.Millisecond)
	f.log.set(func(m *memLog) { m.refusal = nil })
	f.server.loops[0].net.Post(func() {})
	for i := range 2 {
		if status, body := answer(t, r, "POST"); status != 200 || !strings.Contains(body, fmt.Sprintf(`"offset":%d`, i+1)) {
			t.Fatal(status, body)
		}
	}
}

func TestIdempotency(t *testing.T) {
	f := newFixture(t, "auto")
	f.call("POST", "/broker/topics", `{"name":"t","partitions":1}`)
	f.log.set(func(m *memLog) { m.hold = true })
	c, r := f.dial()
	same := post("/broker/topics/t/produce?idempotency_key=x", "a")
	fmt.Fprint(c, same, same, post("/broker/topics/t/produce?idempotency_key=y", "b"))
	time.Sleep(20 * time.Millisecond)
	f.log.release()
	for _, want := range []string{`"offset":0`, `"duplicate":true,"synced":null`, `"offset":1`} {
		if status, body := answer(t, r, "POST"); status != 200 || !strings.Contains(body, want) {
			t.Fatal(status, body, want)
		}
	}
	fmt.Fprint(c, same, get("/health"))
	if _, body := answer(t, r, "POST"); !strings.Contains(body, `"offset":0,`) || !strings.Contains(body, `"duplicate":true,"synced":null`) {
		t.Fatal(body)
	}
	answer(t, r, "GET")
	nd := post("/broker/topics/t/produce-ndjson?idempotency_key=z", "1\n2\n\n3\r\n")
	fmt.Fprint(c, nd, nd)
	for range 2 {
		if _, body := answer(t, r, "POST"); !strings.Contains(body, `"first_offset":2,"count":3`) {
			t.Fatal(body)
		}
	}
}

func TestExpectedOffset(t *testing.T) {
	f := newFixture(t, "auto")
	f.call("POST", "/broker/topics/t/produce?partition=0&expected_offset=0", "a")
	status, m := f.call("POST", "/broker/topics/t/produce?partition=0&expected_offset=0", "b")
	if status != 412 || m["next_offset"] != 1.0 {
		t.Fatal(status, m)
	}
}

func TestPipelinedOutcomesKeepTheirOrder(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		f := newFixture(t, backend)
		f.call("POST", "/broker/topics", `{"name":"t","partitions":1}`)
		c, r := f.dial()
		var all string
		var want []string
		for i := range 40 {
			switch i % 5 {
			case 0, 1:
				all += post("/broker/topics/t/produce", "x")
				want = append(want, `"ok":true,"offset"`)
			case 2:
				all += post("/broker/topics/t/produce?partition=9", "x")
				want = append(want, `unknown_partition`)
			case 3:
				all += post("/broker/topics/t/produce?timeout_ms=0", "x")
				want = append(want, `"synced":false`)
			case 4:
				all += get("/broker/consume/t/g/0?limit=1")
				want = append(want, `"messages"`)
			}
		}
		go func() { fmt.Fprint(c, all) }()
		for i, w := range want {
			if _, body := answer(t, r, "POST"); !strings.Contains(body, w) {
				t.Fatalf("answer %d: %s, want %s", i, body, w)
			}
		}
	})
}

func TestSeveralLoopsForward(t *testing.T) {
	f := newFixture(t, "uring", func(o *Options) { o.Loops = 3 })
	f.call("POST", "/broker/topics", `{"name":"t","partitions":16}`)
	c, r := f.dial()
	var all string
	for i := range 64 {
		all += post(fmt.Sprintf("/broker/topics/t/produce?partition=%d", i%16), fmt.Sprint(i))
	}
	go func() { fmt.Fprint(c, all) }()
	for i := range 64 {
		if status, body := answer(t, r, "POST"); status != 200 || !strings.Contains(body, fmt.Sprintf(`"offset":%d,"partition":%d,`, i/16, i%16)) {
			t.Fatal(i, status, body)
		}
	}
	for p := range 16 {
		if _, m := f.call("GET", fmt.Sprintf("/broker/consume/t/g/%d", p), ""); m["count"] != 4.0 {
			t.Fatal(p, m)
		}
	}
	f.call("POST", "/broker/topics/auto/produce", "x")
	if status, m := f.call("GET", "/broker/topics/auto", ""); status != 200 || m["partitions"] != 8.0 {
		t.Fatal(status, m)
	}
}
