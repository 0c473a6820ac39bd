package raftlog

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
)

// TestGarbage: a connection on which a request does not decode ends, is logged once, and nobody else notices.
func TestGarbage(t *testing.T) {
	x := raft.RPCHeader{ProtocolVersion: 3, ID: []byte("x"), Addr: []byte("x:1")}
	asOther := &raft.AppendEntriesRequest{RPCHeader: testHeader, Term: 2}
	beatWithIndex := encodeAppend(nil, &raft.AppendEntriesRequest{RPCHeader: x, Term: 2, PrevLogEntry: 1}, 0)
	beatWithIndex[wireCovered] = byte(kindHeartbeat)
	emptyAppend := encodeAppend(nil, &raft.AppendEntriesRequest{RPCHeader: x, Term: 2}, 0)
	emptyAppend[wireCovered] = byte(kindAppend)
	cut := encodeAppend(nil, &raft.AppendEntriesRequest{RPCHeader: x, Term: 2, Entries: entries(1, 2)}, 0)
	install := encodeInstall(nil, &raft.InstallSnapshotRequest{RPCHeader: x, Size: -1})
	for name, message := range map[string][]byte{
		"noise":                       bytes.Repeat([]byte("noise"), 100),
		"a wrong crc":                 append(seal(encodeTimeoutNow(nil, &raft.TimeoutNowRequest{RPCHeader: x}))[:20], "xxxxxxxxxxxx"...),
		"a second hello":              seal(encodeHello(nil, &testHello)),
		"an answer":                   seal(encodeAnswer(nil, kindVoted, raft.RPCResponse{})),
		"a chunk out of place":        seal(append(begin(nil, kindChunk), 1)),
		"a heartbeat of another node": seal(encodeAppend(nil, asOther, 0)),
		"a vote of another node":      seal(encodeVote(nil, &raft.RequestVoteRequest{RPCHeader: testHeader})),
		"a heartbeat with an index":   seal(beatWithIndex),
		"no entries after all":        seal(emptyAppend),
		"half an entry":               seal(cut[:len(cut)-4]),
		"half a vote":                 seal(begin(nil, kindVote)),
		"half a pre-vote":             seal(begin(nil, kindPreVote)),
		"half a timeout":              seal(begin(nil, kindTimeoutNow)),
		"half a pull":                 seal(begin(nil, kindPull)),
		"a negative offset":           seal(appendText(append(begin(nil, kindPull), bytes.Repeat([]byte{0xff}, 8)...), "x")),
		"a negative size":             seal(install),
	} {
		t.Run(name, func(t *testing.T) {
			onNet(t, 2, func(t *testing.T, nodes ...*wireNode) {
				a, b := nodes[0], nodes[1]
				b.SetHeartbeatHandler(agree)
				if _, err := a.appendTo("b", a.beats()); err != nil {
					t.Fatal(err)
				}
				w := b.conversation()
				if _, err := w.conn.Write(message); err != nil {
					t.Fatal(err)
				}
				if k, _, err := w.receive(anyBody); err == nil || isTimeout(err) {
					t.Errorf("kind %d, %v in place of the end", k, err)
				}
				time.Sleep(10 * travel)
				b.wantLines("malformed message")
				if _, err := a.appendTo("b", a.beats()); err != nil {
					t.Errorf("others: %v", err)
				}
				if c := b.connections(); c.inbound != 1 {
					t.Errorf("%+v", c)
				}
			})
		})
	}
}

// TestRequestsOutliveTheirMessage: raft reads a request while the next one is being received.
func TestRequestsOutliveTheirMessage(t *testing.T) {
	onNet(t, 1, func(t *testing.T, nodes ...*wireNode) {
		b := nodes[0]
		w := b.conversation()
		x := raft.RPCHeader{ProtocolVersion: 3, ID: []byte("x"), Addr: []byte("x:1")}
		moved := raft.RPCHeader{ProtocolVersion: 3, ID: []byte("x"), Addr: []byte("y:99999")}
		want := []any{
			&raft.AppendEntriesRequest{RPCHeader: x, Term: 2, PrevLogEntry: 1, PrevLogTerm: 1},
			&raft.AppendEntriesRequest{RPCHeader: moved, Term: 3, PrevLogEntry: 2, PrevLogTerm: 1},
			&raft.RequestVoteRequest{RPCHeader: x, Term: 4},
			&raft.AppendEntriesRequest{RPCHeader: moved, Term: 5, PrevLogEntry: 3, Entries: entries(4, 2)},
			&raft.RequestPreVoteRequest{RPCHeader: moved, Term: 6},
		}
		go func() {
			for _, r := range want {
				var m []byte
				switch r := r.(type) {
				case *raft.AppendEntriesRequest:
					m = encodeAppend(nil, r, 0)
				case *raft.RequestVoteRequest:
					m = encodeVote(nil, r)
				case *raft.RequestPreVoteRequest:
					m = encodePreVote(nil, r)
				}
				_ = w.send(m, time.Time{})
			}
		}()
		var got []any
		for range want {
			rpc := <-b.Consumer()
			got = append(got, rpc.Command)
			time.Sleep(10 * travel)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v", got)
		}
	})
}

