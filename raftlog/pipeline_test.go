package raftlog

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
)

// pipe opens a pipeline from a node to b.
func (n *wireNode) pipe() raft.AppendPipeline {
	n.t.Helper()
	p, err := n.AppendEntriesPipeline("b", "b:1")
	if err != nil {
		n.t.Fatal(err)
	}
	return p
}

// numbered is an AppendEntries with one entry.
func (n *wireNode) numbered(index uint64) *raft.AppendEntriesRequest {
	return &raft.AppendEntriesRequest{RPCHeader: n.header(), Term: 2, PrevLogEntry: index - 1, PrevLogTerm: 2, Entries: entries(index, 1)}
}

// TestPipeline: answers come in order, one per request, and count.
func TestPipeline(t *testing.T) {
	onNet(t, 2, func(t *testing.T, nodes ...*wireNode) {
		a, b := nodes[0], nodes[1]
		b.disk.holds(1000)
		b.raft(agree)
		p := a.pipe()
		start := time.Now()
		sent := later(func() {
			for i := uint64(1); i <= 100; i++ {
				f, err := p.AppendEntries(a.numbered(i), new(raft.AppendEntriesResponse))
				if err != nil || f.Request().Entries[0].Index != i || f.Start().After(time.Now()) {
					t.Errorf("request %d: %v", i, err)
				}
			}
		})
		for i := uint64(1); i <= 100; i++ {
			f := <-p.Consumer()
			if err := f.Error(); err != nil || !f.Response().Success || f.Response().LastLog != i || f.Request().Entries[0].Index != i {
				t.Fatalf("answer %d: %+v, %v", i, f.Response(), err)
			}
			if a.match.of("b") < i {
				t.Errorf("match index %d after answer %d", a.match.of("b"), i)
			}
		}
		if took, single := time.Since(start), 200*travel; took > single/2 {
			t.Errorf("100 requests took %v, one at a time would have taken %v", took, single)
		}
		if !sent() || a.leaseStart().IsZero() {
			t.Error("the sender waits, or the answers made no lease")
		}
		if err := errors.Join(p.Close(), p.Close()); err != nil {
			t.Error(err)
		}
		if c := a.connections(); c != (connections{}) {
			t.Errorf("left behind: %+v", c)
		}
	})
}

// TestPipelineIsClamped is gate R2 on the pipeline, TestPipelineWaitsForTheDisk gate R1.
func TestPipelineIsClamped(t *testing.T) {
	onNet(t, 2, func(t *testing.T, nodes ...*wireNode) {
		a, b := nodes[0], nodes[1]
		a.disk.holds(7)
		var got uint64
		b.raft(func(rpc raft.RPC) {
			got = rpc.Command.(*raft.AppendEntriesRequest).LeaderCommitIndex
			agree(rpc)
		})
		p := a.pipe()
		r := a.request(0)
		r.LeaderCommitIndex = 9
		f, err := p.AppendEntries(r, new(raft.AppendEntriesResponse))
		if err != nil || f.Error() != nil || got != 7 || r.LeaderCommitIndex != 9 {
			t.Errorf("commit index %d was sent, 7 is safe; %v", got, err)
		}
	})
}

func TestPipelineWaitsForTheDisk(t *testing.T) {
	onNet(t, 2, func(t *testing.T, nodes ...*wireNode) {
		a, b := nodes[0], nodes[1]
		requests := 0
		b.raft(func(rpc raft.RPC) {
			requests++
			agree(rpc)
		})
		p := a.pipe()
		var futures []raft.AppendFuture
		for i := uint64(1); i <= 3; i++ {
			f, err := p.AppendEntries(a.numbered(i), new(raft.AppendEntriesResponse))
			if err != nil {
				t.Fatal(err)
			}
			futures = append(futures, f)
		}
		for i, f := range futures {
			ended := later(func() { _ = f.Error() })
			time.Sleep(10 * travel)
			if ended() || requests != 3 {
				t.Errorf("answer %d came early: %v; %d requests reached raft", i+1, ended(), requests)
			}
			b.disk.holds(uint64(i + 1))
			time.Sleep(10 * travel)
			if !ended() || f.Error() != nil || a.match.of("b") != uint64(i+1) {
				t.Errorf("answer %d: %v, match index %d", i+1, f.Error(), a.match.of("b"))
			}
		}
	})
}

