package main

import "fmt"

// shot is one request on its way: what must be remembered of it until its answer
// comes. Answers come in the order of requests on every protocol here, so a queue
// per connection is enough and nothing has to be looked up.
type shot struct {
	start int64 // ns; its latency is counted from here
	op    int
}

// conn is one connection of the loop: a queue of requests without an answer, the
// input that is not a whole answer yet, the output the kernel did not take yet.
// Idle it holds its queue and nothing else; input is read into the loop's shared
// buffer and kept here only if an answer was cut.
//
// Invariant: count requests are outstanding, the oldest at shots[first].
type conn struct {
	index int // in loop.conns, and what the dialect knows it by
	fd    int
	free  bool // stands in loop.free

	shots        []shot // a ring of the pipeline's depth
	first, count int

	in   []byte // unread input of a cut answer
	need int    // do not look at it before it is so long
	out  []byte // unsent output; while not empty, writing waits for the socket
}

func newConn(index, depth int) *conn {
	return &conn{index: index, fd: -1, shots: make([]shot, depth)}
}

// room says whether one more request may be outstanding.
func (c *conn) room() bool { return c.count < len(c.shots) }

// push notes a request that is about to be sent.
func (c *conn) push(s shot) {
	if !c.room() {
		panic("bug: more requests outstanding than the pipeline is deep")
	}
	c.shots[(c.first+c.count)%len(c.shots)] = s
	c.count++
}

// pop takes the oldest request without an answer.
func (c *conn) pop() shot {
	if c.count == 0 {
		panic("bug: an answer without a request")
	}
	s := c.shots[c.first]
	c.first = (c.first + 1) % len(c.shots)
	c.count--
	return s
}

// oldest is the operation whose answer comes next; without any outstanding, the
// first one, so that a stray answer can be parsed and reported.
func (c *conn) oldest() int {
	if c.count == 0 {
		return 0
	}
	return c.shots[c.first].op
}

// sink is what parsing hands its findings to.
type sink interface {
	answered(s shot, failure string)
	aside(c *conn, answer []byte)
}

// consume parses every whole reply in buf and returns how much of it was taken.
func (c *conn) consume(buf []byte, d dialect, to sink) (used int, err error) {
	c.need = 0
	for used < len(buf) {
		r, err := d.reply(buf[used:], c.oldest())
		if err != nil {
			return used, err
		}
		if r.used == 0 {
			c.need = r.need
			return used, nil
		}
		used += r.used
		if r.aside {
			to.aside(c, r.answer)
			continue
		}
		if c.count == 0 {
			return used, fmt.Errorf("an answer that nobody asked for: %.60q", buf[used-r.used:used])
		}
		to.answered(c.pop(), r.failure)
	}
	return used, nil
}

// keep stores what consume left over. rest may be part of in itself.
func (c *conn) keep(rest []byte) {
	if len(rest) == 0 {
		c.in = c.in[:0]
		return
	}
	c.in = append(c.in[:0], rest...)
}
