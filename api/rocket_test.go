package api

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"

	"ayder/engine"
	"ayder/internal/record"
)

const launchedAnswer = `"batch_id":0,"sealed":false,"durable":false,"mode":"rocket","synced":false`

func rocketFixture(t *testing.T, backend string, change ...func(*Options)) *fixture {
	f := newFixture(t, backend, append([]func(*Options){func(o *Options) { o.DefaultMode = engine.Rocket }}, change...)...)
	if status, m := f.call("POST", "/broker/topics", `{"name":"r","partitions":3}`); status != 201 {
		t.Fatal(status, m)
	}
	return f
}

func TestRocketMessagesAreAnsweredFromMemory(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		for loops := 1; loops <= 3; loops += 2 {
			if loops > 1 && backend == "evio" {
				continue
			}
			f := rocketFixture(t, backend, func(o *Options) { o.Loops = loops })
			if _, m := f.call("GET", "/broker/topics/r", ""); m["mode"] != "rocket" {
				t.Error(m)
			}
			for p := range 3 {
				path := fmt.Sprintf("/broker/topics/r/produce?key=k&partition=%d", p)
				for i := range 5 {
					status, text, _ := f.raw("POST", path+"&timing=1", fmt.Sprint("v", i), "X-Ayder-H-A", "b")
					if want := fmt.Sprintf(`{"ok":true,"offset":%d,"partition":%d,%s,"recv_parse_us":`, i, p, launchedAnswer); status != 200 || !strings.HasPrefix(string(text), want) {
						t.Fatalf("%d %s, want %s", status, text, want)
					}
				}
				status, text, _ := f.raw("POST", fmt.Sprintf("/broker/topics/r/produce-ndjson?partition=%d", p), "1\n2\n")
				if want := fmt.Sprintf(`{"ok":true,"first_offset":5,"count":2,"partition":%d,%s}`, p, launchedAnswer); status != 200 || string(text) != want {
					t.Fatalf("%d %s, want %s", status, text, want)
				}
				_, page := f.call("GET", fmt.Sprintf("/broker/consume/r/g/%d?offset=3", p), "")
				if got := fmt.Sprint(page); page["count"] != 4.0 || page["next_offset"] != 7.0 || !strings.Contains(got, "value:v3") || !strings.Contains(got, "headers:map[A:b]") || !strings.Contains(got, "value:2") {
					t.Fatal(got)
				}
			}
			if _, text, _ := f.raw("GET", "/metrics", ""); strings.Contains(string(text), "ayder_rocket_memory_bytes 0\n") || !strings.Contains(string(text), "ayder_rocket_memory_bytes ") {
				t.Error("no memory is counted")
			}
			// Only the topic, one range for each partition, and a commit are in the log.
			if status, m := f.call("POST", "/broker/commit", `{"topic":"r","group":"g","partition":1,"offset":6}`); status != 200 {
				t.Fatal(m)
			}
			if _, page := f.call("GET", "/broker/consume/r/g/1", ""); page["count"] != 1.0 || page["committed_offset"] != 6.0 {
				t.Fatal(page)
			}
			f.refused("POST", "/broker/commit", `{"topic":"r","group":"g","partition":1,"offset":8}`).want(t, "commit above the end", 416, "offset_out_of_range", "")
			f.log.set(func(m *memLog) {
				sections := ""
				for _, b := range m.frames {
					frame, err := record.ReadFrame(b, 1)
					if err != nil {
						t.Fatal(err)
					}
					it := frame.Iter()
					for s, ok := it.Next(); ok; s, ok = it.Next() {
						sections += fmt.Sprint(s.Type, " ")
					}
				}
				if sections != "2 14 14 14 3 " {
					t.Errorf("the log has sections of types %s", sections)
				}
			})
		}
	})
}

func TestRocketRefusesWhatItCannotKeep(t *testing.T) {
	f := rocketFixture(t, "auto")
	for _, topic := range []string{"r", "new"} {
		for _, call := range []string{"produce", "produce-ndjson"} {
			path := "/broker/topics/" + topic + "/" + call
			f.refused("POST", path+"?idempotency_key=k", "1").want(t, path, 400, "needs_sealed", "idempotency_key")
			f.refused("POST", path+"?concern=sync-majority", "1").want(t, path, 400, "needs_sealed", "concern")
			f.refused("POST", path+"?concern=sync-all", "1").want(t, path, 400, "needs_sealed", "concern")
		}
	}
	if f.server.options.Engine.Topic([]byte("new")) != nil {
		t.Error("a refused produce created its topic")
	}
	for _, query := range []string{"concern=async", "timeout_ms=0", "timeout_ms=1000", "ts_ms=7", "expected_offset=4"} {
		if status, m := f.call("POST", "/broker/topics/r/produce?partition=0&"+query, "1"); status != 200 || m["mode"] != "rocket" {
			t.Error(query, status, m)
		}
	}
	r := f.refused("POST", "/broker/topics/r/produce?partition=0&expected_offset=7", "1")
	r.want(t, "expected_offset", 412, "unexpected_offset", "")
	f.refused("POST", "/broker/topics/r/produce-ndjson?partition=0", "1\n{").want(t, "ndjson", 400, "bad_ndjson", "line 2")
	if status, m := f.call("POST", "/broker/topics", `{"name":"s","mode":"sealed"}`); status != 201 {
		t.Error(m)
	}
	if _, m := f.call("POST", "/broker/topics/s/produce?idempotency_key=k", "1"); m["mode"] != "sealed" || m["durable"] != true {
		t.Error(m)
	}
	f.refused("POST", "/broker/topics", `{"name":"s","partitions":8}`).want(t, "another mode", 409, "topic_exists", "")
}

