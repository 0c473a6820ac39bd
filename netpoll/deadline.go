package netpoll

// Time in a loop: one deadline per connection, looked at once per SweepMs, because all of them are timeouts of many
// seconds and set anew with every request: setting one is a store. The handler's own WakeAt is exact. A heap or wheel
// of timers was rejected: it would cost more per request than the sweep costs per second.

// setDeadline sets or clears c's deadline and sees that there will be a sweep.
func (l *Loop) setDeadline(c *Conn, at int64) {
	l.slots.setDeadline(c, at)
	if l.sweepAt == 0 && at != 0 {
		l.sweepAt = l.now + ms(SweepMs)
	}
}

// runTimers does what the clock asks for.
func (l *Loop) runTimers() {
	if l.wakeAt != 0 && l.wakeAt <= l.now {
		l.wakeAt = 0
	}
	if l.sweepAt == 0 || l.sweepAt > l.now {
		return
	}
	l.sweep()
	l.sweepAt = 0
	if l.slots.armed > 0 {
		l.sweepAt = l.now + ms(SweepMs)
	}
}

func (l *Loop) sweep() {
	for slot, at := range l.slots.deadlines {
		if at == 0 || at > l.now {
			continue
		}
		c := l.slots.conns[slot]
		l.slots.setDeadline(c, 0)
		l.expired(c)
	}
}

// expired acts on a deadline that has passed.
func (l *Loop) expired(c *Conn) {
	switch {
	case c.dying:
	case c.shut:
		l.kill(c, nil) // drained long enough
	case c.closing && c.holds == 0:
		l.kill(c, ErrFlushTimeout)
	default:
		l.handler.Timeout(c)
	}
}

// untilTimer is how long the loop may sleep, in nanoseconds: 0 not at all, below 0 for ever.
func (l *Loop) untilTimer() int64 {
	next := l.wakeAt
	if l.sweepAt != 0 && (next == 0 || l.sweepAt < next) {
		next = l.sweepAt
	}
	if next == 0 {
		return -1
	}
	return max(next-l.now, 0)
}

// limit makes a sleep (below 0: for ever) at most most.
func limit(d, most int64) int64 {
	if d < 0 || d > most {
		return most
	}
	return d
}
