package api

import (
	"bytes"

	"ayder/internal/record"
)

// Long-polls: a request for messages that are not there yet, and that wait_ms allows to wait.
//
// The request sleeps on the loop of its partition, with an ear at its feed and an alarm at its end, as a copy of its head
// and some numbers: a few hundred bytes. What wakes it executes it again from the beginning, as if it had just come,
// but from where it stood: so a node that was deposed meanwhile answers by what it is now, a topic that was deleted
// is unknown, and the messages come the way of every page.
//
// Its connection, perhaps another loop's, is told that the answer takes its time (conn.drowse): a client that goes, or ends
// its sending side, ends the wait.

// sleeper is one request that waits for messages.
type sleeper struct {
	meta  meta
	conn  *conn
	head  []byte
	began int64      // when it fell asleep
	first uint64     // the offset that it waits for
	alarm alarm      // when it is answered anyhow
	ear   ear        // at the feed of its partition
	group *groupWait // of a member's poll, instead of first and ear
}

// waited is what a request remembers of having slept.
type waited struct {
	first    uint64 // where it stood
	until    int64  // when it is answered anyhow; 0: it has not slept yet
	finished bool   // it must not sleep again
	group    *groupWait
}

// mayWait tells whether x may wait for messages, at most until then.
func (l *loop) mayWait(x *exchange) (until int64, may bool) {
	until = x.waited.until
	if until == 0 && x.args.waitMs > 0 {
		until = x.complete + x.args.waitMs*1e6
	}
	return until, !x.waited.finished && !l.draining && until > now()
}

// sleep parks x until partition at, which is this loop's, has a message at or behind first.
func (l *loop) sleep(x *exchange, at record.Stream, first uint64, until int64) reply {
	l.exclude(x.conn)
	head := x.head
	if !x.clone {
		head = bytes.Clone(head)
	}
	s := &sleeper{meta: x.meta, conn: x.conn, head: head, began: now(), first: first, group: x.waited.group}
	s.alarm.who = s
	if x.conn.forsaken {
		l.finish(s.conn, &s.meta, 0, &reply{status: 200})
		return reply{later: true}
	}
	x.conn.sleeper = s
	if s.group != nil {
		s.group.listen(l, s)
	} else {
		l.listen(&s.ear, at, s)
	}
	l.alarms.set(&s.alarm, until)
	l.net.WakeAt(until)
	l.counters.Waiting.Add(1)
	if home := x.conn.loop; home == l {
		x.conn.away = 0
		x.conn.drowse()
	} else {
		home.net.Post(x.conn.drowse)
	}
	return reply{later: true}
}

// sleepAgain goes on waiting after a search in vain, for something that is younger than what was looked at; false: the
// time is up.
func (l *loop) sleepAgain(x *exchange, pg *page) bool {
	until, may := l.mayWait(x)
	if !may {
		return false
	}
	x.waited = waited{first: pg.next, until: until}
	if p := l.server.lookup(pg.stream); p == nil || p.Next() > pg.next {
		l.resume(x)
	} else {
		l.sleep(x, pg.stream, pg.next, until)
	}
	return true
}

// heard wakes s if there is something for it.
func (s *sleeper) heard(l *loop, f *feed) {
	if s.group != nil {
		if s.group.over(l) {
			l.wake(s, false)
		}
		return
	}
	if p := l.server.lookup(f.stream); p == nil || p.Next() > s.first || p.Floor() > s.first {
		l.wake(s, false)
	}
}

// due wakes s: it has waited for as long as it may.
func (s *sleeper) due(l *loop, _ int64) { l.wake(s, true) }

// rise takes s out of everything that could wake it.
func (l *loop) rise(s *sleeper) {
	s.conn.sleeper = nil
	l.alarms.cancel(&s.alarm)
	l.unlisten(&s.ear)
	if s.group != nil {
		s.group.unlisten(l)
	}
	l.counters.Waiting.Add(-1)
}

// wake executes the request again, with stamps as if it had come that much later: the wait is not what its stages are
// measured for. finished: it must be answered now.
func (l *loop) wake(s *sleeper, finished bool) {
	x := &exchange{meta: s.meta, conn: s.conn, head: s.head, clone: true, confirmed: true}
	x.waited = waited{first: s.first, until: s.alarm.at, finished: finished}
	l.rise(s)
	slept := now() - s.began
	x.first, x.complete = x.first+slept, x.complete+slept
	if l.draining {
		x.flags |= wantsClose
	}
	l.resume(x)
}

// wakeSleepers wakes all that sleep on this loop.
func (l *loop) wakeSleepers(finished bool) {
	l.eachAlarmed(func(who alarmed) {
		if s, ok := who.(*sleeper); ok && s.alarm.slot > 0 {
			l.wake(s, finished)
		}
	})
}

// forsake notes that a connection has ended, on the loop where its request may sleep.
func (l *loop) forsake(c *conn) {
	c.forsaken = true
	if c.sleeper != nil {
		l.rise(c.sleeper)
	}
}
