package netpoll

// The end of a connection. Two steps, so that Close is never called from inside another callback and no memory is
// given back that the kernel still reads: kill marks the connection and lists it; reap, between callbacks, calls
// Close and has the system below drop the socket; forget, after the last completion, frees the slot.

// settle ends c when there is nothing left to wait for.
func (l *Loop) settle(c *Conn) {
	switch {
	case c.dying || c.Queued() > 0:
	case c.closing && c.holds == 0:
		l.hangUp(c)
	case c.eof && !c.closing && !c.owed() && !c.resumed:
		l.kill(c, nil)
	}
}

// hangUp is the end of CloseWhenSent: everything is sent.
func (l *Loop) hangUp(c *Conn) {
	c.dropInput()
	if c.eof || c.discarded > DrainBytes {
		l.kill(c, nil)
		return
	}
	if !c.shut {
		c.shut = true
		l.sys.hangUp(c)
		l.setDeadline(c, l.Now()+l.srv.lingerNs())
	}
}

// failed ends c after an error of its socket. Once everything was sent and the peer told, how it goes away is its own
// affair.
func (l *Loop) failed(c *Conn, err error) {
	if c.shut {
		err = nil
	}
	l.kill(c, err)
}

// kill ends c; err is for Close. Later calls change nothing.
func (l *Loop) kill(c *Conn, err error) {
	if c.dying {
		return
	}
	c.dying = true
	c.err = err
	l.dying = append(l.dying, c)
}

// reap calls Close for every connection that was killed, also meanwhile.
func (l *Loop) reap() {
	for i := 0; i < len(l.dying); i++ {
		c := l.dying[i]
		c.dropInput()
		c.dropOutput()
		l.slots.setDeadline(c, 0)
		l.handler.Close(c, c.err)
		l.sys.drop(c)
	}
	clear(l.dying)
	l.dying = l.dying[:0]
}

// forget frees the slot of c: its socket is closed and no completion will name it.
func (l *Loop) forget(c *Conn) {
	c.land()
	l.slots.remove(c)
	l.stats.Closed++
	l.stats.Conns--
	if !c.secure {
		l.srv.release()
	}
}

// killAll ends every connection.
func (l *Loop) killAll(err error) {
	for _, c := range l.slots.conns {
		if c != nil {
			l.kill(c, err)
		}
	}
}
