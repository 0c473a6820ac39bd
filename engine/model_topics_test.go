package engine

import (
	"errors"
	"fmt"
	"maps"
	"slices"
)

// The steps of the random walk that concern topics as a whole, and what is kept of them.

// modelCounts tell whether the walks met what they are for.
type modelCounts struct{ deleted, grown, cut, expired, steps, stale, pipesDeleted, pipesOrphaned int }

func (c modelCounts) plus(d modelCounts) modelCounts {
	return modelCounts{
		c.deleted + d.deleted, c.grown + d.grown, c.cut + d.cut, c.expired + d.expired,
		c.steps + d.steps, c.stale + d.stale, c.pipesDeleted + d.pipesDeleted, c.pipesOrphaned + d.pipesOrphaned,
	}
}

func (tp *modelTopic) policy() Policy { return Policy{tp.spec.TTLMs, tp.spec.MaxBytes} }

// bytes are those of the messages in [from, to).
func (mp *modelPartition) bytes(from, to uint64) (sum uint64) {
	for _, size := range mp.sizes[from:to] {
		sum += size
	}
	return sum
}

func (m *model) changeTopic() {
	switch name := fmt.Sprint("topic", m.rng.IntN(6)); m.rng.IntN(4) {
	case 0:
		m.deleteTopic(name)
	case 1:
		m.growTopic(name, uint32(1+m.rng.IntN(5)))
	default:
		m.setRetention(name)
	}
}

func (m *model) deleteTopic(name string) {
	b := m.w.open[CatalogueShard]
	got, err := m.w.e.Shard(CatalogueShard).DeleteTopic(b, []byte(name))
	at := m.deleting[name]
	switch tp := m.topics[name]; {
	case tp == nil:
		if !errors.Is(err, ErrNoTopic) {
			m.fail("delete %s, which does not exist: %+v %v", name, got, err)
		}
	case at != nil:
		if err != nil || got != (TopicChange{Batch: at}) {
			m.fail("delete %s again: %+v %v", name, got, err)
		}
	default:
		if err != nil || got != (TopicChange{Batch: b}) {
			m.fail("delete %s: %+v %v", name, got, err)
		}
		m.deleting[name] = b
		m.later(b, func(uint64) {
			m.seen.deleted++
			delete(m.topics, name)
			delete(m.specs, name)
			delete(m.deleting, name)
			delete(m.growing, name)
		})
	}
}

func (m *model) growTopic(name string, n uint32) {
	b, tp := m.w.open[CatalogueShard], m.topics[name]
	want, wantErr := TopicChange{Batch: b}, error(nil)
	switch g, growing := m.growing[name]; {
	case tp == nil:
		want, wantErr = TopicChange{}, ErrNoTopic
	case m.deleting[name] != nil:
		want = TopicChange{Batch: m.deleting[name], Again: true}
	case growing:
		want = TopicChange{Batch: g.batch, Again: g.count != n}
	case n < tp.spec.Partitions:
		want, wantErr = TopicChange{}, ErrShrink
	case n == tp.spec.Partitions:
		want = TopicChange{}
	}
	got, err := m.w.e.Shard(CatalogueShard).GrowTopic(b, []byte(name), n)
	if got != want || !errors.Is(err, wantErr) {
		m.fail("grow %s to %d: %+v %v, want %+v %v", name, n, got, err, want, wantErr)
	}
	if got.Batch != b || got.Again || err != nil || m.growing[name].batch == b {
		return
	}
	m.growing[name] = inFlight{count: n, batch: b}
	m.later(b, func(uint64) {
		if m.topics[name] != tp {
			return // deleted in the meantime
		}
		m.seen.grown++
		tp.grow(n)
		m.specs[name] = tp.spec
		delete(m.growing, name)
	})
}

func (m *model) setRetention(name string) {
	u := RetentionUpdate{Scope: RetentionScope(m.rng.IntN(3)), Topic: []byte(name), SetTTL: m.rng.IntN(2) == 0, SetMaxBytes: m.rng.IntN(2) == 0}
	u.TTLMs, u.MaxBytes = uint64(m.rng.IntN(3)*400), uint64(m.rng.IntN(3)*1000)
	tp, wantErr := m.topics[name], error(nil)
	switch {
	case u.Scope == EveryTopic:
	case tp == nil:
		wantErr = ErrNoTopic
	case u.Scope == OnePartition:
		if u.Partition = uint32(m.rng.IntN(4)); u.Partition >= tp.spec.Partitions {
			wantErr = ErrNoPartition
		}
	}
	b := m.w.open[CatalogueShard]
	if err := m.w.e.Shard(CatalogueShard).SetRetention(b, &u); !errors.Is(err, wantErr) || wantErr == nil && err != nil {
		m.fail("retention %+v: %v, want %v", u, err, wantErr)
	}
	if wantErr != nil {
		return
	}
	m.later(b, func(uint64) {
		switch {
		case u.Scope == EveryTopic:
			m.every = u.change(m.every)
		case m.topics[name] != tp: // deleted in the meantime
		case u.Scope == OneTopic:
			p := u.change(tp.policy())
			tp.spec.TTLMs, tp.spec.MaxBytes = p.TTLMs, p.MaxBytes
			m.specs[name] = tp.spec
		default:
			tp.own[u.Partition] = u.change(tp.own[u.Partition])
		}
	})
}

