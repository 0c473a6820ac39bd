package api

import (
	"ayder/internal/record"
)

// Terms of leadership, as one loop lives them.
//
// While this node leads, a batch that was appended becomes durable sooner or later, and the offsets in the next one
// build on that. When leadership is lost the chain is cut: nobody here knows which batches in flight will be
// committed, and what follows them must never be. So the first batch that is lost ends the term for its loop:
// everything that is parked is answered, in order, the open batch is thrown away, the shard forgets what is in flight,
// and no batch is opened before BeginTerm.
//
// Batches that are still with the log end later, one by one. They belong to a past term then and owe nothing; one that
// was committed after all is applied like a frame of another node.

// term is a loop's part in the leadership of this node. On a single node the first term never ends.
type term struct {
	over   bool   // no batch may be opened before the next one begins
	number uint32 // of the terms that have begun or ended here; a batch belongs to the one it was opened in
}

// beginTerm is called when this node leads and everything before its term is applied.
func (l *loop) beginTerm() {
	l.log.Deliver() // what was lost and not yet told of
	l.endTerm()
	l.term.over = false
	l.checkKeysBy(l.net.Now())
	l.pipesBy(l.net.Now() + int64(pipeLeadEvery))
}

// endTerm answers everything that is parked and takes back what is in flight.
func (l *loop) endTerm() {
	l.term.over = true
	l.term.number++
	l.endTrailing()
	for _, c := range l.flight {
		l.abandon(c)
	}
	if c := l.open; c != nil {
		l.open = nil
		l.abandon(c)
		l.recycle(c)
	}
	l.shard.Forget()
	clear(l.sessions.groups)
	l.dropPipes()
	l.endStreams(true)
	l.wakeSleepers(false)
}

// abandon answers what a batch owes: its outcome will not be known here.
func (l *loop) abandon(c *commit) {
	at := now()
	for i := range c.waiters {
		if w := &c.waiters[i]; w.conn != nil {
			l.settle(w, 0, at, errLeadershipLost)
		}
	}
}

// applyCommitted takes committed frames in the order of the log.
func (l *loop) applyCommitted(frames []CommittedFrame) {
	for i := range frames {
		if b := frames[i].Own; b != nil {
			b.Done(b, nil)
			continue
		}
		l.applyForeign(frames[i].Frame)
	}
}

// applyForeign applies this shard's sections of a frame that another node made, or this one in a past term.
func (l *loop) applyForeign(f record.Frame) {
	if err := l.shard.ApplyCommitted(f); err != nil {
		panic("bug: " + err.Error())
	}
	l.applied(&f)
}
