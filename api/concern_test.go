package api

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// Write concerns: who is answered when, in which order, and what the answer says.

const produceT = "/broker/topics/t/produce?partition=0"

// laggard is a leader some of whose voters have nothing on their disks until the test says so.
func newLaggard(t *testing.T, backend string, partitions int, change ...func(*Options)) *clusterFixture {
	t.Helper()
	f := newLeader(t, backend, partitions, change...)
	f.rep.with(func() { f.rep.behind = true })
	return f
}

// last is the index of the last proposal.
func (f *clusterFixture) last() (index uint64) {
	f.rep.with(func() { index = f.rep.last })
	return index
}

func TestAsyncIsAnsweredFromThisDisk(t *testing.T) {
	for _, param := range []string{"&concern=async", ""} {
		f := newLeader(t, readsOn(t), 1, func(o *Options) {
			if param == "" {
				o.WriteConcern = ConcernAsync
			}
		})
		f.manual()
		c, r := f.dial()
		fmt.Fprint(c, post(produceT+param, "v"), post("/broker/topics/t/produce-ndjson?partition=0"+param, "1\n2\n"))
		f.await(1)
		f.sync(1)
		expect(t, r, fmt.Sprintf(`200 {"ok":true,"offset":0,"partition":0,"batch_id":%d,"sealed":true,"durable":false,"mode":"sealed","synced":true}`, f.last()))
		if _, m := f.call("GET", "/broker/consume/t/g/0", ""); m["count"] != 0.0 {
			t.Fatal("what is not committed is shown: ", m)
		}
		waitFor(t, "the second one", func() bool { // it may be in the same batch or in the next
			f.sync(f.rep.proposed())
			return f.parked() == 0
		})
		expect(t, r, `200 {"ok":true,"first_offset":1,"count":2,`)
		f.commit(-1)
		waitFor(t, "the messages", func() bool { _, m := f.call("GET", "/broker/consume/t/g/0", ""); return m["count"] == 3.0 })
	}
}

// TestAsyncWithAKeyWaits: the key promises that a retry finds the first try, on whichever node.
func TestAsyncWithAKeyWaits(t *testing.T) {
	f := newLeader(t, readsOn(t), 1)
	f.manual()
	c, r := f.dial()
	fmt.Fprint(c, post(produceT+"&concern=async&idempotency_key=k", "v"))
	f.await(1)
	f.sync(1)
	f.call("GET", "/health", "")
	if f.parked() != 1 {
		t.Fatal("answered before the commit")
	}
	f.commit(1)
	expect(t, r, `200 "durable":true,"mode":"sealed","synced":true`)
}

// TestAsyncThatWasLost: its answer has gone out, and said no more than was true.
func TestAsyncThatWasLost(t *testing.T) {
	f := newLeader(t, readsOn(t), 1)
	f.manual()
	c, r := f.dial()
	fmt.Fprint(c, post(produceT+"&concern=async", "v"))
	f.await(1)
	f.sync(1)
	expect(t, r, `200 "durable":false,"mode":"sealed","synced":true`)
	f.depose("n2")
	fmt.Fprint(c, post(produceT+"&concern=async", "v"))
	expect(t, r, `307 redirect`)
}

// TestAsyncKeepsItsPlace behind answers of its connection that wait for the majority, in its own batch and in an
// earlier one.
func TestAsyncKeepsItsPlace(t *testing.T) {
	f := newLeader(t, readsOn(t), 1)
	f.manual()
	c, r := f.dial()
	fmt.Fprint(c, post(produceT, "0")+post(produceT+"&concern=async", "1"))
	f.await(1)
	fmt.Fprint(c, post(produceT+"&concern=async", "2")+post(produceT+"&concern=async&timeout_ms=600000", "3"))
	f.await(2)
	other, or := f.dial()
	fmt.Fprint(other, post(produceT+"&concern=async", "4"))
	waitFor(t, "all to be parked", func() bool { return f.parked() == 5 })
	f.sync(2)
	f.call("GET", "/health", "")
	if n := f.parked(); n != 5 {
		t.Fatal("parked: ", n)
	}
	f.commit(1) // the first one's, and what waited only for that
	for i := range 4 {
		expect(t, r, fmt.Sprintf(`200 "offset":%d,`, i))
	}
	f.await(2) // the open batch has followed
	f.sync(2)
	expect(t, or, `200 "offset":4,`)
	f.commit(-1)
}

