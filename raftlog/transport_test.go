package raftlog

import (
	"errors"
	"io"
	"net"
	"reflect"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
)

// TestCalls sends every kind of request and expects the other side to see it whole, and its answer to come back whole.
func TestCalls(t *testing.T) {
	onNet(t, 2, func(t *testing.T, nodes ...*wireNode) {
		a, b := nodes[0], nodes[1]
		b.disk.holds(100)
		var seen any
		var answer any
		b.raft(func(rpc raft.RPC) {
			seen = rpc.Command
			rpc.Respond(answer, nil)
		})
		header := a.header()
		for _, c := range []struct {
			request, answer any
			call            func(request any) (any, error)
		}{
			{
				&raft.AppendEntriesRequest{RPCHeader: header, Term: 2, PrevLogEntry: 10, PrevLogTerm: 1, Entries: entries(11, 3)},
				&raft.AppendEntriesResponse{RPCHeader: raft.RPCHeader{ProtocolVersion: 3}, Term: 2, LastLog: 13, Success: true},
				func(r any) (any, error) { return a.appendTo("b", r.(*raft.AppendEntriesRequest)) },
			},
			{
				&raft.AppendEntriesRequest{RPCHeader: header, Term: 2, PrevLogEntry: 13, PrevLogTerm: 2},
				&raft.AppendEntriesResponse{Term: 3, LastLog: 5, NoRetryBackoff: true},
				func(r any) (any, error) { return a.appendTo("b", r.(*raft.AppendEntriesRequest)) },
			},
			{
				&raft.RequestVoteRequest{RPCHeader: header, Term: 7, LastLogIndex: 8, LastLogTerm: 6, LeadershipTransfer: true},
				&raft.RequestVoteResponse{Term: 7, Granted: true},
				func(r any) (any, error) {
					resp := new(raft.RequestVoteResponse)
					return resp, a.RequestVote("b", "b:1", r.(*raft.RequestVoteRequest), resp)
				},
			},
			{
				&raft.RequestPreVoteRequest{RPCHeader: header, Term: 7, LastLogIndex: 8, LastLogTerm: 6},
				&raft.RequestPreVoteResponse{Term: 9},
				func(r any) (any, error) {
					resp := new(raft.RequestPreVoteResponse)
					return resp, a.RequestPreVote("b", "b:1", r.(*raft.RequestPreVoteRequest), resp)
				},
			},
			{
				&raft.TimeoutNowRequest{RPCHeader: header},
				&raft.TimeoutNowResponse{},
				func(r any) (any, error) {
					resp := new(raft.TimeoutNowResponse)
					return resp, a.TimeoutNow("b", "b:1", r.(*raft.TimeoutNowRequest), resp)
				},
			},
		} {
			answer = c.answer
			got, err := c.call(c.request)
			if err != nil || !reflect.DeepEqual(got, c.answer) {
				t.Errorf("%T: got %+v, %v, expected %+v", c.request, got, err, c.answer)
			}
			if !reflect.DeepEqual(seen, c.request) {
				t.Errorf("%T: the other side saw\n%+v, not\n%+v", c.request, seen, c.request)
			}
		}
		a.wantLines()
		b.wantLines()
	})
}

// TestErrorOfThePeersRaft: what the peer's raft says is said here, and the connection is good for more.
func TestErrorOfThePeersRaft(t *testing.T) {
	onNet(t, 2, func(t *testing.T, nodes ...*wireNode) {
		a, b := nodes[0], nodes[1]
		b.raft(func(rpc raft.RPC) { rpc.Respond(nil, errors.New("unexpected command")) })
		for range 3 {
			_, err := a.appendTo("b", a.request(0))
			if err == nil || err.Error() != "unexpected command" {
				t.Fatalf("got %v", err)
			}
		}
		if here, there := a.connections(), b.connections(); here != (connections{open: 1, idle: 1}) || there.inbound != 1 {
			t.Errorf("connections: %+v and %+v", here, there)
		}
	})
}

