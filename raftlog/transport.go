package raftlog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// The transport: how raft speaks to other nodes, and where three of the cluster's promises are kept.
//
//	R1  the server side answers an AppendEntries with success only when this node's disk holds its last entry. Raft has
//	    placed the entries by then; its answer waits here, and the answers behind it too, in order (transport_serve.go)
//	R2  the client side lowers the commit index that it sends to what is safe (match.go)
//	lease  begins when a request was sent that a majority agreed to (match.go)
//
// A call takes a connection from a small pool, or dials, and has it for itself: one request, one answer. Replication uses
// a pipeline (pipeline.go): a connection with several requests under way. On the other side every connection has two
// goroutines: one reads requests and hands them to raft, one waits for raft's answers, and for the disk, and sends them. So
// a follower receives the next entries while the last ones are being synced.
//
// Heartbeats do not wait for the disk, nor for raft's goroutine: they travel on connections of their own, and go straight
// to the handler that raft gave for them. Their deadline is short. A heartbeat that misses it closes the pipelines to that
// peer: TCP, which waits longer after each loss, would keep a connection still long after the network is back.
//
// hashicorp's NetworkTransport was not extended but replaced: its pipeline can lock up (pipeline.go), it answers before
// the disk, and it allocates for every field.

// transportOptions of a transport. All functions are called on goroutines of the transport or of raft.
type transportOptions struct {
	Listener net.Listener // plain, or crypto/tls's
	Dial     func(ctx context.Context, addr string) (net.Conn, error)
	// Self is what this node says of itself now. Its NodeID never changes.
	Self func() hello
	// Accept refuses a peer; nil accepts all. Concurrent calls happen. May block for a while (a handshake's deadline).
	Accept func(peer hello) error
	// LocalDurable is the index up to which this node's disk holds the log. Must not block.
	LocalDurable func() uint64
	// WaitDurable waits until this node's disk holds index; false: it never will. It must end when the log is closed.
	WaitDurable  func(index uint64) bool
	ParallelSync bool // R2
	// Voters of the latest configuration, this node included if it is one. Called often: cheap, and must not block. It is
	// not called before a peer has answered this node's first AppendEntries, except by everywhere, holders and leaseStart.
	Voters func() []raft.ServerID
	// MayElect refuses a vote for a candidate whose log ends there, MayStand this node's own candidacy. Must not block.
	// Nil: raft alone decides.
	MayElect func(candidate string, end logEnd) error
	MayStand func() error
	// MaySucceed refuses an order to stand for election that a node has given. Must not block. Nil: like MayStand.
	MaySucceed func(id string) error
	// Lease is for how long a lease may count on what a voter, this node included, agreed to. Must not block. Nil: not at all.
	Lease func(id raft.ServerID) time.Duration
	// Have tells that this node has applied index: a snapshot up to there is agreed to and not installed. Nil: never.
	Have func(index uint64) bool
	// OnPeerGone is told, once per connection, that one broke on which a node had sent AppendEntries. It may block until
	// the node is stopped. Nil: nobody asks.
	OnPeerGone func(id raft.ServerID)
	// OnProgress: safe or everywhere may have grown. Must not block. Nil: nobody asks.
	OnProgress func()
	// Bulk opens what another node pulls, at an offset; size is that of the whole. Nil: nothing is served.
	Bulk     func(peer hello, name string, offset int64) (r io.ReadCloser, size int64, err error)
	Timeout  time.Duration // of a call and of a message of a stream; 0: rpcTimeoutDefault
	InFlight int           // requests of a pipeline under way; 0: inFlightDefault, 1: no pipelines
	Logger   *slog.Logger  // nil: silent
}