func TestSyncAllWaitsForEveryVoter(t *testing.T) {
	for loops := 1; loops <= 3; loops += 2 {
		f := newLaggard(t, readsOn(t), 6, func(o *Options) { o.Loops = loops })
		for p := range 6 {
			c, r := f.dial()
			path := fmt.Sprintf("/broker/topics/t/produce?partition=%d&concern=sync-all&timing=1", p)
			fmt.Fprint(c, post(path, "v")+post(strings.Replace(path, "produce?", "produce-ndjson?", 1), "1\n2\n"))
			waitFor(t, "the commit", func() bool { return f.server.options.Engine.Topic([]byte("t")).Partition(uint32(p)).Next() > 0 })
			if _, m := f.call("GET", fmt.Sprintf("/broker/consume/t/g/%d", p), ""); m["count"] == 0.0 {
				t.Fatal("it is committed and not shown: ", m)
			}
			waitForAnswers := make(chan struct{})
			go func() { // as the followers go on
				defer close(waitForAnswers)
				for range 2 {
					if status, body := answer(t, r, "POST"); status != 200 || !strings.Contains(body, `"durable":true,"mode":"sealed","synced":true,"acked_nodes":3,"recv_parse_us"`) {
						t.Errorf("%d loops: %d %s", loops, status, body)
					}
				}
			}()
			for done := false; !done; {
				f.reach(f.last())
				select {
				case <-waitForAnswers:
					done = true
				case <-time.After(time.Millisecond):
				}
			}
		}
		for _, l := range f.server.loops {
			l.net.Post(func() {
				if len(l.trailing) != 0 || l.wanted != 0 {
					t.Error("something trails")
				}
			})
		}
		f.call("GET", "/health", "")
	}
}

// TestAnswersFollowOneThatTrails: whatever stands behind a sync-all answer of its connection waits for it; other
// connections do not.
func TestAnswersFollowOneThatTrails(t *testing.T) {
	f := newLaggard(t, readsOn(t), 1)
	c, r := f.dial()
	fmt.Fprint(c, post(produceT+"&concern=sync-all", "0")+post(produceT, "1"))
	waitFor(t, "the first commit", func() bool { return f.trailing() == 2 })
	first := f.last()
	fmt.Fprint(c, post(produceT+"&concern=sync-all", "2")+post(produceT+"&concern=async", "3")+
		post("/broker/commit", `{"topic":"t","group":"g","partition":0,"offset":1}`)+post(produceT+"&idempotency_key=x", "4")+post(produceT+"&idempotency_key=x", "4"))
	waitFor(t, "the second commit", func() bool { return f.trailing() >= 6 })
	if status, m := f.call("POST", produceT, "another's"); status != 200 || m["synced"] != true || m["acked_nodes"] != nil {
		t.Fatal(status, m)
	}
	f.reach(first)
	expect(t, r, `200 "offset":0,"partition":0,"batch_id":2,"sealed":true,"durable":true,"mode":"sealed","synced":true,"acked_nodes":3}`,
		`200 "offset":1,"partition":0,"batch_id":2,"sealed":true,"durable":true,"mode":"sealed","synced":true}`)
	f.reach(f.last())
	expect(t, r, `200 "offset":2,`, `200 "offset":3,`, `200 {"ok":true}`, `200 "offset":4,`, `200 "duplicate":true`)
	if n := f.trailing(); n != 0 {
		t.Fatal("trailing: ", n)
	}
}

// trailing is how many answers wait although their writes are committed.
func (f *fixture) trailing() (n int) {
	ch := make(chan int)
	for _, l := range f.server.loops {
		l.net.Post(func() { ch <- len(l.trailing) })
		n += <-ch
	}
	return n
}

// afterCommit repeats a request until its answer was given after the commit. The deadlines of these tests are short, and
// an answer that gives up before the commit is right as well, on a machine with other work. The path and the body may have a
// %d, so that each try asks for something new.
func (f *clusterFixture) afterCommit(path, body string) (status int, m map[string]any) {
	f.t.Helper()
	waitFor(f.t, "an answer after the commit", func() bool {
		f.tries++
		n := fmt.Sprint(f.tries)
		status, m = f.call("POST", strings.ReplaceAll(path, "%d", n), strings.ReplaceAll(body, "%d", n))
		return m["committed"] == true || m["durable"] == true || status != 504 && status != 200
	})
	return status, m
}

