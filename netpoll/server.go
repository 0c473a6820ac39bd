package netpoll

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"

	"ayder/internal/uring"
)

// The server: chooses a backend, counts connections over all loops, and goes through four phases.
//
//	serving ──Drain──▶ draining ──Shutdown──▶ ending ──its context done──▶ aborting
//
// Loops look at the phase once per turn and, from ending on, end by themselves when no connection is left anywhere; nobody
// stops them from outside. So a reply that is being waited for is not lost to a shutdown that has time, and Handler.Stop
// finds a loop at rest.
//
// Whoever has connected must not meet a reset because the server goes: a kernel that closes a listening socket resets what
// waits in its backlog, with the requests that may be in there. So every listener accepts what has come before it closes, and
// those connections are admitted while draining. (What arrives in between, a few microseconds, is lost all the same.)

const (
	phaseServing = iota
	phaseDraining
	phaseEnding
	phaseAborting
)

// Server listens and runs the loops.
type Server struct {
	opts    Options
	handler Handler
	log     *slog.Logger
	backend string
	reason  string
	addr    net.Addr
	loops   []*Loop
	engine  engine
	front   *tlsFront // nil without TLS

	phase   atomic.Int32  // only ever grows; written by Drain and Shutdown, read by the loops
	conns   atomic.Int64  // admitted and not released; changed by loops and TLS goroutines
	refused atomic.Int64  // TLS connections refused or failed; changed by TLS goroutines
	ears    atomic.Int32  // listeners that are open
	empty   chan struct{} // closed when draining, no listener is open and no connection is left
	emptied sync.Once
	abortAt atomic.Int64 // when the phase became aborting, monotonic ns; written before the phase

	gate   chan struct{} // closed when the loops may begin, or must end without having begun
	gated  atomic.Bool   // gate is closed or about to be
	served bool          // Serve was called; written before gate is closed, read after
	done   chan struct{} // closed when all loops have ended
	err    error         // the first failure of a loop; written before done is closed
}

// Listen binds the addresses and prepares the loops. It fails if a port is taken, or if the wanted backend cannot
// work here; under BackendAuto evio takes the place of uring, which is logged with the reason. Every Server that was
// listened must see Shutdown, also if Serve is never called.
func Listen(o Options, h Handler) (*Server, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	s := &Server{opts: o, handler: h, log: o.Logger, gate: make(chan struct{}), done: make(chan struct{}), empty: make(chan struct{})}
	if err := s.listenTLS(); err != nil {
		return nil, err
	}
	if err := s.choose(); err != nil {
		s.front.close()
		return nil, err
	}
	s.ears.Add(1)
	s.log.Info("listening", "addr", s.addr.String(), "backend", s.backend, "reason", s.reason, "loops", len(s.loops))
	go func() {
		s.err = s.engine.wait()
		close(s.done)
	}()
	return s, nil
}

// choose starts the engine that Options ask for.
func (s *Server) choose() error {
	if s.opts.Backend == BackendEvio {
		return s.useEvio("asked for")
	}
	unusable := uring.Probe()
	if unusable == nil {
		var err error
		if s.engine, err = newUringEngine(s); err == nil {
			s.backend, s.reason = BackendUring, "io_uring works here"
			return nil
		}
		if s.addr == nil {
			return err // the address is the trouble, not the ring
		}
		s.addr, s.loops, unusable = nil, nil, err
	}
	if s.opts.Backend == BackendUring {
		return fmt.Errorf("%w: %w", ErrUnsupported, unusable)
	}
	s.log.Warn("io_uring cannot be used, falling back to evio", "reason", unusable.Error())
	return s.useEvio(unusable.Error())
}

func (s *Server) useEvio(reason string) (err error) {
	s.backend, s.reason = BackendEvio, reason
	s.engine, err = newEvioEngine(s)
	return err
}

// Serve runs until Shutdown has ended, and returns why a loop failed, if one did. Call it once.
func (s *Server) Serve() error {
	if s.gated.CompareAndSwap(false, true) {
		s.served = true
		s.front.serve()
		close(s.gate)
	}
	<-s.done
	s.front.close()
	return s.err
}

