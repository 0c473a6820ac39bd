package api

// Alarms: what on a loop waits for a moment, in a heap by time.
//
// Ten thousand waiting consumers and streams have one each, so an alarm is a part of what waits: setting, moving and
// cancelling allocate nothing and cost a dozen comparisons. Deadlines of parked writes are not here (waiter.go): there
// are a hundred thousand of them a second, and they hardly ever come to pass.

// alarm is a moment at which who is called. The zero value is not set. It belongs to one loop.
type alarm struct {
	at   int64 // monotonic nanoseconds
	slot int   // its place in the heap, from 1; 0: not set
	who  alarmed
}

// alarmed is what waits for a moment.
type alarmed interface {
	// due is called on the loop when the moment has come; the alarm is not set any more. It may set and cancel any.
	due(l *loop, at int64)
}

// alarms is a heap of them, the earliest first.
type alarms []*alarm

// set makes a due at the time at, whether it was set before or not.
func (h *alarms) set(a *alarm, at int64) {
	a.at = at
	if a.slot == 0 {
		*h = append(*h, a)
		a.slot = len(*h)
	}
	h.down(h.up(a.slot - 1))
}

// cancel takes a out.
func (h *alarms) cancel(a *alarm) {
	if a.slot == 0 {
		return
	}
	i, last := a.slot-1, len(*h)-1
	h.swap(i, last)
	(*h)[last] = nil
	*h = (*h)[:last]
	a.slot = 0
	if i < last {
		h.down(h.up(i))
	}
}

// next is when the earliest is due, 0 if none is set.
func (h *alarms) next() int64 {
	if len(*h) == 0 {
		return 0
	}
	return (*h)[0].at
}

func (h *alarms) swap(i, j int) {
	s := *h
	s[i], s[j] = s[j], s[i]
	s[i].slot, s[j].slot = i+1, j+1
}

func (h *alarms) up(i int) int {
	for s := *h; i > 0; {
		parent := (i - 1) / 2
		if s[parent].at <= s[i].at {
			break
		}
		h.swap(i, parent)
		i = parent
	}
	return i
}

func (h *alarms) down(i int) {
	for s := *h; ; {
		child := 2*i + 1
		if child >= len(s) {
			return
		}
		if child+1 < len(s) && s[child+1].at < s[child].at {
			child++
		}
		if s[i].at <= s[child].at {
			return
		}
		h.swap(i, child)
		i = child
	}
}

// ring calls those whose time has come, and asks for a turn at the next one's.
func (l *loop) ring(at int64) {
	for len(l.alarms) > 0 && l.alarms[0].at <= at {
		a := l.alarms[0]
		l.alarms.cancel(a)
		a.who.due(l, at)
	}
	if next := l.alarms.next(); next != 0 {
		l.net.WakeAt(next)
	}
}

// eachAlarmed calls f for all that wait for a moment, as they were when the call began.
func (l *loop) eachAlarmed(f func(alarmed)) {
	all := make([]alarmed, len(l.alarms))
	for i, a := range l.alarms {
		all[i] = a.who
	}
	for _, who := range all {
		f(who)
	}
}
