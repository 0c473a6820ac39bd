package api

import (
	"fmt"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"ayder/engine"
	"ayder/internal/auth"
	"ayder/internal/record"
)

// Topics that are deleted and grow, floors, and policies that move them.

// partitionOf describes one partition.
func (f *fixture) partitionOf(topic string, n int) map[string]any {
	f.t.Helper()
	status, m := f.call("GET", "/broker/topics/"+topic, "")
	if status != 200 {
		f.t.Fatal(status, m)
	}
	return m["partition_list"].([]any)[n].(map[string]any)
}

func TestDeleteTopic(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		f := newFixture(t, backend)
		f.call("POST", "/broker/topics", `{"name":"t","partitions":2}`)
		f.call("POST", "/broker/topics/t/produce?partition=1", "old")
		f.call("POST", "/broker/commit", `{"topic":"t","group":"g","partition":1,"offset":1}`)
		status, m := f.call("DELETE", "/broker/topics/t", "")
		if status != 200 || m["ok"] != true || m["topic"] != "t" || m["deleted"] != true {
			t.Fatal(status, m)
		}
		for _, c := range [][3]string{
			{"DELETE", "/broker/topics/t", ""},
			{"GET", "/broker/topics/t", ""},
			{"GET", "/broker/consume/t/g/1", ""},
			{"POST", "/broker/commit", `{"topic":"t","group":"g","partition":1,"offset":1}`},
			{"POST", "/broker/topics/t/partitions", `{"partitions":3}`},
			{"POST", "/broker/delete-before", `{"topic":"t","partition":1,"before_offset":1}`},
			{"POST", "/broker/retention", `{"topic":"t","ttl_ms":1}`},
		} {
			f.refused(c[0], c[1], c[2]).want(t, c[0]+" "+c[1], 404, "unknown_topic", `"t"`)
		}
		if status, m := f.call("POST", "/broker/topics/t/produce?partition=1", "new"); status != 200 || m["offset"] != 0.0 {
			t.Fatal(status, m)
		}
		_, m = f.call("GET", "/broker/consume/t/g/1", "")
		if m["count"] != 1.0 || m["messages"].([]any)[0].(map[string]any)["value"] != "new" || m["committed_offset"] != 0.0 {
			t.Fatal(m)
		}
		if _, m := f.call("GET", "/broker/topics/t", ""); m["id"] != 2.0 {
			t.Fatal(m)
		}
	})
}

// What is written to a topic while it is deleted: answered as written if its place in the log is before the deletion, 404
// if behind.
func TestWritesAroundADeletion(t *testing.T) {
	f := newFixture(t, "auto", func(o *Options) { o.CommitsInFlight = 2 })
	f.call("POST", "/broker/topics", `{"name":"t","partitions":1}`)
	f.log.set(func(m *memLog) { m.hold = true })
	results := make(chan string, 8)
	var all sync.WaitGroup
	call := func(name, method, path, body string) {
		all.Go(func() {
			status, m := f.call(method, path, body)
			results <- fmt.Sprint(name, " ", status, " ", m["error"])
		})
	}
	held := func(n int) {
		waitFor(t, "the batches", func() bool {
			f.log.mu.Lock()
			defer f.log.mu.Unlock()
			return len(f.log.held) == n
		})
	}
	call("before", "POST", "/broker/topics/t/produce", "v")
	held(1)
	call("delete", "DELETE", "/broker/topics/t", "")
	held(2)
	parked := func(n int) {
		waitFor(t, "the answers that are owed", func() bool {
			_, text, _ := f.raw("GET", "/metrics", "")
			m := regexp.MustCompile(`queue_depth{[^}]*parked_replies[^}]*} (\d+)`).FindSubmatch(text)
			return m != nil && string(m[1]) == fmt.Sprint(n)
		})
	}
	call("behind", "POST", "/broker/topics/t/produce", "v")
	call("many", "POST", "/broker/topics/t/produce-ndjson", "1\n2\n")
	call("commit", "POST", "/broker/commit", `{"topic":"t","group":"g","partition":0,"offset":1}`)
	call("again", "DELETE", "/broker/topics/t", "")
	call("policy", "POST", "/broker/retention", `{"topic":"t","ttl_ms":1}`)
	call("growth", "POST", "/broker/topics/t/partitions", `{"partitions":2}`)
	parked(8)
	f.log.release()
	all.Wait()
	close(results)
	got := map[string]bool{}
	for r := range results {
		got[r] = true
	}
	for _, want := range []string{
		"before 200 <nil>", "delete 200 <nil>", "again 200 <nil>", "behind 404 unknown_topic", "many 404 unknown_topic", "commit 404 unknown_topic",
		"policy 404 unknown_topic", "growth 404 unknown_topic",
	} {
		if !got[want] {
			t.Errorf("want %q, got %v", want, got)
		}
	}
}

