package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"

	"ayder/internal/testkit/proc"
)

// A producer is one connection. It sends bursts of one to burstMax requests in one write and then
// reads their answers, so that at the moment of the blow some requests are unsent, some on the way,
// some half read, some durable but not answered. In mode idempotent it sends some requests twice in a
// row: the second must be answered as a duplicate of the first, which is not durable yet.

const topic = "crash"

// producer writes one page of the ledger.
type producer struct {
	seed   uint64
	keyed  bool // requests have idempotency keys
	page   *page
	random *rand.Rand
	client *proc.Client
	struck *atomic.Bool // the blow has fallen or is falling: errors are expected from here on

	out    []byte
	body   []byte
	burst  []int // requests of the burst, in the order of their answers
	faults faults
}

func newProducer(seed uint64, keyed bool, p *page, struck *atomic.Bool) *producer {
	r := rand.New(rand.NewPCG(seed, uint64(p.round)<<32|uint64(p.conn)))
	return &producer{seed: seed, keyed: keyed, page: p, random: r, struck: struck}
}

// run produces until the connection breaks or the server refuses.
func (p *producer) run(addr string) {
	var err error
	if p.client, err = proc.Dial(addr); err != nil {
		p.broken(err)
		return
	}
	defer p.client.Close()
	p.client.Timeout = replyWait
	for p.exchange() {
	}
}

// exchange sends one burst and reads its answers; false ends the producer.
func (p *producer) exchange() bool {
	p.compose()
	if err := p.client.Send(p.out); err != nil {
		p.broken(err)
		return false
	}
	last := -1
	for _, number := range p.burst {
		answer, err := p.client.Receive("POST")
		if err != nil {
			p.broken(err)
			return false
		}
		if !p.settle(number, number == last, &answer) {
			return false
		}
		last = number
	}
	return true
}

// compose fills p.out with a burst.
func (p *producer) compose() {
	p.out, p.burst = p.out[:0], p.burst[:0]
	for range 1 + p.random.IntN(burstMax) {
		number := len(p.page.requests)
		r := request{partition: uint8(p.random.IntN(partitions)), lines: 1}
		if p.random.IntN(ndjsonEvery) == 0 {
			r.ndjson, r.lines = true, uint16(1+p.random.IntN(linesMax))
		}
		p.page.requests = append(p.page.requests, r)
		p.append(number)
		if p.keyed && p.random.IntN(repeatEvery) == 0 {
			p.append(number)
		}
	}
}

func (p *producer) append(number int) {
	var target string
	target, p.body = describe(p.body[:0], p.seed, p.keyed, p.page, number)
	p.out = p.client.AppendRequest(p.out, "POST", target, p.body)
	p.burst = append(p.burst, number)
}

// describe is the target and the body of a request of the ledger; it appends the body to b.
func describe(b []byte, seed uint64, keyed bool, p *page, number int) (target string, body []byte) {
	r := &p.requests[number]
	n := name{round: p.round, conn: p.conn, request: uint32(number)}
	call := "produce"
	if r.ndjson {
		call = "produce-ndjson"
	}
	target = fmt.Sprintf("/broker/topics/%s/%s?partition=%d", topic, call, r.partition)
	if keyed {
		target += "&idempotency_key=" + string(appendName(nil, seed, n))
	}
	for ; n.line < r.lines; n.line++ {
		b = appendPayload(b, seed, n, r.ndjson)
		if r.ndjson {
			b = append(b, '\n')
		}
	}
	return target, b
}

// settle notes an answer; false ends the producer.
func (p *producer) settle(number int, repeated bool, answer *proc.Response) bool {
	if answer.Status != 200 {
		if !p.struck.Load() || answer.ErrorCode() != "storage_failed" {
			p.faults.addf("connection %d, request %d: %s", p.page.conn, number, answer.String())
		}
		return false
	}
	r := &p.page.requests[number]
	duplicate, err := r.accept(answer, repeated)
	if err == nil && duplicate && !repeated {
		err = errDuplicate
	}
	if err != nil {
		p.faults.addf("connection %d, request %d: %v", p.page.conn, number, err)
		return false
	}
	return true
}

var (
	errNotDuplicate = errors.New("a request sent again was not answered as a duplicate")
	errDuplicate    = errors.New("a request sent once was answered as a duplicate")
	errOtherOffset  = errors.New("the answer to a duplicate has another offset than the first answer")
)

// accept takes over what an answer promises and tells whether it is one to a duplicate. repeated tells
// that the request was answered before.
func (r *request) accept(answer *proc.Response, repeated bool) (duplicate bool, err error) {
	var a proc.Append
	if err := answer.JSON(&a); err != nil {
		return false, err
	}
	offset, lines := a.Offset, 1
	if r.ndjson {
		offset, lines = a.First, a.Count
	}
	switch {
	case !a.OK || a.Partition != int(r.partition) || lines != int(r.lines) || !a.Durable:
		return false, fmt.Errorf("a wrong answer: %s", answer.String())
	case repeated && !a.Duplicate:
		return false, errNotDuplicate
	case repeated && offset != r.offset:
		return true, errOtherOffset
	}
	r.acked, r.offset = true, offset
	return a.Duplicate, nil
}

// broken notes the end of the connection, which before the blow is a fault of the server.
func (p *producer) broken(err error) {
	if !p.struck.Load() {
		p.faults.addf("connection %d broke before the blow: %v", p.page.conn, err)
	}
}
