package engine

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"

	"ayder/internal/record"
)

// Pipelines in a checkpoint: which there are is an extension of the catalogue's shard, how far each has come one of the shard that its
// output belongs to. The two may have been captured at different moments, as topics and partitions may: progress of a pipeline that the
// other part does not know yet waits for the replay to create it, and that of a pipeline known to be deleted is given up.
//
//	extension 5  as_of u64 | last u32: the highest id that was given | pipelines u32 | × pipeline, by rising ids
//	pipeline     id u32 | created u64 | size u32 | body as in the command that creates it
//
//	extension 6  pipelines u32 | × progress, by rising ids
//	progress     id u32 | topic u32 | partition u32: where it writes | steps u64 | rows u64 | lost u64
//	             positions u32 | journal u32 | state_size u32 | positions | journal | state
//	position     source u8 | partition u32 | offset u64; by source and partition
//	journal      schemas u32 | pages u32 | pages × page, as in the command

const (
	pipelinesTag     uint32 = 5 // of the list
	progressTag      uint32 = 6 // of how far they have come
	pipelineBytesMin        = 16
	positionBytes           = 13
	journalBytesMin         = 8 + stepPageBytes
)

// capturePipelines captures the list, if there ever was a pipeline.
func capturePipelines(e *Engine, owner *Shard) capturedExtension {
	if owner != nil && owner.number != CatalogueShard || e.pipelines.asOf == 0 {
		return nil
	}
	list, asOf := e.pipelines.now(), e.pipelines.asOf
	return func(dst []byte) []byte {
		le := binary.LittleEndian
		dst = le.AppendUint64(dst, asOf)
		dst = le.AppendUint32(dst, list.last)
		dst = le.AppendUint32(dst, uint32(len(list.all)))
		for _, p := range list.all {
			body := p.spec.appendTo(nil)
			dst = le.AppendUint32(dst, p.id)
			dst = le.AppendUint64(dst, p.created)
			dst = le.AppendUint32(dst, uint32(len(body)))
			dst = append(dst, body...)
		}
		return dst
	}
}

// restorePipelines takes what capturePipelines encoded.
func restorePipelines(e *Engine, d *decoder) error {
	ps := &e.pipelines
	asOf, last, count := d.u64(), d.u32(), d.u32()
	switch {
	case d.failed || uint64(count)*pipelineBytesMin > uint64(len(d.left)):
		return errShort
	case ps.asOf != 0 || asOf == 0 || last == 0 || last > PipelineIDMax:
		return fmt.Errorf("pipelines up to %d as of %d: are there already, or too early", last, asOf)
	}
	list := &pipelineList{}
	for range count {
		id, created := d.u32(), d.u64()
		body := d.bytes(uint64(d.u32()))
		if d.failed {
			return errShort
		}
		p, err := readPipeline(uint64(id), created, body)
		if err != nil {
			return err
		}
		if id <= list.last || id > last || created == 0 || created > asOf || list.named(p.spec.Name) != nil {
			return fmt.Errorf("pipeline %d %q behind %d of %d", id, p.spec.Name, list.last, last)
		}
		list = list.with(p)
	}
	list.last = last
	ps.list.Store(list)
	ps.asOf, ps.skipTo = asOf, asOf
	return nil
}

// capturedProgress is how far a pipeline had come at one moment.
type capturedProgress struct {
	id   uint32
	into record.Stream
	PipelineProgress
}

// captureProgress captures how far the pipelines of owner have come.
func captureProgress(e *Engine, owner *Shard) capturedExtension {
	var all []capturedProgress
	for _, s := range e.shards {
		if owner == nil || owner == s {
			all = s.appendProgress(all)
		}
	}
	if all == nil {
		return nil
	}
	slices.SortFunc(all, func(a, b capturedProgress) int { return cmp.Compare(a.id, b.id) })
	return func(dst []byte) []byte {
		dst = binary.LittleEndian.AppendUint32(dst, uint32(len(all)))
		for i := range all {
			dst = all[i].appendTo(dst)
		}
		return dst
	}
}

// appendProgress adds the shard's own. Some of it may be dead and not buried yet.
func (s *Shard) appendProgress(all []capturedProgress) []capturedProgress {
	list := s.engine.pipelines.now()
	for id, st := range s.pipelines {
		if st.applied.Steps > 0 && !st.dead(list, id) {
			all = append(all, capturedProgress{id, st.partition.stream, st.applied.capture()})
		}
	}
	return all
}