func (o *transportOptions) complete() {
	if o.Timeout == 0 {
		o.Timeout = rpcTimeoutDefault
	}
	if o.InFlight == 0 {
		o.InFlight = inFlightDefault
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
}

// errTransportClosed: this node is stopping.
var errTransportClosed = errors.New("raftlog: the transport is closed")

// transport implements raft.Transport, raft.WithPreVote and raft.WithClose.
type transport struct {
	o        transportOptions
	match    *matches
	book     peerBook
	refusals refusalLog
	consume  chan raft.RPC
	beat     atomic.Pointer[func(raft.RPC)] // set by raft when it starts
	streams  chan struct{}                  // one element per pull being served
	ctx      context.Context                // ends with Close
	cancel   context.CancelFunc

	heard atomic.Uint64 // the highest commit index that a leader has told

	mu      sync.Mutex // never held while anything waits
	closed  bool
	running sync.WaitGroup // started under mu while not closed
	open    map[net.Conn]struct{}
	inbound int // of them
	idle    map[raft.ServerAddress][]*outbound
	pipes   map[*pipeline]struct{}
}

var (
	_ raft.Transport   = (*transport)(nil)
	_ raft.WithPreVote = (*transport)(nil)
	_ raft.WithClose   = (*transport)(nil)
)

// newTransport accepts connections at once.
func newTransport(o transportOptions) *transport {
	o.complete()
	t := &transport{
		o: o, consume: make(chan raft.RPC), streams: make(chan struct{}, bulkStreamsMax),
		open: make(map[net.Conn]struct{}), idle: make(map[raft.ServerAddress][]*outbound), pipes: make(map[*pipeline]struct{}),
	}
	t.book.epoch = time.Now()
	t.ctx, t.cancel = context.WithCancel(context.Background())
	t.match = newMatches(&t.o, t.ctx.Done())
	t.start(t.accept)
	return t
}

// start runs f on a goroutine that Close waits for; false: too late.
func (t *transport) start(f func()) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false
	}
	t.running.Go(f)
	return true
}

// Close ends every connection, call, stream and goroutine, and waits for the goroutines. One that waits for the disk in
// WaitDurable ends with that wait; if this takes long, Close returns an error and leaves it behind.
func (t *transport) Close() error {
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		return nil
	}
	t.closed = true
	for conn := range t.open {
		cut(conn)
	}
	t.mu.Unlock()
	t.cancel()
	err := t.o.Listener.Close()
	if errors.Is(err, net.ErrClosed) { // whoever made it was faster
		err = nil
	}
	ended := make(chan struct{})
	go func() {
		t.running.Wait()
		close(ended)
	}()
	late := time.NewTimer(closeWait)
	defer late.Stop()
	select {
	case <-ended:
		return err
	case <-late.C:
		return errors.Join(err, errors.New("raftlog: the transport closed, but an answer still waits for the disk"))
	}
}

// hear notes a leader's commit index.
func (t *transport) hear(commit uint64) {
	for {
		old := t.heard.Load()
		if commit <= old || t.heard.CompareAndSwap(old, commit) {
			return
		}
	}
}

// Consumer implements raft.Transport.
func (t *transport) Consumer() <-chan raft.RPC { return t.consume }

// LocalAddr implements raft.Transport: the address by which the configuration names this node.
func (t *transport) LocalAddr() raft.ServerAddress {
	if addr := t.o.Self().RaftAddr; addr != "" {
		return raft.ServerAddress(addr)
	}
	return raft.ServerAddress(t.o.Listener.Addr().String())
}

// EncodePeer implements raft.Transport.
func (t *transport) EncodePeer(_ raft.ServerID, addr raft.ServerAddress) []byte { return []byte(addr) }

// DecodePeer implements raft.Transport.
func (t *transport) DecodePeer(b []byte) raft.ServerAddress { return raft.ServerAddress(b) }

// SetHeartbeatHandler implements raft.Transport. Before it is called, heartbeats go raft's usual way.
func (t *transport) SetHeartbeatHandler(f func(raft.RPC)) { t.beat.Store(&f) }