// TestSuccessWaitsForTheDisk is gate R1.
func TestSuccessWaitsForTheDisk(t *testing.T) {
	onNet(t, 2, func(t *testing.T, nodes ...*wireNode) {
		a, b := nodes[0], nodes[1]
		b.raft(agree)
		b.disk.holds(12)
		ended := later(func() {
			if resp, err := a.appendTo("b", a.request(3)); err != nil || !resp.Success {
				t.Errorf("got %+v, %v", resp, err)
			}
		})
		time.Sleep(testTimeout / 2)
		if ended() {
			t.Error("success was answered before the last entry was on the disk")
		}
		if a.match.of("b") != 0 {
			t.Errorf("match index %d before the answer", a.match.of("b"))
		}
		b.disk.holds(13)
		time.Sleep(2 * travel)
		if !ended() || a.match.of("b") != 13 {
			t.Errorf("not answered when the disk held it, or not noted: match index %d", a.match.of("b"))
		}
	})
}

// TestRefusalDoesNotWaitForTheDisk: only success promises anything.
func TestRefusalDoesNotWaitForTheDisk(t *testing.T) {
	onNet(t, 2, func(t *testing.T, nodes ...*wireNode) {
		a, b := nodes[0], nodes[1]
		b.raft(func(rpc raft.RPC) { rpc.Respond(&raft.AppendEntriesResponse{Term: 2, LastLog: 4}, nil) })
		if resp, err := a.appendTo("b", a.request(3)); err != nil || resp.Success || resp.LastLog != 4 {
			t.Errorf("got %+v, %v", resp, err)
		}
		if a.match.of("b") != 0 || !a.leaseStart().IsZero() {
			t.Error("a refusal counted as a promise")
		}
	})
}

// TestDiskThatFails: if the disk will never hold it, there is no answer, and the connection ends.
func TestDiskThatFails(t *testing.T) {
	onNet(t, 2, func(t *testing.T, nodes ...*wireNode) {
		a, b := nodes[0], nodes[1]
		b.raft(agree)
		ended := later(func() {
			if resp, err := a.appendTo("b", a.request(3)); !errors.Is(err, io.EOF) || resp.Success {
				t.Errorf("got %+v, %v", resp, err)
			}
		})
		time.Sleep(10 * travel)
		b.disk.close()
		time.Sleep(10 * travel)
		if !ended() {
			t.Error("the leader still waits")
		}
	})
}

// TestAnswersAreInOrder: an answer that is ready waits behind one that waits for the disk. Meanwhile the next requests
// reach raft.
func TestAnswersAreInOrder(t *testing.T) {
	onNet(t, 2, func(t *testing.T, nodes ...*wireNode) {
		a, b := nodes[0], nodes[1]
		requests := 0
		b.raft(func(rpc raft.RPC) {
			requests++
			agree(rpc)
		})
		w := b.conversation()
		x := raft.RPCHeader{ProtocolVersion: 3, ID: []byte("x"), Addr: []byte("x:1")}
		first, second := a.request(3), a.request(0)
		first.RPCHeader, second.RPCHeader, second.Term = x, x, 3
		for _, r := range []*raft.AppendEntriesRequest{first, second} {
			if err := w.send(encodeAppend(nil, r, 0), time.Time{}); err != nil {
				t.Fatal(err)
			}
		}
		var terms []uint64
		ended := later(func() {
			for range 2 {
				k, body, err := w.receive(anyBody)
				resp := new(raft.AppendEntriesResponse)
				if err := errors.Join(err, decodeAnswer(k, kindAppended, body, func(f *fields) { decodeAppended(f, resp) })); err != nil {
					t.Error(err)
					return
				}
				terms = append(terms, resp.Term)
			}
		})
		time.Sleep(10 * travel)
		if ended() || len(terms) != 0 || requests != 2 {
			t.Errorf("answered terms %v, %d requests reached raft", terms, requests)
		}
		b.disk.holds(13)
		time.Sleep(10 * travel)
		if !ended() || !reflect.DeepEqual(terms, []uint64{2, 3}) {
			t.Errorf("answered terms %v", terms)
		}
	})
}