// TestSlowRaftHoldsItsConnectionBack, and memory with it: requests wait in the network, not here.
func TestSlowRaftHoldsItsConnectionBack(t *testing.T) {
	onNet(t, 1, func(t *testing.T, nodes ...*wireNode) {
		b := nodes[0]
		w := b.conversation()
		x := raft.RPCHeader{ProtocolVersion: 3, ID: []byte("x"), Addr: []byte("x:1")}
		m := seal(encodeAppend(nil, &raft.AppendEntriesRequest{RPCHeader: x, Term: 2, Entries: []*raft.Log{{Index: 1, Data: make([]byte, 1<<20)}}}, 0))
		written := 0
		ended := later(func() {
			for range 10 {
				n, err := w.conn.Write(m)
				written += n
				if err != nil {
					return
				}
			}
		})
		time.Sleep(time.Minute)
		if ended() || written > 2<<20 {
			t.Errorf("%d bytes were taken", written)
		}
		b.stop()
		if !ended() {
			t.Error("the writer waits for ever")
		}
	})
}

// TestAnswersAreBounded: requests whose answers wait for the disk are taken up to a number.
func TestAnswersAreBounded(t *testing.T) {
	onNet(t, 1, func(t *testing.T, nodes ...*wireNode) {
		b := nodes[0]
		taken := 0
		b.raft(func(rpc raft.RPC) {
			taken++
			agree(rpc)
		})
		w := b.conversation()
		x := raft.RPCHeader{ProtocolVersion: 3, ID: []byte("x"), Addr: []byte("x:1")}
		ask := seal(encodeAppend(nil, &raft.AppendEntriesRequest{RPCHeader: x, Term: 2, PrevLogEntry: 1, Entries: entries(2, 1)}, 0))
		ended := later(func() {
			for {
				if _, err := w.conn.Write(ask); err != nil {
					return
				}
				time.Sleep(time.Microsecond) // virtual time passes only while somebody sleeps
			}
		})
		time.Sleep(testTimeout / 2) // the disk holds nothing: no answer goes out
		synctest.Wait()
		if ended() || taken > answersMax+3 {
			t.Errorf("%d requests were taken", taken)
		}
		_ = w.conn.Close()
		if !ended() {
			t.Error("the peer goes on")
		}
	})
}

// TestRestartedPeer: connections that rested are dead, and no call fails for it.
func TestRestartedPeer(t *testing.T) {
	onNet(t, 2, func(t *testing.T, nodes ...*wireNode) {
		a, b := nodes[0], nodes[1]
		slow := func(rpc raft.RPC) {
			time.Sleep(10 * travel)
			agree(rpc)
		}
		b.SetHeartbeatHandler(slow)
		var calls []func() bool
		for range idlePerPeer + 3 {
			calls = append(calls, later(func() {
				if _, err := a.appendTo("b", a.beats()); err != nil {
					t.Error(err)
				}
			}))
		}
		time.Sleep(100 * travel)
		for _, ended := range calls {
			if !ended() {
				t.Fatal("a heartbeat hangs")
			}
		}
		if c := a.connections(); c != (connections{open: idlePerPeer, idle: idlePerPeer}) {
			t.Errorf("the pool: %+v", c)
		}
		b.restart(nil)
		b.SetHeartbeatHandler(agree)
		if _, err := a.appendTo("b", a.beats()); err != nil {
			t.Errorf("the first call after the restart: %v", err)
		}
		if c := a.connections(); c != (connections{open: 1, idle: 1}) {
			t.Errorf("the pool: %+v", c)
		}
	})
}

// TestAddressThatChangedHands: a connection that rested to another node is not used.
func TestAddressThatChangedHands(t *testing.T) {
	onNet(t, 2, func(t *testing.T, nodes ...*wireNode) {
		a, b := nodes[0], nodes[1]
		b.SetHeartbeatHandler(agree)
		if _, err := a.appendTo("b", a.beats()); err != nil {
			t.Fatal(err)
		}
		resp := new(raft.AppendEntriesResponse)
		if err := a.AppendEntries("c", "b:1", a.beats(), resp); !errors.Is(err, errRefused) || resp.Success {
			t.Errorf("b answered for c: %v", err)
		}
	})
}

