package engine

import (
	"fmt"

	"ayder/internal/record"
)

// Apply: the one place where state changes, live and in recovery alike.
//
// A frame is applied section by section. A section of records only moves its partition's end, whatever
// the number of records; they are looked at only where a flag says that an idempotency key is inside.
// Time is the frame's. Whatever the result depends on is in the frames, so the same log gives the same state.
//
// Live, a section that does not follow from the state is a bug of ours, and the loop stops with a panic before
// it serves from wrong numbers. In recovery it may be a damaged or foreign file, and is an error.

// A frame that another node made comes through ApplyCommitted: any shard's sections may be in it, and offsets that
// were given here and are still in flight have lost their meaning, so they are not compared.

// Apply applies a durable frame that this shard's own batch became. The error, wrapping
// record.ErrMalformed, means that the frame does not decode; the shard must not be used after it.
func (s *Shard) Apply(f record.Frame) error {
	it := f.Iter()
	for sec, ok := it.Next(); ok; sec, ok = it.Next() {
		if s.engine.shardOf(&sec) != s.number {
			panic(fmt.Sprintf("bug: frame %d has a section of stream %v in shard %d", f.Index, sec.Stream, s.number))
		}
		if err := s.engine.apply(&f, &sec, true); err != nil {
			panic(fmt.Sprintf("bug: frame %d: %v", f.Index, err))
		}
	}
	if err := it.Err(); err != nil {
		return fmt.Errorf("apply index %d: %w", f.Index, err)
	}
	s.finish(&f)
	return nil
}

// ApplyCommitted applies those sections of a committed frame that are this shard's, whichever node made the frame and
// with however many loops. Every shard that ShardsOf names must be given it, in the order of the log. What a restored
// checkpoint holds already is left out. Errors wrap ErrDiverged or record.ErrMalformed and name index and stream;
// the engine must not be used after one.
func (s *Shard) ApplyCommitted(f record.Frame) error {
	it := f.Iter()
	for sec, ok := it.Next(); ok; sec, ok = it.Next() {
		if s.engine.shardOf(&sec) != s.number {
			continue
		}
		if err := s.engine.apply(&f, &sec, false); err != nil {
			return fmt.Errorf("apply index %d topic %d partition %d: %w", f.Index, sec.Stream.Topic, sec.Stream.Partition, err)
		}
	}
	if err := it.Err(); err != nil {
		return fmt.Errorf("apply index %d: %w", f.Index, err)
	}
	s.finish(&f)
	return nil
}

// ApplyReplay applies the next frame of the log during recovery, when no loop runs. It leaves out what a restored
// checkpoint holds already. Errors wrap ErrDiverged or record.ErrMalformed and name index and stream; the
// engine must not be used after one.
func (e *Engine) ApplyReplay(f record.Frame) error {
	if f.Index <= e.replayed {
		return fmt.Errorf("replay index %d after %d: %w", f.Index, e.replayed, ErrDiverged)
	}
	it := f.Iter()
	for sec, ok := it.Next(); ok; sec, ok = it.Next() {
		if err := e.apply(&f, &sec, false); err != nil {
			return fmt.Errorf("replay index %d topic %d partition %d: %w", f.Index, sec.Stream.Topic, sec.Stream.Partition, err)
		}
	}
	if err := it.Err(); err != nil {
		return fmt.Errorf("replay index %d: %w", f.Index, err)
	}
	e.replayed = f.Index
	for _, s := range e.shards {
		s.finish(&f)
	}
	return nil
}

// finish notes that a whole frame was applied.
func (s *Shard) finish(f *record.Frame) {
	s.timeMs = max(s.timeMs, f.TimeMs)
	s.applied.Store(max(s.applied.Load(), f.Index))
	s.bury()
	s.sweep()
}

func (e *Engine) apply(f *record.Frame, sec *record.Section, live bool) error {
	if isCatalogue(sec.Type) {
		return e.applyCatalogue(f, sec, live)
	}
	if sec.Type == record.SectionGroupMembers {
		return e.applyMembers(f, sec, live)
	}
	if sec.Type == record.SectionSchema {
		return e.applySchema(f, sec, live)
	}
	if sec.Stream.Topic == kvTopic {
		return e.applyKV(f, sec, live)
	}
	p := e.catalogue.partition(sec.Stream)
	if p == nil && e.catalogue.deleted(sec.Stream.Topic) {
		e.shards[e.ShardOf(sec.Stream)].dig = true
		return nil
	}
	if p == nil {
		return fmt.Errorf("no such partition: %w", ErrDiverged)
	}
	if !live && f.Index <= p.skipTo {
		return nil
	}
	p.asOf = f.Index
	switch sec.Type {
	case record.SectionRecords:
		return p.applyRecords(f, sec, live)
	case record.SectionGroupCommit:
		return p.applyCommit(sec)
	case record.SectionBoot:
		return p.applyRange(sec, live)
	case record.SectionGroupReset:
		return p.applyReset(sec)
	case record.SectionGroupDelete:
		return p.applyDelete(sec)
	case record.SectionFloor:
		return p.applyFloor(sec)
	case record.SectionPipelineStep:
		return p.applyStep(sec)
	}
	return fmt.Errorf("section type %d: %w", sec.Type, ErrDiverged)
}

func (e *Engine) applyCatalogue(f *record.Frame, sec *record.Section, live bool) error {
	switch sec.Type {
	case record.SectionPipelineCreate:
		return e.applyPipelineCreate(f, sec, live)
	case record.SectionPipelineDelete:
		return e.applyPipelineDelete(f, sec, live)
	case record.SectionTopicDelete:
		return e.applyDelete(f, sec)
	case record.SectionTopicGrow:
		return e.applyGrow(f, sec)
	case record.SectionRetention:
		return e.applyRetention(sec)
	}
	return e.applyCreate(f, sec)
}