// TestSyncAllTimesOut: committed is not what was asked for, and the answer says how far it came.
func TestSyncAllTimesOut(t *testing.T) {
	for loops := 1; loops <= 3; loops += 2 {
		f := newLaggard(t, readsOn(t), 6, func(o *Options) { o.Loops, o.CommitTimeoutNs = loops, int64(30*time.Millisecond) })
		for p := range 6 {
			path := fmt.Sprintf("/broker/topics/t/produce?partition=%d&concern=sync-all", p)
			status, m := f.afterCommit(path, "v")
			if text, _ := m["message"].(string); status != 504 || m["error"] != "commit_timeout" || m["committed"] != true || m["acked_nodes"] != 2.0 || !strings.Contains(text, "2 have it") {
				t.Fatal(status, m)
			}
			status, m = f.afterCommit(path+"&timeout_ms=20", "v")
			if status != 200 || m["durable"] != true || m["synced"] != false || m["acked_nodes"] != 2.0 {
				t.Fatal(status, m)
			}
			if status, m = f.call("POST", path+"&timeout_ms=0", "v"); status != 200 || m["durable"] != false || m["synced"] != false {
				t.Fatal(status, m)
			}
		}
		c, r := f.dial() // what follows is answered then, not given up
		for trailed := false; !trailed; {
			fmt.Fprint(c, post(produceT+"&concern=sync-all", "0")+post(produceT+"&timeout_ms=600000", "1")+get("/health"))
			status, text := answer(t, r, "POST")
			if trailed = strings.Contains(text, "acked_nodes"); status != 504 {
				t.Fatal(status, text)
			}
			expect(t, r, `200 "synced":true}`, "200 true")
		}
	}
}

// TestTimeoutsBeforeTheCommit are what they are without a concern.
func TestTimeoutsBeforeTheCommit(t *testing.T) {
	f := newLaggard(t, readsOn(t), 1, func(o *Options) { o.CommitTimeoutNs = int64(30 * time.Millisecond) })
	f.manual()
	for _, concern := range []string{"async", "sync-majority", "sync-all"} {
		status, m := f.call("POST", produceT+"&concern="+concern, "v")
		if status != 504 || m["committed"] != nil || m["acked_nodes"] != nil {
			t.Error(concern, status, m)
		}
		if status, m = f.call("POST", produceT+"&timeout_ms=10&concern="+concern, "v"); status != 200 || m["durable"] != false || m["synced"] != false {
			t.Error(concern, status, m)
		}
	}
}

// TestConcernOfTheCluster: without a parameter the cluster's holds, for commits and topics, too.
func TestConcernOfTheCluster(t *testing.T) {
	f := newLaggard(t, readsOn(t), 1, func(o *Options) { o.WriteConcern, o.CommitTimeoutNs = ConcernAll, int64(30*time.Millisecond) })
	for _, call := range [][2]string{
		{produceT, "v"},
		{"/broker/topics/t/produce-ndjson?partition=0", "1\n"},
		{"/broker/commit", `{"topic":"t","group":"g%d","partition":0,"offset":1}`},
		{"/broker/topics", `{"name":"u%d"}`},
	} {
		if status, m := f.afterCommit(call[0], call[1]); status != 504 || m["committed"] != true {
			t.Error(call[0], status, m)
		}
	}
	for _, concern := range []string{"sync-majority", "async"} {
		if status, m := f.afterCommit(produceT+"&concern="+concern+"&idempotency_key="+concern+"%d", "v"); status != 200 || m["durable"] != true || m["acked_nodes"] != nil {
			t.Error(status, m)
		}
	}
	f.rep.with(func() { f.rep.behind = false })
	for _, call := range [][3]string{{produceT, "v", `"acked_nodes":3`}, {"/broker/topics", `{"name":"v%d","partitions":1}`, `"partitions":1}`}, {"/broker/commit", `{"topic":"t","group":"h%d","partition":0,"offset":3}`, `{"ok":true}`}} {
		waitFor(t, "an answer within 30 ms", func() bool {
			f.tries++
			status, text, _ := f.raw("POST", call[0], strings.ReplaceAll(call[1], "%d", fmt.Sprint(f.tries)))
			if status != 504 && (status/100 != 2 || !strings.Contains(string(text), call[2])) {
				t.Fatal(call[0], status, string(text))
			}
			return status != 504
		})
	}
}