// TestHeartbeatsOvertake: a heartbeat waits neither for raft's goroutine nor for the disk.
func TestHeartbeatsOvertake(t *testing.T) {
	onNet(t, 2, func(t *testing.T, nodes ...*wireNode) {
		a, b := nodes[0], nodes[1]
		beats := 0
		b.SetHeartbeatHandler(func(rpc raft.RPC) {
			beats++
			if !isHeartbeat(rpc.Command.(*raft.AppendEntriesRequest)) {
				t.Errorf("the handler got %+v", rpc.Command)
			}
			agree(rpc)
		})
		stuck := later(func() { _, _ = a.appendTo("b", a.request(1)) }) // nobody consumes it
		for range 3 {
			if resp, err := a.appendTo("b", a.beats()); err != nil || !resp.Success {
				t.Fatalf("got %+v, %v", resp, err)
			}
		}
		if beats != 3 || stuck() {
			t.Errorf("%d heartbeats; the AppendEntries before them is answered: %v", beats, stuck())
		}
	})
}

// TestHeartbeatsBeforeRaftIsReady go the usual way.
func TestHeartbeatsBeforeRaftIsReady(t *testing.T) {
	onNet(t, 2, func(t *testing.T, nodes ...*wireNode) {
		a, b := nodes[0], nodes[1]
		ended := later(func() {
			if _, err := a.appendTo("b", a.beats()); err != nil {
				t.Error(err)
			}
		})
		time.Sleep(100 * travel)
		b.raft(agree)
		time.Sleep(10 * travel)
		if !ended() {
			t.Error("the heartbeat was lost")
		}
	})
}

// TestCommitIndexIsClamped is gate R2.
func TestCommitIndexIsClamped(t *testing.T) {
	onNet(t, 3, func(t *testing.T, nodes ...*wireNode) {
		a, b, c := nodes[0], nodes[1], nodes[2]
		var got uint64
		for _, n := range []*wireNode{b, c} {
			n.disk.holds(100)
			n.raft(func(rpc raft.RPC) {
				got = rpc.Command.(*raft.AppendEntriesRequest).LeaderCommitIndex
				agree(rpc)
			})
		}
		send := func(peer string, count int) uint64 {
			t.Helper()
			r := a.request(count)
			r.LeaderCommitIndex = 13
			if _, err := a.appendTo(peer, r); err != nil {
				t.Fatal(err)
			}
			if r.LeaderCommitIndex != 13 {
				t.Errorf("raft's own request was changed: %d", r.LeaderCommitIndex)
			}
			return got
		}
		a.disk.holds(10)
		if commit := send("b", 2); commit != 10 {
			t.Errorf("commit index %d was sent, %d is on this disk alone", commit, 10)
		}
		if commit := send("b", 0); commit != 10 {
			t.Errorf("commit index %d was sent, a majority holds 10", commit)
		}
		send("c", 2)
		if commit := send("b", 0); commit != 12 {
			t.Errorf("commit index %d was sent, the two others hold 12", commit)
		}
		a.disk.holds(20)
		if commit := send("b", 0); commit != 13 {
			t.Errorf("commit index %d was sent, 13 is committed and on this disk", commit)
		}
		a.restart(func(o *transportOptions) { o.ParallelSync = false })
		a.disk.holds(0)
		if commit := send("b", 0); commit != 13 {
			t.Errorf("commit index %d was sent without a parallel sync", commit)
		}
	})
}

