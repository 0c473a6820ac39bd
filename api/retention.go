package api

import (
	"errors"

	"ayder/engine"
	"ayder/internal/jsonscan"
	"ayder/internal/record"
)

// Retention: what may go, and making it go.
//
// A floor is a command with the bytes that lie below it, so that all nodes free the same. The partition knows these for its
// marks; for an offset between two of them the messages from the mark below are read and counted, on a goroutine that may
// wait for the disk, and the request is executed again with the result.
//
// Policies are looked after by the loop that owns the partition, on the node that leads: every few seconds, and in small
// steps if there are many topics. Whoever leads next looks for itself; a floor that was lost with its batch is decided again.

// deleteRequest is the body of POST /broker/delete-before.
type deleteRequest struct {
	Topic     *string `json:"topic"`
	Partition *uint32 `json:"partition"`
	Before    *uint64 `json:"before_offset"`
}

var deleteFields = fieldsOf(deleteRequest{})

// measured is the place that a delete-before asks for, once it is known.
type measured struct {
	of *engine.Partition
	at engine.Mark
}

// deleteBefore moves a partition's floor; the answer says what fell below it.
func deleteBefore(l *loop, x *exchange) (reply, error) {
	q, err := x.deleteRequest()
	if err != nil {
		return reply{}, err
	}
	x.args.topic, x.args.partition = []byte(*q.Topic), *q.Partition
	p, owner, err := l.partition(&x.args)
	if err != nil {
		return reply{}, err
	}
	if owner != l.index {
		return l.forward(owner, x)
	}
	offset := *q.Before
	if offset > p.Next() {
		return reply{}, errAboveEnd.offsets(p.Floor(), p.Next())
	}
	if p.Rocket() {
		before := p.Bytes()
		n := l.shard.DropBefore(p, offset)
		l.body = appendDeleted(l.body[:0], n, before-p.Bytes())
		return reply{status: 200, body: l.body}, nil
	}
	at := p.MarkBelow(offset)
	switch {
	case offset <= at.Offset:
		at.Offset = offset // a mark, or below the floor
	case x.measured.of == p && x.measured.at.Offset == offset:
		at = x.measured.at
	default:
		return l.measure(x, p, at, offset)
	}
	return l.cutBefore(x, p, at)
}

// cutBefore proposes the floor.
func (l *loop) cutBefore(x *exchange, p *engine.Partition, at engine.Mark) (reply, error) {
	c, err := l.batch(len(x.body) + len(x.head))
	if err != nil {
		return reply{}, err
	}
	cut, err := l.shard.CutBefore(c.batch, p, at)
	switch {
	case err != nil:
		return reply{}, errAboveEnd.offsets(p.Floor(), p.Next())
	case cut.Batch == nil:
		l.body = appendDeleted(l.body[:0], 0, 0)
		return reply{status: 200, body: l.body}, nil
	}
	clone := x.cloned()
	clone.render = func(b []byte) []byte { return appendDeleted(b, cut.Messages, cut.Bytes) }
	return l.park(cut.Batch, x, waiter{kind: owedRender, again: clone, target: p, concern: l.commandConcern()}), nil
}

func appendDeleted(b []byte, messages, bytes uint64) []byte {
	b = appendMember(append(b, `{"ok":true`...), "deleted_count", messages)
	return append(appendMember(b, "freed_bytes", bytes), '}')
}

// deleteRequest reads and checks the body.
func (x *exchange) deleteRequest() (q deleteRequest, err error) {
	if err := decodeCommand(x.body, &q, deleteFields); err != nil {
		return q, err
	}
	switch {
	case q.Topic == nil || *q.Topic == "":
		return q, errMissingTopic
	case q.Partition == nil:
		return q, errBadJSON.with("partition is required")
	case q.Before == nil || *q.Before >= 1<<63:
		return q, errBadJSON.with("before_offset is required, an integer from 0 to 2^63-1")
	}
	return q, checkTopic([]byte(*q.Topic), x.scope)
}

// measure counts the bytes from a mark to offset elsewhere and has x executed again.
func (l *loop) measure(x *exchange, p *engine.Partition, from engine.Mark, offset uint64) (reply, error) {
	l.exclude(x.conn)
	clone := x.cloned()
	job := func(r Reader) {
		size, whole, err := measure(r, p.Stream(), from.Offset, offset)
		l.net.Post(func() {
			switch {
			case err != nil:
				l.finishError(clone.conn, &clone.meta, errDamaged.with("%v", err))
			case !whole && p.Floor() <= from.Offset && p.GoneAt() == 0:
				l.finishError(clone.conn, &clone.meta, errDamaged.with("messages from offset %d on are not there", from.Offset))
			case whole:
				clone.measured = measured{p, engine.Mark{Offset: offset, Bytes: from.Bytes + size}}
				l.resume(clone)
			default: // the floor has overtaken it, or the topic is gone
				l.resume(clone)
			}
		})
	}
	if !l.server.readers.add(job) {
		return reply{}, errOverloaded
	}
	return reply{later: true}, nil
}

// measure adds up the sizes of the messages in [from, to); whole tells that all of them were there.
func measure(r Reader, s record.Stream, from, to uint64) (size uint64, whole bool, err error) {
	at := from
	_, err = r.Read(s, from, to, true, func(sec record.Section) bool {
		if sec.Base > at {
			return false
		}
		end := sec.Base + uint64(sec.Count)
		if sec.Base == at && end <= to {
			size += uint64(len(sec.Body))
			at = end
			return true
		}
		it := sec.Records()
		it.Skip(int(at - sec.Base))
		for ; at < min(to, end); at++ {
			m, ok := it.Next()
			if !ok {
				return false
			}
			size += uint64(m.Size())
		}
		return true
	})
	return size, at == to, err
}