// TestLeadershipIsLostWhileAnswersTrail: the write is committed, and this node will not hear who else gets it.
func TestLeadershipIsLostWhileAnswersTrail(t *testing.T) {
	f := newLaggard(t, readsOn(t), 1)
	c, r := f.dial()
	fmt.Fprint(c, post(produceT+"&concern=sync-all", "0")+post(produceT, "1")+post(produceT+"&concern=sync-all&timeout_ms=600000", "2"))
	waitFor(t, "the commit", func() bool { return f.trailing() == 3 })
	f.manual()
	fmt.Fprint(c, post(produceT, "3"))
	f.await(1)
	f.depose("n2")
	expect(t, r, `504 "committed":true,"acked_nodes":2`, `200 "offset":1,`, `200 "durable":true,"mode":"sealed","synced":false,"acked_nodes":2`, "503 leadership_lost")
}

// TestConnectionsThatLeaveWhileAnswersTrail leave nothing behind.
func TestConnectionsThatLeaveWhileAnswersTrail(t *testing.T) {
	f := newLaggard(t, readsOn(t), 2, func(o *Options) { o.Loops = 2 })
	for p := range 2 {
		c, _ := f.dial()
		fmt.Fprint(c, post(fmt.Sprintf("/broker/topics/t/produce?partition=%d&concern=sync-all", p), "0")+post(produceT, "1"))
	}
	waitFor(t, "the commits", func() bool { return f.trailing() >= 3 })
	for _, l := range f.server.loops {
		l.net.Post(func() {
			for c := range l.conns {
				c.net.Abort()
			}
		})
	}
	waitFor(t, "the ends", func() bool { return f.server.connections() == 0 })
	f.reach(f.last())
	waitFor(t, "nothing to trail", func() bool { return f.trailing() == 0 })
}

func (s *Server) connections() (n int) {
	ch := make(chan int)
	for _, l := range s.loops {
		l.net.Post(func() { ch <- len(l.conns) })
		n += <-ch
	}
	return n
}

func TestConcernOfSoManyDisks(t *testing.T) {
	for _, tt := range []struct {
		disks, nodes int
		want         Concern
	}{
		{1, 1, ConcernMajority},
		{1, 2, ConcernAsync},
		{2, 2, ConcernMajority},
		{1, 3, ConcernAsync},
		{2, 3, ConcernMajority},
		{3, 3, ConcernAll},
		{2, 5, ConcernMajority},
		{3, 5, ConcernMajority},
		{4, 5, ConcernAll},
		{5, 5, ConcernAll},
	} {
		if got := ConcernOf(tt.disks, tt.nodes); got != tt.want {
			t.Errorf("%d of %d: %v, want %v", tt.disks, tt.nodes, got, tt.want)
		}
	}
}

// TestConcernOfASingleNode: all concerns are the one node's.
func TestConcernOfASingleNode(t *testing.T) {
	for concern, want := range map[string]string{
		"async": `"durable":true,"mode":"sealed","synced":true}`, "sync-majority": `"durable":true,"mode":"sealed","synced":true}`,
		"sync-all": `"durable":true,"mode":"sealed","synced":true,"acked_nodes":1}`,
	} {
		f := newFixture(t, "auto")
		for _, path := range []string{"produce", "produce-ndjson"} {
			status, text, _ := f.raw("POST", "/broker/topics/t/"+path+"?concern="+concern, "1")
			if status != http.StatusOK || !strings.Contains(string(text), want) {
				t.Errorf("%s: %d %s", concern, status, text)
			}
		}
		f.log.set(func(m *memLog) { m.hold = true })
		status, m := f.call("POST", "/broker/topics/t/produce?timeout_ms=10&concern="+concern, "1")
		if status != 200 || m["durable"] != false || m["synced"] != false || m["acked_nodes"] != nil {
			t.Error(status, m)
		}
		f.log.release()
	}
}