func TestGrowTopic(t *testing.T) {
	for loops := 1; loops <= 3; loops += 2 {
		f := newFixture(t, readsOn(t), func(o *Options) { o.Loops = loops })
		f.call("POST", "/broker/topics", `{"name":"t","partitions":2}`)
		f.call("POST", "/broker/topics/t/produce?partition=1", "v")
		for range 2 { // the second changes nothing
			if status, m := f.call("POST", "/broker/topics/t/partitions", `{"partitions":5}`); status != 200 || m["partitions"] != 5.0 || m["topic"] != "t" {
				t.Fatal(status, m)
			}
		}
		f.refused("POST", "/broker/topics/t/partitions", `{"partitions":4}`).want(t, "fewer", 409, "fewer_partitions", "")
		f.refused("POST", "/broker/topics/t/partitions", `{"partitions":1025}`).want(t, "too many", 400, "bad_partitions", "")
		f.refused("POST", "/broker/topics/t/partitions", `{}`).want(t, "none", 400, "bad_json", "partitions")
		f.refused("POST", "/broker/topics", `{"name":"t","partitions":2}`).want(t, "create as it was", 409, "topic_exists", "")
		for i := range 5 {
			want := 0.0
			if i == 1 {
				want = 1
			}
			if status, m := f.call("POST", fmt.Sprintf("/broker/topics/t/produce?partition=%d", i), "v"); status != 200 || m["offset"] != want {
				t.Fatal(status, m)
			}
		}
	}
}

func TestDeleteBefore(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		for _, cold := range []bool{false, true} {
			f := newFixture(t, backend)
			f.log.set(func(m *memLog) { m.cold = cold })
			f.call("POST", "/broker/topics", `{"name":"t","partitions":1}`)
			f.call("POST", "/broker/topics/t/produce-ndjson", "1\n22\n333\n4444\n")
			f.call("POST", "/broker/topics/t/produce?key=k", "value")
			f.call("POST", "/broker/commit", `{"topic":"t","group":"g","partition":0,"offset":1}`)
			sizes := []float64{25, 26, 27, 28, 30}
			below := func(before int, count, bytes float64) {
				t.Helper()
				status, m := f.call("POST", "/broker/delete-before", fmt.Sprintf(`{"topic":"t","partition":0,"before_offset":%d}`, before))
				if status != 200 || m["deleted_count"] != count || m["freed_bytes"] != bytes {
					t.Fatal(status, m)
				}
			}
			below(0, 0, 0)
			below(2, 2, sizes[0]+sizes[1])
			below(2, 0, 0)
			below(1, 0, 0)
			p := f.partitionOf("t", 0)
			if p["earliest_offset"] != 2.0 || p["messages"] != 3.0 || p["bytes"] != sizes[2]+sizes[3]+sizes[4] {
				t.Fatal(p)
			}
			status, m := f.call("GET", "/broker/consume/t/g/0?offset=1", "")
			if status != 410 || m["earliest_offset"] != 2.0 || m["next_offset"] != 5.0 {
				t.Fatal(status, m)
			}
			// A group that committed below the floor goes on at the floor.
			if status, m := f.call("GET", "/broker/consume/t/g/0", ""); status != 200 || m["next_offset"] != 5.0 || m["count"] != 3.0 || m["committed_offset"] != 1.0 {
				t.Fatal(status, m)
			}
			below(3, 1, sizes[2])
			if status, m := f.call("GET", "/broker/consume/t/g/0?offset=3&limit=1", ""); status != 200 || m["messages"].([]any)[0].(map[string]any)["value"] != "4444" {
				t.Fatal(status, m)
			}
			status, m = f.call("POST", "/broker/delete-before", `{"topic":"t","partition":0,"before_offset":6}`)
			if status != 416 || m["earliest_offset"] != 3.0 || m["next_offset"] != 5.0 {
				t.Fatal(status, m)
			}
			below(5, 2, sizes[3]+sizes[4])
			if p := f.partitionOf("t", 0); p["messages"] != 0.0 || p["bytes"] != 0.0 || p["next_offset"] != 5.0 {
				t.Fatal(p)
			}
			if _, m := f.call("POST", "/broker/topics/t/produce", "v"); m["offset"] != 5.0 {
				t.Fatal(m)
			}
		}
	})
}