// TestLeaseBeginsWithTheQuestion, not with the answer.
func TestLeaseBeginsWithTheQuestion(t *testing.T) {
	onNet(t, 3, func(t *testing.T, nodes ...*wireNode) {
		a, b := nodes[0], nodes[1]
		b.SetHeartbeatHandler(func(rpc raft.RPC) {
			time.Sleep(50 * time.Millisecond)
			agree(rpc)
		})
		if !a.leaseStart().IsZero() {
			t.Error("a lease before anything was asked")
		}
		if _, err := a.appendTo("b", a.beats()); err != nil { // opens the connection
			t.Fatal(err)
		}
		asked := time.Now()
		if _, err := a.appendTo("b", a.beats()); err != nil {
			t.Fatal(err)
		}
		if start := a.leaseStart(); !start.Equal(asked) {
			t.Errorf("the lease begins %v after the question", start.Sub(asked))
		}
		a.voidLease()
		if _, err := a.appendTo("b", a.beats()); err != nil || !a.leaseStart().IsZero() {
			t.Error("the lease came back after it was void", err)
		}
	})
}

// TestTimeoutNowEndsTheLease, even if nobody gets it.
func TestTimeoutNowEndsTheLease(t *testing.T) {
	onNet(t, 2, func(t *testing.T, nodes ...*wireNode) {
		a, b := nodes[0], nodes[1]
		b.SetHeartbeatHandler(agree)
		if _, err := a.appendTo("b", a.beats()); err != nil || a.leaseStart().IsZero() {
			t.Fatal("no lease", err)
		}
		b.host.Kill()
		err := a.TimeoutNow("b", "b:1", &raft.TimeoutNowRequest{RPCHeader: a.header()}, new(raft.TimeoutNowResponse))
		if err == nil || !a.leaseStart().IsZero() {
			t.Errorf("error %v, lease from %v", err, a.leaseStart())
		}
	})
}

// TestLeaderOfANewTermIsHeard: what was acknowledged in an older term no longer counts.
func TestLeaderOfANewTermIsHeard(t *testing.T) {
	onNet(t, 2, func(t *testing.T, nodes ...*wireNode) {
		a, b := nodes[0], nodes[1]
		a.raft(agree)
		b.raft(agree)
		b.disk.holds(100)
		if _, err := a.appendTo("b", a.request(3)); err != nil || a.match.of("b") != 13 {
			t.Fatal("not noted", err)
		}
		r := b.request(0)
		r.Term = 5
		if _, err := b.appendTo("a", r); err != nil {
			t.Fatal(err)
		}
		if a.match.of("b") != 0 || !a.leaseStart().IsZero() {
			t.Error("an acknowledgement of term 2 survived term 5")
		}
	})
}

// TestMessagesAreTrimmed: more entries than a message holds are not sent, and raft can tell.
func TestMessagesAreTrimmed(t *testing.T) {
	onNet(t, 2, func(t *testing.T, nodes ...*wireNode) {
		a, b := nodes[0], nodes[1]
		b.disk.holds(1000)
		got := 0
		b.raft(func(rpc raft.RPC) {
			got = len(rpc.Command.(*raft.AppendEntriesRequest).Entries)
			agree(rpc)
		})
		r := a.request(3 * entriesPerMessageMax)
		if _, err := a.appendTo("b", r); err != nil {
			t.Fatal(err)
		}
		if got != entriesPerMessageMax || len(r.Entries) != got || a.match.of("b") != 10+entriesPerMessageMax {
			t.Errorf("%d entries arrived, raft is told %d, match index %d", got, len(r.Entries), a.match.of("b"))
		}
	})
}

// TestInjectTimeoutNow: raft gets a request that it will not refuse for its version.
func TestInjectTimeoutNow(t *testing.T) {
	onNet(t, 1, func(t *testing.T, nodes ...*wireNode) {
		a := nodes[0]
		ended := later(a.injectTimeoutNow)
		rpc := <-a.Consumer()
		want := &raft.TimeoutNowRequest{RPCHeader: raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte("a"), Addr: []byte("a:1")}}
		if !reflect.DeepEqual(rpc.Command, want) || ended() {
			t.Errorf("got %+v, returned early: %v", rpc.Command, ended())
		}
		rpc.Respond(&raft.TimeoutNowResponse{}, nil)
		if !ended() {
			t.Error("it does not return")
		}
		unheard := later(a.injectTimeoutNow)
		if unheard() {
			t.Error("it returned though nobody heard it")
		}
		a.stop()
		if !unheard() {
			t.Error("Close does not end it")
		}
	})
}

