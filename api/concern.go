package api

import "fmt"

// Write concerns: how much must be true before a write is answered.
//
//	async          its batch is on this node's disk     Batch.Synced answers it, still in flight
//	sync-majority  its batch is committed               Batch.Done answers it, as on a single node
//	sync-all       every voter has it on its disk       Done moves the waiter to l.trailing; the log wakes the loop
//
// Answers leave in request order all the same, so an answer that is ready early waits for those of its connection
// before it: an async one that stands behind a sync-majority one stays in its batch, and whatever stands behind a
// sync-all one of its connection follows it into l.trailing. There, entries are in log order, and scanned rarely: when
// the log says that the oldest is everywhere, or when a deadline has passed.
//
// On a single node all three are the same.

// outcome is what had become of a write when it was answered.
type outcome struct {
	index   uint64 // of its frame, 0: not known
	durable bool   // committed: no failure that the cluster survives takes it back
	synced  bool   // what its concern asks for was reached
	rocket  bool   // it is in memory only
	acked   int    // voters that have it, 0: not asked for
}

// trailing is a write that is committed and not yet answered.
type trailing struct {
	waiter
	index uint64
	need  uint64 // must be everywhere first; 0: only the answers before it must be out
}

// writeConcern is what a produce waits for. An answer before the commit is not given to a write with a key: the key
// promises that a retry finds the first try.
func (l *loop) writeConcern(x *exchange) Concern {
	c := l.server.options.WriteConcern
	if x.args.has(pConcern) {
		c = x.args.concern
	}
	if c == ConcernAsync && (l.replicas == nil || x.args.has(pIdem)) {
		c = ConcernMajority
	}
	return c
}

// commandConcern is what a write waits for that cannot ask for anything else.
func (l *loop) commandConcern() Concern {
	if c := l.server.options.WriteConcern; c == ConcernAll {
		return c
	}
	return ConcernMajority
}

// synced is called by the log when a batch is on this node's disk.
func (l *loop) synced(c *commit) {
	c.synced = true
	l.scanOwed(now())
}

// trail keeps the answer to a committed write back where that is not enough: until the write is everywhere, or until
// the answers before it on its connection are out.
func (l *loop) trail(w *waiter, index uint64) bool {
	need := uint64(0)
	if w.concern == ConcernAll && l.replicas != nil && l.replicas.Everywhere() < index {
		need = index
	}
	ours := w.conn.loop == l
	if need == 0 && !(ours && w.conn.trailing > 0) {
		return false
	}
	if need > 0 && l.wanted == 0 {
		l.want(need)
	}
	if ours {
		w.conn.trailing++
	}
	l.trailing = append(l.trailing, trailing{*w, index, need})
	return true
}

func (l *loop) want(index uint64) {
	l.wanted = index
	l.replicas.WantEverywhere(index)
}

// scanTrailing answers what is everywhere by now, and what cannot wait longer.
func (l *loop) scanTrailing(at int64) {
	if len(l.trailing) == 0 {
		return
	}
	everywhere := l.replicas.Everywhere()
	kept := l.trailing[:0]
	l.wanted = 0
	for i := range l.trailing {
		t := &l.trailing[i]
		switch {
		case !l.mustFollow(&t.waiter) && t.need <= everywhere:
			l.answerTrailing(t, at, true)
		case !l.mustFollow(&t.waiter) && t.deadline <= at:
			l.answerTrailing(t, at, false)
		default:
			l.keepOwed(&t.waiter, at)
			if t.need > 0 && l.wanted == 0 {
				l.want(t.need)
			}
			kept = append(kept, *t)
		}
	}
	clear(l.trailing[len(kept):])
	l.trailing = kept
}

// endTrailing answers all of it, in order: this node will not learn how far the writes have come.
func (l *loop) endTrailing() {
	if len(l.trailing) == 0 {
		return
	}
	at, everywhere := now(), l.replicas.Everywhere()
	for i := range l.trailing {
		t := &l.trailing[i]
		l.answerTrailing(t, at, t.need <= everywhere)
	}
	clear(l.trailing)
	l.trailing, l.wanted = l.trailing[:0], 0
}

// answerTrailing answers a committed write; reached tells whether its concern is fulfilled.
func (l *loop) answerTrailing(t *trailing, at int64, reached bool) {
	if t.conn.loop == l {
		t.conn.trailing--
	}
	conn, o := t.conn, l.outcome(&t.waiter, t.index)
	o.synced = reached
	switch {
	case reached || t.soft:
		l.answer(&t.waiter, o, at)
	default:
		l.counters.CommitTimeouts.Add(1)
		l.finishError(conn, &t.meta, errCommitTimeout.acked(o.acked))
	}
}

// outcome is that of a committed write.
func (l *loop) outcome(w *waiter, index uint64) outcome {
	o := outcome{index: index, durable: true, synced: true}
	if w.concern == ConcernAll {
		o.acked = 1
		if l.replicas != nil {
			o.acked = max(1, l.replicas.Holders(index))
		}
	}
	if w.duplicate { // it may have waited behind a later batch than the one it is in
		o.index = 0
	}
	return o
}

// acked is e for a write that is committed, on so many nodes.
func (e *Error) acked(nodes int) *Error {
	c := *e.with("The write is committed, but not on every voter: %d have it", nodes)
	c.Fields = fmt.Sprintf(`,"committed":true,"acked_nodes":%d`, nodes)
	return &c
}

// parseConcern is the concern of that name.
func parseConcern(name []byte) (c Concern, ok bool) {
	switch string(name) {
	case "sync-majority":
		return ConcernMajority, true
	case "async":
		return ConcernAsync, true
	case "sync-all":
		return ConcernAll, true
	}
	return 0, false
}
