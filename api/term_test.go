package api

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"ayder/engine"
	"ayder/internal/record"
)

// Terms of leadership: what is answered when one ends with writes under way, and what the next one builds on.

// manual has commits wait for the test.
func (f *clusterFixture) manual() { f.rep.with(func() { f.rep.manual = true }) }

// await waits for so many proposals.
func (f *clusterFixture) await(n int) {
	f.t.Helper()
	waitFor(f.t, "proposals", func() bool { return f.rep.proposed() == n })
}

// leader is a fixture that leads, with a topic t.
func newLeader(t *testing.T, backend string, partitions int, change ...func(*Options)) *clusterFixture {
	t.Helper()
	f := newClusterFixture(t, backend, change...)
	f.lead()
	f.create(partitions)
	return f
}

// expect reads answers and wants each to have a status and to contain a text.
func expect(t *testing.T, r *bufio.Reader, want ...string) {
	t.Helper()
	for i, w := range want {
		status, body := answer(t, r, "POST")
		code, text, _ := strings.Cut(w, " ")
		if fmt.Sprint(status) != code || !strings.Contains(body, text) {
			t.Fatalf("answer %d: %d %s, want %s", i, status, body, w)
		}
	}
}

// TestLostWithSeveralBatches: answers parked in batches in flight and in the open one, of several connections.
func TestLostWithSeveralBatches(t *testing.T) {
	f := newLeader(t, readsOn(t), 1)
	f.manual()
	const conns, rounds = 4, 4
	var clients [conns]net.Conn
	var readers [conns]*bufio.Reader
	for i := range conns {
		clients[i], readers[i] = f.dial()
	}
	for round := range rounds {
		for i := range conns {
			fmt.Fprint(clients[i], post("/broker/topics/t/produce", "a"))
		}
		waitFor(t, "all to be parked", func() bool { return f.parked() == conns*(round+1) })
	}
	f.depose("n2")
	for _, r := range readers {
		for range rounds {
			expect(t, r, "503 leadership_lost")
		}
	}
	for i, r := range readers { // the connections go on
		fmt.Fprint(clients[i], post("/broker/topics/t/produce", "a"))
		expect(t, r, "307 redirect_to_leader")
	}
	if f.server.failure.Load() != nil {
		t.Fatal("the loss of leadership counts as a failure of the log")
	}
}

// TestLostInOrder has one connection with answers owed by two batches in flight, by the open one, and one that is
// ready at once; the answer that closes the connection must be the last.
func TestLostInOrder(t *testing.T) {
	f := newLeader(t, readsOn(t), 1)
	f.manual()
	c, r := f.dial()
	for i := range 2 {
		fmt.Fprint(c, post("/broker/topics/t/produce", "a")+post("/broker/commit", `{"topic":"t","group":"g","partition":0,"offset":1}`))
		f.await(i + 1)
	}
	fmt.Fprint(c, post("/broker/topics/t/produce", "b")+post("/broker/topics/t/produce-ndjson", "1\n2\n")+
		post("/broker/topics/t/produce?partition=x", "refused")+
		strings.Replace(post("/broker/topics/t/produce", "c"), "Host", "Connection: close\r\nHost", 1))
	f.call("GET", "/health", "")
	f.depose("n2")
	expect(t, r, "503 leadership_lost", "503 leadership_lost", "503 leadership_lost", "503 leadership_lost", "503 leadership_lost", "503 leadership_lost", "400 bad_parameter", "307 redirect_to_leader")
	if _, err := r.ReadByte(); err == nil {
		t.Fatal("the connection was not closed")
	}
}