// AppendEntries implements raft.Transport. It may shorten args.Entries; raft goes by what is left.
func (t *transport) AppendEntries(id raft.ServerID, addr raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	entries, err := trimEntries(args.Entries)
	if err != nil {
		return err
	}
	args.Entries = entries
	timeout, beat := t.o.Timeout, isHeartbeat(args)
	if beat {
		timeout = t.beatTimeout()
	}
	t.match.observe(args.Term)
	var sent time.Time
	err = t.call(id, addr, timeout, exchange{
		request: func(b []byte) []byte {
			sent = time.Now()
			return encodeAppend(b, args, t.commitToSend(args))
		},
		answer: kindAppended,
		decode: func(f *fields) { decodeAppended(f, resp) },
	})
	if beat && isTimeout(err) {
		t.breakPipelines(id)
	}
	if err == nil {
		t.acknowledged(id, args, resp, sent)
	}
	return err
}

// commitToSend is gate R2.
func (t *transport) commitToSend(a *raft.AppendEntriesRequest) uint64 {
	if !t.o.ParallelSync {
		return a.LeaderCommitIndex
	}
	return min(a.LeaderCommitIndex, t.match.safe())
}

// acknowledged notes what an answer says about its sender. A refusal says nothing: a follower that refused has not
// promised to stay.
func (t *transport) acknowledged(id raft.ServerID, a *raft.AppendEntriesRequest, r *raft.AppendEntriesResponse, sent time.Time) {
	if !r.Success || r.Term != a.Term {
		return
	}
	index := uint64(0)
	if n := len(a.Entries); n > 0 {
		index = a.Entries[n-1].Index
	}
	t.match.answered(id, a.Term, sent, index)
}

func (t *transport) mayStand() error {
	if t.o.MayStand == nil {
		return nil
	}
	return t.o.MayStand()
}

func (t *transport) beatTimeout() time.Duration { return min(t.o.Timeout, beatTimeoutMax) }

// RequestVote implements raft.Transport.
func (t *transport) RequestVote(id raft.ServerID, addr raft.ServerAddress, args *raft.RequestVoteRequest, resp *raft.RequestVoteResponse) error {
	if err := t.mayStand(); err != nil {
		return err
	}
	return t.call(id, addr, t.beatTimeout(), exchange{
		request: func(b []byte) []byte { return encodeVote(b, args) },
		answer:  kindVoted,
		decode:  func(f *fields) { decodeTermAnd(f, &resp.ProtocolVersion, &resp.Term, &resp.Granted) },
	})
}

// RequestPreVote implements raft.WithPreVote.
func (t *transport) RequestPreVote(id raft.ServerID, addr raft.ServerAddress, args *raft.RequestPreVoteRequest, resp *raft.RequestPreVoteResponse) error {
	if err := t.mayStand(); err != nil {
		return err
	}
	return t.call(id, addr, t.beatTimeout(), exchange{
		request: func(b []byte) []byte { return encodePreVote(b, args) },
		answer:  kindPreVoted,
		decode:  func(f *fields) { decodeTermAnd(f, &resp.ProtocolVersion, &resp.Term, &resp.Granted) },
	})
}

// TimeoutNow implements raft.Transport. The lease is over before the peer can hear of it.
func (t *transport) TimeoutNow(id raft.ServerID, addr raft.ServerAddress, args *raft.TimeoutNowRequest, _ *raft.TimeoutNowResponse) error {
	t.match.voidLease()
	return t.call(id, addr, t.beatTimeout(), exchange{
		request: func(b []byte) []byte { return encodeTimeoutNow(b, args) },
		answer:  kindTimedOut,
	})
}