// TestDeadlines: an answer that does not come, a peer that does not answer the dial. Heartbeats and votes wait less long.
func TestDeadlines(t *testing.T) {
	onNet(t, 2, func(t *testing.T, nodes ...*wireNode) {
		a, b := nodes[0], nodes[1]
		calls := map[string]struct {
			call func() error
			most time.Duration
		}{
			"AppendEntries": {func() error { _, err := a.appendTo("b", a.request(1)); return err }, testTimeout},
			"heartbeat":     {func() error { _, err := a.appendTo("b", a.beats()); return err }, beatTimeoutMax},
			"vote": {func() error {
				return a.RequestVote("b", "b:1", &raft.RequestVoteRequest{RPCHeader: a.header()}, new(raft.RequestVoteResponse))
			}, beatTimeoutMax},
			"pre-vote": {func() error {
				return a.RequestPreVote("b", "b:1", &raft.RequestPreVoteRequest{RPCHeader: a.header()}, new(raft.RequestPreVoteResponse))
			}, beatTimeoutMax},
			"timeout now": {func() error {
				return a.TimeoutNow("b", "b:1", &raft.TimeoutNowRequest{RPCHeader: a.header()}, new(raft.TimeoutNowResponse))
			}, beatTimeoutMax},
		}
		for _, there := range []func(){func() {}, func() { b.host.PowerOff() }} {
			there()
			for name, c := range calls {
				start := time.Now()
				if err := c.call(); !isTimeout(err) || time.Since(start) != c.most {
					t.Errorf("%s: %v after %v", name, err, time.Since(start))
				}
			}
		}
		if c := a.connections(); c != (connections{}) {
			t.Errorf("left behind: %+v", c)
		}
		a.wantLines()
	})
}

// TestPeerGone is told of a leader's connections alone, once each, and not when this node closes.
func TestPeerGone(t *testing.T) {
	onNet(t, 3, func(t *testing.T, nodes ...*wireNode) {
		a, b, c := nodes[0], nodes[1], nodes[2]
		b.disk.holds(100)
		b.raft(func(rpc raft.RPC) {
			if _, ok := rpc.Command.(*raft.AppendEntriesRequest); ok {
				agree(rpc)
				return
			}
			rpc.Respond(&raft.RequestVoteResponse{Term: 2}, nil)
		})
		vote := func(n *wireNode) {
			t.Helper()
			if err := n.RequestVote("b", "b:1", &raft.RequestVoteRequest{RPCHeader: n.header()}, new(raft.RequestVoteResponse)); err != nil {
				t.Fatal(err)
			}
		}
		vote(a)
		vote(c)
		if _, err := a.appendTo("b", a.request(1)); err != nil {
			t.Fatal(err)
		}
		p := a.pipe()
		if f, err := p.AppendEntries(a.request(1), new(raft.AppendEntriesResponse)); err != nil || f.Error() != nil {
			t.Fatal(err)
		}
		if _, err := a.appendTo("b", a.beats()); err != nil {
			t.Fatal(err)
		}
		c.host.Kill()
		time.Sleep(10 * travel)
		if len(b.gone) != 0 {
			t.Errorf("told of %s, who sent no AppendEntries", <-b.gone)
		}
		a.host.Kill()
		time.Sleep(10 * travel)
		if len(b.gone) != 2 || <-b.gone != "a" || <-b.gone != "a" {
			t.Errorf("told %d times", 2-len(b.gone))
		}
		a.stop()
		a.boot(nil)
		if _, err := a.appendTo("b", a.request(1)); err != nil {
			t.Fatal(err)
		}
		b.stop()
		if len(b.gone) != 0 {
			t.Error("told of the end of this node")
		}
	})
}

// TestPeerGoneMayTakeLong: it may dial, and wait for the node's end.
func TestPeerGoneMayTakeLong(t *testing.T) {
	onNet(t, 2, func(t *testing.T, nodes ...*wireNode) {
		a, b := nodes[0], nodes[1]
		b.restart(func(o *transportOptions) {
			o.OnPeerGone = func(raft.ServerID) { b.injectTimeoutNow() }
		})
		b.SetHeartbeatHandler(agree)
		if _, err := a.appendTo("b", a.beats()); err != nil {
			t.Fatal(err)
		}
		a.host.Kill()
		time.Sleep(time.Minute)
		if c := b.connections(); c.inbound != 0 {
			t.Errorf("the dead connection is kept meanwhile: %+v", c)
		}
	})
}