// TestLostOnSeveralLoops: answers that belong to connections of other loops come back, too.
func TestLostOnSeveralLoops(t *testing.T) {
	f := newLeader(t, readsOn(t), 6, func(o *Options) { o.Loops = 3 })
	f.manual()
	const conns = 6
	var readers []*bufio.Reader
	for i := range conns {
		c, r := f.dial()
		var all strings.Builder
		for p := range 6 {
			all.WriteString(post(fmt.Sprintf("/broker/topics/t/produce?partition=%d", (i+p)%6), "v"))
		}
		fmt.Fprint(c, all.String())
		readers = append(readers, r)
	}
	waitFor(t, "a batch of every loop", func() bool {
		seen := map[any]bool{}
		f.rep.with(func() {
			for _, p := range f.rep.pending {
				seen[p.loop] = true
			}
		})
		return len(seen) == 3
	})
	f.depose("n2")
	lost := 0
	for _, r := range readers {
		for i := range 6 { // a request that was not executed yet is redirected
			status, body := answer(t, r, "POST")
			if status != 307 && !strings.Contains(body, "leadership_lost") {
				t.Fatalf("answer %d: %d %s", i, status, body)
			}
			lost += status / 503
		}
	}
	if lost < 3 {
		t.Fatal("lost: ", lost)
	}
	f.rep.with(func() { f.rep.manual = false })
	f.lead()
	for p := range 6 { // nothing was committed: every partition begins at 0
		if _, m := f.call("POST", fmt.Sprintf("/broker/topics/t/produce?partition=%d", p), "v"); m["offset"] != 0.0 {
			t.Fatal(m)
		}
	}
}

// TestFrameOfThePastTermIsCommitted: the client was told that nobody knows; the retry finds the first try.
func TestFrameOfThePastTermIsCommitted(t *testing.T) {
	for loops := 1; loops <= 3; loops += 2 {
		f := newLeader(t, readsOn(t), 6, func(o *Options) { o.Loops = loops })
		f.manual()
		c, r := f.dial()
		fmt.Fprint(c, post("/broker/topics/t/produce?partition=4&idempotency_key=first", "a"))
		f.await(1)
		fmt.Fprint(c, post("/broker/topics/t/produce?partition=4&idempotency_key=second", "b"))
		if loops == 1 { // else it waits on its connection's loop
			f.await(2)
		}
		lost := f.depose("n2")
		status, body := answer(t, r, "POST")
		if status != 503 || !strings.Contains(body, "may or may not") {
			t.Fatal(status, body)
		}
		f.foreign(lost[0].frame) // the next leader had the first one and not the second
		if _, m := f.call("GET", "/broker/consume/t/g/4", ""); m["count"] != 1.0 || m["role"] != "follower" {
			t.Fatal(m)
		}
		f.rep.with(func() { f.rep.manual, f.rep.last = false, f.rep.last-uint64(len(lost)-1) })
		f.lead()
		for _, want := range []string{
			`first map[batch_id:0 duplicate:true durable:true mode:sealed offset:0 ok:true partition:4 sealed:true synced:<nil>]`,
			`second map[durable:true mode:sealed offset:1 ok:true partition:4 sealed:true synced:true]`,
		} {
			key, text, _ := strings.Cut(want, " ")
			_, m := f.call("POST", "/broker/topics/t/produce?partition=4&idempotency_key="+key, "x")
			if key == "second" {
				delete(m, "batch_id")
			}
			if fmt.Sprint(m) != text {
				t.Fatalf("%s: %v", key, m)
			}
		}
	}
}

// TestOwnBatchIsCommittedAfterItsTerm: the log reports the loss of an earlier batch first. Its answer is out already.
func TestOwnBatchIsCommittedAfterItsTerm(t *testing.T) {
	f := newLeader(t, readsOn(t), 2)
	f.manual()
	c, r := f.dial()
	fmt.Fprint(c, post("/broker/topics/t/produce?partition=0", "a"))
	f.await(1)
	f.raft.Lock()
	f.server.Forget()
	f.raft.Unlock()
	expect(t, r, "503 leadership_lost")
	f.commit(-1)
	waitFor(t, "the message", func() bool {
		return f.server.options.Engine.Topic([]byte("t")).Partition(0).Next() == 1
	})
	if status, m := f.call("POST", "/broker/topics/t/produce?partition=0", "b"); status != 503 || m["error"] != "no_leader" {
		t.Fatal("a loop writes between Forget and BeginTerm: ", status, m)
	}
	f.rep.with(func() { f.rep.manual = false })
	f.lead()
	if _, m := f.call("POST", "/broker/topics/t/produce?partition=0", "b"); m["offset"] != 1.0 {
		t.Fatal(m)
	}
}

