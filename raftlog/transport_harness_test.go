package raftlog

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"ayder/internal/testkit/simnet"
)

// What the tests of the transport share: nodes that are a transport with a raft and a disk that do as the test says, on a
// network in memory and in virtual time. A bubble ends only when every goroutine in it has, so each of these tests also
// shows that Close leaves none behind.

const (
	travel      = time.Millisecond // of every message
	testTimeout = 2 * time.Second  // of calls
)

// onNet runs a test on a network of the nodes a, b, ….
func onNet(t *testing.T, count int, fn func(t *testing.T, nodes ...*wireNode)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		network := simnet.New(1)
		network.SetDelay(travel, travel)
		var nodes []*wireNode
		defer func() { // also after Fatal: a bubble must come to its end
			network.Boot("x").Kill()
			for _, n := range nodes {
				n.stop()
			}
		}()
		for i := range count {
			nodes = append(nodes, newWireNode(t, network, string(rune('a'+i)), count))
		}
		fn(t, nodes...)
	})
}

// wireNode is a transport, a scripted raft and a scripted disk.
type wireNode struct {
	*transport
	t       *testing.T
	network *simnet.Network
	host    *simnet.Host
	id      string
	disk    *scriptedDisk
	lines   *logLines
	gone    chan raft.ServerID // what OnPeerGone was told
	opts    transportOptions
}

func newWireNode(t *testing.T, network *simnet.Network, id string, count int) *wireNode {
	n := &wireNode{
		t: t, network: network, id: id, disk: newScriptedDisk(), lines: new(logLines), gone: make(chan raft.ServerID, 64),
	}
	var voters []raft.ServerID
	for i := range count {
		voters = append(voters, raft.ServerID(rune('a'+i)))
	}
	n.opts = transportOptions{
		Self: func() hello {
			return hello{Cluster: [16]byte{7}, NodeID: id, RaftAddr: id + ":1", HTTPAddr: id + ":2", Priority: 5, Version: 1<<16 | 3}
		},
		LocalDurable: n.disk.durable, WaitDurable: n.disk.wait, ParallelSync: true,
		Voters:     func() []raft.ServerID { return voters },
		OnPeerGone: func(id raft.ServerID) { n.gone <- id },
		Timeout:    testTimeout, Logger: slog.New(n.lines),
	}
	n.boot(nil)
	return n
}

// boot starts the node's process, again if it was stopped; change may alter its options.
func (n *wireNode) boot(change func(o *transportOptions)) {
	n.t.Helper()
	n.host = n.network.Boot(n.id)
	ln, err := n.host.Listen(n.id + ":1")
	if err != nil {
		n.t.Fatal(err)
	}
	o := n.opts
	o.Listener, o.Dial = ln, n.host.Dial
	if change != nil {
		change(&o)
	}
	n.transport = newTransport(o)
}

// restart is boot after stop.
func (n *wireNode) restart(change func(o *transportOptions)) {
	n.t.Helper()
	n.stop()
	n.disk.reopen()
	n.boot(change)
}

func (n *wireNode) stop() {
	n.disk.close()
	if err := n.Close(); err != nil {
		n.t.Errorf("%s: close: %v", n.id, err)
	}
	n.host.Kill()
}

func (n *wireNode) header() raft.RPCHeader {
	return raft.RPCHeader{ProtocolVersion: 3, ID: []byte(n.id), Addr: []byte(n.id + ":1")}
}

// raft answers requests with f until the transport closes.
func (n *wireNode) raft(f func(rpc raft.RPC)) {
	n.start(func() {
		for {
			select {
			case rpc := <-n.Consumer():
				f(rpc)
			case <-n.ctx.Done():
				return
			}
		}
	})
}

// agree answers every AppendEntries with success.
func agree(rpc raft.RPC) {
	a := rpc.Command.(*raft.AppendEntriesRequest)
	rpc.Respond(&raft.AppendEntriesResponse{Term: a.Term, LastLog: a.PrevLogEntry + uint64(len(a.Entries)), Success: true}, nil)
}

// entries are count entries from an index on.
func entries(from uint64, count int) []*raft.Log {
	var list []*raft.Log
	for i := range count {
		index := from + uint64(i)
		list = append(list, &raft.Log{Index: index, Term: 2, Data: fmt.Appendf(nil, "entry %d", index)})
	}
	return list
}

// connections counts a transport's.
type connections struct{ open, inbound, idle, pipelines int }

