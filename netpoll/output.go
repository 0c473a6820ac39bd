package netpoll

// Output of a connection. Handlers append to out in any phase of a turn; the connection is then dirty, and at the end
// of the turn out becomes the flight and is sent. While a flight is under way new output gathers and follows when the
// flight has landed. So there is at most one send per connection in the kernel, in order, and the buffer of a flight
// is touched by nobody until its completion, even if the connection has died meanwhile.

// touch puts c on the list that the end of the turn looks at.
func (l *Loop) touch(c *Conn) {
	if !c.dirty {
		c.dirty = true
		l.dirty = append(l.dirty, c)
	}
}

// flush looks at every dirty connection, also those that become dirty meanwhile.
func (l *Loop) flush() {
	for i := 0; i < len(l.dirty); i++ {
		l.flushConn(l.dirty[i])
	}
	clear(l.dirty)
	l.dirty = l.dirty[:0]
}

// flushConn sends what c has gathered, and sees whether c is finished.
func (l *Loop) flushConn(c *Conn) {
	c.dirty = false
	if c.dying {
		return
	}
	if c.flight == nil && len(c.out) > 0 {
		c.launch()
		l.stats.Sends++
		l.sys.send(c)
	}
	if c.out != nil && len(c.out) == 0 {
		c.dropOutput()
	}
	l.settle(c)
	if l.shy || c.closing {
		l.steer(c)
	}
}

// sent takes the result of a send: n more bytes of the flight are the kernel's. It reports whether the system below
// should go on with the rest of the flight.
func (l *Loop) sent(c *Conn, n int, err error) (again bool) {
	l.stats.BytesOut += int64(n)
	c.flown += n
	if err != nil {
		l.kill(c, err)
	}
	if c.flown < len(c.flight) && !c.dying {
		l.unchoke(c)
		return true
	}
	c.land()
	if c.dying {
		return false
	}
	l.unchoke(c)
	if len(c.out) > 0 || c.closing || c.eof || (l.shy && !c.receiving) {
		l.touch(c)
	}
	return false
}

// unchoke lets Data be called again when half of what is allowed to be queued is free.
func (l *Loop) unchoke(c *Conn) {
	if c.choked && c.Queued() < max(c.outMax/2, 1) {
		c.choked = false
		l.unblocked(c)
		if !c.relieved {
			c.relieved = true
			l.relieved = append(l.relieved, c)
		}
	}
}

// tellRelieved calls Writable for the connections that are full no more. Those that come to be meanwhile wait for the
// next turn, so that a reader which is as fast as the handler cannot keep the loop here.
func (l *Loop) tellRelieved() {
	n := len(l.relieved)
	for _, c := range l.relieved[:n] {
		c.relieved = false
		if !c.dying && !c.choked {
			l.handler.Writable(c)
		}
	}
	rest := copy(l.relieved, l.relieved[n:])
	clear(l.relieved[rest:])
	l.relieved = l.relieved[:rest]
}
