package simnet

// One end of a connection: net.Conn over two pipes. Every call looks at the state, acts or waits for the state to
// change, and looks again; a paused process's calls wait until it goes on. The checks are in the order in which
// a kernel would make them: closed, deadline, data, end.

import (
	"io"
	"net"
	"os"
	"syscall"
	"time"
)

// conn is one end of a connection. All fields are guarded by the network's lock.
type conn struct {
	host    *Host
	in, out *pipe
	peer    *conn
	local   net.Addr
	remote  net.Addr
	closed  bool
	readBy  deadline
	writeBy deadline
}

// deadline is when the end's reader or writer gives up; its timer has them look.
type deadline struct {
	at    time.Time // zero: never
	timer *time.Timer
}

func (d *deadline) passed() bool { return !d.at.IsZero() && !d.at.After(time.Now()) }

// set moves the deadline of whoever waits at p.
func (d *deadline) set(at time.Time, p *pipe) {
	d.at = at
	d.stop()
	if !at.IsZero() {
		d.timer = p.wakeAt(at)
	}
	p.cond.Broadcast()
}

func (d *deadline) stop() {
	if d.timer != nil {
		d.timer.Stop()
	}
}

// newConn makes one end. Under the lock.
func newConn(h *Host, in, out *pipe, local, remote net.Addr) *conn {
	c := &conn{host: h, in: in, out: out, local: local, remote: remote}
	in.back, out.back = out, in
	h.conns[c] = struct{}{}
	return c
}

// Read implements net.Conn.
func (c *conn) Read(b []byte) (int, error) {
	c.host.net.mu.Lock()
	defer c.host.net.mu.Unlock()
	for {
		if c.closed {
			return 0, c.opError("read", net.ErrClosed)
		}
		if !c.host.paused {
			if c.readBy.passed() {
				return 0, c.opError("read", os.ErrDeadlineExceeded)
			}
			n, err := c.in.receive(b)
			if n > 0 || err == io.EOF || len(b) == 0 {
				return n, err
			}
			if err != nil {
				return 0, c.opError("read", err)
			}
		}
		c.in.cond.Wait()
	}
}

// Write implements net.Conn.
func (c *conn) Write(b []byte) (n int, err error) {
	c.host.net.mu.Lock()
	defer c.host.net.mu.Unlock()
	for {
		switch {
		case c.closed:
			return n, c.opError("write", net.ErrClosed)
		case c.host.paused:
		case c.writeBy.passed():
			return n, c.opError("write", os.ErrDeadlineExceeded)
		case c.in.end == syscall.ECONNRESET && c.in.arrived(c.in.endAt):
			return n, c.opError("write", syscall.ECONNRESET)
		case len(b) == 0:
			return n, nil
		case c.out.queued < windowBytes:
			k := min(len(b), windowBytes-c.out.queued)
			c.out.send(b[:k])
			b, n = b[k:], n+k
			continue
		}
		c.out.cond.Wait()
	}
}

func (c *conn) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: "mem", Source: c.local, Addr: c.remote, Err: err}
}

// Close implements net.Conn.
func (c *conn) Close() error {
	c.host.net.mu.Lock()
	defer c.host.net.mu.Unlock()
	if c.closed {
		return c.opError("close", net.ErrClosed)
	}
	c.end(true, io.EOF)
	return nil
}

// end closes this end; loud: the other one gets err behind what was sent. Under the lock.
func (c *conn) end(loud bool, err error) {
	if c.closed {
		return
	}
	c.closed = true
	delete(c.host.conns, c)
	c.in.orphan = true
	if loud {
		c.out.finish(err)
	} else {
		c.out.cut()
	}
	c.in.refuse()
	c.readBy.stop()
	c.writeBy.stop()
	c.in.cond.Broadcast()
	c.out.cond.Broadcast()
	if c.peer.closed {
		delete(c.host.net.pipes, c.in)
		delete(c.host.net.pipes, c.out)
	}
}

// LocalAddr implements net.Conn.
func (c *conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr implements net.Conn.
func (c *conn) RemoteAddr() net.Addr { return c.remote }

// SetDeadline implements net.Conn.
func (c *conn) SetDeadline(t time.Time) error { return c.setDeadlines(t, true, true) }

// SetReadDeadline implements net.Conn.
func (c *conn) SetReadDeadline(t time.Time) error { return c.setDeadlines(t, true, false) }

// SetWriteDeadline implements net.Conn.
func (c *conn) SetWriteDeadline(t time.Time) error { return c.setDeadlines(t, false, true) }

func (c *conn) setDeadlines(t time.Time, read, write bool) error {
	c.host.net.mu.Lock()
	defer c.host.net.mu.Unlock()
	if c.closed {
		return c.opError("set", net.ErrClosed)
	}
	if read {
		c.readBy.set(t, c.in)
	}
	if write {
		c.writeBy.set(t, c.out)
	}
	return nil
}
