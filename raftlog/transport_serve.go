package raftlog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// Connections that others open. Each has two goroutines:
//
//	read     receives requests and hands them to raft           ─┐ pending, in order, at most answersMax
//	respond  waits for raft's answer, then for the disk, sends  ◄┘
//
// The gate R1 is in respond: an AppendEntries that raft agreed to is answered when the disk holds its last entry. If it
// never will, the connection ends without an answer, and the leader goes on without this node.
//
// A request that does not decode ends its connection and no other: what follows it cannot be trusted. It is logged once.

// inbound is a connection that another node opened.
type inbound struct {
	t      *transport
	wire   *wire
	peer   hello
	record *peerRecord
	gone   chan struct{} // closed by end
	once   sync.Once
	left   atomic.Bool

	// read's own
	header raft.RPCHeader // of the last AppendEntries: the next one has the same id and address
	leads  bool           // AppendEntries came

	// respond's own
	out     []byte
	pending chan pending
}

// pending is an answer to come.
type pending struct {
	kind   kind // of the answer
	said   chan raft.RPCResponse
	last   uint64 // index that must be on the disk before success is answered; 0: none
	busy   bool   // may take longer than a call's deadline
	name   string // kindPulled: what of, and from where
	offset int64
}

func (t *transport) accept() {
	pause := acceptRetryMin
	for {
		conn, err := t.o.Listener.Accept()
		if err == nil {
			pause = acceptRetryMin
			t.take(conn)
			continue
		}
		if t.ctx.Err() != nil {
			return
		}
		t.o.Logger.Warn("no connection can be accepted", "error", err)
		select {
		case <-t.ctx.Done():
			return
		case <-time.After(pause):
		}
		pause = min(2*pause, acceptRetryMax)
	}
}

// take starts a connection's life.
func (t *transport) take(conn net.Conn) {
	if !t.adopt(conn, true) {
		if t.ctx.Err() == nil {
			t.refusals.note(t.o.Logger, conn.RemoteAddr().String(), fmt.Errorf("%w: %d connections are open", errRefused, inboundMax))
		}
		return
	}
	if !t.start(func() { t.serve(conn) }) {
		t.release(conn, true)
	}
}

func (t *transport) serve(conn net.Conn) {
	defer t.release(conn, true)
	c := &inbound{t: t, wire: newWire(conn), gone: make(chan struct{}), pending: make(chan pending, answersMax)}
	if err := c.meet(); err != nil {
		t.refusals.note(t.o.Logger, conn.RemoteAddr().String(), err)
		return
	}
	c.record = t.book.met(c.peer)
	defer t.book.left(c.record, &c.left)
	if !t.start(c.respond) {
		return
	}
	err := c.read()
	c.end()
	t.release(conn, true)
	t.refusals.note(t.o.Logger, conn.RemoteAddr().String(), err)
	c.parted()
}

// meet opens the conversation.
func (c *inbound) meet() error {
	ctx, cancel := context.WithTimeout(c.t.ctx, min(c.t.o.Timeout, helloTimeoutMax))
	defer cancel()
	if err := shakeHands(ctx, c.wire.conn); err != nil {
		return err
	}
	deadline, _ := ctx.Deadline()
	var err error
	c.peer, err = c.t.welcome(c.wire, deadline)
	return err
}

// end ends the connection; both goroutines see it.
func (c *inbound) end() {
	c.once.Do(func() {
		close(c.gone)
		cut(c.wire.conn)
	})
}

// parted tells who asked that a leader's connection broke. What rests in the pool to the same node is most likely dead too.
func (c *inbound) parted() {
	if c.t.ctx.Err() != nil {
		return
	}
	c.t.book.left(c.record, &c.left)
	c.t.hangUpIdle(raft.ServerAddress(c.peer.RaftAddr))
	if c.leads && c.t.o.OnPeerGone != nil {
		c.t.o.OnPeerGone(raft.ServerID(c.peer.NodeID))
	}
}

func (c *inbound) read() error {
	for {
		k, body, err := c.wire.receive(anyBody)
		if err != nil {
			return err
		}
		c.record.touch()
		if err := c.handle(k, &fields{b: body}); err != nil {
			return err
		}
	}
}

