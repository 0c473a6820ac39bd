package api

import (
	"errors"
	"slices"
	"time"

	"ayder/engine"
	"ayder/httpparse"
	"ayder/internal/cloudevent"
	"ayder/internal/metrics"
	"ayder/internal/record"
	"ayder/internal/timing"
	"ayder/netpoll"
)

// loop is everything that one event loop owns: its shard of the engine, the batch that is being
// filled, the batches that are being made durable, and the answers that wait for them. Only that
// loop's thread touches it.
//
// Group commit paces itself by the disk. Whatever arrived in one turn is in the open batch when
// BeforeWait comes; it is given to the log at once if fewer than Options.CommitsInFlight batches
// are under way, else it goes on filling until one of them is durable. There is no timer.
type loop struct {
	server *Server
	net    *netpoll.Loop
	index  int
	shard  *engine.Shard
	log    Log
	reader Reader

	open     *commit   // being filled; nil until a request needs it
	flight   []*commit // given to the log, oldest first
	idle     []*commit // for use again
	retries  []*exchange
	deadline int64 // earliest time at which an owed answer expires, 0: none
	scan     uint64
	failed   error // why the log stopped
	term     term
	replicas Replicated // nil: what is durable here is durable everywhere
	trailing []trailing // committed and not answered, in log order
	wanted   uint64     // index that the log was asked to wake us for, 0: none
	reads    reads      // that wait until this node knows that it still leads
	turns    uint32     // batches begun, for round robin

	alarms alarms                  // of what waits for a moment: long-polls, streams
	feeds  map[record.Stream]*feed // of partitions that somebody here, or on other loops, waits for
	fresh  []*feed                 // with news to tell
	outbox [][]record.Stream       // news for other loops, by their number; nil while there is none
	watch  alarm                   // of the watchman, while there are feeds
	retain alarm                   // of the retainer
	tails  []*tail                 // not in use

	sessions sessions // of group members

	pipes     map[uint32]*pipe // pipelines that run here, by id
	writing   []*pipe          // those whose step waits for a batch
	pipeAlarm alarm            // of the next look at them

	parser    httpparse.Parser
	x         exchange // the request being executed
	unescaped []byte   // decoded parts of the request being executed
	headers   []byte   // its message headers
	body      []byte   // answer being made
	inflater  *inflater
	inflated  []byte // its body, where that came compressed
	message   record.Record
	events    *cloudevent.Reader
	eventKey  []byte  // idempotency key of the event being appended
	kvFull    []byte  // namespace and key of the request being executed
	kvValue   kvValue // the answer being made
	keysAt    int64   // when to look for keys that are due, 0: nobody knows of any

	recorder *timing.Recorder
	counters *metrics.Counters
	commits  *metrics.CommitStats
	conns    map[*conn]struct{}
	unread   map[*conn]struct{} // connections with a large answer that the peer may not have read
	making   int                // bytes of large pages that are being made elsewhere
	draining bool
	drainAt  int64
	lastCall int64 // until when idle connections stay open while draining

	date   []byte // "Date: …\r\n"
	dateAt int64
}

// commit is one batch and the answers that it owes.
type commit struct {
	batch     *record.Batch
	waiters   []waiter
	submitted int64
	messages  int
	loop      *loop
	term      uint32 // term.number when it was opened
	synced    bool   // on this node's disk
	onSynced  func(*record.Batch)
}

// now is the monotonic clock in nanoseconds that every stamp is taken from.
func now() int64 { return netpoll.Now() }

// batch returns the open batch with room for size more bytes, opening one if the log admits it.
// errStall means that the caller must try again after the next BeforeWait.
func (l *loop) batch(size int) (*commit, error) {
	if o := &l.server.options; size > FrameBytesMax(o.HTTP.BodyMax, o.HTTP.HeadMax)-batchOverheadMax {
		return nil, errTooLarge.with("the lines with their keys and headers are too large for one batch; split them")
	}
	c := l.open
	if c != nil && !l.takes(c, size) {
		if !l.submit() {
			return nil, errStall
		}
		c = nil
	}
	if c != nil {
		return c, nil
	}
	if err := l.admit(); err != nil {
		return nil, err
	}
	c = l.newCommit()
	c.batch.TimeMs = uint64(time.Now().UnixMilli())
	c.term = l.term.number
	l.open = c
	return c, nil
}

// takes tells whether a request of size bytes may still go into c.
func (l *loop) takes(c *commit, size int) bool {
	if c.batch.Empty() && len(c.waiters) == 0 {
		return true
	}
	return c.batch.Fits(size, batchBytesSoft) && len(c.waiters) < waitersMax
}

// admit asks the log whether another batch may be opened.
func (l *loop) admit() error {
	if l.failed != nil {
		return errStorage
	}
	if l.term.over {
		return ErrNotLeader
	}
	err := l.log.Admit()
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrNotLeader):
		return ErrNotLeader
	case errors.Is(err, ErrBusy):
		return errStall
	case errors.Is(err, ErrNoSpace):
		return errNoSpace
	}
	l.fail(err)
	return errStorage.with("%v", err)
}

func (l *loop) newCommit() *commit {
	if n := len(l.idle); n > 0 {
		c := l.idle[n-1]
		l.idle = l.idle[:n-1]
		return c
	}
	c := &commit{batch: record.NewBatch(), loop: l}
	c.batch.Tag = c
	c.batch.Done = l.done
	c.onSynced = func(*record.Batch) { l.synced(c) }
	return c
}