func TestDeleteBeforeMeetsDamage(t *testing.T) {
	f := newFixture(t, "auto")
	f.call("POST", "/broker/topics", `{"name":"t","partitions":1}`)
	f.call("POST", "/broker/topics/t/produce-ndjson", "1\n2\n")
	f.log.set(func(m *memLog) { m.cold, m.damage = true, fmt.Errorf("a bad sector") })
	f.refused("POST", "/broker/delete-before", `{"topic":"t","partition":0,"before_offset":1}`).want(t, "damage", 500, "storage_damaged", "a bad sector")
	f.log.set(func(m *memLog) { m.damage, m.frames = nil, nil })
	f.refused("POST", "/broker/delete-before", `{"topic":"t","partition":0,"before_offset":1}`).want(t, "missing", 500, "storage_damaged", "not there")
}

// Many that move one floor at once: together they delete each message once.
func TestDeleteBeforeAtOnce(t *testing.T) {
	f := newFixture(t, "auto")
	f.call("POST", "/broker/topics", `{"name":"t","partitions":1}`)
	f.call("POST", "/broker/topics/t/produce-ndjson", strings.Repeat("1\n", 100))
	var all sync.WaitGroup
	var mu sync.Mutex
	count, bytes := 0.0, 0.0
	for i := range 50 {
		all.Go(func() {
			status, m := f.call("POST", "/broker/delete-before", fmt.Sprintf(`{"topic":"t","partition":0,"before_offset":%d}`, i*37%100))
			if status != 200 {
				t.Error(status, m)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			count, bytes = count+m["deleted_count"].(float64), bytes+m["freed_bytes"].(float64)
		})
	}
	all.Wait()
	if floor := f.partitionOf("t", 0)["earliest_offset"]; count != floor || bytes != 25*count {
		t.Errorf("%v messages of %v bytes, the floor is at %v", count, bytes, floor)
	}
}

func TestRetention(t *testing.T) {
	for loops := 1; loops <= 3; loops += 2 {
		f := newFixture(t, readsOn(t), func(o *Options) { o.Loops, o.RetentionNs = loops, int64(5*time.Millisecond) })
		for _, topic := range []string{"much", "old", "kept"} {
			f.call("POST", "/broker/topics", fmt.Sprintf(`{"name":%q,"partitions":3}`, topic))
			for i := range 3 {
				for range 10 {
					f.call("POST", fmt.Sprintf("/broker/topics/%s/produce-ndjson?partition=%d", topic, i), strings.Repeat("1234567890\n", 300))
				}
			}
		}
		set := func(body, want string) {
			t.Helper()
			if status, text, _ := f.raw("POST", "/broker/retention", body); status != 200 || string(text) != want {
				t.Fatalf("%d %s, want %s", status, text, want)
			}
		}
		set(`{"topic":"kept","max_bytes":9000000000}`, `{"ok":true,"topic":"kept","ttl_ms":0,"max_bytes":9000000000}`)
		set(`{"topic":"*","max_bytes":70000}`, `{"ok":true,"topic":"*","ttl_ms":0,"max_bytes":70000}`)
		set(`{"topic":"old","partition":2,"ttl_ms":1}`, `{"ok":true,"topic":"old","partition":2,"ttl_ms":1,"max_bytes":0}`)
		for i := range 3 {
			waitFor(t, "the size", func() bool { return f.partitionOf("much", i)["bytes"].(float64) <= 70000 })
			if b := f.partitionOf("much", i)["bytes"].(float64); b < 50000 {
				t.Error(b, "bytes are kept")
			}
			if p := f.partitionOf("kept", i); p["earliest_offset"] != 0.0 || p["retention"].(map[string]any)["max_bytes"] != 9e9 {
				t.Error(p)
			}
		}
		waitFor(t, "the age", func() bool { return f.partitionOf("old", 2)["messages"] == 0.0 })
		if p := f.partitionOf("old", 2); p["retention"].(map[string]any)["max_bytes"] != 7e4 || p["retention"].(map[string]any)["ttl_ms"] != 1.0 {
			t.Error(p)
		}
		floor := f.partitionOf("much", 0)["earliest_offset"].(float64)
		if status, m := f.call("GET", fmt.Sprintf("/broker/consume/much/g/0?offset=%.0f&limit=1", floor), ""); status != 200 || m["count"] != 1.0 {
			t.Error("at the floor:", status, m)
		}
		if status, m := f.call("GET", fmt.Sprintf("/broker/consume/much/g/0?offset=%.0f", floor-1), ""); status != 410 || m["earliest_offset"] != floor {
			t.Error("below the floor:", status, m)
		}
		f.call("POST", "/broker/topics", `{"name":"later","partitions":1}`)
		if r := f.partitionOf("later", 0)["retention"].(map[string]any); r["max_bytes"] != 7e4 {
			t.Error("a later topic has", r)
		}
		set(`{"topic":"*","max_bytes":0,"ttl_ms":5}`, `{"ok":true,"topic":"*","ttl_ms":5,"max_bytes":0}`)
		set(`{"topic":"*","ttl_ms":0}`, `{"ok":true,"topic":"*","ttl_ms":0,"max_bytes":0}`)
	}
}

func TestBadRetention(t *testing.T) {
	f := badInputFixture(t)
	tokens, err := auth.Parse("dev:p@admin/t")
	if err != nil {
		t.Fatal(err)
	}
	f.server.options.Tokens.Swap(tokens)
	for _, tt := range []struct {
		path, body string
		status     int
		code, part string
	}{
		{"retention", `{}`, 400, "missing_topic", ""},
		{"retention", `{"topic":"t"}`, 400, "bad_json", "ttl_ms or max_bytes"},
		{"retention", `{"topic":"t","ttl_ms":null}`, 400, "bad_json", "ttl_ms or max_bytes"},
		{"retention", `{"topic":"t","ttl_ms":-1}`, 400, "bad_json", "ttl_ms"},
		{"retention", `{"topic":"t","ttl_ms":9223372036854775808}`, 400, "bad_json", "2^63"},
		{"retention", `{"topic":"t","max_bytes":18446744073709551616}`, 400, "bad_json", "max_bytes"},
		{"retention", `{"topic":"t","max_bytes":"1"}`, 400, "bad_json", "max_bytes"},
		{"retention", `{"topic":"t","max_bytes":1,"partition":2}`, 404, "unknown_partition", "2"},
		{"retention", `{"topic":"t","max_bytes":1,"partition":-2}`, 400, "bad_json", "partition"},
		{"retention", `{"topic":"*","max_bytes":1,"partition":0}`, 400, "bad_json", "partition"},
		{"retention", `{"topic":"**","max_bytes":1}`, 400, "bad_topic", ""},
		{"retention", `{"topic":"none","max_bytes":1}`, 404, "unknown_topic", "none"},
		{"delete-before", `{"partition":0,"before_offset":1}`, 400, "missing_topic", ""},
		{"delete-before", `{"topic":"*","partition":0,"before_offset":1}`, 400, "bad_topic", ""},
		{"delete-before", `{"topic":"t","before_offset":1}`, 400, "bad_json", "partition"},
		{"delete-before", `{"topic":"t","partition":0}`, 400, "bad_json", "before_offset"},
		{"delete-before", `{"topic":"t","partition":0,"before_offset":-1}`, 400, "bad_json", "before_offset"},
		{"delete-before", `{"topic":"t","partition":0,"before_offset":9223372036854775808}`, 400, "bad_json", "before_offset"},
		{"delete-before", `{"topic":"t","partition":0,"before_offset":2}`, 416, "offset_out_of_range", ""},
		{"delete-before", `{"topic":"t","partition":2,"before_offset":0}`, 404, "unknown_partition", ""},
		{"topics/none/partitions", `{"partitions":4}`, 404, "unknown_topic", "none"},
		{"topics/a%20b/partitions", `{"partitions":4}`, 400, "bad_topic", ""},
	} {
		f.refused("POST", "/broker/"+tt.path, tt.body).want(t, tt.path+" "+tt.body, tt.status, tt.code, tt.part)
	}
	f.refused("POST", "/broker/retention", `{"topic":"*","ttl_ms":0}`, "Authorization", "Bearer p").want(t, "all topics", 403, "forbidden", "prefix")
	if status, _, _ := f.raw("POST", "/broker/retention", `{"topic":"t","ttl_ms":0}`, "Authorization", "Bearer p"); status != 200 {
		t.Error("its own topic:", status)
	}
}

// A leader's decisions are commands like any other; a node that does not lead decides nothing.
func TestOnlyTheLeaderRetains(t *testing.T) {
	f := newClusterFixture(t, "auto", func(o *Options) { o.RetentionNs = int64(5 * time.Millisecond) })
	f.lead()
	f.call("POST", "/broker/topics", `{"name":"t","partitions":1}`)
	f.call("POST", "/broker/topics/t/produce", "v")
	f.depose("n2")
	u := engine.RetentionUpdate{Scope: engine.EveryTopic, SetTTL: true}
	u.TTLMs = 1
	b := record.NewBatch()
	if err := engine.New(engine.Config{}).Shard(0).SetRetention(b, &u); err != nil {
		t.Fatal(err)
	}
	last := uint64(0)
	f.rep.with(func() { last = f.rep.stored })
	f.foreign(b.Seal(record.Header{Index: last + 1, Term: 7, TimeMs: uint64(time.Now().UnixMilli())}, 1))
	waitFor(t, "the policy", f.server.options.Engine.Retains)
	time.Sleep(50 * time.Millisecond)
	if p := f.server.options.Engine.Topic([]byte("t")).Partition(0); p.Stats().Floor != 0 {
		t.Fatal("a follower has moved a floor")
	}
	f.lead()
	waitFor(t, "the floor", func() bool {
		return f.server.options.Engine.Topic([]byte("t")).Partition(0).Stats().Floor == 1
	})
}

// A page is being read when the floor moves, and the log gives the space back at once: the reader is told, and gets no page
// with a hole at its beginning.
func TestFloorOvertakesAReader(t *testing.T) {
	f := newFixture(t, "auto")
	f.call("POST", "/broker/topics", `{"name":"t","partitions":1}`)
	for range 4 {
		f.call("POST", "/broker/topics/t/produce", "v")
	}
	f.call("POST", "/broker/delete-before", `{"topic":"t","partition":0,"before_offset":1}`)
	f.log.set(func(m *memLog) { m.frames = m.frames[3:] }) // the topic and two messages
	f.refused("GET", "/broker/consume/t/g/0?offset=1", "").want(t, "missing", 500, "storage_damaged", "offset 1")
	if status, m := f.call("GET", "/broker/consume/t/g/0?offset=2", ""); status != 200 || m["count"] != 2.0 {
		t.Fatal(status, m)
	}
	p, l := f.server.options.Engine.Topic([]byte("t")).Partition(0), f.server.loops[0]
	told := make(chan *Error)
	for at, want := range map[record.Stream]int{p.Stream(): 410, {Topic: 99}: 404} {
		l.net.Post(func() { told <- l.gone(at, 0) })
		if e := <-told; e.Status != want {
			t.Errorf("%v: %v, want %d", at, e, want)
		}
	}
}