func (c *inbound) handle(k kind, f *fields) error {
	switch k {
	case kindAppend, kindAnnounce, kindHeartbeat:
		return c.appendEntries(k, f)
	case kindVote:
		r := new(raft.RequestVoteRequest)
		decodeVote(f, r)
		return c.dispatch(k, f, &r.RPCHeader, r)
	case kindPreVote:
		r := new(raft.RequestPreVoteRequest)
		decodePreVote(f, r)
		return c.dispatch(k, f, &r.RPCHeader, r)
	case kindTimeoutNow:
		r := new(raft.TimeoutNowRequest)
		decodeTimeoutNow(f, r)
		return c.dispatch(k, f, &r.RPCHeader, r)
	case kindInstall:
		r := new(raft.InstallSnapshotRequest)
		decodeInstall(f, r)
		return c.install(f, r)
	case kindPull:
		return c.pull(f)
	}
	return fmt.Errorf("%w: kind %d is not a request", errMalformed, k)
}

// appendEntries hands the request to raft: a heartbeat to the handler for them, on this goroutine.
func (c *inbound) appendEntries(k kind, f *fields) error {
	a := new(raft.AppendEntriesRequest)
	decodeAppend(f, a)
	if err := c.check(k, f, &a.RPCHeader); err != nil {
		return err
	}
	if (k == kindAppend) != (len(a.Entries) > 0) || k == kindHeartbeat && !isHeartbeat(a) {
		return fmt.Errorf("%w: kind %d with %d entries", errMalformed, k, len(a.Entries))
	}
	c.keepHeader(a)
	c.leads = true
	c.t.match.observe(a.Term)
	c.t.hear(a.LeaderCommitIndex)
	p := pending{kind: kindAppended, said: make(chan raft.RPCResponse, 1)}
	if n := len(a.Entries); n > 0 {
		p.last = a.Entries[n-1].Index
	}
	rpc := raft.RPC{Command: a, RespChan: p.said}
	if handler := c.t.beat.Load(); handler != nil && k == kindHeartbeat {
		(*handler)(rpc)
		return c.expect(p)
	}
	return c.hand(rpc, p)
}

// keepHeader frees the request from the receive buffer, which the next message overwrites.
func (c *inbound) keepHeader(a *raft.AppendEntriesRequest) {
	if !bytes.Equal(a.ID, c.header.ID) || !bytes.Equal(a.Addr, c.header.Addr) {
		c.header = copyHeader(a.RPCHeader)
	}
	a.ID, a.Addr = c.header.ID, c.header.Addr
}

// check refuses what does not decode and what claims to come from another node than the hello said.
func (c *inbound) check(k kind, f *fields, h *raft.RPCHeader) error {
	if err := f.err(k); err != nil {
		return err
	}
	if string(h.ID) != c.peer.NodeID {
		return fmt.Errorf("%w: node %q sent a request of %q", errMalformed, c.peer.NodeID, h.ID)
	}
	return nil
}

// dispatch hands a decoded request to raft.
func (c *inbound) dispatch(k kind, f *fields, h *raft.RPCHeader, request any) error {
	if err := c.check(k, f, h); err != nil {
		return err
	}
	p := pending{kind: k + kindAppended - kindAppend, said: make(chan raft.RPCResponse, 1)}
	if err := c.t.refuse(k, h, request); err != nil {
		p.said <- raft.RPCResponse{Error: err}
		return c.expect(p)
	}
	return c.hand(raft.RPC{Command: request, RespChan: p.said}, p)
}

// refuse answers in raft's place where it cannot know what this node had (heal.go).
func (t *transport) refuse(k kind, from *raft.RPCHeader, request any) error {
	switch {
	case k != kindTimeoutNow:
	case t.o.MaySucceed != nil:
		return t.o.MaySucceed(string(from.ID))
	default:
		return t.mayStand()
	}
	if end, ok := endOf(request); ok && t.o.MayElect != nil {
		return t.o.MayElect(string(from.Addr), end)
	}
	return nil
}