// TestBeginTermForgets what was still in flight, for a log that had no time to tell of the loss.
func TestBeginTermForgets(t *testing.T) {
	f := newLeader(t, readsOn(t), 1)
	f.manual()
	c, r := f.dial()
	for i := range 2 {
		fmt.Fprint(c, post("/broker/topics/t/produce?idempotency_key="+fmt.Sprint(i), "old"))
		f.await(i + 1)
	}
	lost := f.rep.take(-1)
	f.rep.with(func() { f.rep.last -= 2 })
	f.lead() // of another term
	expect(t, r, "503 leadership_lost", "503 leadership_lost")
	fmt.Fprint(c, post("/broker/topics/t/produce?idempotency_key=1", "new"))
	for _, p := range lost { // it tells now, when the offsets are given again
		p.loop.Post(func() { p.batch.Done(p.batch, ErrLeadershipLost) })
	}
	f.await(1)
	f.commit(-1)
	expect(t, r, `200 "offset":0`)
	if _, m := f.call("GET", "/broker/consume/t/g/0", ""); m["count"] != 1.0 || m["role"] != nil {
		t.Fatal(m)
	}
}

// TestHeldBackRequestsAreRedirected: they waited for room in the log, and now for somebody else's.
func TestHeldBackRequestsAreRedirected(t *testing.T) {
	f := newLeader(t, readsOn(t), 6, func(o *Options) { o.Loops = 3 })
	f.log.set(func(m *memLog) { m.refusal = ErrBusy })
	var readers []*bufio.Reader
	paths := []string{"/broker/topics/t/produce?partition=0", "/broker/topics/t/produce-ndjson?partition=1", "/broker/topics/new/produce?partition=2&key=a%20b"}
	for _, path := range paths {
		c, r := f.dial()
		fmt.Fprint(c, post(path, "1"))
		readers = append(readers, r)
	}
	waitFor(t, "requests to be held back", func() bool {
		_, text, _ := f.raw("GET", "/metrics", "")
		n := 0
		for line := range strings.Lines(string(text)) {
			var depth int
			if strings.Contains(line, `queue="held_back"`) {
				fmt.Sscan(line[strings.LastIndexByte(line, ' ')+1:], &depth)
				n += depth
			}
		}
		return n == len(paths)
	})
	f.depose("n2")
	for i, r := range readers {
		resp, err := http.ReadResponse(r, nil)
		if err != nil || resp.StatusCode != http.StatusTemporaryRedirect || resp.Header.Get("Location") != "http://"+leaderAddr+paths[i] {
			t.Fatalf("%s: %+v %v", paths[i], resp, err)
		}
	}
}

// TestTheLogRefusesFirst: Admit knows that leadership is lost before Leading does.
func TestTheLogRefusesFirst(t *testing.T) {
	f := newLeader(t, "auto", 1)
	f.rep.with(func() { f.rep.accepting = false })
	f.refused("POST", "/broker/topics/t/produce", "v").want(t, "while we are the leader still", 503, "no_leader", "")
	f.cluster.set(func(c *fakeCluster) { c.status.LeaderID, c.status.LeaderHTTPAddr = "n2", leaderAddr })
	for _, path := range []string{"/broker/topics/t/produce?partition=0", "/broker/topics/t/produce-ndjson", "/broker/topics/auto/produce"} {
		f.redirected("POST", path, "1", "http://"+leaderAddr+path)
	}
	f.redirected("POST", "/broker/topics", `{"name":"u"}`, "http://"+leaderAddr+"/broker/topics")
	f.redirected("POST", "/broker/commit", `{"topic":"t","group":"g","partition":0,"offset":0}`, "http://"+leaderAddr+"/broker/commit")
}

