package engine

import (
	"encoding/binary"
	"fmt"
	"maps"

	"ayder/internal/record"
)

// Retention: how long messages stay and how many bytes of them, by policies of three kinds. Of each of the two numbers the closest
// one that is set counts:
//
//	of the partition  >  of its topic (what it was created with, or was given since)  >  of all topics, also later ones
//
// 0 means that it is not set. So a topic is taken out of what holds for all by a number of its own that is never reached.
//
// Policies are commands like any other and belong to the catalogue. What they mean for a partition at some moment is decided by whoever
// accepts writes, every few seconds, and becomes a floor in the log (floor.go). Time is that of the log: when a message's
// frame was made, whatever time its client gave it.

// Policy says what may go. A zero field says nothing.
type Policy struct {
	TTLMs    uint64 // age from which on messages may go
	MaxBytes uint64 // size of a partition beyond which its oldest messages may go
}

// or is p where it says something, else q.
func (p Policy) or(q Policy) Policy {
	if p.TTLMs == 0 {
		p.TTLMs = q.TTLMs
	}
	if p.MaxBytes == 0 {
		p.MaxBytes = q.MaxBytes
	}
	return p
}

// EveryPolicy is the one of all topics. Any goroutine may ask.
func (e *Engine) EveryPolicy() Policy {
	if p := e.catalogue.every.Load(); p != nil {
		return *p
	}
	return Policy{}
}

// Policy is the topic's own.
func (t *Topic) Policy() Policy { return Policy{t.spec.TTLMs, t.spec.MaxBytes} }

// OwnPolicy is the one of a single partition.
func (t *Topic) OwnPolicy(partition uint32) Policy { return t.own[partition] }

// Retention is what holds for a partition of t. Any goroutine may ask.
func (e *Engine) Retention(t *Topic, partition uint32) Policy {
	return t.own[partition].or(t.Policy()).or(e.EveryPolicy())
}

// retaining is 1 for a topic that has any policy, or memory that is bounded by one.
func (t *Topic) retaining() int64 {
	if t.Policy() != (Policy{}) || len(t.own) > 0 || t.spec.Mode == Rocket {
		return 1
	}
	return 0
}

// Retains tells whether there is any policy. Any goroutine may ask.
func (e *Engine) Retains() bool {
	return e.EveryPolicy() != (Policy{}) || e.catalogue.retaining.Load() > 0
}

// RetentionScope says what a policy is for. The values are part of the disk format.
type RetentionScope uint8

// The scopes of policies.
const (
	EveryTopic RetentionScope = iota
	OneTopic
	OnePartition
)

// RetentionUpdate changes a policy: of its numbers those that are set.
type RetentionUpdate struct {
	Scope       RetentionScope
	Topic       []byte // not for EveryTopic
	Partition   uint32 // OnePartition only
	SetTTL      bool
	SetMaxBytes bool
	Policy
}

// SetRetention adds a command to b that changes a policy. It must be called on the catalogue's shard. Errors: ErrNoTopic,
// ErrNoPartition.
func (s *Shard) SetRetention(b *record.Batch, u *RetentionUpdate) error {
	s.mustBeCatalogue()
	var at record.Stream
	if u.Scope != EveryTopic {
		t := s.engine.Topic(u.Topic)
		switch {
		case t == nil:
			return ErrNoTopic
		case u.Scope == OnePartition && u.Partition >= t.Partitions():
			return ErrNoPartition
		}
		at = record.Stream{Topic: t.id, Partition: u.Partition}
	}
	b.AppendCommand(record.SectionRetention, at, 0, u.append(nil))
	return nil
}

const (
	retentionVersion = 1
	retentionBytes   = 24
	fieldTTL         = 1
	fieldMaxBytes    = 2
)

// append encodes the update as doc.go draws it.
func (u *RetentionUpdate) append(b []byte) []byte {
	fields := byte(0)
	if u.SetTTL {
		fields |= fieldTTL
	}
	if u.SetMaxBytes {
		fields |= fieldMaxBytes
	}
	b = append(b, retentionVersion, byte(u.Scope), fields, 0, 0, 0, 0, 0)
	b = binary.LittleEndian.AppendUint64(b, u.TTLMs)
	return binary.LittleEndian.AppendUint64(b, u.MaxBytes)
}

