package netpoll

// A Conn as the handler sees it. The fields say in which of a few states it is; they are changed here by the handler
// and in input.go, output.go and ending.go by the loop. Invariants:
//
//	dying ⇒ on Loop.dying, or Close was called already
//	flight != nil ⇔ a send is under way
//	choked ⇒ Queued() has been over outMax and not below half of it since
//	shut ⇒ closing and nothing queued

// Conn is one connection. It belongs to its loop: every method is for that goroutine only.
type Conn struct {
	// Context is the handler's own.
	Context any

	loop   *Loop
	remote string
	err    error // for Close
	id     uint64
	fd     int

	// Input: what the handler has not used, in[inStart:], and how much of it there must be before Data is called.
	in      []byte
	inStart int
	need    int

	// Output: out gathers, flight is on its way to the kernel, flown bytes of it taken.
	out     []byte
	flight  []byte
	flown   int
	outHint int // bytes of the last send: how large the next buffer should be
	outMax  int // bytes of output from which on c is full

	holds     int // answers owed to the peer
	discarded int // bytes thrown away since CloseWhenSent

	showing   bool // Data is running
	paused    bool // by the handler
	choked    bool // too much output queued
	eof       bool // the peer will send no more
	closing   bool // CloseWhenSent
	shut      bool // the peer was told that nothing follows
	dying     bool // ended; Close is about to be called or was
	fdClosed  bool // fd is not ours any more
	receiving bool // what the system below was told last
	dirty     bool // on Loop.dirty
	resumed   bool // on Loop.resumed
	secure    bool // it came over TLS; then the front has admitted it and releases it
	relieved  bool // on Loop.relieved

	io ioState
}

// Loop is the loop that c belongs to for its whole life. For any goroutine.
func (c *Conn) Loop() *Loop { return c.loop }

// RemoteAddr is the peer's address, host:port; of a TLS connection the TLS peer's. Empty if it was never asked for
// while the socket was open.
func (c *Conn) RemoteAddr() string {
	if c.remote == "" && !c.fdClosed {
		c.remote = peerName(c.fd)
	}
	return c.remote
}

// Secure reports that the peer speaks TLS with the server. It never changes; for any goroutine.
func (c *Conn) Secure() bool { return c.secure }

// Closed reports that c has ended: nothing queued from now on reaches the peer.
func (c *Conn) Closed() bool { return c.dying }

// Buffer is the output that gathers for the end of this turn. Append to it and give the result to SetBuffer before
// any other method of c is called. On a dead connection it is nil and SetBuffer throws away.
func (c *Conn) Buffer() []byte {
	if c.out == nil && !c.dying {
		c.out = c.loop.pool.get(c.outHint)
	}
	return c.out
}

// Reserve is Buffer with room for n more bytes, so that appending them does not allocate.
func (c *Conn) Reserve(n int) []byte {
	b := c.Buffer()
	if cap(b)-len(b) >= n || c.dying {
		return b
	}
	grown := append(c.loop.pool.get(max(len(b)+n, 2*cap(b))), b...)
	c.loop.pool.put(b)
	c.out = grown
	return grown
}

// SetBuffer gives the buffer back, with what was appended.
func (c *Conn) SetBuffer(b []byte) {
	if c.dying || c.shut {
		return
	}
	c.out = b
	if len(b) == 0 {
		c.dropOutput()
	} else {
		c.choked = c.choked || c.Queued() > c.outMax
		c.loop.touch(c)
	}
}

// Write queues a copy of p.
func (c *Conn) Write(p []byte) {
	if !c.dying && !c.shut {
		c.SetBuffer(append(c.Reserve(len(p)), p...))
	}
}

// Queued is how many bytes of output the kernel has not taken yet.
func (c *Conn) Queued() int { return len(c.out) + len(c.flight) - c.flown }

// Full reports that more than OutputMax bytes (or what LimitOutput said) are queued, or were and not half of them are
// gone. Data is not called while it is true; a handler in the middle of Data should stop using input. Writable is called
// when it is over.
func (c *Conn) Full() bool { return c.choked }

// LimitOutput lowers the number of queued bytes from which on c is full to n: a connection that is sent things for as
// long as it lasts must not keep as much as one that is owed a single large answer.
func (c *Conn) LimitOutput(n int) { c.outMax = min(n, c.outMax) }

// Need asks that Data be not called before buf holds n bytes (at most InputMax). It holds until the next call of
// Data. The bytes are gathered in one allocation.
func (c *Conn) Need(n int) { c.need = min(max(n, 1), c.loop.inputMax) }

// Pause stops calls of Data until Resume. Receiving goes on until a bounded amount has gathered.
func (c *Conn) Pause() {
	if c.dying || c.closing {
		return
	}
	c.paused = true
	c.changed()
}