// TestCloseEndsCalls that wait for an answer, for a connection, for the disk of this node.
func TestCloseEndsCalls(t *testing.T) {
	onNet(t, 3, func(t *testing.T, nodes ...*wireNode) {
		a, b, c := nodes[0], nodes[1], nodes[2]
		c.host.PowerOff()
		b.raft(agree)
		var calls []func() bool
		for _, peer := range []string{"b", "c"} {
			calls = append(calls, later(func() {
				if _, err := a.appendTo(peer, a.request(1)); err == nil {
					t.Errorf("%s: no error", peer)
				}
			}))
		}
		calls = append(calls, later(func() {
			if a.waitSafe(1000) {
				t.Error("1000 is said to be safe")
			}
		}))
		time.Sleep(10 * travel)
		start := time.Now()
		a.stop()
		for i, ended := range calls {
			if !ended() {
				t.Errorf("call %d goes on", i)
			}
		}
		if took := time.Since(start); took > 0 {
			t.Errorf("it took %v", took)
		}
		if _, err := a.appendTo("b", a.request(0)); err == nil {
			t.Error("a call after Close")
		}
		if err := a.Close(); err != nil {
			t.Errorf("the second Close: %v", err)
		}
	})
}

// TestCloseWithAHungDisk: Close does not wait for a disk that never answers, and says so.
func TestCloseWithAHungDisk(t *testing.T) {
	onNet(t, 2, func(t *testing.T, nodes ...*wireNode) {
		a, b := nodes[0], nodes[1]
		b.raft(agree)
		ended := later(func() { _, _ = a.appendTo("b", a.request(1)) })
		time.Sleep(10 * travel)
		start := time.Now()
		if err := b.Close(); err == nil || time.Since(start) != closeWait {
			t.Errorf("got %v after %v", err, time.Since(start))
		}
		if !ended() {
			t.Error("the leader still waits")
		}
	})
}

// TestLocalAddr is the address that the configuration knows, if this node knows it.
func TestLocalAddr(t *testing.T) {
	onNet(t, 1, func(t *testing.T, nodes ...*wireNode) {
		a := nodes[0]
		if got := a.LocalAddr(); got != "a:1" {
			t.Errorf("got %q", got)
		}
		if got := a.DecodePeer(a.EncodePeer("b", "b:1")); got != "b:1" {
			t.Errorf("got %q", got)
		}
		a.o.Self = func() hello { return hello{NodeID: "a"} }
		if got := a.LocalAddr(); got != raft.ServerAddress(a.o.Listener.Addr().String()) {
			t.Errorf("got %q", got)
		}
	})
}

// overLoopback are two transports on real sockets; b agrees to everything.
func overLoopback(t testing.TB) (a, b *transport) {
	t.Helper()
	open := func(id string) *transport {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		tr := newTransport(transportOptions{
			Listener: ln, Dial: dialTCP, Self: func() hello { return hello{NodeID: id, RaftAddr: ln.Addr().String()} },
			LocalDurable: func() uint64 { return 1 << 40 }, WaitDurable: func(uint64) bool { return true },
			Voters: func() []raft.ServerID { return []raft.ServerID{"a", "b"} },
		})
		t.Cleanup(func() {
			if err := tr.Close(); err != nil {
				t.Error(err)
			}
		})
		return tr
	}
	a, b = open("a"), open("b")
	b.start(func() {
		for {
			select {
			case rpc := <-b.Consumer():
				agree(rpc)
			case <-b.ctx.Done():
				return
			}
		}
	})
	return a, b
}

// sendAll sends requests of 64 entries on a pipeline, from index 2 on.
func sendAll(t testing.TB, p raft.AppendPipeline, requests int, data []byte) {
	for i := range requests {
		r := &raft.AppendEntriesRequest{RPCHeader: raft.RPCHeader{ProtocolVersion: 3, ID: []byte("a")}, Term: 2, PrevLogEntry: uint64(1 + i*64)}
		for k := range 64 {
			r.Entries = append(r.Entries, &raft.Log{Index: uint64(2 + i*64 + k), Term: 2, Data: data})
		}
		if _, err := p.AppendEntries(r, new(raft.AppendEntriesResponse)); err != nil {
			t.Error(err)
			return
		}
	}
}

