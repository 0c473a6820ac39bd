package simnet

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// What nodes see of the network, in virtual time: each test says what a real one would have shown.

// pair is two machines with one connection from a to b.
type pair struct {
	t           *testing.T
	n           *Network
	a, b        *Host
	ln          net.Listener
	here, there net.Conn // a's end, b's end
}

// onPair runs a test with a pair in a bubble.
func onPair(t *testing.T, fn func(p *pair)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p := &pair{t: t, n: New(1)}
		p.n.SetDelay(time.Millisecond, time.Millisecond)
		p.a, p.b = p.n.Boot("a"), p.n.Boot("b")
		p.ln = listen(t, p.b, "b:1")
		p.here, p.there = p.connect()
		fn(p)
		p.a.Kill()
		p.b.Kill()
	})
}

func listen(t *testing.T, h *Host, addr string) net.Listener {
	t.Helper()
	ln, err := h.Listen(addr)
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

func (p *pair) connect() (here, there net.Conn) {
	p.t.Helper()
	here, err := p.a.Dial(p.t.Context(), "b:1")
	if err != nil {
		p.t.Fatal(err)
	}
	there, err = p.ln.Accept()
	if err != nil {
		p.t.Fatal(err)
	}
	return here, there
}

// mustSend writes and mustGet reads exactly so.
func (p *pair) mustSend(c net.Conn, s string) {
	p.t.Helper()
	if n, err := c.Write([]byte(s)); n != len(s) || err != nil {
		p.t.Fatalf("write: %d, %v", n, err)
	}
}

func (p *pair) mustGet(c net.Conn, s string) {
	p.t.Helper()
	b := make([]byte, len(s))
	if _, err := io.ReadFull(c, b); err != nil || string(b) != s {
		p.t.Fatalf("read %q, %v", b, err)
	}
}

// mustFail checks the error of a read of c that has until the deadline.
func (p *pair) mustFail(c net.Conn, until time.Duration, want error) {
	p.t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(until))
	if n, err := c.Read(make([]byte, 1)); !errors.Is(err, want) {
		p.t.Fatalf("read: %d, error %v, want %v", n, err, want)
	}
}

// took checks how long something lasted.
func (p *pair) took(since time.Time, want time.Duration) {
	p.t.Helper()
	if d := time.Since(since); d != want {
		p.t.Fatalf("took %v, want %v", d, want)
	}
}

func TestBytesArriveInOrderAfterTheDelay(t *testing.T) {
	onPair(t, func(p *pair) {
		started := time.Now()
		p.mustSend(p.here, "one")
		p.n.SetDelay(0, 0) // what is sent later does not overtake
		p.mustSend(p.here, "two")
		p.took(started, 0)
		p.mustGet(p.there, "onetwo")
		p.took(started, time.Millisecond)
		p.mustSend(p.there, "back")
		p.mustGet(p.here, "back")
	})
}

func TestCloseIsTheEndBehindTheBytes(t *testing.T) {
	onPair(t, func(p *pair) {
		p.mustSend(p.here, "last")
		if err := p.here.Close(); err != nil {
			t.Fatal(err)
		}
		p.mustGet(p.there, "last")
		if _, err := p.there.Read(make([]byte, 1)); err != io.EOF {
			t.Fatal(err)
		}
		p.mustFail(p.here, 0, net.ErrClosed)
		p.mustSend(p.there, "into the void") // a first write goes through; the answer is a reset
		time.Sleep(time.Second)
		if _, err := p.there.Write([]byte("x")); !errors.Is(err, syscall.ECONNRESET) {
			t.Fatal(err)
		}
	})
}

func TestDeadlines(t *testing.T) {
	onPair(t, func(p *pair) {
		started := time.Now()
		p.mustFail(p.here, time.Second, os.ErrDeadlineExceeded)
		p.took(started, time.Second)
		if err := p.here.SetDeadline(time.Time{}); err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(time.Minute, func() { _ = p.here.SetDeadline(time.Now()) })
		p.mustRead(p.here, os.ErrDeadlineExceeded)
		p.took(started, time.Second+time.Minute)
		_ = p.there.SetWriteDeadline(time.Now().Add(time.Second))
		n, err := p.there.Write(make([]byte, windowBytes+1))
		if n != windowBytes || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal(n, err)
		}
	})
}