// Drain stops accepting and waits until all connections have ended, which is up to the handler, or ctx is done. The loops run
// on: what they are asked for by other goroutines still takes place. Shutdown must follow.
func (s *Server) Drain(ctx context.Context) error {
	s.beginDrain()
	select {
	case <-s.empty:
	case <-s.done:
	case <-ctx.Done():
		return fmt.Errorf("netpoll: %d connections are left: %w", s.Conns(), ctx.Err())
	}
	return nil
}

func (s *Server) beginDrain() {
	if s.phase.CompareAndSwap(phaseServing, phaseDraining) {
		s.front.drain()
		s.engine.drain()
		s.wakeAll()
	}
}

// deaf is called once for every listener when it has closed.
func (s *Server) deaf() {
	s.ears.Add(-1)
	s.noteEmpty()
}

// noteEmpty is called when the last listener or the last connection may have gone.
func (s *Server) noteEmpty() {
	if s.phase.Load() == phaseServing || s.ears.Load() > 0 || s.conns.Load() > 0 {
		return
	}
	s.emptied.Do(func() { close(s.empty) })
	s.wakeAll()
}

// Shutdown stops accepting and lets the loops end when the connections have. If ctx is done first, all connections
// are aborted and its error is returned. After that only Loop.Busy can hold it up, at most StopGraceMs.
func (s *Server) Shutdown(ctx context.Context) error {
	if s.gated.CompareAndSwap(false, true) {
		close(s.gate) // never served: the loops end without having begun
	}
	s.beginDrain()
	s.phase.CompareAndSwap(phaseDraining, phaseEnding)
	s.wakeAll()
	select {
	case <-s.done:
		return nil
	case <-ctx.Done():
	}
	s.abortAt.CompareAndSwap(0, Now())
	s.phase.Store(phaseAborting)
	s.front.abort()
	s.wakeAll()
	<-s.done
	return fmt.Errorf("netpoll: connections aborted by shutdown: %w", ctx.Err())
}

// graceOver reports that not even Busy may hold up a loop any more.
func (s *Server) graceOver(now int64) bool {
	at := s.abortAt.Load()
	return at != 0 && now > at+ms(StopGraceMs)
}

func (s *Server) wakeAll() {
	for _, l := range s.loops {
		l.sys.wake()
	}
}

// admit counts one more connection; false: there are too many already, or all are being aborted.
func (s *Server) admit() bool {
	if s.phase.Load() == phaseAborting {
		return false
	}
	if s.conns.Add(1) > int64(s.opts.ConnsMax) {
		s.release()
		return false
	}
	return true
}

// release takes back an admit. The loops wait for the last one when the server shuts down.
func (s *Server) release() {
	if s.conns.Add(-1) == 0 {
		s.noteEmpty()
	}
}

// Addr is where the server listens, with the port the system chose.
func (s *Server) Addr() net.Addr { return s.addr }

// TLSAddr is where it listens for TLS, nil if it does not.
func (s *Server) TLSAddr() net.Addr {
	if s.front == nil {
		return nil
	}
	return s.front.listener.Addr()
}

// Backend is the backend in use, BackendUring or BackendEvio.
func (s *Server) Backend() string { return s.backend }

// Reason says why that one.
func (s *Server) Reason() string { return s.reason }

// Loops are all loops, by index.
func (s *Server) Loops() []*Loop { return s.loops }

// Conns is how many connections there are on all loops, TLS handshakes included.
func (s *Server) Conns() int { return int(s.conns.Load()) }

// RefusedTLS is how many TLS connections were refused or failed their handshake.
func (s *Server) RefusedTLS() int { return int(s.refused.Load()) }

// lingerNs is how long input is thrown away after the last byte was sent to a peer.
func (s *Server) lingerNs() int64 {
	if s.phase.Load() == phaseServing {
		return ms(DrainMs)
	}
	return ms(DrainLastMs)
}