// TestLoopback replicates over real sockets.
func TestLoopback(t *testing.T) {
	a, b := overLoopback(t)
	p, err := a.AppendEntriesPipeline("b", b.LocalAddr())
	if err != nil {
		t.Fatal(err)
	}
	go sendAll(t, p, 1000, []byte("an entry"))
	for i := range 1000 {
		f := <-p.Consumer()
		if f.Error() != nil || !f.Response().Success || f.Response().LastLog != uint64(1+i*64+64) {
			t.Fatalf("answer %d: %+v, %v", i, f.Response(), f.Error())
		}
	}
	if got := a.match.of("b"); got != 64001 {
		t.Errorf("match index %d", got)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}

// BenchmarkPipeline is what replication of 64 entries per request costs both sides together.
func BenchmarkPipeline(b *testing.B) {
	for _, size := range []int{256, 16 << 10} {
		b.Run(strconv.Itoa(size), func(b *testing.B) {
			here, there := overLoopback(b)
			p, err := here.AppendEntriesPipeline("b", there.LocalAddr())
			if err != nil {
				b.Fatal(err)
			}
			defer p.Close()
			b.SetBytes(int64(64 * size))
			b.ReportAllocs()
			b.ResetTimer()
			go sendAll(b, p, b.N, make([]byte, size))
			for range b.N {
				if f := <-p.Consumer(); f.Error() != nil {
					b.Fatal(f.Error())
				}
			}
		})
	}
}

// BenchmarkHeartbeat is one call and its answer.
func BenchmarkHeartbeat(b *testing.B) {
	here, there := overLoopback(b)
	there.SetHeartbeatHandler(agree)
	r := &raft.AppendEntriesRequest{RPCHeader: raft.RPCHeader{ProtocolVersion: 3, ID: []byte("a")}, Term: 2}
	resp := new(raft.AppendEntriesResponse)
	b.ReportAllocs()
	for b.Loop() {
		if err := here.AppendEntries("b", there.LocalAddr(), r, resp); err != nil {
			b.Fatal(err)
		}
	}
}

// TestPeers: who was met is remembered, with what it said and when it was heard of.
func TestPeers(t *testing.T) {
	onNet(t, 3, func(t *testing.T, nodes ...*wireNode) {
		a, b := nodes[0], nodes[1]
		b.disk.holds(100)
		b.raft(agree)
		if got := a.peers(); len(got) != 0 {
			t.Errorf("before anything: %+v", got)
		}
		if _, err := a.appendTo("b", a.request(3)); err != nil {
			t.Fatal(err)
		}
		heard := time.Now()
		want := peerStatus{ID: "b", Match: 13, LastContact: heard, Connected: true, Hello: b.opts.Self()}
		if got := a.peers(); len(got) != 1 || !got[0].LastContact.Equal(heard) || got[0] != withContact(want, got[0].LastContact) {
			t.Errorf("got %+v, expected %+v", got, want)
		}
		if got := b.peers(); len(got) != 1 || got[0].ID != "a" || !got[0].Connected || got[0].Hello != a.opts.Self() {
			t.Errorf("the other side: %+v", got)
		}
		time.Sleep(time.Second)
		b.host.Kill()
		if _, err := a.appendTo("b", a.request(3)); err == nil {
			t.Error("a dead node answered")
		}
		if got := a.peers(); len(got) != 1 || got[0].Connected || !got[0].LastContact.Equal(heard) {
			t.Errorf("after its death: %+v", got)
		}
		a.host.Kill()
		synctest.Wait()
		if got := b.peers(); len(got) != 1 || got[0].Connected {
			t.Errorf("the other side: %+v", got)
		}
	})
}

func withContact(p peerStatus, at time.Time) peerStatus {
	p.LastContact = at
	return p
}
