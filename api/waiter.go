package api

import (
	"strconv"

	"ayder/engine"
	"ayder/internal/record"
)

// Parked answers: what a batch owes, and what happens when it becomes durable, fails, or takes too long.
//
// A waiter is plain data in its batch's list, so parking allocates nothing once the list has grown. Deadlines are
// found by a scan that runs only when the earliest one has passed: with the default timeout that is once in five
// seconds, and a heap or a wheel would cost every request something to spare that scan.

// meta is what rendering an answer needs to know of its request.
type meta struct {
	first    int64 // stamps, monotonic nanoseconds: first byte read,
	complete int64 // last byte read,
	started  int64 // handler began,
	appended int64 // handler done
	route    uint16
	flags    metaFlags
	origin   uint8 // which of the configured origins it comes from (cors.go)
}

type metaFlags uint8

const (
	isHead metaFlags = 1 << iota
	isHTTP10
	wantsClose
	wantsTiming
)

// kind says which answer a waiter is owed.
type kind uint8

const (
	owedProduce kind = iota
	owedNDJSON
	owedEvents   // a batch of events of which some were there before
	owedKV       // a key that was given a value
	owedKVDelete // a key that was taken away, or was not there
	owedOK       // {"ok":true}
	owedTopic    // a topic that was created
	owedRender   // what waiter.again.render makes once the command is applied
	owedRefusal  // no, once it is certain (refusal.go)
	owedExecute  // nothing yet: execute the request again, what it lacked exists now
)

// waiter is an answer that is parked until its batch is durable, or until its time is up.
type waiter struct {
	meta
	conn      *conn // nil once answered; may belong to another loop
	kind      kind
	soft      bool // at the deadline answer 200 with synced:false instead of 504
	duplicate bool
	created   bool // the answer is 201
	concern   Concern
	partition uint32
	count     uint32
	offset    uint64
	deadline  int64
	again     *exchange         // owedEvents, owedExecute, owedTopic, owedRender, owedRefusal
	target    *engine.Partition // what it is written to, nil: no partition in particular
}

// park adds a waiter to the batch's commit and returns the reply that says so.
func (l *loop) park(b *record.Batch, x *exchange, w waiter) reply {
	c := b.Tag.(*commit)
	w.meta = x.meta
	w.appended = now()
	w.conn = x.conn
	timeout := l.server.options.CommitTimeoutNs
	if x.args.has(pTimeout) && w.kind < owedRefusal { // the client's time is for its own commit
		timeout, w.soft = x.args.timeoutMs*1e6, true
	}
	w.deadline = w.started + timeout
	if l.deadline == 0 || w.deadline < l.deadline {
		l.deadline = w.deadline
		l.net.WakeAt(w.deadline)
	}
	c.waiters = append(c.waiters, w)
	if w.concern == ConcernAsync {
		b.Synced = c.onSynced
	}
	return reply{later: true}
}

// settle answers w: its batch is durable as number index, or failed says why nobody will hear that it is.
func (l *loop) settle(w *waiter, index uint64, at int64, failed *Error) {
	switch {
	case w.kind == owedExecute && (failed == nil || failed == errLeadershipLost):
		l.again(w.again) // of the request itself nothing was proposed: it may go elsewhere
	case failed != nil:
		l.finishError(w.conn, &w.meta, failed)
	case w.kind == owedRefusal:
		l.finishError(w.conn, &w.meta, w.again.refusal)
	case w.target != nil && w.target.GoneAt() != 0 && index > w.target.GoneAt():
		l.finishError(w.conn, &w.meta, errUnknownTopic.with("the topic was deleted before this was written"))
	case !l.trail(w, index):
		l.answer(w, l.outcome(w, index), at)
	}
	w.conn = nil
}

// answer renders the answer to a write.
func (l *loop) answer(w *waiter, o outcome, at int64) {
	l.body = w.appendBody(l.body[:0], o, at)
	status := 200
	if w.created || w.kind == owedTopic && !w.duplicate {
		status = 201
	}
	l.finish(w.conn, &w.meta, at, &reply{status: status, body: l.body})
}