// mustRead checks the error of a read with the deadline as it is.
func (p *pair) mustRead(c net.Conn, want error) {
	p.t.Helper()
	if n, err := c.Read(make([]byte, 1)); !errors.Is(err, want) {
		p.t.Fatalf("read: %d, error %v, want %v", n, err, want)
	}
}

func TestWritersBlockBehindASlowReader(t *testing.T) {
	onPair(t, func(p *pair) {
		data := bytes.Repeat([]byte("0123456789"), windowBytes/4)
		sent := make(chan error, 1)
		go func() {
			_, err := p.here.Write(data)
			sent <- err
		}()
		time.Sleep(time.Minute)
		select {
		case err := <-sent:
			t.Fatal("did not block", err)
		default:
		}
		got := make([]byte, len(data))
		if _, err := io.ReadFull(p.there, got); err != nil || !bytes.Equal(got, data) {
			t.Fatal(err)
		}
		if err := <-sent; err != nil {
			t.Fatal(err)
		}
	})
}

// A partition loses nothing: bytes come when it is over. The other direction works meanwhile.
func TestOneWayPartition(t *testing.T) {
	onPair(t, func(p *pair) {
		p.n.Block("a", "b")
		p.mustSend(p.here, "held")
		p.mustSend(p.there, "passes")
		p.mustGet(p.here, "passes")
		p.mustFail(p.there, time.Hour, os.ErrDeadlineExceeded)
		_ = p.there.SetReadDeadline(time.Time{})
		healed := time.Now()
		p.n.Unblock("a", "b")
		p.mustGet(p.there, "held")
		if d := time.Since(healed); d > resendMax {
			t.Errorf("arrived %v after the partition", d)
		}
	})
}

// Neither direction of a handshake may be blocked; a dial that waits gets through when the partition ends.
func TestDialThroughAPartition(t *testing.T) {
	for _, d := range []direction{{"a", "b"}, {"b", "a"}} {
		onPair(t, func(p *pair) {
			p.n.Block(d.from, d.to)
			ctx, cancel := context.WithTimeout(p.t.Context(), time.Second)
			defer cancel()
			started := time.Now()
			if _, err := p.a.Dial(ctx, "b:1"); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatal(err)
			}
			p.took(started, time.Second)
			time.AfterFunc(10*time.Second, p.n.Heal)
			p.connect()
		})
	}
}

// A killed process: its machine resets its connections and refuses new ones.
func TestKill(t *testing.T) {
	onPair(t, func(p *pair) {
		p.mustSend(p.there, "sent")
		p.b.Kill()
		p.mustGet(p.here, "sent")
		p.mustFail(p.here, time.Second, syscall.ECONNRESET)
		p.mustFail(p.there, time.Second, net.ErrClosed)
		started := time.Now()
		if _, err := p.a.Dial(p.t.Context(), "b:1"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Fatal(err)
		}
		p.took(started, 2*time.Millisecond)
		if _, err := p.ln.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Fatal(err)
		}
		p.b = p.n.Boot("b")
		p.ln = listen(t, p.b, "b:1")
		p.connect()
	})
}

// A machine without power says nothing: reads and dials wait. Booted again it refuses the connections of its earlier life.
func TestPowerOff(t *testing.T) {
	onPair(t, func(p *pair) {
		p.b.PowerOff()
		p.mustFail(p.here, time.Hour, os.ErrDeadlineExceeded)
		_ = p.here.SetReadDeadline(time.Time{})
		p.mustSend(p.here, "hello?")
		ctx, cancel := context.WithTimeout(p.t.Context(), time.Second)
		defer cancel()
		if _, err := p.a.Dial(ctx, "b:1"); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal(err)
		}
		p.b = p.n.Boot("b")
		p.mustRead(p.here, syscall.ECONNRESET)
		if _, err := p.a.Dial(p.t.Context(), "b:1"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Fatal(err)
		}
	})
}