// TestPipelineIsBounded: no more than InFlight are under way.
func TestPipelineIsBounded(t *testing.T) {
	onNet(t, 2, func(t *testing.T, nodes ...*wireNode) {
		a, b := nodes[0], nodes[1]
		b.raft(agree)
		p := a.pipe()
		sent := 0
		ended := later(func() {
			for i := uint64(1); i <= 10; i++ {
				if _, err := p.AppendEntries(a.numbered(i), new(raft.AppendEntriesResponse)); err != nil {
					if !errors.Is(err, raft.ErrPipelineShutdown) {
						t.Error(err)
					}
					return
				}
				sent++
			}
		})
		time.Sleep(100 * travel)
		if ended() || sent != inFlightDefault {
			t.Errorf("%d requests were sent", sent)
		}
		b.disk.holds(1)
		<-p.Consumer()
		time.Sleep(10 * travel)
		if ended() || sent != inFlightDefault+1 {
			t.Errorf("%d requests were sent after one answer", sent)
		}
		if err := p.Close(); err != nil || !ended() {
			t.Errorf("Close does not end the sender: %v", err)
		}
	})
}

// TestRefusalEndsThePipeline is the situation of hashicorp/raft#612: requests are under way, the sender is about to
// wait for a place, the first answer is a refusal, and raft's decoder leaves when it reads it. The sender must not wait.
func TestRefusalEndsThePipeline(t *testing.T) {
	onNet(t, 2, func(t *testing.T, nodes ...*wireNode) {
		a, b := nodes[0], nodes[1]
		b.disk.holds(1000)
		b.raft(func(rpc raft.RPC) {
			time.Sleep(10 * travel) // so that the sender is ahead
			rpc.Respond(&raft.AppendEntriesResponse{Term: 2, LastLog: 3, NoRetryBackoff: true}, nil)
		})
		p := a.pipe()
		decoded := later(func() {
			for { // as raft's pipelineDecode
				f := <-p.Consumer()
				if !f.Response().Success {
					if f.Error() != nil || f.Response().LastLog != 3 || !f.Response().NoRetryBackoff {
						t.Errorf("the refusal: %+v, %v", f.Response(), f.Error())
					}
					return
				}
			}
		})
		var last error
		sent := later(func() {
			for i := uint64(1); last == nil; i++ {
				_, last = p.AppendEntries(a.numbered(i), new(raft.AppendEntriesResponse))
			}
		})
		time.Sleep(time.Minute)
		if !decoded() || !sent() || !errors.Is(last, raft.ErrPipelineShutdown) {
			t.Errorf("decoder left: %v, sender returned: %v, with %v", decoded(), sent(), last)
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		if a.match.of("b") != 0 {
			t.Error("a refusal counted")
		}
	})
}

// TestDecoderThatLeaves: even if nobody reads answers, Close ends everything.
func TestDecoderThatLeaves(t *testing.T) {
	onNet(t, 2, func(t *testing.T, nodes ...*wireNode) {
		a, b := nodes[0], nodes[1]
		b.disk.holds(1000)
		b.raft(agree)
		p := a.pipe()
		var futures []raft.AppendFuture
		sent := later(func() {
			for i := uint64(1); ; i++ {
				f, err := p.AppendEntries(a.numbered(i), new(raft.AppendEntriesResponse))
				if err != nil {
					return
				}
				futures = append(futures, f)
			}
		})
		time.Sleep(time.Minute)
		if sent() {
			t.Error("the sender was not held back")
		}
		if err := p.Close(); err != nil || !sent() {
			t.Errorf("the sender goes on after Close: %v", err)
		}
		for i, f := range futures {
			if !later(func() { _ = f.Error() })() {
				t.Errorf("request %d is never answered", i+1)
			}
		}
	})
}

// TestPipelineToTheDead: all that is under way fails, the first failure reaches raft's decoder.
func TestPipelineToTheDead(t *testing.T) {
	for name, die := range map[string]func(a, b *wireNode){
		"killed":      func(_, b *wireNode) { b.host.Kill() },
		"powered off": func(_, b *wireNode) { b.host.PowerOff() },
		"cut off":     func(a, b *wireNode) { a.network.Block("b", "a") },
		"stopping":    func(a, _ *wireNode) { go a.stop() },
	} {
		t.Run(name, func(t *testing.T) {
			onNet(t, 2, func(t *testing.T, nodes ...*wireNode) {
				a, b := nodes[0], nodes[1]
				b.raft(agree)
				p := a.pipe()
				var futures []raft.AppendFuture
				for i := uint64(1); i <= 3; i++ {
					f, err := p.AppendEntries(a.numbered(i), new(raft.AppendEntriesResponse))
					if err != nil {
						t.Fatal(err)
					}
					futures = append(futures, f)
				}
				time.Sleep(10 * travel)
				start := time.Now()
				die(a, b)
				for i, f := range futures {
					if err := f.Error(); err == nil || f.Response().Success {
						t.Errorf("request %d: %+v, %v", i+1, f.Response(), err)
					}
				}
				if took := time.Since(start); took > testTimeout {
					t.Errorf("noticed after %v", took)
				}
				if _, err := p.AppendEntries(a.numbered(4), new(raft.AppendEntriesResponse)); err == nil {
					t.Error("a request after the end")
				}
				if name != "stopping" {
					if f := <-p.Consumer(); f.Error() == nil || f != futures[0] {
						t.Error("the decoder does not learn of it")
					}
				}
				if err := p.Close(); err != nil {
					t.Error(err)
				}
				a.network.Heal()
				synctest.Wait()
			})
		})
	}
}

// TestLateHeartbeatBreaksPipelines: the pipeline's own deadline is longer, and TCP's patience longer still.
func TestLateHeartbeatBreaksPipelines(t *testing.T) {
	onNet(t, 3, func(t *testing.T, nodes ...*wireNode) {
		a, b, c := nodes[0], nodes[1], nodes[2]
		for _, n := range []*wireNode{b, c} {
			n.SetHeartbeatHandler(agree)
			if _, err := a.appendTo(n.id, a.beats()); err != nil {
				t.Fatal(err)
			}
		}
		p := a.pipe()
		other, err := a.AppendEntriesPipeline("c", "c:1")
		if err != nil {
			t.Fatal(err)
		}
		f, err := p.AppendEntries(a.numbered(1), new(raft.AppendEntriesResponse))
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		b.host.Pause()
		if _, err := a.appendTo("b", a.beats()); !isTimeout(err) || time.Since(start) != beatTimeoutMax {
			t.Errorf("the heartbeat: %v after %v", err, time.Since(start))
		}
		if !later(func() { _ = f.Error() })() || f.Error() == nil {
			t.Error("the pipeline goes on")
		}
		if c := a.connections(); c.pipelines != 1 {
			t.Errorf("%+v", c)
		}
		b.host.Resume()
		if err := errors.Join(p.Close(), other.Close()); err != nil {
			t.Error(err)
		}
	})
}

// TestPipelineFailsToOpen: to nobody, to a stranger, on a transport that has none, on a closed one.
func TestPipelineFailsToOpen(t *testing.T) {
	onNet(t, 2, func(t *testing.T, nodes ...*wireNode) {
		a := nodes[0]
		for _, c := range []struct {
			id   raft.ServerID
			addr raft.ServerAddress
		}{{"c", "c:1"}, {"c", "b:1"}} {
			if p, err := a.AppendEntriesPipeline(c.id, c.addr); err == nil {
				t.Errorf("%v: %v", c, p)
			}
		}
		a.restart(func(o *transportOptions) { o.InFlight = 1 })
		if _, err := a.AppendEntriesPipeline("b", "b:1"); !errors.Is(err, raft.ErrPipelineReplicationNotSupported) {
			t.Errorf("without pipelines: %v", err)
		}
		a.restart(nil)
		a.stop()
		if p, err := a.AppendEntriesPipeline("b", "b:1"); err == nil {
			t.Errorf("on a closed transport: %v", p)
		}
	})
}

// TestPipelineTrims what does not fit, and says so in the request.
func TestPipelineTrims(t *testing.T) {
	onNet(t, 2, func(t *testing.T, nodes ...*wireNode) {
		a, b := nodes[0], nodes[1]
		b.disk.holds(1000)
		b.raft(agree)
		p := a.pipe()
		r := a.request(entriesPerMessageMax + 10)
		f, err := p.AppendEntries(r, new(raft.AppendEntriesResponse))
		if err != nil || f.Error() != nil || len(r.Entries) != entriesPerMessageMax || a.match.of("b") != 10+entriesPerMessageMax {
			t.Errorf("%v, %d entries left, match index %d", err, len(r.Entries), a.match.of("b"))
		}
		r = a.request(1)
		r.Entries[0].Data = make([]byte, appendBodyMax)
		if _, err := p.AppendEntries(r, new(raft.AppendEntriesResponse)); err == nil {
			t.Error("an entry that no message can hold was sent")
		}
		if _, err := p.AppendEntries(a.request(1), new(raft.AppendEntriesResponse)); err != nil {
			t.Errorf("and broke the pipeline: %v", err)
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
}