// inFlightMax is how many batches may be under way for c to follow them at once. A batch that nobody
// waits for gains nothing from overlapping another: it goes on filling, which costs fewer commits.
func (l *loop) inFlightMax(c *commit) int {
	if len(c.waiters) == 0 && c.batch.Fits(0, batchBytesSoft) {
		return 1
	}
	return l.server.options.CommitsInFlight
}

// submit gives the open batch to the log if that may take one more now.
func (l *loop) submit() bool {
	c := l.open
	if c == nil || len(l.flight) >= l.inFlightMax(c) {
		return c == nil
	}
	l.open = nil
	if c.batch.Empty() { // every request that wanted it was refused
		l.idle = append(l.idle, c)
		return true
	}
	c.submitted = now()
	l.flight = append(l.flight, c)
	l.log.Append(c.batch)
	return true
}

// done is called by the log, in log order: the batch is durable, or leadership was lost, or the log has stopped for good.
func (l *loop) done(b *record.Batch, err error) {
	c := b.Tag.(*commit)
	if errors.Is(err, ErrLeadershipLost) && c.term == l.term.number {
		l.endTerm() // which answers for this batch and all after it
	}
	l.land(c)
	at, owed := now(), (*Error)(nil)
	switch {
	case err == nil:
		l.apply(c)
		l.commits.Observe(at-c.submitted, c.messages, b.Size())
	case errors.Is(err, ErrLeadershipLost):
		l.commits.Failures.Add(1)
	default:
		l.commits.Failures.Add(1)
		l.fail(err)
		l.endTrailing()
		owed = errStorage
	}
	for i := range c.waiters {
		if w := &c.waiters[i]; w.conn != nil {
			l.settle(w, b.Index, at, owed)
		}
	}
	l.recycle(c)
	if len(l.flight) > 0 && l.flight[0].synced {
		l.scanOwed(at) // what waited behind answers of this batch may go
	}
}

// land takes c out of the batches that are under way. Of those of this term the oldest lands first.
func (l *loop) land(c *commit) {
	i := slices.Index(l.flight, c)
	if i < 0 || i > 0 && c.term == l.term.number && l.flight[i-1].term == c.term {
		panic("bug: batches became durable out of order")
	}
	l.flight = slices.Delete(l.flight, i, i+1)
}

// apply makes a durable batch visible.
func (l *loop) apply(c *commit) {
	f := c.batch.Frame()
	if c.term != l.term.number {
		l.applyForeign(f)
		return
	}
	if err := l.shard.Apply(f); err != nil {
		panic("bug: " + err.Error())
	}
	l.applied(&f)
}

// recycle makes a commit that owes nothing ready for use again.
func (l *loop) recycle(c *commit) {
	clear(c.waiters)
	c.waiters, c.messages, c.synced = c.waiters[:0], 0, false
	c.batch.Reset(batchBytesKept)
	l.idle = append(l.idle, c)
}

// fail notes that the log has stopped. The batch that is still open goes to the log like any other:
// it comes back with the error after those in flight, so that answers keep their order.
func (l *loop) fail(err error) {
	if l.failed == nil {
		l.failed = err
		l.server.fail(err)
	}
}

// beforeWait is the end of a turn.
func (l *loop) beforeWait() {
	l.log.Deliver()
	l.writePipes()
	l.expireKeys()
	l.submit()
	l.retry()
	l.submit()
	if cap(l.body) > answerBytesKept {
		l.body = nil
	}
	if l.deadline != 0 && l.net.Now() >= l.deadline || l.wanted != 0 && l.replicas.Everywhere() >= l.wanted {
		l.scanOwed(now())
	}
	l.watchSessions()
	l.ring(l.net.Now())
	l.tellNews()
	l.askBarrier()
	if l.draining != l.net.Draining() || l.draining && l.net.Now() >= l.drainAt {
		l.drain()
	}
}

// retry executes the requests that were held back, until one has to wait again.
func (l *loop) retry() {
	for len(l.retries) > 0 {
		x := l.retries[0]
		gone := x.conn.loop == l && x.conn.gone()
		if !gone && l.run(x) {
			return
		}
		l.retries = slices.Delete(l.retries, 0, 1)
	}
}

// drain closes the connections that wait for nothing. Not at once: a request may be on its way, and whoever closes then can
// only not answer it. For a time, every connection is good for one more request, whose answer says that it is the last (RFC 9112,
// section 9.6); only those closed after it, without having been used, may meet a request. From then on it is looked once a
// second what has become idle.
func (l *loop) drain() {
	at := l.net.Now()
	if !l.draining {
		l.draining, l.lastCall = true, at+l.server.options.LastCallNs
		l.endStreams(false)
		l.wakeSleepers(true)
	}
	l.drainAt = at + int64(closeIdleEvery)
	if at < l.lastCall {
		l.drainAt = l.lastCall
	}
	l.net.WakeAt(l.drainAt)
	if at < l.lastCall {
		return
	}
	for c := range l.conns {
		if c.idle() {
			c.net.CloseWhenSent()
		}
	}
}

// busy tells that the loop must not end: durable answers are still owed.
func (l *loop) busy() bool {
	return len(l.flight) > 0 || l.open != nil || len(l.retries) > 0
}

// refreshDate renews the Date field when it may have gone stale.
func (l *loop) refreshDate() {
	t := l.net.Now()
	if t-l.dateAt < dateEvery && len(l.date) > 0 {
		return
	}
	l.dateAt = t
	l.date = append(l.date[:0], "Date: "...)
	l.date = time.Now().UTC().AppendFormat(l.date, "Mon, 02 Jan 2006 15:04:05 GMT\r\n")
}
