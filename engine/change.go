package engine

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"

	"ayder/internal/record"
)

// Deleting topics and adding partitions. Like creation, only the catalogue's shard accepts these, and what it has in flight
// is known there.
//
// A topic is gone from the frame on that deletes it, for every node alike. Other shards have batches in flight then, and
// whatever these say about it is left out by Apply, because the catalogue knows that the id was given. So nothing has to
// be agreed between shards: whether one of them applied a section just before the deletion or left it out just after, the
// state is the same, for of a deleted topic nothing is in it. Only the answer to the client differs, by Partition.GoneAt:
//
//	frame before the deletion    written, and then deleted
//	frame after it               written to nowhere: the topic does not exist
//
// What a shard keeps of a deleted topic (keys, windows, groups with a commit in flight, pipelines that wrote into it) it gives up itself,
// in bury.
//
// More partitions make another Topic that shares the old one's *Partition; nobody who holds one of them notices.

// TopicChange is what became of a request to change something.
type TopicChange struct {
	Batch *record.Batch // the command is in it: answer when that is done; nil: there is nothing to change
	Again bool          // it is not: something else in the way is in Batch; ask again when that is done
}

type growth struct {
	partitions uint32
	batch      *record.Batch
}

// DeleteTopic adds a command to b that deletes a topic. It must be called on the catalogue's shard. Error: ErrNoTopic.
func (s *Shard) DeleteTopic(b *record.Batch, name []byte) (TopicChange, error) {
	s.mustBeCatalogue()
	t := s.engine.Topic(name)
	if t == nil {
		return TopicChange{}, ErrNoTopic
	}
	if at := s.changing.deleting[t.id]; at != nil {
		return TopicChange{Batch: at}, nil
	}
	b.AppendCommand(record.SectionTopicDelete, record.Stream{Topic: t.id}, 0, nil)
	if s.changing.deleting == nil {
		s.changing.deleting = make(map[uint32]*record.Batch)
	}
	s.changing.deleting[t.id] = b
	return TopicChange{Batch: b}, nil
}

// GrowTopic adds a command to b that gives a topic so many partitions in all. It must be called on the catalogue's shard.
// Errors: ErrNoTopic, ErrPartitions, ErrShrink, ErrTopicLimit.
func (s *Shard) GrowTopic(b *record.Batch, name []byte, partitions uint32) (TopicChange, error) {
	s.mustBeCatalogue()
	if partitions < 1 || partitions > TopicPartitionsMax {
		return TopicChange{}, ErrPartitions
	}
	t := s.engine.Topic(name)
	if t == nil {
		return TopicChange{}, ErrNoTopic
	}
	if at := s.changing.deleting[t.id]; at != nil {
		return TopicChange{Batch: at, Again: true}, nil
	}
	if g, ok := s.changing.growing[t.id]; ok {
		return TopicChange{Batch: g.batch, Again: g.partitions != partitions}, nil
	}
	switch have := t.Partitions(); {
	case partitions < have:
		return TopicChange{}, ErrShrink
	case partitions == have:
		return TopicChange{}, nil
	case !s.roomForPartitions(int(partitions - have)):
		return TopicChange{}, ErrTopicLimit
	}
	b.AppendCommand(record.SectionTopicGrow, record.Stream{Topic: t.id}, 0, binary.LittleEndian.AppendUint32(nil, partitions))
	s.changing.grow(t, growth{partitions, b})
	return TopicChange{Batch: b}, nil
}

func (s *Shard) mustBeCatalogue() {
	if s.number != CatalogueShard {
		panic("bug: topic command on a shard that is not the catalogue's")
	}
}

func (c *changes) grow(t *Topic, g growth) {
	if c.growing == nil {
		c.growing = make(map[uint32]growth)
	}
	c.growing[t.id] = g
	c.partitions += int(g.partitions - t.Partitions())
}

// grown notes that t, as it was, has grown or is gone.
func (c *changes) grown(t *Topic) {
	if g, ok := c.growing[t.id]; ok {
		delete(c.growing, t.id)
		c.partitions -= int(g.partitions - t.Partitions())
	}
}

// applyDelete takes a topic out, unless a checkpoint knew that already.
func (e *Engine) applyDelete(f *record.Frame, sec *record.Section) error {
	t := e.catalogue.get(sec.Stream.Topic)
	switch {
	case len(sec.Body) > 0:
		return fmt.Errorf("delete topic with a body of %d bytes: %w", len(sec.Body), record.ErrMalformed)
	case t == nil && e.catalogue.deleted(sec.Stream.Topic):
		return nil
	case t == nil || f.Index <= t.created:
		return fmt.Errorf("delete topic: no such topic: %w", ErrDiverged)
	}
	e.deleteTopic(t, f.Index)
	c := &e.shards[CatalogueShard].changing
	c.grown(t)
	delete(c.deleting, t.id)
	return nil
}

// deleteTopic takes t out, as of the frame with that index.
func (e *Engine) deleteTopic(t *Topic, index uint64) {
	for _, p := range t.partitions {
		p.gone.Store(index)
		e.freed.Add(p.bytes.Load())
	}
	e.catalogue.remove(t)
	e.deletions.Add(1)
}

// applyGrow adds partitions. A checkpoint may have brought them already.
func (e *Engine) applyGrow(f *record.Frame, sec *record.Section) error {
	if len(sec.Body) != 4 {
		return fmt.Errorf("grow topic with a body of %d bytes: %w", len(sec.Body), record.ErrMalformed)
	}
	partitions := binary.LittleEndian.Uint32(sec.Body)
	t := e.catalogue.get(sec.Stream.Topic)
	switch {
	case t == nil && e.catalogue.deleted(sec.Stream.Topic):
		return nil
	case t == nil || f.Index <= t.created:
		return fmt.Errorf("grow topic: no such topic: %w", ErrDiverged)
	}
	if err := e.growTopic(t, partitions); err != nil {
		return fmt.Errorf("grow topic: %w: %w", err, ErrDiverged)
	}
	e.shards[CatalogueShard].changing.grown(t)
	return nil
}

// growTopic gives t so many partitions, if it has fewer.
func (e *Engine) growTopic(t *Topic, partitions uint32) error {
	have := t.Partitions()
	switch {
	case partitions <= have:
		return nil
	case partitions > TopicPartitionsMax:
		return ErrPartitions
	case e.catalogue.partitions+int(partitions-have) > PartitionsTotalMax:
		return ErrTopicLimit
	}
	wider := *t
	wider.spec.Partitions = partitions
	wider.partitions = e.appendPartitions(t.partitions, t, partitions)
	e.catalogue.replace(&wider)
	return nil
}

// bury gives up what the shard keeps of partitions whose topics were deleted, and of pipelines that were, if there may be any.
func (s *Shard) bury() {
	n := s.engine.deletions.Load()
	if n == s.buried && !s.dig {
		return
	}
	s.buried, s.dig = n, false
	gone := func(p *Partition) bool { return p.gone.Load() != 0 }
	maps.DeleteFunc(s.keys, func(k flightKey, _ flight) bool { return s.engine.catalogue.deleted(k.stream.Topic) })
	maps.DeleteFunc(s.committing, func(_ *group, c committing) bool { return gone(c.partition) })
	maps.DeleteFunc(s.cutting, func(p *Partition, _ cutting) bool { return gone(p) })
	s.windows = slices.DeleteFunc(s.windows, gone)
	s.buryPipelines()
	for p := range s.rockets {
		if gone(p) {
			p.rocket.clear(p)
		}
	}
}
