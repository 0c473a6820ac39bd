package raftlog

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/raft"
)

// What the transport remembers of its peers, for those who ask how the cluster is: what each said of itself, how many
// connections it has with this node, and when it was last heard of, on the monotonic clock. Each connection holds its
// peer's record and touches it without a lock; names are bounded, because anybody can say hello under a new one.
//
// And the log of refusals, which would be the loudest of all logs if it said the same thing every time: a node that is
// refused tries again for ever.

// peerStatus is a peer as this node knows it.
type peerStatus struct {
	ID          raft.ServerID
	Match       uint64    // index that it acknowledged in the current term; means something on a leader
	LastContact time.Time // when a message of it arrived; zero: never
	Connected   bool      // there is a connection, opened by either
	Hello       hello     // what it said last
}

// peerBook holds a bounded number of peers.
type peerBook struct {
	epoch time.Time
	mu    sync.Mutex
	peers map[string]*peerRecord
}

type peerRecord struct {
	book    *peerBook
	hello   hello        // under mu
	open    int          // connections, under mu
	contact atomic.Int64 // nanoseconds after epoch, on the monotonic clock; any connection's goroutine
}

// met notes a new connection with a peer. left must follow.
func (b *peerBook) met(h hello) *peerRecord {
	b.mu.Lock()
	defer b.mu.Unlock()
	r := b.peers[h.NodeID]
	if r == nil {
		r = &peerRecord{book: b}
		b.enter(h.NodeID, r)
	}
	r.hello = h
	r.open++
	r.touch()
	return r
}

// enter adds a record, in place of one that is not connected if there are too many. Under mu.
func (b *peerBook) enter(id string, r *peerRecord) {
	if b.peers == nil {
		b.peers = make(map[string]*peerRecord)
	}
	if len(b.peers) >= peersKept {
		for other, old := range b.peers {
			if old.open == 0 {
				delete(b.peers, other)
				break
			}
		}
	}
	b.peers[id] = r
}

// left notes that a connection ended. gone makes that happen once per connection.
func (b *peerBook) left(r *peerRecord, gone *atomic.Bool) {
	if r == nil || gone.Swap(true) {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	r.open--
}

// touch notes that the peer was heard of now.
func (r *peerRecord) touch() { r.contact.Store(int64(time.Since(r.book.epoch))) }

// peers lists the nodes that this one has met, by id.
func (t *transport) peers() []peerStatus {
	b := &t.book
	b.mu.Lock()
	list := make([]peerStatus, 0, len(b.peers))
	for id, r := range b.peers {
		list = append(list, peerStatus{
			ID: raft.ServerID(id), LastContact: b.epoch.Add(time.Duration(r.contact.Load())), Connected: r.open > 0, Hello: r.hello,
		})
	}
	b.mu.Unlock()
	for i := range list {
		list[i].Match = t.match.of(list[i].ID)
	}
	slices.SortFunc(list, func(x, y peerStatus) int { return strings.Compare(string(x.ID), string(y.ID)) })
	return list
}

// refusalLog logs why a connection came to nothing, each reason per host once in a while: a node that is refused tries
// again many times a second.
type refusalLog struct {
	mu   sync.Mutex
	last map[refusalKey]time.Time
}

type refusalKey struct{ host, why string }

// note logs err unless it is an ordinary end of a connection, or was logged just now.
func (l *refusalLog) note(to *slog.Logger, addr string, err error) {
	if isOrdinaryEnd(err) {
		return
	}
	host, _, splitErr := net.SplitHostPort(addr)
	if splitErr != nil {
		host = addr
	}
	why := refusalText(err)
	key := refusalKey{host, why}
	if errors.Is(err, errMalformed) {
		key.why = errMalformed.Error() // garbage is never the same twice
	}
	if l.isNew(key, time.Now()) {
		to.Warn("connection between nodes refused", "peer", addr, "reason", why)
	}
}

func (l *refusalLog) isNew(k refusalKey, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if at, ok := l.last[k]; ok && now.Sub(at) < refusalLogEvery {
		return false
	}
	if l.last == nil {
		l.last = make(map[refusalKey]time.Time)
	}
	maps.DeleteFunc(l.last, func(_ refusalKey, at time.Time) bool { return now.Sub(at) >= refusalLogEvery })
	if len(l.last) >= refusalsKept {
		return false // the log says enough
	}
	l.last[k] = now
	return true
}

// isOrdinaryEnd tells that a connection ended, or did not come about, as connections do when nodes or networks stop.
func isOrdinaryEnd(err error) bool {
	for _, ordinary := range []error{
		io.EOF, io.ErrUnexpectedEOF, io.ErrClosedPipe, net.ErrClosed, context.Canceled, context.DeadlineExceeded,
		syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.EPIPE, errTransportClosed,
	} {
		if errors.Is(err, ordinary) {
			return true
		}
	}
	return false
}