// hand gives raft a request and queues its answer.
func (c *inbound) hand(rpc raft.RPC, p pending) error {
	select {
	case c.t.consume <- rpc:
		return c.expect(p)
	case <-c.gone:
		return net.ErrClosed
	case <-c.t.ctx.Done():
		return errTransportClosed
	}
}

func (c *inbound) expect(p pending) error {
	select {
	case c.pending <- p:
		return nil
	case <-c.gone:
		return net.ErrClosed
	case <-c.t.ctx.Done():
		return errTransportClosed
	}
}

// install hands raft a snapshot to read. Raft reads the stream from this connection, so nothing else is read until raft
// has answered; what it left unread is skipped.
func (c *inbound) install(f *fields, r *raft.InstallSnapshotRequest) error {
	if err := c.check(kindInstall, f, &r.RPCHeader); err != nil {
		return err
	}
	c.leads = true
	c.t.match.observe(r.Term)
	data := &stream{w: c.wire, left: r.Size, timeout: c.t.o.Timeout}
	if c.t.o.Have != nil && c.t.o.Have(r.LastLogIndex) {
		return c.haveThat(r, data)
	}
	said := make(chan raft.RPCResponse, 1)
	p := pending{kind: kindInstalled, said: make(chan raft.RPCResponse, 1), busy: true}
	if err := c.hand(raft.RPC{Command: r, Reader: data, RespChan: said}, p); err != nil {
		return err
	}
	select {
	case answer := <-said:
		if err := data.drain(); err != nil {
			return err
		}
		p.said <- answer
		return nil
	case <-c.t.ctx.Done():
		return errTransportClosed
	}
}

// haveThat agrees to a snapshot of what this node has applied already, without raft, which would replace its log: the
// leader does not know that an earlier one was installed, because that ended with this program starting over.
func (c *inbound) haveThat(r *raft.InstallSnapshotRequest, data *stream) error {
	if err := data.drain(); err != nil {
		return err
	}
	p := pending{kind: kindInstalled, said: make(chan raft.RPCResponse, 1)}
	p.said <- raft.RPCResponse{Response: &raft.InstallSnapshotResponse{RPCHeader: r.RPCHeader, Term: r.Term, Success: true}}
	return c.expect(p)
}

// pull queues a bulk pull: respond serves it, in its turn.
func (c *inbound) pull(f *fields) error {
	offset, name := int64(f.u64()), string(f.text())
	if offset < 0 {
		f.short = true
	}
	if err := f.err(kindPull); err != nil {
		return err
	}
	return c.expect(pending{kind: kindPulled, name: name, offset: offset})
}

func (c *inbound) respond() {
	defer c.end()
	for {
		select {
		case p := <-c.pending:
			if err := c.answer(p); err != nil {
				return
			}
		case <-c.gone:
			return
		case <-c.t.ctx.Done():
			return
		}
	}
}

func (c *inbound) answer(p pending) error {
	if p.kind == kindPulled {
		return c.servePull(p.name, p.offset)
	}
	said, err := c.await(p)
	if err != nil {
		return err
	}
	if r, ok := said.Response.(*raft.AppendEntriesResponse); ok && r.Success && p.last > 0 {
		if !c.t.o.WaitDurable(p.last) {
			return errors.New("raftlog: the disk will not hold what was received")
		}
	}
	c.out = encodeAnswer(c.out, p.kind, said)
	return c.wire.send(c.out, time.Now().Add(c.t.o.Timeout))
}

// await waits for raft's answer, and tells the peer from time to time that it is still to come, if that may take long.
func (c *inbound) await(p pending) (raft.RPCResponse, error) {
	var tick <-chan time.Time
	if p.busy {
		ticker := time.NewTicker(c.t.o.Timeout / 4)
		defer ticker.Stop()
		tick = ticker.C
	}
	for {
		select {
		case said := <-p.said:
			return said, nil
		case <-tick:
			c.out = begin(c.out, kindBusy)
			if err := c.wire.send(c.out, time.Now().Add(c.t.o.Timeout)); err != nil {
				return raft.RPCResponse{}, err
			}
		case <-c.gone:
			return raft.RPCResponse{}, net.ErrClosed
		case <-c.t.ctx.Done():
			return raft.RPCResponse{}, errTransportClosed
		}
	}
}
