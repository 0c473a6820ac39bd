package api

import (
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// What a client is told when it does not want to wait, or waited in vain, and what the figures in
// an answer say about the waiting.

func TestDuplicateThatGaveUpIsNotDurable(t *testing.T) {
	f := newFixture(t, "auto")
	f.call("POST", "/broker/topics", `{"name":"t","partitions":1}`)
	f.log.set(func(m *memLog) { m.hold = true })
	path := "/broker/topics/t/produce?idempotency_key=x&timeout_ms="
	for _, timeout := range []string{"0", "0", "1", "20"} {
		status, m := f.call("POST", path+timeout, "a")
		if status != 200 || m["offset"] != 0.0 || m["durable"] != false {
			t.Fatalf("timeout_ms=%s: %d %v", timeout, status, m)
		}
	}
	f.log.release()
	status, m := f.call("POST", path+"0", "a")
	for m["durable"] != true {
		status, m = f.call("POST", path+"0", "a")
	}
	if synced, has := m["synced"]; status != 200 || !has || synced != nil || m["duplicate"] != true || m["batch_id"] != 0.0 {
		t.Fatal(status, m)
	}
}

// TestFirstProduceWithoutWaiting: the topic has to be made first, which the client's 0 ms do not cover.
func TestFirstProduceWithoutWaiting(t *testing.T) {
	for loops := 1; loops <= 3; loops += 2 {
		f := newFixture(t, readsOn(t), func(o *Options) { o.Loops = loops })
		for i := range 8 {
			status, m := f.call("POST", fmt.Sprintf("/broker/topics/t%d/produce?timeout_ms=0", i), "a")
			if status != 200 || m["offset"] != 0.0 || m["synced"] != false {
				t.Fatalf("%d loops: %d %v", loops, status, m)
			}
		}
	}
}

func TestTopicCreationTimesOut(t *testing.T) {
	f := newFixture(t, "auto", func(o *Options) { o.CommitTimeoutNs = int64(20 * time.Millisecond) })
	f.log.set(func(m *memLog) { m.hold = true })
	for _, call := range [][2]string{{"/broker/topics", `{"name":"t"}`}, {"/broker/topics/u/produce", "x"}, {"/broker/topics/u/produce?timeout_ms=60000", "x"}} {
		if status, m := f.call("POST", call[0], call[1]); status != 504 || m["error"] != "commit_timeout" {
			t.Errorf("%s: %d %v", call[0], status, m)
		}
	}
	f.log.release()
	waitFor(t, "the topics", func() bool { _, m := f.call("GET", "/broker/topics", ""); return m["count"] == 2.0 })
	if _, m := f.call("GET", "/broker/consume/u/g/0", ""); m["count"] != 0.0 {
		t.Fatal("a produce that was answered 504 before its topic existed was executed later: ", m)
	}
}

// TestDeadlinesOnOtherLoops has every loop give up answers of connections that belong to others,
// while those connections wait on their own loop as well: the race detector is the judge.
func TestDeadlinesOnOtherLoops(t *testing.T) {
	f := newFixture(t, readsOn(t), func(o *Options) { o.Loops = 3 })
	f.call("POST", "/broker/topics", `{"name":"t","partitions":6}`)
	f.log.set(func(m *memLog) { m.hold = true })
	const conns, requests = 6, 12
	done := make(chan error, conns)
	for i := range conns {
		c, r := f.dial()
		go func() {
			var all string
			for j := range requests {
				all += post(fmt.Sprintf("/broker/topics/t/produce?partition=%d&timeout_ms=%d", (i+j)%6, 1+j%3), "x")
			}
			fmt.Fprint(c, all)
			for j := range requests {
				resp, err := http.ReadResponse(r, nil)
				if err != nil || resp.StatusCode != 200 {
					done <- fmt.Errorf("answer %d: %v %v", j, resp, err)
					return
				}
				text := make([]byte, resp.ContentLength)
				if _, err = io.ReadFull(r, text); err != nil || !strings.Contains(string(text), fmt.Sprintf(`"partition":%d,`, (i+j)%6)) {
					done <- fmt.Errorf("answer %d: %s %v", j, text, err)
					return
				}
			}
			done <- nil
		}()
	}
	for range conns {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// TestTimingFields: whatever way an answer took, its five figures are integers, and their sum is
// no longer than the test itself.
func TestTimingFields(t *testing.T) {
	f := newFixture(t, readsOn(t), func(o *Options) { o.Loops = 2 })
	f.call("POST", "/broker/topics", `{"name":"t","partitions":2}`)
	began := time.Now()
	for _, path := range []string{
		"produce?partition=0", "produce?partition=1", "produce?partition=0&timeout_ms=0", "produce?partition=0&idempotency_key=a",
		"produce?partition=0&idempotency_key=a", "produce?partition=1&idempotency_key=a", "produce?partition=1&idempotency_key=a",
		"produce-ndjson?partition=0", "produce-ndjson?partition=1&timeout_ms=0", "produce-ndjson?partition=1&timeout_ms=60000",
		"../topics/fresh/produce?partition=1",
	} {
		path = strings.Replace("/broker/topics/t/"+path, "/t/../topics/", "/", 1)
		status, text, _ := f.raw("POST", path+"&timing=1", "1")
		if status != 200 {
			t.Fatalf("%s: %d %s", path, status, text)
		}
		for _, name := range []string{"recv_parse_us", "queue_us", "produce_us", "sync_wait_us", "server_us"} {
			found := regexp.MustCompile(`"` + name + `":(\d+)[,}]`).FindSubmatch(text)
			if found == nil {
				t.Fatalf("%s: no integer %s in %s", path, name, text)
			}
			if us, _ := strconv.ParseInt(string(found[1]), 10, 64); us > time.Since(began).Microseconds() {
				t.Errorf("%s: %s in %s", path, name, text)
			}
		}
		if plain, text, _ := f.raw("POST", path, "1"); plain != 200 || strings.Contains(string(text), "_us") {
			t.Errorf("%s without timing: %s", path, text)
		}
	}
}

func TestServerTimingAndDate(t *testing.T) {
	line := regexp.MustCompile(`^recv_parse;dur=\d+\.\d{3}, queue;dur=\d+\.\d{3}(, commit;dur=\d+\.\d{3})?, server;dur=\d+\.\d{3}$`)
	for _, on := range []bool{true, false} {
		f := newFixture(t, "auto", func(o *Options) { o.ServerTiming = on })
		for _, call := range [][3]string{
			{"POST", "/broker/topics/t/produce", "commit"},
			{"GET", "/broker/consume/t/g/0", ""},
			{"GET", "/health", ""},
			{"GET", "/metrics", ""},
			{"GET", "/none", ""},
			{"OPTIONS", "/health", ""},
			{"POST", "/broker/topics/t/produce?x=1", ""},
			{"HEAD", "/ready", ""},
		} {
			_, _, h := f.raw(call[0], call[1], "")
			got := h.Get("Server-Timing")
			if on != (got != "") || on && !line.MatchString(got) || on && strings.Contains(got, "commit") != (call[2] == "commit") {
				t.Errorf("%s %s: Server-Timing %q", call[0], call[1], got)
			}
			date, err := http.ParseTime(h.Get("Date"))
			if off := time.Since(date); err != nil || off < -time.Minute || off > time.Minute {
				t.Errorf("%s %s: Date %q, %v", call[0], call[1], h.Get("Date"), err)
			}
		}
	}
}

// TestFullBatches has more come in while the disk is busy than the open batch takes, in bytes and in
// answers owed. What does not fit waits for the next one; everything is answered, in order.
func TestFullBatches(t *testing.T) {
	for name, tt := range map[string]struct{ conns, requests, size int }{
		"bytes":   {8, 6, 100 << 10},
		"large":   {3, 2, 3 << 20},
		"waiters": {72, 250, 1},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, readsOn(t), func(o *Options) { o.CommitsInFlight = 1 })
			f.call("POST", "/broker/topics", `{"name":"t","partitions":100}`)
			f.log.set(func(m *memLog) { m.hold = true })
			f.call("POST", "/broker/topics/t/produce?partition=99&timeout_ms=0", "occupies the disk")
			done := make(chan error, tt.conns)
			for i := range tt.conns {
				c, r := f.dial()
				path := fmt.Sprintf("/broker/topics/t/produce?partition=%d", i)
				go func() { fmt.Fprint(c, strings.Repeat(post(path, strings.Repeat("v", tt.size)), tt.requests)) }()
				go func() {
					for j := range tt.requests {
						resp, err := http.ReadResponse(r, nil)
						if err != nil {
							done <- err
							return
						}
						text := make([]byte, resp.ContentLength)
						if _, err := io.ReadFull(r, text); err != nil || !strings.Contains(string(text), fmt.Sprintf(`"offset":%d,"partition":%d,`, j, i)) {
							done <- fmt.Errorf("answer %d of connection %d: %d %s %w", j, i, resp.StatusCode, text, err)
							return
						}
					}
					done <- nil
				}()
			}
			waitFor(t, "a request to be held back", func() bool {
				_, text, _ := f.raw("GET", "/metrics", "")
				return regexp.MustCompile(`held_back[^\n]* [1-9]`).Match(text)
			})
			f.log.release()
			for range tt.conns {
				if err := <-done; err != nil {
					t.Error(err)
				}
			}
		})
	}
}
