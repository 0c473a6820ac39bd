package netpoll

// Input of a connection. The usual case copies nothing: a whole request arrives in one of the kernel's buffers, Data
// is shown that very buffer and uses all of it. What Data leaves is copied to the connection's own buffer, further
// bytes are appended there, and Data sees the whole; as soon as it is used up the buffer goes back to the pool.
//
// Receiving is steered by level, not by event: wants says from the connection's state whether it should receive now,
// steer tells the system below when that has changed. So a pause that is over before much has come costs nothing, and
// there is no order of Pause, Resume, Full and end of stream to get wrong.

// received takes bytes that have just come. p is valid during the call only.
func (l *Loop) received(c *Conn, p []byte) {
	l.stats.BytesIn += int64(len(p))
	switch {
	case c.dying:
		return
	case c.closing:
		l.discard(c, len(p))
	case c.held() == 0 && len(p) >= c.need && !c.blocked():
		if used := l.show(c, p); used < len(p) && !c.dying && !c.closing {
			c.keep(p[used:])
		}
	default:
		c.keep(p)
		l.showKept(c)
	}
	l.reconsider(c)
}

// show calls Data once.
func (l *Loop) show(c *Conn, p []byte) int {
	c.need = 1
	c.showing = true
	used := l.handler.Data(c, p)
	c.showing = false
	if used < 0 || used > len(p) {
		panic("bug: Data used more than it was shown")
	}
	return used
}

// showKept shows the kept bytes if there are enough and Data may be called.
func (l *Loop) showKept(c *Conn) {
	if held := c.held(); held < c.need || held == 0 || c.blocked() || c.dying || c.closing {
		return
	}
	c.inStart += l.show(c, c.in[c.inStart:])
	if c.held() == 0 || c.dying || c.closing {
		c.dropInput()
	}
}

// discard counts input that nobody wants any more.
func (l *Loop) discard(c *Conn, n int) {
	c.discarded += n
	if c.shut && c.discarded > DrainBytes {
		l.kill(c, nil)
	}
}

// ended notes that the peer will send no more.
func (l *Loop) ended(c *Conn) {
	c.eof = true
	l.settle(c)
}

// wants says whether c should receive now.
func (l *Loop) wants(c *Conn) bool {
	switch {
	case c.closing:
		return c.discarded <= DrainBytes && !(l.shy && c.owed())
	case l.shy && c.owed():
		return false
	case c.blocked():
		return c.held() < min(PausedInputBytes, l.inputMax)
	default:
		return c.held() < l.inputMax
	}
}

// steer tells the system below when wants has changed.
func (l *Loop) steer(c *Conn) {
	if c.dying || c.eof {
		return
	}
	if want := l.wants(c); want != c.receiving {
		c.receiving = want
		l.sys.receive(c, want)
	}
}

// reconsider steers c: at once, or where it matters what is owed when that is known, with the output.
func (l *Loop) reconsider(c *Conn) {
	switch {
	case c.dying:
	case l.shy:
		l.touch(c)
	default:
		l.steer(c)
	}
}

// unblocked is called when a reason not to call Data is gone. Only a connection that has something to show, or whose
// receiving was stopped, costs anything.
func (l *Loop) unblocked(c *Conn) {
	if c.blocked() || c.dying {
		return
	}
	if c.eof || l.shy {
		l.touch(c)
	}
	if !c.resumed && (c.held() > 0 || !c.receiving || c.showing) {
		c.resumed = true
		l.resumed = append(l.resumed, c)
	}
}

// showResumed shows kept bytes on the connections that were unblocked. Those that are unblocked meanwhile wait for
// the next turn, so that a handler which pauses and resumes in every call cannot keep the loop here.
func (l *Loop) showResumed() {
	n := len(l.resumed)
	for _, c := range l.resumed[:n] {
		c.resumed = false
		l.showKept(c)
		l.reconsider(c)
		if c.eof {
			l.touch(c)
		}
	}
	rest := copy(l.resumed, l.resumed[n:])
	clear(l.resumed[rest:])
	l.resumed = l.resumed[:rest]
}