// Of what a machine had sent when its power failed, a prefix arrives.
func TestPowerOffLosesWhatIsUnderWay(t *testing.T) {
	seen := map[int]bool{}
	for seed := range uint64(40) {
		onPair(t, func(p *pair) {
			p.n.rng = rand.New(rand.NewPCG(seed, 0))
			for range 4 {
				p.mustSend(p.there, "x")
			}
			p.b.PowerOff()
			n := 0
			_ = p.here.SetReadDeadline(time.Now().Add(time.Second))
			for {
				if _, err := p.here.Read(make([]byte, 1)); err != nil {
					break
				}
				n++
			}
			seen[n] = true
		})
	}
	if !seen[0] || len(seen) < 3 {
		t.Errorf("numbers of bytes that arrived: %v", seen)
	}
}

// What a partition holds back is gone when its sender's power fails.
func TestPowerOffBehindAPartition(t *testing.T) {
	onPair(t, func(p *pair) {
		p.n.Block("b", "a")
		p.mustSend(p.there, "never")
		time.Sleep(time.Minute)
		p.b.PowerOff()
		p.n.Heal()
		p.mustFail(p.here, time.Minute, os.ErrDeadlineExceeded)
	})
}

// A stopped process neither reads nor writes nor accepts, but its machine takes connections and bytes for it.
func TestPause(t *testing.T) {
	onPair(t, func(p *pair) {
		p.b.Pause()
		p.mustSend(p.here, "piles up")
		dialed, err := p.a.Dial(p.t.Context(), "b:1")
		if err != nil {
			t.Fatal(err)
		}
		p.mustSend(dialed, "hello")
		type result struct {
			at  time.Time
			err error
		}
		results := make(chan result, 2)
		go func() {
			_, err := p.there.Write([]byte("x"))
			results <- result{time.Now(), err}
		}()
		go func() {
			_, err := p.ln.Accept()
			results <- result{time.Now(), err}
		}()
		time.Sleep(time.Minute)
		resumed := time.Now()
		p.b.Resume()
		for range 2 {
			if r := <-results; r.err != nil || r.at.Before(resumed) {
				t.Error(r.err, "before it went on:", r.at.Before(resumed))
			}
		}
		p.mustGet(p.there, "piles up")
		p.mustGet(p.here, "x")
	})
}

// A deadline that passed while the process was stopped has passed, data or not.
func TestDeadlinePassesDuringAPause(t *testing.T) {
	onPair(t, func(p *pair) {
		_ = p.there.SetReadDeadline(time.Now().Add(time.Second))
		p.b.Pause()
		p.mustSend(p.here, "x")
		time.AfterFunc(time.Minute, p.b.Resume)
		started := time.Now()
		p.mustRead(p.there, os.ErrDeadlineExceeded)
		p.took(started, time.Minute)
	})
}

// The goroutines of a dead process can do nothing, not even under the name of its successor.
func TestADeadProcessIsDead(t *testing.T) {
	onPair(t, func(p *pair) {
		old := p.a
		p.a = p.n.Boot("a")
		if _, err := old.Dial(p.t.Context(), "b:1"); !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
		if _, err := old.Listen("a:1"); !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
		old.PowerOff()
		old.Pause()
		p.mustFail(p.here, time.Second, net.ErrClosed)
		p.mustFail(p.there, time.Second, syscall.ECONNRESET)
		p.connect()
	})
}

func TestListen(t *testing.T) {
	onPair(t, func(p *pair) {
		if _, err := p.a.Listen("b:2"); !errors.Is(err, syscall.EADDRNOTAVAIL) {
			t.Error(err)
		}
		if _, err := p.b.Listen("b:1"); !errors.Is(err, syscall.EADDRINUSE) {
			t.Error(err)
		}
		here, err := p.a.Dial(p.t.Context(), "b:1") // nobody accepts it
		if err != nil {
			t.Fatal(err)
		}
		if err := p.ln.Close(); err != nil {
			t.Fatal(err)
		}
		p.mustFail(here, time.Second, syscall.ECONNRESET)
		if _, err := p.a.Dial(p.t.Context(), "b:1"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Error(err)
		}
		p.ln = listen(t, p.b, "b:1")
		here, there := p.connect()
		if here.RemoteAddr().String() != "b:1" || there.LocalAddr().String() != "b:1" || here.LocalAddr().Network() != "mem" {
			t.Error(here.RemoteAddr(), there.LocalAddr())
		}
	})
}