// retentionRequest is the body of POST /broker/retention.
type retentionRequest struct {
	Topic     *string `json:"topic"`
	Partition *uint32 `json:"partition"`
	TTLMs     *uint64 `json:"ttl_ms"`
	MaxBytes  *uint64 `json:"max_bytes"`
}

var retentionFields = fieldsOf(retentionRequest{})

// everyTopic is the name that means all of them.
const everyTopic = "*"

// setRetention changes what may go: of a partition, a topic, or all topics.
func setRetention(l *loop, x *exchange) (reply, error) {
	u, err := x.retentionUpdate()
	if err != nil {
		return reply{}, err
	}
	if l.index != engine.CatalogueShard {
		return l.forward(engine.CatalogueShard, x)
	}
	c, err := l.batch(len(x.body) + len(x.head))
	if err != nil {
		return reply{}, err
	}
	switch err := l.shard.SetRetention(c.batch, &u); {
	case errors.Is(err, engine.ErrNoPartition):
		return reply{}, errPartition.with("topic %q has no partition %d", u.Topic, u.Partition)
	case err != nil:
		return reply{}, errUnknownTopic.with("topic %q does not exist", u.Topic)
	}
	clone := x.cloned()
	clone.render = func(b []byte) []byte { return appendRetention(b, l.server.options.Engine, &u) }
	w := waiter{kind: owedRender, again: clone, concern: l.commandConcern()}
	if u.Scope != engine.EveryTopic {
		w.target = l.server.options.Engine.Topic(u.Topic).Partition(u.Partition)
	}
	return l.park(c.batch, x, w), nil
}

// retentionUpdate reads and checks the body.
func (x *exchange) retentionUpdate() (u engine.RetentionUpdate, err error) {
	var q retentionRequest
	if err := decodeCommand(x.body, &q, retentionFields); err != nil {
		return u, err
	}
	u.SetTTL, u.SetMaxBytes = q.TTLMs != nil, q.MaxBytes != nil
	switch {
	case q.Topic == nil || *q.Topic == "":
		return u, errMissingTopic
	case !u.SetTTL && !u.SetMaxBytes:
		return u, errBadJSON.with("ttl_ms or max_bytes is required; 0 clears it")
	case u.SetTTL && *q.TTLMs >= 1<<63 || u.SetMaxBytes && *q.MaxBytes >= 1<<63:
		return u, errBadJSON.with("ttl_ms and max_bytes are integers from 0 to 2^63-1")
	}
	if u.SetTTL {
		u.TTLMs = *q.TTLMs
	}
	if u.SetMaxBytes {
		u.MaxBytes = *q.MaxBytes
	}
	if *q.Topic == everyTopic {
		return u, x.checkEvery(&q)
	}
	u.Scope, u.Topic = engine.OneTopic, []byte(*q.Topic)
	if q.Partition != nil {
		u.Scope, u.Partition = engine.OnePartition, *q.Partition
	}
	return u, checkTopic(u.Topic, x.scope)
}

// checkEvery checks a request that concerns all topics.
func (x *exchange) checkEvery(q *retentionRequest) error {
	switch {
	case q.Partition != nil:
		return errBadJSON.with("a partition is of one topic, not of \"*\"")
	case x.scope != nil && x.scope.Restricted():
		return errForbidden.with("the token is for names with a prefix; \"*\" concerns all")
	}
	return nil
}

// appendRetention is what is set now where u has set something.
func appendRetention(b []byte, e *engine.Engine, u *engine.RetentionUpdate) []byte {
	name, policy := []byte(everyTopic), e.EveryPolicy()
	if u.Scope != engine.EveryTopic {
		name, policy = u.Topic, u.Policy
		if t := e.Topic(u.Topic); t != nil {
			policy = t.Policy()
			if u.Scope == engine.OnePartition {
				policy = t.OwnPolicy(u.Partition)
			}
		}
	}
	b = jsonscan.AppendString(append(b, `{"ok":true,"topic":`...), name)
	if u.Scope == engine.OnePartition {
		b = appendMember(b, "partition", uint64(u.Partition))
	}
	b = appendMember(b, "ttl_ms", policy.TTLMs)
	return append(appendMember(b, "max_bytes", policy.MaxBytes), '}')
}

// retainer looks after the policies of a loop's partitions.
type retainer struct{}

// beginRetention has the loop look after its partitions from now on.
func (l *loop) beginRetention() {
	l.retain.who = retainer{}
	l.alarms.set(&l.retain, l.net.Now()+l.server.retentionEvery())
	l.net.WakeAt(l.retain.at)
}

func (s *Server) retentionEvery() int64 {
	if s.options.RetentionNs > 0 {
		return s.options.RetentionNs
	}
	return int64(retentionEvery)
}

func (retainer) due(l *loop, at int64) {
	next := at + l.server.retentionEvery()
	if !l.retainSome() {
		next = at + int64(retentionStep)
	}
	l.alarms.set(&l.retain, next)
}

// retainSome makes some of this loop's messages go that may; false: there are topics that it has not looked at.
func (l *loop) retainSome() (done bool) {
	e := l.server.options.Engine
	if !e.Retains() || !l.leading() || l.failed != nil || l.draining {
		return true
	}
	c, err := l.batch(0)
	if err != nil {
		return err != errStall
	}
	_, done = l.shard.Retain(c.batch, retentionCommands)
	l.net.WakeAt(l.net.Now()) // the next turn submits it
	return done
}
