package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"ayder/internal/testkit/proc"
)

// Clients that keep their connections, while nodes are stopped and started. A node that stops must let them finish: what is
// sent on a connection that is in use is answered, and the last answer says so.

// inUse is how recently a connection must have been answered to count as one: a fraction of the time for which the server
// leaves idle ones open.
const inUse = 200 * time.Millisecond

// broken counts requests that were sent and not answered.
type broken struct {
	used  atomic.Int64 // on connections in use
	idle  atomic.Int64 // on those that had been idle for a while
	fresh atomic.Int64 // the first ones of their connections
}

func (b *broken) String() string {
	return fmt.Sprintf("unanswered: %d on connections in use, %d on idle ones, %d on fresh ones", b.used.Load(), b.idle.Load(), b.fresh.Load())
}

// keeper is a client that keeps a connection to every node it talks to.
type keeper struct {
	broken *broken
	conns  map[string]*keptConn
}

type keptConn struct {
	*proc.Client
	answered time.Time // zero: never
}

// do asks a node, and goes where it redirects to.
func (k *keeper) do(addr, target string, body []byte) (proc.Response, error) {
	return redirected(addr, func(addr string) (proc.Response, error) { return k.once(addr, target, body) })
}

func (k *keeper) once(addr, target string, body []byte) (proc.Response, error) {
	c := k.conns[addr]
	if c == nil {
		dialled, err := proc.Dial(addr)
		if err != nil {
			return proc.Response{}, err
		}
		c = &keptConn{Client: dialled}
		k.conns[addr] = c
	}
	err := c.Send(c.AppendRequest(nil, "POST", target, body))
	sent := time.Now()
	var r proc.Response
	if err == nil {
		r, err = c.Receive("POST")
	}
	if err != nil {
		k.note(c, sent, err)
	}
	if c.answered = time.Now(); err != nil || strings.EqualFold(r.Header.Get("Connection"), "close") {
		c.Close()
		delete(k.conns, addr)
	}
	return r, err
}

func (k *keeper) note(c *keptConn, sent time.Time, err error) {
	switch {
	case !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE):
	case c.answered.IsZero():
		k.broken.fresh.Add(1)
	case sent.Sub(c.answered) < inUse:
		k.broken.used.Add(1)
	default:
		k.broken.idle.Add(1)
	}
}

func (k *keeper) close() {
	for _, c := range k.conns {
		c.Close()
	}
}

// put appends a message exactly once, through any node.
func (k *keeper) put(g *group, topic string, partition int, body []byte, node *int) error {
	target := fmt.Sprintf("/broker/topics/%s/produce?partition=%d&idempotency_key=%d", topic, partition, g.keys.Add(1))
	for began := time.Now(); time.Since(began) < proc.HangGuard; *node++ {
		r, err := k.do(g.nodes[*node%len(g.nodes)].http, target, body)
		if err == nil && r.Status == 200 {
			return nil
		}
		if err == nil && final(&r) {
			return fmt.Errorf("produce: %s", &r)
		}
		time.Sleep(5 * time.Millisecond)
	}
	return errUnanswered
}

// keepers produce without end, each into a partition of its own.
type keepers struct {
	g       *group
	broken  broken
	done    chan struct{}
	running sync.WaitGroup
	acked   []atomic.Int64
	errs    []error
}

func (g *group) keepWriting(topic string, count int) *keepers {
	ks := &keepers{g: g, done: make(chan struct{}), acked: make([]atomic.Int64, count), errs: make([]error, count)}
	for i := range count {
		ks.running.Go(func() { ks.errs[i] = ks.run(topic, i) })
	}
	return ks
}

func (ks *keepers) run(topic string, i int) error {
	k := &keeper{broken: &ks.broken, conns: make(map[string]*keptConn)}
	defer k.close()
	node := i
	for number := 0; ; number++ {
		select {
		case <-ks.done:
			return nil
		default:
		}
		if err := k.put(ks.g, topic, i, counted(number, 60), &node); err != nil {
			return err
		}
		ks.acked[i].Add(1)
		time.Sleep(time.Duration(i) * time.Millisecond) // some are busy, some are not
	}
}

// more waits until everybody has had count more answers.
func (ks *keepers) more(count int64) {
	ks.g.t.Helper()
	for i := range ks.acked {
		want := ks.acked[i].Load() + count
		ks.g.eventually("the load goes on", func() bool { return ks.acked[i].Load() >= want || ks.errs[i] != nil })
	}
}

// stop ends the load and checks that all nodes have what was acknowledged.
func (ks *keepers) stop(topic string) {
	ks.g.t.Helper()
	close(ks.done)
	ks.running.Wait()
	if err := errors.Join(ks.errs...); err != nil {
		ks.g.t.Fatal(err)
	}
	total := 0
	for i := range ks.acked {
		var want [][]byte
		for number := range int(ks.acked[i].Load()) {
			want = append(want, counted(number, 60))
		}
		ks.g.mustAllHold(topic, i, want)
		total += len(want)
	}
	ks.g.t.Logf("%d messages acknowledged; %s", total, &ks.broken)
}

// Nodes are restarted one after the other, leader included, and nobody who uses a connection finds it closed under a request.
func TestRollingRestartBreaksNoRequest(t *testing.T) {
	t.Parallel()
	eachBackendAtOnce(t, func(t *testing.T, o proc.Options) {
		g := runGroup(t, 3, o)
		ks := g.keepWriting("kept", 6)
		for range scale(5, 1, 1) {
			for _, n := range g.nodes {
				ks.more(20)
				mustStop(t, n.Server)
				ks.more(20)
				g.start(n)
			}
		}
		ks.more(20)
		ks.stop("kept")
		if n := ks.broken.used.Load(); n > 0 {
			t.Errorf("%d requests on connections in use were not answered", n)
		}
	})
}