// InstallSnapshot implements raft.Transport. There is no deadline for the whole: the data must flow, and while the peer
// works on it, it says so. The answer makes no lease: the peer may give it without asking its raft (haveThat).
func (t *transport) InstallSnapshot(id raft.ServerID, addr raft.ServerAddress, args *raft.InstallSnapshotRequest, resp *raft.InstallSnapshotResponse, data io.Reader) error {
	t.match.observe(args.Term)
	c, err := t.dial(t.ctx, id, addr, time.Now().Add(t.o.Timeout))
	if err != nil {
		return err
	}
	defer t.hangUp(c)
	if err := t.install(c, args, resp, data); err != nil {
		return fmt.Errorf("raftlog: install a snapshot on %s at %s: %w", id, addr, err)
	}
	if resp.Success && resp.Term == args.Term {
		t.match.answered(id, args.Term, time.Time{}, args.LastLogIndex)
	}
	return nil
}

func (t *transport) install(c *outbound, args *raft.InstallSnapshotRequest, resp *raft.InstallSnapshotResponse, data io.Reader) error {
	c.out = encodeInstall(c.out, args)
	err := c.wire.send(c.out, time.Now().Add(t.o.Timeout))
	if err == nil {
		c.out, err = sendStream(c.wire, c.out, data, args.Size, t.o.Timeout)
	}
	if err != nil {
		return err
	}
	for {
		k, body, err := c.wire.receiveBy(time.Now().Add(t.o.Timeout), smallBodyMax)
		if err != nil {
			return err
		}
		c.record.touch()
		if k != kindBusy {
			return decodeAnswer(k, kindInstalled, body, func(f *fields) {
				decodeTermAnd(f, &resp.ProtocolVersion, &resp.Term, &resp.Success)
			})
		}
	}
}

// mayLead has a node stand for election at once, in agreement with this one, which leads.
func (t *transport) mayLead(id raft.ServerID, addr raft.ServerAddress) error {
	return t.TimeoutNow(id, addr, &raft.TimeoutNowRequest{RPCHeader: t.header()}, nil)
}

// header is what raft itself puts before its messages.
func (t *transport) header() raft.RPCHeader {
	own := t.o.Self()
	return raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(own.NodeID), Addr: []byte(own.RaftAddr)}
}

// injectTimeoutNow makes this node stand for election at once, as if the leader had handed over to it. It returns when
// raft has taken note, or the transport is closed.
func (t *transport) injectTimeoutNow() {
	answer := make(chan raft.RPCResponse, 1)
	select {
	case t.consume <- raft.RPC{Command: &raft.TimeoutNowRequest{RPCHeader: t.header()}, RespChan: answer}:
	case <-t.ctx.Done():
		return
	}
	select {
	case <-answer:
	case <-t.ctx.Done():
	}
}

// noteLocal: the local durable index grew.
func (t *transport) noteLocal() { t.match.noteLocal() }

// safe bounds what may be committed, applied and shown (R2, R3).
func (t *transport) safe() uint64 { return t.match.safe() }

// waitSafe returns when index <= safe; false: closed.
func (t *transport) waitSafe(index uint64) bool { return t.match.waitSafe(index) }

// everywhere is the highest index that every voter's disk is known to hold. It means something on a leader.
func (t *transport) everywhere() uint64 { return t.match.everywhere() }

// holders is how many voters' disks are known to hold index. It means something on a leader.
func (t *transport) holders(index uint64) int { return t.match.holders(index) }

// leaseStart is the latest instant such that a majority agreed to requests of the current term that were sent at or after
// it; zero: none. Whoever uses it knows that this node leads.
func (t *transport) leaseStart() time.Time { return t.match.leaseStart() }

// agreedSince is the same where leadership is being handed over, too.
func (t *transport) agreedSince() time.Time { return t.match.agreedSince() }

// leaseEnd is the instant up to which a majority has promised to elect nobody else, as far as each
// promise may be counted on; zero: no majority has. Whoever uses it knows that this node leads.
func (t *transport) leaseEnd() time.Time { return t.match.leaseEnd() }

// voidLease ends the lease for the rest of the term, before leadership is handed over.
func (t *transport) voidLease() { t.match.voidLease() }