func TestRocketFloor(t *testing.T) {
	f := newFixture(t, "auto")
	if status, m := f.call("POST", "/broker/topics", `{"name":"r","mode":"rocket","partitions":1,"max_bytes":100000}`); status != 201 {
		t.Fatal(m)
	}
	for range 300 {
		f.call("POST", "/broker/topics/r/produce", strings.Repeat("x", 1000))
	}
	_, m := f.call("GET", "/broker/topics/r", "")
	p := m["partition_list"].([]any)[0].(map[string]any)
	floor := p["earliest_offset"].(float64)
	if p["bytes"].(float64) > 100_000 || p["bytes"].(float64) < 80_000 || p["next_offset"] != 300.0 || p["messages"] != 300-floor {
		t.Fatal(p)
	}
	status, gone := f.call("GET", fmt.Sprintf("/broker/consume/r/g/0?offset=%v", floor-1), "")
	if status != 410 || gone["earliest_offset"] != floor || gone["next_offset"] != 300.0 {
		t.Error(status, gone)
	}
	if _, page := f.call("GET", "/broker/consume/r/g/0", ""); page["messages"].([]any)[0].(map[string]any)["offset"] != floor {
		t.Error("the first message is not at the floor")
	}
	if _, page := f.call("GET", "/broker/consume/r/g/0?from_ts_ms=1&limit=1", ""); page["next_offset"] != floor+1 {
		t.Error("from a time: ", page["next_offset"])
	}
	f.call("POST", "/broker/topics/r/produce?ts_ms=99999999999999", "late")
	if _, page := f.call("GET", "/broker/consume/r/g/0?from_ts_ms=99999999999999", ""); page["count"] != 1.0 || page["next_offset"] != 301.0 {
		t.Error("from a later time: ", page)
	}
	status, large := f.call("GET", fmt.Sprintf("/broker/consume/r/g/0?offset=%v&max_bytes=16777216&limit=1000", floor+20), "") // made by another goroutine
	if status != 200 || large["next_offset"] != 301.0 {
		t.Error(status, large["next_offset"])
	}
}

// TestRocketOrderOnAConnection: answers from memory wait for those from the disk before them.
func TestRocketOrderOnAConnection(t *testing.T) {
	f := rocketFixture(t, readsOn(t))
	f.call("POST", "/broker/topics", `{"name":"s","mode":"sealed","partitions":1}`)
	f.call("POST", "/broker/topics/r/produce?partition=0", "first")
	f.log.set(func(m *memLog) { m.hold = true })
	c, r := f.dial()
	for range 3 {
		if _, err := io.WriteString(c, post("/broker/topics/s/produce", "disk")+post("/broker/topics/r/produce?partition=0", "memory")); err != nil {
			t.Fatal(err)
		}
	}
	f.log.release()
	for i := range 6 {
		status, body := answer(t, r, "POST")
		if want := map[bool]string{true: `"mode":"rocket"`, false: `"mode":"sealed"`}[i%2 == 1]; status != 200 || !strings.Contains(body, want) {
			t.Fatalf("answer %d: %d %s", i, status, body)
		}
	}
}

func TestRocketWakesLongPollsAndStreams(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		for loops := 1; loops <= 3; loops += 2 {
			if loops > 1 && backend == "evio" {
				continue
			}
			f := rocketFixture(t, backend, func(o *Options) { o.Loops = loops })
			var waiting sync.WaitGroup
			for i := range 6 {
				waiting.Go(func() {
					if i%2 == 0 {
						_, page := f.call("GET", "/broker/consume/r/g/0?wait_ms=30000", "")
						if !strings.Contains(fmt.Sprint(page), "value:hello") {
							t.Errorf("long-poll: %v", page)
						}
						return
					}
					c, r := f.dial()
					fmt.Fprint(c, "GET /broker/consume/r/g/0?offset=earliest HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer dev\r\nAccept: text/event-stream\r\n\r\n")
					for {
						line, err := r.ReadString('\n')
						if err != nil {
							t.Errorf("stream: %v", err)
							return
						}
						if strings.Contains(line, `"value":"hello"`) {
							return
						}
					}
				})
			}
			f.call("POST", "/broker/topics/r/produce?partition=0", "hello")
			waiting.Wait()
		}
	})
}

