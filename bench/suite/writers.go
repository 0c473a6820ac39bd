package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// The load under which leaders are killed: writers, each with a partition of its own, that append numbered messages of
// 64 bytes, one after the other, and never give one up. Every message carries an idempotency key, so trying again
// is safe, and what was acknowledged must be in the log exactly once.

const (
	writersTopic = "failover"
	messageBytes = 64
)

// writer appends to one partition. Its fields are its goroutine's until the load has ended.
type writer struct {
	client    *patient
	partition int
	run       int64   // makes keys different from those of other runs
	acked     []int64 // offsets by number
	err       error   // what ended it, if nobody asked it to end
}

// writers is all of them.
type writers struct {
	list    []*writer
	pulse   pulse
	cancel  context.CancelFunc
	running sync.WaitGroup
}

// startWriters makes the topic and begins.
func startWriters(ctx context.Context, addrs []string, count int) (*writers, error) {
	p := newPatient(addrs)
	defer p.close()
	settings := fmt.Sprintf(`{"name":%q,"partitions":%d}`, writersTopic, count)
	if _, err := p.do(ctx, http.MethodPost, "/broker/topics", []byte(settings)); err != nil {
		return nil, fmt.Errorf("create topic: %w", err)
	}
	ws := &writers{pulse: pulse{last: time.Now()}}
	ctx, ws.cancel = context.WithCancel(ctx)
	for i := range count {
		w := &writer{client: newPatient(addrs), partition: i, run: time.Now().UnixNano()}
		ws.list = append(ws.list, w)
		ws.running.Go(func() { w.write(ctx, &ws.pulse) })
	}
	return ws, nil
}

// stop ends the load. The message that a writer was at then may be in the log or not.
func (ws *writers) stop() error {
	ws.cancel()
	ws.running.Wait()
	var faults []error
	for _, w := range ws.list {
		faults = append(faults, w.err)
		w.client.close()
	}
	return errors.Join(faults...)
}

// acked is how many messages were acknowledged; after stop.
func (ws *writers) acked() (n int64) {
	for _, w := range ws.list {
		n += int64(len(w.acked))
	}
	return n
}

// more waits until count more messages are acknowledged.
func (ws *writers) more(ctx context.Context, count int64) error {
	want := ws.pulse.count() + count
	return eventually(ctx, "writes are acknowledged", func() (bool, error) { return ws.pulse.count() >= want, nil })
}

// write appends until ctx is over.
func (w *writer) write(ctx context.Context, p *pulse) {
	for number := 0; ; number++ {
		begin := time.Now()
		offset, err := w.append(ctx, number)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			w.err = fmt.Errorf("partition %d, message %d: %w", w.partition, number, err)
			return
		}
		w.acked = append(w.acked, offset)
		p.beat(begin, time.Now())
	}
}

// append puts one message into the log and returns its offset.
func (w *writer) append(ctx context.Context, number int) (int64, error) {
	target := fmt.Sprintf("/broker/topics/%s/produce?partition=%d&idempotency_key=%d-%d-%d", writersTopic, w.partition, w.run, w.partition, number)
	text, err := w.client.do(ctx, http.MethodPost, target, []byte(numbered(w.partition, number)))
	if err != nil {
		return 0, err
	}
	var answer struct {
		Offset  int64 `json:"offset"`
		Durable bool  `json:"durable"`
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		return 0, fmt.Errorf("answer %q: %w", text, err)
	}
	if !answer.Durable {
		return 0, fmt.Errorf("acknowledged and not durable: %s", text)
	}
	return answer.Offset, nil
}

// numbered is a message that tells which one it is.
func numbered(partition, number int) string {
	text := fmt.Sprintf("%d %d ", partition, number)
	return text + strings.Repeat("x", max(messageBytes-len(text), 0))
}

// numberOf reads it again.
func numberOf(partition int, message string) (int, error) {
	words := strings.Fields(message)
	if len(words) < 2 || words[0] != strconv.Itoa(partition) {
		return 0, fmt.Errorf("partition %d holds %.80q", partition, message)
	}
	return strconv.Atoi(words[1])
}

// pulse is how acknowledgements follow each other, whoever they are for.
type pulse struct {
	mu      sync.Mutex
	beats   int64
	last    time.Time     // of the latest one
	longest time.Duration // between two, since reset
	slowest time.Duration // from a first try to its acknowledgement, since reset
}

// beat notes an acknowledgement now of what was first tried at begin.
func (p *pulse) beat(begin, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.beats++
	p.longest, p.slowest = max(p.longest, now.Sub(p.last)), max(p.slowest, now.Sub(begin))
	if now.After(p.last) {
		p.last = now
	}
}

func (p *pulse) count() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.beats
}

// reset begins a new observation with the latest acknowledgement.
func (p *pulse) reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.longest, p.slowest = 0, 0
}

// observed is what was seen since reset.
func (p *pulse) observed() (longest, slowest time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.longest, p.slowest
}