// appendBody renders the answer's body.
func (w *waiter) appendBody(b []byte, o outcome, at int64) []byte {
	switch w.kind {
	case owedOK:
		return append(b, `{"ok":true}`...)
	case owedTopic:
		return appendTopic(b, w.again.args.topic, w.count)
	case owedKV, owedKVDelete:
		return w.endBody(w.appendKV(b, o), o, at)
	case owedRender:
		return w.again.render(b)
	case owedNDJSON, owedEvents:
		b = append(b, `{"ok":true,"first_offset":`...)
		b = strconv.AppendUint(b, w.offset, 10)
		if b = appendMember(b, "count", uint64(w.count)); w.kind == owedEvents {
			b = w.again.cloud.appendPlaces(b)
		}
	default:
		b = append(b, `{"ok":true,"offset":`...)
		b = strconv.AppendUint(b, w.offset, 10)
	}
	b = append(b, `,"partition":`...)
	b = strconv.AppendUint(b, uint64(w.partition), 10)
	b = append(b, `,"batch_id":`...)
	b = strconv.AppendUint(b, o.index, 10)
	return w.endBody(append(b, durability(w.duplicate, o)...), o, at)
}

// endBody appends what every answer to a write may end with.
func (w *waiter) endBody(b []byte, o outcome, at int64) []byte {
	if o.acked > 0 {
		b = appendMember(b, "acked_nodes", uint64(o.acked))
	}
	if w.flags&wantsTiming != 0 {
		b = w.appendTiming(b, at)
	}
	return append(b, '}')
}

// durability is the part of an answer that says what was achieved.
func durability(duplicate bool, o outcome) string {
	switch {
	case o.rocket:
		return `,"sealed":false,"durable":false,"mode":"rocket","synced":false`
	case duplicate && o.durable:
		return `,"sealed":true,"durable":true,"mode":"sealed","duplicate":true,"synced":null`
	case duplicate:
		return `,"sealed":true,"durable":false,"mode":"sealed","duplicate":true,"synced":null`
	case o.durable && o.synced:
		return `,"sealed":true,"durable":true,"mode":"sealed","synced":true`
	case o.durable:
		return `,"sealed":true,"durable":true,"mode":"sealed","synced":false`
	case o.synced:
		return `,"sealed":true,"durable":false,"mode":"sealed","synced":true`
	}
	return `,"sealed":true,"durable":false,"mode":"sealed","synced":false`
}

// appendTiming renders the members that timing=1 asks for, in microseconds. at is the time of durability.
func (m *meta) appendTiming(b []byte, at int64) []byte {
	b = appendMember(b, "recv_parse_us", us(m.complete-m.first))
	b = appendMember(b, "queue_us", us(m.started-m.complete))
	b = appendMember(b, "produce_us", us(m.appended-m.started))
	b = appendMember(b, "sync_wait_us", us(at-m.appended))
	return appendMember(b, "server_us", us(at-m.complete))
}

func us(ns int64) uint64 { return uint64(max(ns, 0)) / 1000 }

// scanOwed looks at everything that is owed an answer, oldest first, and answers what may be answered by now: writes
// that are as safe as they asked for, and those whose time is up. A connection's answers go out in request order,
// so one that waits behind an earlier one of its connection keeps waiting with it. Another loop's connection has one
// waiter here at most, and sees to the order itself.
func (l *loop) scanOwed(at int64) {
	l.scan++
	l.deadline = 0
	l.scanTrailing(at)
	for _, c := range l.flight {
		l.scanCommit(c, at)
	}
	if l.open != nil {
		l.scanCommit(l.open, at)
	}
	l.scanReads(at)
	if l.deadline != 0 {
		l.net.WakeAt(l.deadline)
	}
}

func (l *loop) scanCommit(c *commit, at int64) {
	for i := range c.waiters {
		w := &c.waiters[i]
		switch {
		case w.conn == nil:
		case c.synced && w.concern == ConcernAsync && !l.mustFollow(w):
			l.answer(w, outcome{index: c.batch.Index, synced: true}, at)
			w.conn = nil
		case w.deadline <= at && !l.mustFollow(w):
			l.giveUp(w, at)
		default:
			l.keepOwed(w, at)
		}
	}
}

// mustFollow tells whether this scan saw an answer that must go out before w's.
func (l *loop) mustFollow(w *waiter) bool { return w.conn.loop == l && w.conn.scan == l.scan }

// keepOwed notes that w stays.
func (l *loop) keepOwed(w *waiter, at int64) {
	if w.conn.loop == l {
		w.conn.scan = l.scan
	}
	l.wakeBy(max(w.deadline, at+1e6))
}

// wakeBy has the scan made at deadline at the latest.
func (l *loop) wakeBy(deadline int64) {
	if l.deadline == 0 || deadline < l.deadline {
		l.deadline = deadline
	}
}

// giveUp answers w before its batch is durable: the write goes on.
func (l *loop) giveUp(w *waiter, at int64) {
	l.counters.CommitTimeouts.Add(1)
	if !w.soft || w.kind >= owedRefusal {
		l.finishError(w.conn, &w.meta, errCommitTimeout)
	} else {
		l.answer(w, outcome{}, at)
	}
	w.conn = nil
}
