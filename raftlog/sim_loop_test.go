package raftlog

import (
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"ayder/aof"
	"ayder/internal/record"
)

// simLoop is a node's event loop: one goroutine that owns the Proposer and the assigned offsets, fills batches from what
// clients ask for and answers them from the batches' Done, as the product's loops do.
type simLoop struct {
	life *simLife

	mu     sync.Mutex
	posted *sync.Cond
	queue  []func()
	closed bool

	proposer *Proposer
	assigned map[uint32]uint64 // next offset, by topic
	waiting  []*simRequest
	inFlight int
}

// simRequest is one client's wish. answer has room for its one answer.
type simRequest struct {
	value  string
	stream record.Stream
	answer chan simAnswer
}

// simAnswer: index 0 and err nil do not occur together.
type simAnswer struct {
	index uint64
	err   error // ErrNotLeader: not proposed; else the outcome is unknown
}

const (
	simInFlightMax  = 4 // batches
	simBatchRecords = 8
)

func newSimLoop(l *simLife) *simLoop {
	p := &simLoop{life: l, assigned: map[uint32]uint64{}}
	p.posted = sync.NewCond(&p.mu)
	l.m.s.running.Go(p.run)
	return p
}

func (p *simLoop) run() {
	for {
		p.mu.Lock()
		for len(p.queue) == 0 && !p.closed {
			p.posted.Wait()
		}
		fns, closed := p.queue, p.closed
		p.queue = nil
		p.mu.Unlock()
		if closed {
			return
		}
		for _, fn := range fns {
			p.life.awaitResume()
			fn()
		}
		if !p.life.over() {
			p.propose()
		}
	}
}

// post has the loop run fn. It never blocks.
func (p *simLoop) post(fn func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.queue = append(p.queue, fn)
	p.posted.Signal()
}

// call has the loop run fn and waits for it, or for the process's end.
func (p *simLoop) call(fn func()) {
	done := make(chan struct{})
	p.post(func() { fn(); close(done) })
	select {
	case <-done:
	case <-p.life.dead:
	}
}

func (p *simLoop) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	p.posted.Signal()
}

// wake is what the Proposer calls.
func (p *simLoop) wake() { p.post(func() { p.proposer.Deliver() }) }

// ask is a client's request.
func (p *simLoop) ask(r *simRequest) { p.post(func() { p.waiting = append(p.waiting, r) }) }

// propose turns what waits into batches.
func (p *simLoop) propose() {
	for len(p.waiting) > 0 && p.inFlight < simInFlightMax {
		err := error(ErrNotLeader)
		if p.proposer != nil {
			err = p.proposer.Admit()
		}
		switch {
		case errors.Is(err, aof.ErrBusy):
			return // wake follows
		case err != nil:
			p.refuse(err)
			return
		}
		n := min(len(p.waiting), simBatchRecords)
		p.append(p.waiting[:n:n])
		p.waiting = p.waiting[n:]
	}
}

func (p *simLoop) refuse(err error) {
	for _, r := range p.waiting {
		r.answer <- simAnswer{err: err}
	}
	p.waiting = nil
}

func (p *simLoop) append(rs []*simRequest) {
	b := record.NewBatch()
	b.TimeMs = uint64(time.Now().UnixMilli()) + p.life.skewMs
	for _, r := range rs {
		offset := p.assigned[r.stream.Topic]
		p.assigned[r.stream.Topic] = offset + 1
		b.AppendRecord(r.stream, offset, &record.Record{Value: []byte(r.value)})
	}
	b.Done = func(b *record.Batch, err error) { p.done(b, rs, err) }
	p.inFlight++
	p.proposer.Append(b)
}

func (p *simLoop) done(b *record.Batch, rs []*simRequest, err error) {
	p.inFlight--
	if p.life.over() {
		return
	}
	for _, r := range rs {
		if err == nil {
			p.life.m.s.ledger.acknowledge(p.life.m.name, r.value, b.Index)
			r.answer <- simAnswer{index: b.Index}
		} else {
			r.answer <- simAnswer{err: err}
		}
	}
}

// simClient proposes unique values, one after the other, to whoever seems to lead, until it is told to stop.
type simClient struct {
	s    *sim
	name string
	rng  *rand.Rand
	next int
}

const (
	simAnswerWait = 2 * time.Second
	simThinkMax   = 15 * time.Millisecond
)

func (c *simClient) run(stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		default:
		}
		if l := c.leader(); l != nil {
			c.next++
			c.propose(l, c.s.value(c.name, c.next))
		}
		time.Sleep(time.Duration(c.rng.Int64N(int64(simThinkMax))))
	}
}

// leader picks one of the nodes that believe to lead.
func (c *simClient) leader() (leader *simLife) {
	for _, i := range c.rng.Perm(len(c.s.machines)) {
		if l := c.s.machines[i].current(); l != nil {
			if n := l.node.Load(); n != nil && n.Leading() {
				return l
			}
		}
	}
	return nil
}

func (c *simClient) propose(l *simLife, value string) {
	r := &simRequest{value: value, stream: record.Stream{Topic: uint32(1 + c.rng.IntN(3))}, answer: make(chan simAnswer, 1)}
	l.loop.ask(r)
	select {
	case a := <-r.answer:
		c.s.count(a.err)
	case <-time.After(simAnswerWait):
		c.s.count(errSimSilence)
	}
}

var errSimSilence = errors.New("no answer")