// TestRocketInACluster: the messages are the leader's, and a new term begins with offsets that nobody has had.
func TestRocketInACluster(t *testing.T) {
	f := newClusterFixture(t, "auto", func(o *Options) { o.Loops = 1 })
	other := newOtherNode(2)
	create := other.seal(t, func(b *record.Batch) {
		if _, err := other.engine.Shard(engine.CatalogueShard).CreateTopic(b, engine.TopicSpec{Name: "r", Partitions: 1, Mode: engine.Rocket}); err != nil {
			t.Fatal(err)
		}
	})
	f.foreign(create)
	for _, path := range []string{"/broker/consume/r/g/0", "/broker/consume/r/g/0?offset=0&wait_ms=100"} {
		f.redirected("GET", path, "", "http://"+leaderAddr+path)
	}
	f.redirected("POST", "/broker/topics/r/produce", "v", "http://"+leaderAddr+"/broker/topics/r/produce")
	f.lead()
	produce := func(want uint64) {
		t.Helper()
		status, text, _ := f.raw("POST", "/broker/topics/r/produce", "v")
		if !strings.HasPrefix(string(text), fmt.Sprintf(`{"ok":true,"offset":%d,`, want)) {
			t.Fatal(status, string(text))
		}
	}
	produce(0)
	produce(1)
	if _, page := f.call("GET", "/broker/consume/r/g/0", ""); page["count"] != 2.0 {
		t.Fatal(page)
	}
	c, r := f.dial()
	fmt.Fprint(c, "GET /broker/consume/r/g/0 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer dev\r\nAccept: application/x-ndjson\r\n\r\n")
	for seen := 0; seen < 2; {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		seen += strings.Count(line, `"offset":`)
	}
	f.depose("n2")
	f.server.Forget()
	if rest, err := io.ReadAll(r); err != nil || strings.Contains(string(rest), `"offset":`) {
		t.Errorf("the stream ended with %q, %v", rest, err)
	}
	f.redirected("GET", "/broker/consume/r/g/0?offset=1", "", "http://"+leaderAddr+"/broker/consume/r/g/0?offset=1")
	f.lead()
	status, gone := f.call("GET", "/broker/consume/r/g/0?offset=1", "")
	if status != 410 || gone["earliest_offset"] != float64(1<<32) || gone["next_offset"] != float64(1<<32) {
		t.Error(status, gone)
	}
	produce(1 << 32)
	// A range that was proposed and lost: the request goes to whoever leads then.
	f.server.Forget()
	f.lead()
	f.rep.with(func() { f.rep.manual = true })
	c, r = f.dial()
	fmt.Fprint(c, post("/broker/topics/r/produce", "v"))
	waitFor(t, "the range to be proposed", func() bool { return f.rep.proposed() == 1 })
	f.depose("n2")
	if status, body := answer(t, r, "POST"); status != 307 {
		t.Fatal(status, body)
	}
}

// TestRocketUnderManyLoops has producers and consumers on all loops at once; run it with -race.
func TestRocketUnderManyLoops(t *testing.T) {
	f := rocketFixture(t, readsOn(t), func(o *Options) { o.Loops = 3 })
	f.call("POST", "/broker/topics", `{"name":"small","partitions":2,"max_bytes":20000}`)
	var clients sync.WaitGroup
	const each = 300
	for i := range 6 {
		clients.Go(func() {
			c, r := f.dial()
			for n := range each {
				fmt.Fprint(c, post(fmt.Sprintf("/broker/topics/small/produce?partition=%d", i%2), fmt.Sprint(i, " ", n, strings.Repeat(".", 200))))
				if status, body := answer(t, r, "POST"); status != 200 {
					t.Error(status, body)
					return
				}
			}
		})
		clients.Go(func() {
			for range each / 3 {
				if status, m := f.call("GET", fmt.Sprintf("/broker/consume/small/g/%d?limit=1000&max_bytes=2000000", i%2), ""); status != 200 && status != 410 {
					t.Error(status, m)
				}
			}
		})
	}
	clients.Wait()
	for i := range 2 {
		p := f.server.options.Engine.Topic([]byte("small")).Partition(uint32(i))
		if s := p.Stats(); s.Next != 3*each || s.Bytes > 20_000 {
			t.Errorf("partition %d: %+v", i, s)
		}
	}
}
