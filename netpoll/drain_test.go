package netpoll

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"testing"
	"time"
)

// Draining: nobody who has connected is turned away, nobody else is let in, and the loops run on until Shutdown.

// drain begins draining and returns where its end will be told.
func drain(t *testing.T, s *Server, ctx context.Context) chan error {
	t.Helper()
	down := make(chan error, 1)
	go func() { down <- s.Drain(ctx) }()
	until(t, "draining", s.Loops()[0].Draining)
	return down
}

// TestDrainServesWhoHasConnected: while the loop is busy, connections wait in the kernel, with requests in them. They are served
// although the server begins to drain before it can accept them.
func TestDrainServesWhoHasConnected(t *testing.T) {
	backends(t, func(t *testing.T, backend string) {
		busy, goOn := make(chan struct{}), make(chan struct{})
		h := &script{onData: func(_ *Conn, b []byte) {
			if string(b) == "block\n" {
				close(busy)
				<-goOn
			}
		}}
		s := start(t, Options{Backend: backend}, h)
		first := dial(t, s)
		first.send("block\n")
		<-busy
		var waiting []*client
		for range 20 {
			c := dial(t, s)
			c.send("hello\n")
			waiting = append(waiting, c)
		}
		down := drain(t, s, context.Background())
		close(goOn)
		first.want("block\n")
		for _, c := range waiting {
			c.want("hello\n")
			c.send("again\n")
			c.want("again\n")
		}
		for range 100 { // closed by now: they were all accepted, and it takes a turn
			c, err := net.Dial("tcp", s.Addr().String())
			if err != nil {
				break
			}
			_ = c.Close()
			time.Sleep(10 * time.Millisecond)
		}
		if c, err := net.Dial("tcp", s.Addr().String()); err == nil {
			t.Error("a new connection while draining")
			_ = c.Close()
		}
		for _, c := range append(waiting, first) {
			_ = c.Close()
		}
		if err := <-down; err != nil {
			t.Error(err)
		}
		posted := make(chan struct{})
		s.Loops()[0].Post(func() { close(posted) })
		<-posted // the loops run on
		if err := s.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
}

func TestDrainGivesUp(t *testing.T) {
	backends(t, func(t *testing.T, backend string) {
		s := start(t, Options{Backend: backend}, &script{})
		c := dial(t, s)
		c.send("hello\n")
		c.want("hello\n")
		ctx, cancel := context.WithCancel(context.Background())
		down := drain(t, s, ctx)
		cancel()
		if err := <-down; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		c.send("still\n")
		c.want("still\n")
		if err := s.Shutdown(ctx); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

// TestDrainTwice: also after Shutdown, from anywhere, without a connection.
func TestDrainTwice(t *testing.T) {
	backends(t, func(t *testing.T, backend string) {
		s := start(t, Options{Backend: backend}, &script{})
		until(t, "the loop", func() bool { return s.Loops()[0].Stats().Turns > 0 })
		for range 2 {
			if err := s.Drain(context.Background()); err != nil {
				t.Error(err)
			}
		}
		if err := errors.Join(s.Shutdown(context.Background()), s.Drain(context.Background())); err != nil {
			t.Error(err)
		}
	})
}

// TestDrainLetsHandshakesEnd: who has connected to the TLS port before is served; who never shakes hands is cut after a while.
func TestDrainLetsHandshakesEnd(t *testing.T) {
	backends(t, func(t *testing.T, backend string) {
		served := false
		for range 10 { // a slow machine may take longer than the server waits
			s, connect := startTLS(t, Options{Backend: backend}, &script{})
			established := connect() // for the pool of certificates, and to know that the server accepts
			shaking, err := net.Dial("tcp", s.TLSAddr().String())
			if err != nil {
				t.Fatal(err)
			}
			idle, err := net.Dial("tcp", s.TLSAddr().String())
			if err != nil {
				t.Fatal(err)
			}
			until(t, "all three", func() bool { return s.Conns() == 3 })
			down := drain(t, s, context.Background())
			c := tls.Client(shaking, &tls.Config{InsecureSkipVerify: true})
			if _, err = c.Write([]byte("hello\n")); err == nil {
				got := make([]byte, 6)
				_, err = c.Read(got)
				served = err == nil && string(got) == "hello\n"
			}
			_, _ = idle.Read(make([]byte, 1)) // returns when it is cut
			for _, c := range []net.Conn{c, idle, established} {
				_ = c.Close()
			}
			if err := <-down; err != nil {
				t.Error(err)
			}
			if served {
				return
			}
		}
		t.Error("no handshake that had begun was completed")
	})
}