// Resume ends Pause. Bytes that were kept are shown again before this turn ends, or in the next turn at once if the
// loop is past that point, even if nothing new arrives.
func (c *Conn) Resume() {
	if !c.paused || c.dying {
		return
	}
	c.paused = false
	c.loop.unblocked(c)
}

// Paused reports whether c is paused by Pause.
func (c *Conn) Paused() bool { return c.paused }

// Hold says by how much the number of answers owed to the peer changes: 1 when an answer is put off, -1 when it has
// been queued. While some are owed, the peer's end of stream does not end c, and CloseWhenSent waits for them.
func (c *Conn) Hold(n int) {
	c.holds += n
	if c.holds < 0 {
		panic("bug: connection holds fewer than no answers")
	}
	if c.dying {
		return
	}
	if c.closing {
		c.limitClosing()
	}
	if c.holds == 0 && (c.eof || c.closing) {
		c.loop.touch(c)
	}
	c.changed()
}

// changed has the system below told at the end of the turn, if it cares what is owed.
func (c *Conn) changed() {
	if c.loop.shy {
		c.loop.touch(c)
	}
}

// Holds is how many answers are owed.
func (c *Conn) Holds() int { return c.holds }

// SetDeadline makes Timeout be called at about the monotonic time at (see Now), up to SweepMs later. 0 clears it. One
// deadline at a time.
func (c *Conn) SetDeadline(at int64) {
	if c.dying || (c.closing && c.holds == 0) {
		return // the deadlines of closing are our own
	}
	c.loop.setDeadline(c, at)
}

// CloseWhenSent ends c in good order: no more Data, everything owed and queued is sent, the peer is told, its further
// input is thrown away for a bounded time so that it can read the answer, then Close is called.
func (c *Conn) CloseWhenSent() {
	if c.dying || c.closing {
		return
	}
	c.closing, c.paused = true, false
	c.limitClosing()
	c.loop.touch(c)
}

// limitClosing bounds the wait for a peer that does not take the output, from the moment that all of it is queued.
func (c *Conn) limitClosing() {
	if c.holds == 0 && !c.shut {
		c.loop.setDeadline(c, c.loop.Now()+ms(CloseFlushMs))
	}
}

// Abort ends c at once; what is queued is lost. Close is called soon, not from inside Abort.
func (c *Conn) Abort() { c.loop.kill(c, ErrAborted) }

// held is how many unused bytes are kept.
func (c *Conn) held() int { return len(c.in) - c.inStart }

// blocked reports that Data must not be called.
func (c *Conn) blocked() bool { return c.paused || c.choked }

// owed reports that the peer waits for something.
func (c *Conn) owed() bool { return c.holds > 0 || c.paused || c.Queued() > 0 }

// keep copies p behind the bytes kept already.
func (c *Conn) keep(p []byte) {
	if len(p) == 0 {
		return
	}
	if cap(c.in)-len(c.in) < len(p) {
		c.makeRoom(len(p))
	}
	c.in = append(c.in, p...)
}

// makeRoom makes c.in take n more bytes, and for what Need asked for. A buffer as large as that is taken at once,
// with room for the segment that carries the last byte, so that a large body is copied once; otherwise the size
// doubles, so that a body that grows unannounced is copied twice on average.
func (c *Conn) makeRoom(n int) {
	held := c.held()
	want := max(held+n, c.need)
	if want <= cap(c.in) && c.inStart >= held {
		c.in = c.in[:copy(c.in, c.in[c.inStart:])]
		c.inStart = 0
		return
	}
	if c.need > held+n {
		want += ReceiveBufferBytes
	} else {
		want = max(want, 2*held)
	}
	grown := append(c.loop.pool.get(want), c.in[c.inStart:]...)
	c.loop.pool.put(c.in)
	c.in, c.inStart = grown, 0
}

// dropInput forgets what was kept.
func (c *Conn) dropInput() {
	if c.in != nil {
		c.loop.pool.put(c.in)
		c.in, c.inStart = nil, 0
	}
}

// dropOutput forgets what was queued and is not on its way.
func (c *Conn) dropOutput() {
	if c.out != nil {
		c.loop.pool.put(c.out)
		c.out = nil
	}
}

// launch makes the gathered output the flight.
func (c *Conn) launch() {
	c.flight, c.out = c.out, nil
	c.flown = 0
	c.outHint = min(len(c.flight), 1<<poolBitsMax)
}

// land gives the flight's buffer back.
func (c *Conn) land() {
	if c.flight != nil {
		c.loop.pool.put(c.flight)
		c.flight, c.flown = nil, 0
	}
}
