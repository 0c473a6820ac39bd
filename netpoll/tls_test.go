package netpoll

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"
)

// certificate makes a self-signed one for 127.0.0.1 and the pool that trusts it.
func certificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

// startTLS runs a server with a TLS listener; connect dials it.
func startTLS(t *testing.T, o Options, h *script) (s *Server, connect func() *tls.Conn) {
	t.Helper()
	cert, pool := certificate(t)
	o.TLSAddr, o.TLSConfig = "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}}
	s = start(t, o, h)
	return s, func() *tls.Conn {
		t.Helper()
		c, err := tls.Dial("tcp", s.TLSAddr().String(), &tls.Config{RootCAs: pool})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		if err := c.SetDeadline(time.Now().Add(hangGuard)); err != nil {
			t.Fatal(err)
		}
		return c
	}
}

func wantText(t *testing.T, c io.Reader, text string) {
	t.Helper()
	got := make([]byte, len(text))
	if n, err := io.ReadFull(c, got); err != nil || string(got) != text {
		t.Fatalf("got %.200q (%v), want %.200q", got[:n], err, text)
	}
}

func sendText(t *testing.T, c io.Writer, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
}

func TestTLSEcho(t *testing.T) {
	backends(t, func(t *testing.T, backend string) {
		const size = 3 << 20
		_, connect := startTLS(t, Options{Backend: backend}, &script{})
		var w sync.WaitGroup
		for range 5 {
			c := connect()
			w.Go(func() {
				sendText(t, c, "peer\n")
				wantText(t, c, c.LocalAddr().String()+"\n")
				sendText(t, c, fmt.Sprintf("echo %d\n", size)+string(pattern(size))+"later x\n")
				wantText(t, c, string(pattern(size))+"x\n")
			})
		}
		w.Wait()
	})
}

// TestSecure: the handler can tell who came over TLS, from the first byte to the end.
func TestSecure(t *testing.T) {
	backends(t, func(t *testing.T, backend string) {
		atClose := make(chan bool, 2)
		h := &script{onClose: func(c *Conn) { atClose <- c.Secure() }}
		s, connect := startTLS(t, Options{Backend: backend}, h)
		plain, over := dial(t, s), connect()
		for range 3 {
			plain.send("secure\n")
			plain.want("false\n")
			sendText(t, over, "secure\n")
			wantText(t, over, "true\n")
		}
		_ = over.Close()
		if !<-atClose {
			t.Error("forgotten at the end")
		}
	})
}

func TestTLSHalfClose(t *testing.T) {
	backends(t, func(t *testing.T, backend string) {
		h := &script{}
		_, connect := startTLS(t, Options{Backend: backend}, h)
		c := connect()
		sendText(t, c, "busy 50\n")
		if err := c.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		wantText(t, c, "woken\n")
		if n, err := c.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("read %d bytes and %v, want the end", n, err)
		}
		if err := h.closeErr(t, 1); err != nil {
			t.Errorf("closed with %v", err)
		}
	})
}

func TestTLSServerCloses(t *testing.T) {
	backends(t, func(t *testing.T, backend string) {
		h := &script{}
		s, connect := startTLS(t, Options{Backend: backend}, h)
		c := connect()
		sendText(t, c, "bye 100000\nignored")
		wantText(t, c, string(pattern(100_000)))
		if n, err := c.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("read %d bytes and %v, want close_notify", n, err)
		}
		aborted := connect()
		sendText(t, aborted, "abort\n")
		if n, err := aborted.Read(make([]byte, 1)); err == nil {
			t.Errorf("read %d bytes after an abort", n)
		}
		_ = c.Close()
		_ = aborted.Close()
		until(t, "all to be gone", func() bool { return s.Conns() == 0 })
	})
}

// TestTLSPeerVanishes: a TLS connection that is cut without close_notify ends on the loop too.
func TestTLSPeerVanishes(t *testing.T) {
	backends(t, func(t *testing.T, backend string) {
		h := &script{}
		s, connect := startTLS(t, Options{Backend: backend}, h)
		for i := range 10 {
			c := connect()
			sendText(t, c, []string{"hello\n", "make 20000000\n"}[i%2])
			_ = c.NetConn().(*net.TCPConn).SetLinger(0)
			_ = c.NetConn().Close()
		}
		until(t, "all to be gone", func() bool { return s.Conns() == 0 })
	})
}