func (t *transport) connections() connections {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := connections{open: len(t.open), inbound: t.inbound, pipelines: len(t.pipes)}
	for _, idle := range t.idle {
		c.idle += len(idle)
	}
	return c
}

// request is an AppendEntries of term 2 with count entries from index 11 on.
func (n *wireNode) request(count int) *raft.AppendEntriesRequest {
	return &raft.AppendEntriesRequest{RPCHeader: n.header(), Term: 2, PrevLogEntry: 10, PrevLogTerm: 1, Entries: entries(11, count)}
}

// beats is a heartbeat of term 2.
func (n *wireNode) beats() *raft.AppendEntriesRequest {
	return &raft.AppendEntriesRequest{RPCHeader: n.header(), Term: 2}
}

// appendTo sends an AppendEntries and waits for the answer.
func (n *wireNode) appendTo(peer string, a *raft.AppendEntriesRequest) (*raft.AppendEntriesResponse, error) {
	resp := new(raft.AppendEntriesResponse)
	err := n.AppendEntries(raft.ServerID(peer), raft.ServerAddress(peer+":1"), a, resp)
	return resp, err
}

// later runs f on a goroutine; ended tells whether it has returned, once all goroutines rest.
func later(f func()) (ended func() bool) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	return func() bool {
		synctest.Wait()
		select {
		case <-done:
			return true
		default:
			return false
		}
	}
}

// conversation opens a connection to a node by hand and says hello as the node "x".
func (n *wireNode) conversation() *wire {
	n.t.Helper()
	h := n.opts.Self()
	h.NodeID = "x"
	w := n.dialed()
	if err := w.send(encodeHello(nil, &h), time.Time{}); err != nil {
		n.t.Fatal(err)
	}
	if k, _, err := w.receive(anyBody); err != nil || k != kindHello {
		n.t.Fatalf("kind %d, %v in place of a hello", k, err)
	}
	return w
}

// dialed is a bare connection to a node, from a machine called x.
func (n *wireNode) dialed() *wire {
	n.t.Helper()
	conn, err := n.network.Boot("x").Dial(context.Background(), n.id+":1")
	if err != nil {
		n.t.Fatal(err)
	}
	return newWire(conn)
}

// scriptedDisk holds what the test says.
type scriptedDisk struct {
	mu     sync.Mutex
	cond   *sync.Cond
	index  uint64
	closed bool
}

func newScriptedDisk() *scriptedDisk {
	d := new(scriptedDisk)
	d.cond = sync.NewCond(&d.mu)
	return d
}

func (d *scriptedDisk) durable() uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.index
}

func (d *scriptedDisk) wait(index uint64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for d.index < index && !d.closed {
		d.cond.Wait()
	}
	return d.index >= index
}

func (d *scriptedDisk) holds(index uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.index = index
	d.cond.Broadcast()
}

func (d *scriptedDisk) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	d.cond.Broadcast()
}

func (d *scriptedDisk) reopen() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = false
}

// logLines is a slog.Handler that keeps what was logged, a text per record.
type logLines struct {
	mu    sync.Mutex
	lines []string
}

func (l *logLines) Enabled(context.Context, slog.Level) bool { return true }
func (l *logLines) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *logLines) WithGroup(string) slog.Handler            { return l }

func (l *logLines) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	b.WriteString(r.Message)
	r.Attrs(func(a slog.Attr) bool {
		fmt.Fprintf(&b, " %s=%v", a.Key, a.Value)
		return true
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, b.String())
	return nil
}

// wantLines expects one line for each text, which contains it, in any order, and no other.
func (n *wireNode) wantLines(texts ...string) {
	n.t.Helper()
	n.lines.mu.Lock()
	defer n.lines.mu.Unlock()
	ok := len(n.lines.lines) == len(texts)
	for _, text := range texts {
		found := false
		for _, line := range n.lines.lines {
			found = found || strings.Contains(line, text)
		}
		ok = ok && found
	}
	if !ok {
		n.t.Errorf("%s logged\n%s\nexpected\n%s", n.id, strings.Join(n.lines.lines, "\n"), strings.Join(texts, "\n"))
	}
}

// repeat is an endless reader. It takes its time, so that what comes back across the network is noticed meanwhile.
type repeat byte

func (r repeat) Read(p []byte) (int, error) {
	time.Sleep(3 * travel)
	for i := range p {
		p[i] = byte(r)
	}
	return len(p), nil
}

var _ io.Reader = repeat(0)

// dialTCP dials over a real network.
func dialTCP(ctx context.Context, addr string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "tcp", addr)
}