// TestTooManyConnections are not accepted; when some end, others are.
func TestTooManyConnections(t *testing.T) {
	onNet(t, 1, func(t *testing.T, nodes ...*wireNode) {
		b := nodes[0]
		x := b.network.Boot("x")
		dial := func() net.Conn {
			conn, err := x.Dial(t.Context(), b.id+":1")
			if err != nil {
				t.Fatal(err)
			}
			return conn
		}
		var conns []net.Conn
		for range inboundMax {
			conns = append(conns, dial())
		}
		synctest.Wait()
		if _, err := dial().Read(make([]byte, 1)); err == nil || isTimeout(err) {
			t.Errorf("one too many: %v", err)
		}
		synctest.Wait()
		b.wantLines("256 connections are open")
		for _, conn := range conns {
			_ = conn.Close()
		}
		time.Sleep(10 * travel)
		if c := b.connections(); c.inbound != 0 {
			t.Errorf("%+v", c)
		}
		b.conversation()
	})
}

// failingListener fails a number of times, then waits for its end.
type failingListener struct {
	net.Listener
	fails int
}

func (l *failingListener) Accept() (net.Conn, error) {
	if l.fails == 0 {
		return l.Listener.Accept()
	}
	l.fails--
	return nil, errors.New("too many open files")
}

// TestAcceptThatFails is tried again, less and less often.
func TestAcceptThatFails(t *testing.T) {
	onNet(t, 2, func(t *testing.T, nodes ...*wireNode) {
		a, b := nodes[0], nodes[1]
		b.restart(func(o *transportOptions) { o.Listener = &failingListener{o.Listener, 4} })
		b.SetHeartbeatHandler(agree)
		start := time.Now()
		if _, err := a.appendTo("b", a.beats()); err != nil {
			t.Error(err)
		}
		if took, want := time.Since(start), 15*acceptRetryMin; took < want {
			t.Errorf("%v, the pauses alone take %v", took, want)
		}
		b.wantLines("too many open files", "too many open files", "too many open files", "too many open files")
		b.restart(func(o *transportOptions) { o.Listener = &failingListener{o.Listener, 1 << 30} })
		time.Sleep(time.Second) // and Close ends it
	})
}

// TestManyPeers: the book does not grow with every name that was ever heard.
func TestManyPeers(t *testing.T) {
	b := peerBook{epoch: time.Now()}
	var connected outbound
	b.met(hello{NodeID: "connected"})
	for i := range 10 * peersKept {
		var c outbound
		b.left(b.met(hello{NodeID: strings.Repeat("x", i+1)}), &c.gone)
	}
	if len(b.peers) != peersKept || b.peers["connected"] == nil {
		t.Errorf("%d peers, connected one kept: %v", len(b.peers), b.peers["connected"] != nil)
	}
	b.left(b.peers["connected"], &connected.gone)
	b.left(b.peers["connected"], &connected.gone)
	if n := b.peers["connected"].open; n != 0 {
		t.Errorf("%d connections after its end", n)
	}
}

// TestRefusalsAreLoggedOnce in a while, per host and reason; a flood of different ones does not flood the log.
func TestRefusalsAreLoggedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &wireNode{t: t, lines: new(logLines)}
		n.opts.Logger = slog.New(n.lines)
		var l refusalLog
		note := func(addr, why string) { l.note(n.opts.Logger, addr, errors.New(why)) }
		for range 100 {
			note("h:1", "foreign")
			note("h:2", "foreign")
			time.Sleep(refusalLogEvery / 200)
		}
		note("h:1", "expired")
		note("i:1", "foreign")
		for _, ordinary := range []error{io.EOF, net.ErrClosed, io.ErrUnexpectedEOF} {
			l.note(n.opts.Logger, "h:1", ordinary)
		}
		n.wantLines("peer=h:1 reason=foreign", "peer=h:1 reason=expired", "peer=i:1 reason=foreign")
		time.Sleep(refusalLogEvery)
		note("h:3", "foreign")
		n.wantLines("peer=h:1 reason=foreign", "peer=h:3 reason=foreign", "peer=h:1 reason=expired", "peer=i:1 reason=foreign")
		for i := range 10 * refusalsKept {
			note("h:1", strings.Repeat("x", i))
		}
		if len(l.last) != refusalsKept || len(n.lines.lines) > 4+refusalsKept {
			t.Errorf("%d are remembered, %d lines", len(l.last), len(n.lines.lines))
		}
	})
}
