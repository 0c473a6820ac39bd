package raftlog

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// Connections that this node opens, the pool of those at rest, and calls: one request, one answer.
//
// A connection that rested may be dead without anybody knowing: the peer was restarted. So a call that fails on one for
// another reason than time is made once more on a new connection. Raft's requests may arrive twice; without the second
// try, the first vote asked of a restarted node would be lost. After any failure all that rest to that address are closed.

// outbound is a connection that this node opened. It belongs to one call, pipeline, stream, or the pool.
type outbound struct {
	wire   *wire
	out    []byte // messages are made here
	addr   raft.ServerAddress
	peer   hello
	record *peerRecord
	rested bool // has been in the pool
	gone   atomic.Bool
}

// dial opens a connection and the conversation. id is who should be there, "" for anybody.
func (t *transport) dial(ctx context.Context, id raft.ServerID, addr raft.ServerAddress, deadline time.Time) (*outbound, error) {
	limited, cancel := context.WithDeadline(ctx, earlier(deadline, time.Now().Add(helloTimeoutMax)))
	defer cancel()
	defer context.AfterFunc(t.ctx, cancel)()
	conn, err := t.o.Dial(limited, string(addr))
	if err != nil {
		if isRefusal(err) {
			t.refusals.note(t.o.Logger, string(addr), err)
		}
		return nil, fmt.Errorf("raftlog: dial %s: %w", addr, err)
	}
	if !t.adopt(conn, false) {
		return nil, errTransportClosed
	}
	c := &outbound{wire: newWire(conn), addr: addr}
	if err := t.converse(limited, c, id); err != nil {
		t.release(conn, false)
		t.refusals.note(t.o.Logger, string(addr), err)
		return nil, fmt.Errorf("raftlog: connect to %s: %w", addr, err)
	}
	c.record = t.book.met(c.peer)
	return c, nil
}

func (t *transport) converse(ctx context.Context, c *outbound, id raft.ServerID) error {
	deadline, _ := ctx.Deadline()
	err := shakeHands(ctx, c.wire.conn)
	if err == nil {
		c.peer, err = t.greet(c.wire, id, deadline)
	}
	return err
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// adopt registers a connection, so that Close finds it. false: it was closed instead, too late or too many.
func (t *transport) adopt(conn net.Conn, inbound bool) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || inbound && t.inbound == inboundMax {
		cut(conn)
		return false
	}
	if c, ok := plain(conn).(*net.TCPConn); ok {
		_ = c.SetNoDelay(true) // Go's default; whoever dialed may have thought otherwise
	}
	t.open[conn] = struct{}{}
	if inbound {
		t.inbound++
	}
	return true
}

// plain is the connection below TLS.
func plain(conn net.Conn) net.Conn {
	if c, ok := conn.(*tls.Conn); ok {
		return c.NetConn()
	}
	return conn
}

// cut closes a connection without a word. TLS would say goodbye first, and wait for a peer that does not read.
func cut(conn net.Conn) { _ = plain(conn).Close() }

// release closes a connection. It may be called twice.
func (t *transport) release(conn net.Conn, inbound bool) {
	cut(conn)
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := t.open[conn]; !ok {
		return
	}
	delete(t.open, conn)
	if inbound {
		t.inbound--
	}
}

// hangUp ends a connection that this node opened. It may be called twice, and by several goroutines.
func (t *transport) hangUp(c *outbound) {
	t.release(c.wire.conn, false)
	t.book.left(c.record, &c.gone)
}

// exchange is one request and what becomes of its answer.
type exchange struct {
	request func(b []byte) []byte // makes the message
	answer  kind
	decode  func(*fields) // nil: the answer says nothing more
}

// call makes an exchange with the node id at addr. The error of the peer's raft is a remoteError.
func (t *transport) call(id raft.ServerID, addr raft.ServerAddress, timeout time.Duration, x exchange) error {
	deadline := time.Now().Add(timeout)
	c := t.takeIdle(id, addr)
	for {
		if c == nil {
			var err error
			if c, err = t.dial(t.ctx, id, addr, deadline); err != nil {
				return err
			}
		}
		err := c.exchange(x, deadline)
		var remote remoteError
		if err == nil || errors.As(err, &remote) {
			t.rest(c)
			return err
		}
		t.hangUp(c)
		t.hangUpIdle(addr)
		if !c.rested || isTimeout(err) {
			return fmt.Errorf("raftlog: call %s at %s: %w", id, addr, err)
		}
		c = nil
	}
}

func (c *outbound) exchange(x exchange, deadline time.Time) error {
	c.out = x.request(c.out)
	err := c.wire.send(c.out, deadline)
	c.out = kept(c.out)
	if err != nil {
		return err
	}
	k, body, err := c.wire.receiveBy(deadline, smallBodyMax)
	if err != nil {
		return err
	}
	c.record.touch()
	return decodeAnswer(k, x.answer, body, x.decode)
}

func isTimeout(err error) bool {
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded)
}

// takeIdle takes a connection out of the pool, nil if there is none. One to a node that is no longer meant is closed.
func (t *transport) takeIdle(id raft.ServerID, addr raft.ServerAddress) *outbound {
	for {
		t.mu.Lock()
		idle := t.idle[addr]
		if len(idle) == 0 {
			t.mu.Unlock()
			return nil
		}
		c := idle[len(idle)-1]
		t.idle[addr] = idle[:len(idle)-1]
		t.mu.Unlock()
		if c.peer.NodeID == string(id) {
			return c
		}
		t.hangUp(c)
	}
}

// rest puts a connection into the pool if there is room.
func (t *transport) rest(c *outbound) {
	c.rested = true
	t.mu.Lock()
	room := !t.closed && len(t.idle[c.addr]) < idlePerPeer
	if room {
		t.idle[c.addr] = append(t.idle[c.addr], c)
	}
	t.mu.Unlock()
	if !room {
		t.hangUp(c)
	}
}

// hangUpIdle closes what rests to an address.
func (t *transport) hangUpIdle(addr raft.ServerAddress) {
	t.mu.Lock()
	idle := t.idle[addr]
	delete(t.idle, addr)
	t.mu.Unlock()
	for _, c := range idle {
		t.hangUp(c)
	}
}