// applyCreate adds a topic. One that a checkpoint brought already, perhaps with what became of it later, is recognized by
// the frame that created it; one that was deleted before the checkpoint, by its id.
func (e *Engine) applyCreate(f *record.Frame, sec *record.Section) error {
	spec, err := readSpec(sec.Body)
	if err != nil {
		return fmt.Errorf("create topic: %w: %w", err, ErrDiverged)
	}
	id := sec.Stream.Topic
	t := e.catalogue.get(id)
	if t != nil && t.created == f.Index && t.spec.Name == spec.Name && t.spec.Mode == spec.Mode || t == nil && e.catalogue.deleted(id) {
		return nil
	}
	if err := e.addTopic(id, spec, f.Index); err != nil {
		return fmt.Errorf("create topic: %w: %w", err, ErrDiverged)
	}
	e.shards[CatalogueShard].changing.created(spec.Name)
	return nil
}

// addTopic adds a topic from the log or a checkpoint, whose id must be the next one.
func (e *Engine) addTopic(id uint32, spec TopicSpec, created uint64) error {
	known := e.catalogue.topics()
	switch {
	case uint64(id) != uint64(known.last)+1:
		return fmt.Errorf("topic %q has id %d, not %d", spec.Name, id, known.last+1)
	case e.Topic([]byte(spec.Name)) != nil:
		return fmt.Errorf("topic %q: %w", spec.Name, ErrTopicExists)
	case known.count >= TopicsTotalMax || id > TopicIDMax || e.catalogue.partitions+int(spec.Partitions) > PartitionsTotalMax:
		return ErrTopicLimit
	}
	e.catalogue.add(e.newTopic(id, spec, created))
	return nil
}

func (p *Partition) applyRecords(f *record.Frame, sec *record.Section, live bool) error {
	next := p.next.Load()
	end := next + uint64(sec.Count)
	switch {
	case p.rocket != nil:
		return fmt.Errorf("records of a rocket topic: %w", ErrDiverged)
	case sec.Base != next:
		return fmt.Errorf("records start at offset %d, not %d: %w", sec.Base, next, ErrDiverged)
	case sec.Count == 0 || end < next || len(sec.Body) < int(sec.Count)*record.RecordHeaderBytes:
		return fmt.Errorf("%d records in %d bytes: %w", sec.Count, len(sec.Body), record.ErrMalformed)
	case live && end > p.assigned:
		return fmt.Errorf("records end at offset %d, assigned %d: %w", end, p.assigned, ErrDiverged)
	}
	if sec.Flags&record.FlagSectionIdem != 0 {
		if err := p.applyKeys(f, sec); err != nil {
			return err
		}
	}
	p.openLadder(f.TimeMs).add(next, uint64(len(sec.Body)), f.TimeMs)
	p.next.Store(end)
	p.bytes.Store(p.bytes.Load() + uint64(len(sec.Body)))
	p.assigned = max(p.assigned, end)
	return nil
}

// applyKeys remembers the idempotency keys of a section.
func (p *Partition) applyKeys(f *record.Frame, sec *record.Section) error {
	it := sec.Records()
	offset, end := sec.Base, sec.Base+uint64(sec.Count)
	for r, ok := it.Next(); ok; r, ok = it.Next() {
		if r.HasIdem {
			count, key, ok := decodeKey(r.Idem)
			if !ok || uint64(count) > end-offset {
				return fmt.Errorf("idempotency key at offset %d: %w", offset, record.ErrMalformed)
			}
			p.remember(entry{hash: hashKey(key), first: offset, timeMs: f.TimeMs, count: count})
		}
		offset++
	}
	if it.Err() != nil || offset != end {
		return fmt.Errorf("%d records expected from offset %d: %w", sec.Count, sec.Base, record.ErrMalformed)
	}
	return nil
}

// remember puts a key into the window, and it is no longer in flight.
func (p *Partition) remember(k entry) {
	s := p.owner
	delete(s.keys, flightKey{p.stream, k.hash})
	p.openWindow().put(k, s.engine.config.IdemWindowMs, s.engine.config.IdemKeysMax)
}

// openWindow returns the partition's window, made if need be.
func (p *Partition) openWindow() *window {
	if p.window == nil {
		p.window = &window{}
		p.owner.windows = append(p.owner.windows, p)
	}
	return p.window
}

// sweep takes expired keys out of one window after the other, so that partitions which nobody writes to
// give their memory back too.
func (s *Shard) sweep() {
	if len(s.windows) == 0 {
		return
	}
	if s.sweepAt >= len(s.windows) {
		s.sweepAt = 0
	}
	p := s.windows[s.sweepAt]
	if p.window.expire(s.timeMs, s.engine.config.IdemWindowMs, sweepKeysMax) == sweepKeysMax {
		return // more of the same in the next frame
	}
	if p.window.queue.len() == 0 {
		p.window = nil
		last := len(s.windows) - 1
		s.windows[s.sweepAt], s.windows[last] = s.windows[last], nil
		s.windows = s.windows[:last]
		return
	}
	s.sweepAt++
}

func (p *Partition) applyCommit(sec *record.Section) error {
	switch {
	case !ValidName(sec.Body):
		return fmt.Errorf("commit of group %q: %w", sec.Body, record.ErrMalformed)
	case sec.Base > p.next.Load():
		return fmt.Errorf("group %q committed offset %d above %d: %w", sec.Body, sec.Base, p.next.Load(), ErrDiverged)
	}
	g := p.group(sec.Body)
	if g.commit(sec.Base); g.batch == nil {
		delete(p.owner.committing, g)
	}
	return nil
}