func readRetention(b []byte) (u RetentionUpdate, err error) {
	if len(b) != retentionBytes || b[0] != retentionVersion || b[1] > byte(OnePartition) {
		return u, fmt.Errorf("retention of %d bytes: %w", len(b), record.ErrMalformed)
	}
	u.Scope, u.SetTTL, u.SetMaxBytes = RetentionScope(b[1]), b[2]&fieldTTL != 0, b[2]&fieldMaxBytes != 0
	u.TTLMs, u.MaxBytes = binary.LittleEndian.Uint64(b[8:]), binary.LittleEndian.Uint64(b[16:])
	return u, nil
}

// change is p with what the update sets.
func (u *RetentionUpdate) change(p Policy) Policy {
	if u.SetTTL {
		p.TTLMs = u.TTLMs
	}
	if u.SetMaxBytes {
		p.MaxBytes = u.MaxBytes
	}
	return p
}

// applyRetention changes a policy. Applying a row of them again that was applied already leads to the same.
func (e *Engine) applyRetention(sec *record.Section) error {
	u, err := readRetention(sec.Body)
	if err != nil {
		return err
	}
	if u.Scope == EveryTopic {
		p := u.change(e.EveryPolicy())
		e.catalogue.every.Store(&p)
		return nil
	}
	t := e.catalogue.get(sec.Stream.Topic)
	switch {
	case t == nil && e.catalogue.deleted(sec.Stream.Topic):
		return nil
	case t == nil || u.Scope == OnePartition && sec.Stream.Partition >= t.Partitions():
		return fmt.Errorf("retention: no such topic or partition: %w", ErrDiverged)
	case u.Scope == OneTopic:
		e.catalogue.replace(t.withPolicy(u.change(t.Policy())))
	default:
		e.catalogue.replace(t.withOwn(sec.Stream.Partition, u.change(t.own[sec.Stream.Partition])))
	}
	return nil
}

func (t *Topic) withPolicy(p Policy) *Topic {
	n := *t
	n.spec.TTLMs, n.spec.MaxBytes = p.TTLMs, p.MaxBytes
	return &n
}

func (t *Topic) withOwn(partition uint32, p Policy) *Topic {
	n := *t
	n.own = maps.Clone(t.own)
	if n.own == nil {
		n.own = make(map[uint32]Policy)
	}
	if n.own[partition] = p; p == (Policy{}) {
		delete(n.own, partition)
	}
	return &n
}

// place is where a walk over all partitions stands.
type place struct {
	topic uint32 // id of the last topic looked at
}

// Retain adds commands to b that move the floors of this shard's partitions to where their policies want them. It looks at
// some topics and goes on behind them at the next call; done when it has come to the end, so that the next call begins anew.
// At most commandsMax commands are added, and those of one more topic.
func (s *Shard) Retain(b *record.Batch, commandsMax int) (commands int, done bool) {
	e, now := s.engine, s.now(b)
	list, every := e.catalogue.topics(), e.EveryPolicy() != (Policy{})
	for looked := 0; looked < retainTopicsMax && commands < commandsMax; looked++ {
		if s.look.topic++; s.look.topic > list.last {
			s.look = place{}
			return commands, true
		}
		if t := list.get(s.look.topic); t != nil && (every || t.retaining() > 0) {
			commands += s.retainTopic(b, t, now)
		}
	}
	return commands, false
}

func (s *Shard) retainTopic(b *record.Batch, t *Topic, now uint64) (commands int) {
	for i, p := range t.partitions {
		if p.owner != s || p.ladder == nil && p.rocket == nil {
			continue
		}
		policy := s.engine.Retention(t, uint32(i))
		if p.rocket != nil {
			p.rocket.retain(p, policy, now)
			continue
		}
		m := p.ladder.expired(policy, p.Next(), now)
		if m.offset <= p.Floor() || m.offset <= s.cutting[p].at.Offset {
			continue
		}
		if _, err := s.CutBefore(b, p, Mark{m.offset, m.bytes}); err != nil {
			panic("bug: a partition's own mark is above its end")
		}
		commands++
	}
	return commands
}
