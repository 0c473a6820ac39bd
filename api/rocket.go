package api

import (
	"time"

	"ayder/engine"
	"ayder/internal/record"
)

// Rocket topics: what is produced is answered at once, from memory, and consumed like anything else.
//
// The first message of a partition, after a start or a change of leaders, waits for one commit: the shard takes a range of offsets
// through the log (engine/rocket.go), and the request is executed again. From then on nothing of it concerns the log.
//
// What would promise more than memory can keep is refused: an idempotency key would be forgotten together with its message, just
// when it is needed, and a concern speaks of disks. In a cluster the messages are the leader's alone: another node redirects a
// consumer, and a new leader begins without them.

// checkRocket refuses parameters whose promise a rocket topic cannot keep.
func checkRocket(a *args) error {
	switch {
	case a.has(pIdem):
		return errNeedsSealed.with("idempotency_key needs a sealed topic: a rocket topic keeps its messages in memory only, and would forget the key with them")
	case a.has(pConcern) && a.concern != ConcernAsync:
		return errNeedsSealed.with("concern needs a sealed topic: a rocket topic keeps its messages in memory only")
	}
	return nil
}

// takeRange has the shard take a range of offsets for p; the produce is executed again when that is durable.
func (l *loop) takeRange(x *exchange, p *engine.Partition) (reply, error) {
	x.pinned, x.pin = true, p.Stream().Partition
	c, err := l.batch(len(x.head))
	if err != nil {
		return reply{}, err
	}
	b := l.shard.TakeRange(c.batch, p)
	l.exclude(x.conn)
	return l.park(b, x, waiter{kind: owedExecute, again: x.cloned()}), nil
}

// wallMs is the time that a message of a rocket topic gets: there is no batch that has one.
func wallMs() uint64 { return uint64(time.Now().UnixMilli()) }

// begin starts a produce of count messages, into c or into memory.
func (l *loop) begin(x *exchange, p *engine.Partition, c *commit, count uint32) (engine.Many, engine.Append, error) {
	if c == nil {
		m, err := l.shard.BeginRocket(p, count, expected(&x.args), wallMs())
		return m, engine.Append{}, err
	}
	return l.shard.BeginMany(c.batch, p, count, x.args.idem, x.args.has(pIdem), expected(&x.args))
}

// launched gives the answer to messages that are in memory now, and tells those who wait for them.
func (l *loop) launched(x *exchange, p *engine.Partition, got engine.Append, k kind) reply {
	l.counters.MessagesAppended.Add(uint64(got.Count))
	l.counters.BytesAppended.Add(uint64(len(x.body)))
	if len(l.feeds) > 0 {
		if f := l.feeds[p.Stream()]; f != nil {
			l.news(f)
		}
	}
	w := waiter{kind: k, partition: p.Stream().Partition, offset: got.Offset, count: got.Count}
	w.meta = x.meta
	w.appended = now()
	l.body = w.appendBody(l.body[:0], outcome{rocket: true}, w.appended)
	return reply{status: 200, body: l.body}
}

// memoryReader is a Reader that finds the messages of rocket topics where they are.
type memoryReader struct {
	engine *engine.Engine
	log    Reader
}

// Read is Reader's.
func (r memoryReader) Read(s record.Stream, offset, end uint64, block bool, visit func(record.Section) bool) (uint64, error) {
	if p := r.rocket(s); p != nil {
		return p.ReadRocket(offset, end, visit), nil
	}
	return r.log.Read(s, offset, end, block, visit)
}

// ReadSince is Reader's. Of what goes while it looks, it looks at what is left.
func (r memoryReader) ReadSince(s record.Stream, offset, end, sinceMs uint64, visit func(record.Section) bool) (uint64, error) {
	p := r.rocket(s)
	if p == nil {
		return r.log.ReadSince(s, offset, end, sinceMs, visit)
	}
	stopped := false
	for !stopped && offset < end {
		offset = p.ReadRocket(max(offset, p.Floor()), end, func(sec record.Section) bool {
			stopped = !visit(sec)
			return !stopped
		})
	}
	return offset, nil
}

// rocket is the partition that s names if its messages are in memory.
func (r memoryReader) rocket(s record.Stream) *engine.Partition {
	if t := r.engine.TopicByID(s.Topic); t != nil && t.Mode() == engine.Rocket {
		return t.Partition(s.Partition)
	}
	return nil
}
