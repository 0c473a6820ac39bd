package netpoll

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// Client TLS. crypto/tls wants a net.Conn and a goroutine; loops have neither. So a TLS connection lives on two
// goroutines of its own, one per direction, and the plain bytes go through a local socket to a loop, which cannot
// tell them from those of any other connection:
//
//	peer ══TLS══ goroutines ──local socket── loop
//
// It costs two copies and the goroutines' wake-ups, which is fine beside the cipher; the plain listener stays free of
// it. Ends of stream go through in both directions and separately: close_notify becomes SHUT_WR on the local socket
// and the other way round. Anything but an orderly end closes both sides.
//
// Rejected: kernel TLS (needs the handshake in user space all the same, and OpenSSL-like care for rekeying);
// crypto/tls over memory buffers on the loop (a handshake's public-key work would stall every connection).

// tlsFront is the TLS listener with its connections. A nil one does nothing.
type tlsFront struct {
	srv      *Server
	listener *net.TCPListener

	mu     sync.Mutex
	conns  map[net.Conn]bool // true while shaking hands; under mu
	closed bool              // no new ones, and no handshake that is not done; under mu

	wg sync.WaitGroup
}

func (s *Server) listenTLS() error {
	if s.opts.TLSAddr == "" {
		return nil
	}
	ln, err := net.Listen("tcp", s.opts.TLSAddr)
	if err != nil {
		return fmt.Errorf("netpoll: TLS: %w", err)
	}
	s.front = &tlsFront{srv: s, listener: ln.(*net.TCPListener), conns: make(map[net.Conn]bool)}
	return nil
}

// serve accepts until the listener is closed, or drain's deadline.
func (f *tlsFront) serve() {
	if f == nil {
		return
	}
	f.srv.ears.Add(1)
	f.wg.Go(func() {
		defer f.srv.deaf()
		for {
			c, err := f.listener.Accept()
			switch {
			case err == nil:
				f.begin(c)
			case errors.Is(err, net.ErrClosed):
				return
			case errors.Is(err, os.ErrDeadlineExceeded):
				_ = f.listener.Close()
				return
			default:
				f.srv.log.Warn("TLS accept failed", "error", err)
				time.Sleep(AcceptPauseMs * time.Millisecond)
			}
		}
	})
}

// begin counts a new connection and gives it a goroutine.
func (f *tlsFront) begin(c net.Conn) {
	if !f.srv.admit() {
		f.srv.refused.Add(1)
		_ = c.Close()
		return
	}
	if !f.track(c) {
		_ = c.Close()
		f.srv.release()
		return
	}
	f.wg.Go(func() {
		defer f.srv.release()
		defer f.untrack(c)
		if err := f.run(c); err != nil {
			f.srv.refused.Add(1)
			f.srv.log.Debug("TLS connection refused", "remote", c.RemoteAddr().String(), "error", err)
		}
	})
}

// run is the life of one connection; the error is one of its beginning.
func (f *tlsFront) run(c net.Conn) error {
	defer c.Close()
	outer := tls.Server(c, f.srv.opts.TLSConfig)
	ctx, cancel := context.WithTimeout(context.Background(), HandshakeMs*time.Millisecond)
	defer cancel()
	if err := outer.HandshakeContext(ctx); err != nil {
		return err
	}
	if !f.shaken(c) {
		return ErrShutdown
	}
	inner, err := f.srv.engine.bridge(c.RemoteAddr().String())
	if err != nil {
		return err
	}
	f.splice(outer, inner)
	return nil
}

// halfCloser is what both sides of a splice can do.
type halfCloser interface {
	net.Conn
	CloseWrite() error
}

// splice copies in both directions until both have ended, then closes both sides.
func (f *tlsFront) splice(outer *tls.Conn, innerConn net.Conn) {
	inner := innerConn.(halfCloser) // a Unix socket in both engines
	var in sync.WaitGroup
	in.Go(func() {
		if forward(inner, outer) != nil {
			_ = inner.Close() // the loop sees its peer gone
		}
	})
	if forward(stallLimit{outer}, inner) != nil {
		_ = outer.Close()
	}
	// The loop has hung up, perhaps closed: it would discard input for DrainMs at most, so nothing is worth
	// waiting for after that, least of all a peer that says nothing more.
	_ = outer.SetReadDeadline(time.Now().Add(2 * time.Duration(f.srv.lingerNs())))
	in.Wait()
	_ = inner.Close()
	_ = outer.Close()
}

// forward copies from src to dst until the orderly end of src, which it passes on.
func forward(dst, src halfCloser) error {
	buf := make([]byte, 16<<10) // one TLS record
	for {
		n, err := src.Read(buf)
		if n > 0 {
			if _, err := dst.Write(buf[:n]); err != nil {
				return err
			}
		}
		switch {
		case err == io.EOF:
			return dst.CloseWrite()
		case err != nil:
			return err
		}
	}
}

// stallLimit gives up on a peer that does not take one record in CloseFlushMs, because a goroutine in Write would
// not notice that the loop has given it up long ago.
type stallLimit struct{ *tls.Conn }

func (s stallLimit) Write(p []byte) (int, error) {
	if err := s.SetWriteDeadline(time.Now().Add(CloseFlushMs * time.Millisecond)); err != nil {
		return 0, err
	}
	return s.Conn.Write(p)
}

func (f *tlsFront) track(c net.Conn) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return false
	}
	f.conns[c] = true
	return true
}

// shaken notes the end of a handshake; false: too late, the server drains.
func (f *tlsFront) shaken(c net.Conn) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.conns[c] = false
	return !f.closed
}

func (f *tlsFront) untrack(c net.Conn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.conns, c)
}

// drain stops accepting, and after a while ends handshakes; established connections go on.
func (f *tlsFront) drain() {
	if f == nil {
		return
	}
	_ = f.listener.SetDeadline(time.Now().Add(LastAcceptMs * time.Millisecond))
	time.AfterFunc(LastHandshakeMs*time.Millisecond, func() { f.end(func(shaking bool) bool { return shaking }) })
}

// abort ends everything. The goroutines may take until the loops have ended their side.
func (f *tlsFront) abort() { f.end(func(bool) bool { return true }) }

// close ends everything and waits for the goroutines.
func (f *tlsFront) close() {
	if f != nil {
		f.abort()
		f.wg.Wait()
	}
}

func (f *tlsFront) end(which func(shaking bool) bool) {
	if f == nil {
		return
	}
	_ = f.listener.Close()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	for c, shaking := range f.conns {
		if which(shaking) {
			_ = c.Close()
		}
	}
}