// cutBefore is a client's delete-before.
func (m *model) cutBefore() {
	mp, p := m.pick()
	if p == nil {
		return
	}
	offset := uint64(m.rng.IntN(len(mp.visible) + 2))
	if offset > mp.floor && offset <= p.Next() {
		if at := p.MarkBelow(offset); at.Offset > offset || at.Offset < mp.floor || at.Bytes != mp.bytes(0, at.Offset) {
			m.fail("%s/%d: the mark below %d is %+v", mp.topic, mp.number, offset, at)
		}
	}
	have, pending := mp.floor, mp.cut
	if pending != nil {
		have = pending.first
	}
	b := m.w.open[p.Shard()]
	want, wantErr := Cut{}, error(nil)
	switch {
	case offset > p.Next():
		wantErr = ErrOffsetAbove
	case offset > have:
		want = Cut{Messages: offset - have, Bytes: mp.bytes(have, offset), Batch: b}
	case pending != nil:
		want.Batch = pending.batch
	}
	at := Mark{Offset: offset}
	if wantErr == nil {
		at.Bytes = mp.bytes(0, offset)
	}
	got, err := m.w.e.Shard(p.Shard()).CutBefore(b, p, at)
	if got != want || err != wantErr {
		m.fail("%s/%d: cut before %d: %+v %v, want %+v %v", mp.topic, mp.number, offset, got, err, want, wantErr)
	}
	if got.Messages > 0 {
		m.seen.cut++
		m.cutting(mp, offset)
	}
}

// cutting notes a floor in the open batch of mp's shard.
func (m *model) cutting(mp *modelPartition, offset uint64) {
	p := m.w.e.Topic([]byte(mp.topic)).Partition(mp.number)
	b := m.w.open[p.Shard()]
	mp.cut = &inFlight{first: offset, batch: b}
	m.later(b, func(uint64) {
		mp.floor = max(mp.floor, offset)
		if mp.cut != nil && mp.cut.first <= offset {
			mp.cut = nil
		}
	})
}

// retain has a shard decide by the policies, and looks at what it decided.
func (m *model) retain(shard int) {
	s := m.w.e.Shard(shard)
	before := maps.Clone(s.cutting)
	b := m.w.open[shard]
	count, _ := s.Retain(b, 100)
	for _, name := range slices.Sorted(maps.Keys(m.topics)) {
		tp := m.topics[name]
		for i, mp := range tp.partitions {
			p := m.w.e.Topic([]byte(name)).Partition(uint32(i))
			c, ok := s.cutting[p]
			if !ok || c == before[p] {
				continue
			}
			count--
			m.seen.expired++
			m.checkExpired(mp, c.at, s.now(b), m.w.e.Retention(m.w.e.Topic([]byte(name)), uint32(i)))
			m.cutting(mp, c.at.Offset)
		}
	}
	if count != 0 {
		m.fail("%d floors of nothing that exists", count)
	}
}

// checkExpired wants everything below a floor to be too old or too much.
func (m *model) checkExpired(mp *modelPartition, at Mark, now uint64, p Policy) {
	next := uint64(len(mp.visible))
	if at.Offset > next || at.Bytes != mp.bytes(0, at.Offset) {
		m.fail("%s/%d: floor at %+v of %d", mp.topic, mp.number, at, next)
	}
	old := p.TTLMs > 0 && now-mp.times[at.Offset-1] >= p.TTLMs
	much := p.MaxBytes > 0 && mp.bytes(at.Offset-1, next) > p.MaxBytes-min(p.MaxBytes, 2*ladderBytesMin)
	if !old && !much {
		m.fail("%s/%d: floor at %+v: the newest message that goes is %d ms old, and %d bytes follow; %+v", mp.topic, mp.number, at, now-mp.times[at.Offset-1], mp.bytes(at.Offset, next), p)
	}
}