// TestAutoCreateIsLost: nothing of the produce itself was proposed, so it goes to the leader.
func TestAutoCreateIsLost(t *testing.T) {
	for loops := 1; loops <= 3; loops += 2 {
		f := newLeader(t, readsOn(t), 1, func(o *Options) { o.Loops = loops })
		f.manual()
		var readers []*bufio.Reader
		for i := range 3 {
			c, r := f.dial()
			fmt.Fprint(c, post(fmt.Sprintf("/broker/topics/new/produce?partition=%d", i), "v"))
			readers = append(readers, r)
		}
		c, r := f.dial()
		fmt.Fprint(c, post("/broker/topics", `{"name":"other"}`))
		waitFor(t, "all to be parked", func() bool { return f.parked() == 4 })
		f.depose("n2")
		for i, r := range readers {
			resp, err := http.ReadResponse(r, nil)
			if want := fmt.Sprintf("http://%s/broker/topics/new/produce?partition=%d", leaderAddr, i); err != nil || resp.StatusCode != http.StatusTemporaryRedirect || resp.Header.Get("Location") != want {
				t.Fatalf("%d: %+v %v", i, resp, err)
			}
		}
		expect(t, r, "503 leadership_lost")
		f.rep.with(func() { f.rep.manual = false })
		f.lead()
		if status, m := f.call("POST", "/broker/topics", `{"name":"new","partitions":3}`); status != 201 {
			t.Fatal("a topic in creation was not forgotten: ", status, m)
		}
	}
}

// parked is how many answers wait for a batch.
func (f *fixture) parked() (n int) {
	ch := make(chan int)
	for _, l := range f.server.loops {
		l.net.Post(func() { ch <- l.parked() })
		n += <-ch
	}
	return n
}

// TestFollowersApplyWhatOtherLoopsMade: frames of a node with another number of loops, topics created in between, in
// calls of every size.
func TestFollowersApplyWhatOtherLoopsMade(t *testing.T) {
	for _, loops := range []int{1, 3} {
		for made := 1; made <= 4; made += 3 {
			f := newClusterFixture(t, readsOn(t), func(o *Options) { o.Loops = loops })
			other := newOtherNode(made)
			var frames [][]byte
			for i := range 5 {
				name := fmt.Sprint("t", i)
				frames = append(frames, other.create(t, name, 7))
				for j := range 10 {
					frames = append(frames, other.produce(t, name, fmt.Sprintf("%d/%d", i, j), fmt.Sprint("k", j)))
				}
			}
			for size := 1; len(frames) > 0; size *= 3 {
				n := min(size, len(frames))
				f.foreign(frames[:n]...)
				frames = frames[n:]
			}
			if state := f.server.options.Engine.AppendState(nil); string(state) != string(other.engine.AppendState(nil)) {
				t.Fatalf("%d loops: the state differs from that of the node with %d", loops, made)
			}
			if _, m := f.call("GET", "/broker/consume/t4/g/6?limit=1000", ""); m["count"] != 10.0 {
				t.Fatal(m)
			}
			f.lead()
			if _, m := f.call("POST", "/broker/topics/t2/produce?partition=3&idempotency_key=k4", "v"); m["duplicate"] != true || m["offset"] != 4.0 {
				t.Fatal(m)
			}
			if _, m := f.call("POST", "/broker/topics/t2/produce?partition=3", "v"); m["offset"] != 10.0 {
				t.Fatal(m)
			}
		}
	}
}