// TestBridgeComesTooLate: evio goes on for a moment after the loop has ended. What a TLS connection that is gone already has left to
// read by then opens no connection.
func TestBridgeComesTooLate(t *testing.T) {
	h := &script{}
	s, connect := startTLS(t, Options{Backend: BackendEvio}, h)
	e := s.engine.(*evioEngine)
	far, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: e.socketPath(), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	id := token{1, 2, 3}
	e.mu.Lock()
	e.expect[id] = "somebody"
	e.mu.Unlock()
	c := connect() // what came before it has been accepted when it is served
	sendText(t, c, "hello\n")
	wantText(t, c, "hello\n")
	_ = c.Close()
	if err := s.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	// The loop stands still while a wake-up and the token arrive, in this order, and ends with the wake-up.
	stands, goOn, turns := make(chan bool), make(chan bool), 0
	s.Loops()[0].Post(func() {
		s.Loops()[0].Busy = func() bool { turns++; return turns == 1 }
		stands <- true
		<-goOn
	})
	<-stands
	stopped := make(chan error, 1)
	go func() { stopped <- s.Shutdown(t.Context()) }()
	until(t, "the shutdown", func() bool { return s.phase.Load() == phaseEnding })
	if _, err := e.far.Load().Write(wakeByte); err != nil {
		t.Fatal(err)
	}
	if _, err := far.Write(id[:]); err != nil {
		t.Fatal(err)
	}
	goOn <- true
	if err := <-stopped; err != nil {
		t.Fatal(err)
	}
	if opened := h.opened.Load(); opened != 1 {
		t.Errorf("%d connections were opened", opened)
	}
}

// TestTLSConnsMax: handshakes and TLS connections count with the others.
func TestTLSConnsMax(t *testing.T) {
	backends(t, func(t *testing.T, backend string) {
		s, connect := startTLS(t, Options{Backend: backend, ConnsMax: 2}, &script{})
		c := connect()
		sendText(t, c, "hello\n")
		wantText(t, c, "hello\n")
		plain := dial(t, s)
		plain.send("hello\n")
		plain.want("hello\n")
		third, err := net.Dial("tcp", s.TLSAddr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer third.Close()
		if n, err := third.Read(make([]byte, 1)); err == nil {
			t.Errorf("a third connection got %d bytes", n)
		}
		until(t, "the refusal", func() bool { return s.RefusedTLS() == 1 })
	})
}

// TestTLSBadHandshake: what is not TLS gets nowhere and leaves nothing behind.
func TestTLSBadHandshake(t *testing.T) {
	backends(t, func(t *testing.T, backend string) {
		h := &script{}
		s, _ := startTLS(t, Options{Backend: backend}, h)
		c, err := net.Dial("tcp", s.TLSAddr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		sendText(t, c, "GET / HTTP/1.1\r\n\r\n")
		_, _ = io.Copy(io.Discard, c)
		until(t, "all to be gone", func() bool { return s.Conns() == 0 })
		if h.opened.Load() != 0 || s.RefusedTLS() != 1 {
			t.Errorf("%d opened, %d refused", h.opened.Load(), s.RefusedTLS())
		}
	})
}

// TestTLSShutdown: a handshake under way is cut, an established connection gets its answer.
func TestTLSShutdown(t *testing.T) {
	backends(t, func(t *testing.T, backend string) {
		h := &script{closeIdle: true}
		s, connect := startTLS(t, Options{Backend: backend}, h)
		shaking, err := net.Dial("tcp", s.TLSAddr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer shaking.Close()
		c := connect()
		sendText(t, c, "busy 100\n")
		until(t, "both", func() bool { return s.Conns() == 2 && s.Loops()[0].Stats().BytesIn == 9 })
		down := make(chan error, 1)
		go func() { down <- s.Shutdown(context.Background()) }()
		wantText(t, c, "woken\n")
		if _, err := c.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("after the answer: %v", err)
		}
		_ = c.Close()
		if err := <-down; err != nil {
			t.Error(err)
		}
	})
}

// TestTLSShutdownAborts: a peer that neither reads nor leaves does not hold up a shutdown that has run out of time.
func TestTLSShutdownAborts(t *testing.T) {
	backends(t, func(t *testing.T, backend string) {
		h := &script{}
		s, connect := startTLS(t, Options{Backend: backend, OutputMax: 64 << 20}, h)
		c := connect()
		sendText(t, c, "make 30000000\n")
		until(t, "the request", func() bool { return s.Loops()[0].Stats().BytesOut > 0 })
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
		defer cancel()
		if err := s.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	})
}
