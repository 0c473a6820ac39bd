package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	clientv3 "go.etcd.io/etcd/client/v3"

	"ayder/bench/result"
)

// The closed loop: a goroutine for each client, which puts, waits for the answer, and puts again. Each counts for
// itself, so that they share nothing but the number of the next key. Latencies of puts that failed stay out of the
// histogram, as in ayder-bench; they are counted by their cause.

// putter is one client's connection.
type putter interface {
	Put(ctx context.Context, key, value string, options ...clientv3.OpOption) (*clientv3.PutResponse, error)
	Close() error
}

// load is all clients.
type load struct {
	putters []putter
	value   string
	key     atomic.Uint64 // of the last put
}

// connect opens every connection and has it used once, so that no handshake is measured.
func connect(c config, addr string) (*load, error) {
	l := &load{value: strings.Repeat("etcd put ", c.size/9+1)[:c.size]}
	for range c.connections {
		client, err := clientv3.New(clientv3.Config{Endpoints: []string{addr}, DialTimeout: dialMax})
		if err != nil {
			l.close()
			return nil, fmt.Errorf("connect to %s: %w", addr, err)
		}
		l.putters = append(l.putters, client)
	}
	if errs := l.phase(context.Background(), time.Nanosecond).errors; len(errs) > 0 {
		l.close()
		return nil, fmt.Errorf("first puts: %v", errs)
	}
	return l, nil
}

// close ends all connections.
func (l *load) close() {
	for _, p := range l.putters {
		_ = p.Close()
	}
}

// tally is what one client, or all, have counted.
type tally struct {
	latency *hdrhistogram.Histogram // ns
	maximum int64                   // ns, exact
	errors  map[string]int64
	elapsed time.Duration
}

// Latencies are kept as ayder-bench keeps them.
const (
	latencyNsMax  = int64(100 * time.Second)
	latencyDigits = 3
	putMax        = 30 * time.Second // for one answer
)

func newTally() *tally {
	return &tally{latency: hdrhistogram.New(1, latencyNsMax, latencyDigits), errors: map[string]int64{}}
}

// phase runs all clients for a while, each at least once.
func (l *load) phase(ctx context.Context, duration time.Duration) *tally {
	tallies := make([]*tally, len(l.putters))
	begin := time.Now()
	var running sync.WaitGroup
	for i, p := range l.putters {
		tallies[i] = newTally()
		running.Go(func() { l.client(ctx, p, tallies[i], begin.Add(duration)) })
	}
	running.Wait()
	all := newTally()
	all.elapsed = time.Since(begin)
	for _, t := range tallies {
		all.latency.Merge(t.latency)
		all.maximum = max(all.maximum, t.maximum)
		for name, n := range t.errors {
			all.errors[name] += n
		}
	}
	return all
}

// client is one client's loop.
func (l *load) client(ctx context.Context, p putter, t *tally, end time.Time) {
	for {
		begin := time.Now()
		err := l.put(ctx, p)
		now := time.Now()
		if err != nil {
			t.errors[cause(err)]++
		} else {
			t.record(int64(now.Sub(begin)))
		}
		if !now.Before(end) || ctx.Err() != nil {
			return
		}
	}
}

// put does one.
func (l *load) put(ctx context.Context, p putter) error {
	ctx, cancel := context.WithTimeout(ctx, putMax)
	defer cancel()
	var key [8]byte
	binary.BigEndian.PutUint64(key[:], l.key.Add(1))
	_, err := p.Put(ctx, string(key[:]), l.value)
	return err
}

// record clamps to the histogram's range, so it cannot fail.
func (t *tally) record(ns int64) {
	ns = min(max(ns, 0), latencyNsMax)
	t.maximum = max(t.maximum, ns)
	if err := t.latency.RecordValue(ns); err != nil {
		panic("bug: latency outside the histogram: " + err.Error())
	}
}

// cause names an error without what differs from one to the next.
func cause(err error) string {
	if errors.Is(err, context.DeadlineExceeded) {
		return "unanswered"
	}
	text, _, _ := strings.Cut(err.Error(), "\n")
	return text
}

// result is the tally in the shape that all load generators print.
func (t *tally) result(c *config) *result.Result {
	n := t.latency.TotalCount()
	rate := float64(n) / t.elapsed.Seconds()
	latency := result.Of(t.latency)
	latency.Max = float64(t.maximum) / 1e3
	return &result.Result{
		Engine: "etcd client/v3", Target: "etcd", Workload: "put", Connections: c.connections, Pipeline: 1,
		ElapsedS: t.elapsed.Seconds(), Requests: n, Messages: n, RequestsPerS: rate, MessagesPerS: rate,
		Errors: t.errors, Latency: latency,
	}
}