// TestOwnAndForeignFramesTogether: a topic of ours that was committed is there before the next leader's messages in it.
func TestOwnAndForeignFramesTogether(t *testing.T) {
	f := newLeader(t, readsOn(t), 1, func(o *Options) { o.Loops = 3 })
	other := newOtherNode(2)
	f.log.set(func(m *memLog) { other.adopt(t, m.frames...) })
	f.manual()
	c, r := f.dial()
	fmt.Fprint(c, post("/broker/topics", `{"name":"mine","partitions":6}`))
	f.await(1)
	own := f.rep.take(1)[0]
	other.adopt(t, own.frame)
	theirs := other.produce(t, "mine", "theirs", "")
	frame, err := record.ReadFrame(theirs, 1)
	if err != nil {
		t.Fatal(err)
	}
	f.raft.Lock()
	f.server.ApplyCommitted([]CommittedFrame{{Frame: own.batch.Frame(), Own: own.batch}, {Frame: frame}})
	f.raft.Unlock()
	expect(t, r, "201 mine")
	f.server.awaitLoops(f.server.loops)
	for p := range uint32(6) {
		if n := f.server.options.Engine.Topic([]byte("mine")).Partition(p).Next(); n != 1 {
			t.Fatalf("partition %d: next %d", p, n)
		}
	}
}

// TestShutdownWithWritesParked: leadership goes while the server drains; every write is answered.
func TestShutdownWithWritesParked(t *testing.T) {
	for _, outcome := range []string{"lost", "committed"} {
		f := newLeader(t, readsOn(t), 6, func(o *Options) { o.Loops = 3 })
		f.manual()
		var clients []net.Conn
		var readers []*bufio.Reader
		for p := range 6 {
			c, r := f.dial()
			fmt.Fprint(c, post(fmt.Sprintf("/broker/topics/t/produce?partition=%d", p), "v"))
			clients, readers = append(clients, c), append(readers, r)
		}
		waitFor(t, "all to be parked", func() bool { return f.parked() == 6 })
		stopped := make(chan error, 1)
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			defer cancel()
			stopped <- f.net.Shutdown(ctx)
		}()
		waitFor(t, "the drain", func() bool { return f.server.loops[0].net.Draining() })
		if outcome == "lost" {
			f.depose("n2")
		} else {
			f.commit(-1)
		}
		for i, r := range readers {
			expect(t, r, map[string]string{"lost": "503 leadership_lost", "committed": "200 offset"}[outcome])
			_ = clients[i].Close()
		}
		if err := <-stopped; err != nil {
			t.Error(err)
		}
		f.raft.Lock()
		f.server.BeginTerm() // and none of these waits for loops that are gone
		f.server.Forget()
		f.server.ApplyCommitted([]CommittedFrame{{Frame: record.Frame{Header: record.Header{Index: 99, Kind: record.KindRaft}}}})
		f.raft.Unlock()
	}
}

// TestFailureOfTheLogInACluster is a failure all the same.
func TestFailureOfTheLogInACluster(t *testing.T) {
	f := newLeader(t, readsOn(t), 1)
	f.manual()
	c, r := f.dial()
	fmt.Fprint(c, post("/broker/topics/t/produce", "v"))
	f.await(1)
	p := f.rep.take(1)[0]
	p.loop.Post(func() { p.batch.Done(p.batch, errors.New("input/output error")) })
	expect(t, r, "500 storage_failed")
	if status, m := f.call("GET", "/ready", ""); status != 503 || !strings.Contains(m["reason"].(string), "input/output error") {
		t.Error(status, m)
	}
}

// TestCheckpointOfAFollower holds everything that ApplyCommitted was given before.
func TestCheckpointOfAFollower(t *testing.T) {
	f := newClusterFixture(t, readsOn(t), func(o *Options) { o.Loops = 3 })
	other := newOtherNode(1)
	frames := [][]byte{other.create(t, "t", 5)}
	for range 20 {
		frames = append(frames, other.produce(t, "t", "v", ""))
	}
	f.foreign(frames...)
	payload := make(chan []byte, 1)
	f.server.Checkpoint(func(p []byte) { payload <- p })
	restored := engine.New(engine.Config{Shards: 2})
	if err := restored.Restore(<-payload); err != nil {
		t.Fatal(err)
	}
	if n := restored.Topic([]byte("t")).Partition(4).Next(); n != 20 {
		t.Fatal(n)
	}
}