func (c *capturedProgress) appendTo(dst []byte) []byte {
	le := binary.LittleEndian
	dst = le.AppendUint32(dst, c.id)
	dst = le.AppendUint32(dst, c.into.Topic)
	dst = le.AppendUint32(dst, c.into.Partition)
	dst = le.AppendUint64(dst, c.Steps)
	dst = le.AppendUint64(dst, c.Rows)
	dst = le.AppendUint64(dst, c.Lost)
	dst = le.AppendUint32(dst, uint32(len(c.Positions)))
	dst = le.AppendUint32(dst, uint32(len(c.Journal)))
	dst = le.AppendUint32(dst, uint32(len(c.State)))
	for _, at := range c.Positions {
		dst = le.AppendUint32(append(dst, at.Source), at.Partition)
		dst = le.AppendUint64(dst, at.Offset)
	}
	for i := range c.Journal {
		dst = le.AppendUint32(dst, c.Journal[i].Schemas)
		dst = le.AppendUint32(dst, uint32(len(c.Journal[i].Pages)))
		dst = appendPages(dst, c.Journal[i].Pages)
	}
	return append(dst, c.State...)
}

// restoreProgress takes what captureProgress encoded.
func restoreProgress(e *Engine, d *decoder) error {
	last := uint32(0)
	for range d.u32() {
		c := capturedProgress{id: d.u32()}
		if d.failed || c.id <= last || c.id > PipelineIDMax {
			return fmt.Errorf("progress of pipeline %d behind %d", c.id, last)
		}
		last = c.id
		if err := c.restore(d); err != nil {
			return fmt.Errorf("pipeline %d: %w", c.id, err)
		}
		p := e.restored(c.into)
		if p == nil || p.rocket != nil || e.progressOf(c.id) {
			return fmt.Errorf("pipeline %d into %v: no such partition, or is there already", c.id, c.into)
		}
		p.owner.setPipeline(c.id, &stepped{partition: p, applied: c.PipelineProgress})
		p.owner.dig = true // it may be deleted
		e.pipelines.states.Add(int64(len(c.State)))
	}
	return nil
}

// progressOf tells whether some shard has the progress of a pipeline.
func (e *Engine) progressOf(id uint32) bool {
	return slices.ContainsFunc(e.shards, func(s *Shard) bool { return s.pipelines[id] != nil })
}

func (c *capturedProgress) restore(d *decoder) error {
	c.into = record.Stream{Topic: d.u32(), Partition: d.u32()}
	c.Steps, c.Rows, c.Lost = d.u64(), d.u64(), d.u64()
	positions, journal, state := d.u32(), d.u32(), d.u32()
	if d.failed || uint64(positions)*positionBytes+uint64(journal)*journalBytesMin+uint64(state) > uint64(len(d.left)) {
		return errShort
	}
	for range positions {
		at := PipelinePosition{Source: d.u8(), Partition: d.u32(), Offset: d.u64()}
		if i, ok := findPosition(c.Positions, at.Source, at.Partition); ok || i != len(c.Positions) || int(at.Source) >= PipelineInputsMax {
			return fmt.Errorf("position %+v is out of place", at)
		}
		c.Positions = append(c.Positions, at)
	}
	for range journal {
		if err := c.restoreRead(d); err != nil {
			return err
		}
	}
	c.State = append([]byte(nil), d.bytes(uint64(state))...)
	if d.failed {
		return errShort
	}
	if positions == 0 || uint64(journal) > c.Steps || c.Steps == 0 {
		return fmt.Errorf("%d positions and %d pages of %d steps", positions, journal, c.Steps)
	}
	return nil
}

// restoreRead takes one element of the journal.
func (c *capturedProgress) restoreRead(d *decoder) error {
	read := PipelineRead{Schemas: d.u32()}
	count := d.u32()
	if d.failed || uint64(count)*stepPageBytes > uint64(len(d.left)) {
		return errShort
	}
	pages, ok := readPages(d, int(count))
	for i := range pages {
		_, known := findPosition(c.Positions, pages[i].Source, pages[i].Partition)
		ok = ok && known
	}
	if !ok || count == 0 {
		return fmt.Errorf("%d pages of the journal are impossible", count)
	}
	read.Pages = pages
	c.Journal = append(c.Journal, read)
	return nil
}
