package engine

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"

	"ayder/internal/record"
)

// Steps: how a pipeline gets on, exactly once.
//
// A step is one page of one input partition, from an offset to another, and what came of it: rows, which are records of the partition that the
// pipeline writes to, and a command that says which page it was. Both are of that partition, so they are in one frame, and one shard
// applies them: either both happened or neither, and no checkpoint can have the one without the other.
//
// Steps are numbered, and a page begins where the one before of the same input partition ended. A step that follows from anything but what
// was applied and what is in flight is refused with ErrStale: a second runner, or one whose leadership is over, cannot write twice.
//
// What the query remembers between messages (open windows, unmatched rows) is bytes to the engine. It would be too much to log with every step,
// and need not be: the same messages in the same order give it again. So now and then a step brings it along, and from there on the engine
// keeps the list of pages, the journal. Whoever goes on, after a restart or on another node, takes the state, has the query read the
// journal's pages once more without writing anything, and is where the last step ended:
//
//	state ── page ── page ── page ──> now            journal: what is between
//
// The state is kept in memory and in checkpoints, so what the log says of steps may be dropped once two checkpoints cover it, like any command.

// PipelinePage is a part of an input: the messages of one partition from an offset to another.
type PipelinePage struct {
	Source    uint8 // which input
	Partition uint32
	From, To  uint64 // To is the first offset behind it
}

// PipelinePosition is how far an input partition has been read.
type PipelinePosition struct {
	Source    uint8
	Partition uint32
	Offset    uint64 // the next one to read
}

// PipelineStep is one step of a pipeline.
type PipelineStep struct {
	Pipeline uint32
	Number   uint64 // how many were before it
	Page     PipelinePage
	Lost     uint64 // messages of the page, or of those read again, that were not there any more
	HasState bool
	State    []byte // with HasState: what the query remembers after this step; may be empty
}

// PipelineProgress is how far a pipeline has come: what was applied. Its slices must not be changed.
type PipelineProgress struct {
	Steps     uint64
	Rows      uint64 // written
	Lost      uint64
	Positions []PipelinePosition // by source and partition; those that a step was made of
	State     []byte             // what the query remembered before the journal's first page
	Journal   []PipelinePage
	InFlight  int // steps that are not applied yet
}

// Position is where the next page of an input partition begins.
func (p *Pipeline) Position(g *PipelineProgress, source uint8, partition uint32) uint64 {
	return p.spec.position(g, source, partition)
}

func (p *PipelineSpec) position(g *PipelineProgress, source uint8, partition uint32) uint64 {
	if i, ok := findPosition(g.Positions, source, partition); ok {
		return g.Positions[i].Offset
	}
	return p.Inputs[source].start(partition)
}

// reads tells whether a page is one of the pipeline's inputs, and of something.
func (p *PipelineSpec) reads(page *PipelinePage) bool {
	return int(page.Source) < len(p.Inputs) && p.Inputs[page.Source].reads(page.Partition) && page.From < page.To
}

func findPosition(list []PipelinePosition, source uint8, partition uint32) (at int, ok bool) {
	return slices.BinarySearchFunc(list, PipelinePosition{Source: source, Partition: partition}, func(a, b PipelinePosition) int {
		return cmp.Or(cmp.Compare(a.Source, b.Source), cmp.Compare(a.Partition, b.Partition))
	})
}

// stepped is what a shard knows of a pipeline that writes into one of its partitions.
type stepped struct {
	partition *Partition
	applied   PipelineProgress // without InFlight. State and the elements of Journal never change once they are there
	flying    []PipelineStep   // without State
}

// PipelineProgress returns how far a pipeline that writes into p has come. The result stays as it is.
func (s *Shard) PipelineProgress(p *Partition, pipeline uint32) PipelineProgress {
	s.mustOwn(p)
	st := s.pipelines[pipeline]
	if st == nil {
		return PipelineProgress{}
	}
	g := st.applied.capture()
	g.InFlight = len(st.flying)
	return g
}

// capture is a copy that stays as it is.
func (g *PipelineProgress) capture() PipelineProgress {
	c := *g
	c.Positions = slices.Clone(g.Positions)
	c.Journal = slices.Clip(g.Journal)
	return c
}

// StepPipeline adds a step and its rows to b, which must have room for both. Rows' sizes must be within the limits of package
// record. Nothing is kept of step and rows. Errors, with nothing added: ErrNoPipeline; ErrStale when the step does not follow;
// ErrPipelineState when the query remembers too much, ErrPipelineJournal when this step must say what.
func (s *Shard) StepPipeline(b *record.Batch, p *Partition, step *PipelineStep, rows []record.Record) error {
	s.mustSeal(p)
	pipe := s.engine.PipelineByID(step.Pipeline)
	switch {
	case pipe == nil:
		return ErrNoPipeline
	case pipe.spec.Into != p.stream:
		panic("bug: step of a pipeline into another partition than its own")
	}
	st := s.pipelines[step.Pipeline]
	if st == nil {
		st = &stepped{partition: p}
	}
	if err := st.admits(s.engine, pipe, step); err != nil {
		return err
	}
	for i := range rows {
		b.AppendRecord(p.stream, p.assigned, &rows[i])
		p.assigned++
	}
	b.AppendCommand(record.SectionPipelineStep, p.stream, step.Number, step.appendTo(nil, len(rows)))
	st.flying = append(st.flying, *step)
	st.flying[len(st.flying)-1].State = nil
	s.setPipeline(step.Pipeline, st)
	return nil
}

func (s *Shard) setPipeline(id uint32, st *stepped) {
	if s.pipelines == nil {
		s.pipelines = make(map[uint32]*stepped)
	}
	s.pipelines[id] = st
}

// admits tells whether a step may be next.
func (st *stepped) admits(e *Engine, pipe *Pipeline, step *PipelineStep) error {
	if !pipe.spec.reads(&step.Page) {
		panic("bug: step of a pipeline that reads nothing of its inputs")
	}
	at := pipe.spec.position(&st.applied, step.Page.Source, step.Page.Partition)
	journal := len(st.applied.Journal)
	for i := range st.flying {
		f := &st.flying[i]
		if f.Page.Source == step.Page.Source && f.Page.Partition == step.Page.Partition {
			at = f.Page.To
		}
		if journal++; f.HasState {
			journal = 0
		}
	}
	switch {
	case step.Number != st.applied.Steps+uint64(len(st.flying)), step.Page.From != at:
		return ErrStale
	case !step.HasState && journal >= PipelineJournalMax:
		return ErrPipelineJournal
	case len(step.State) > PipelineStateMax, e.pipelines.states.Load()+int64(len(step.State)-len(st.applied.State)) > PipelineStatesMax:
		return ErrPipelineState
	}
	return nil
}

// applyStep moves a pipeline on. What was in flight when it was deleted has no effect.
func (p *Partition) applyStep(sec *record.Section) error {
	e, s := p.owner.engine, p.owner
	step, rows, err := readStep(sec)
	if err != nil {
		return err
	}
	list := e.pipelines.now()
	pipe := list.get(step.Pipeline)
	if pipe == nil {
		if list.deleted(step.Pipeline) {
			return nil
		}
		return fmt.Errorf("step of pipeline %d, which never was: %w", step.Pipeline, ErrDiverged)
	}
	st := s.pipelines[step.Pipeline]
	if st == nil {
		st = &stepped{partition: p}
	}
	g, page := &st.applied, &step.Page
	if pipe.spec.Into != p.stream || p.rocket != nil || step.Number != g.Steps || !pipe.spec.reads(page) ||
		page.From != pipe.spec.position(g, page.Source, page.Partition) {
		return fmt.Errorf("step %d of pipeline %d reads %+v, expected step %d: %w", step.Number, step.Pipeline, *page, g.Steps, ErrDiverged)
	}
	s.setPipeline(step.Pipeline, st)
	if len(st.flying) > 0 && st.flying[0].Number == step.Number {
		st.flying = slices.Delete(st.flying, 0, 1)
	}
	g.apply(&step, rows)
	if step.HasState {
		e.pipelines.states.Add(int64(len(step.State)) - int64(len(g.State)))
		g.State, g.Journal = bytes.Clone(step.State), nil
	}
	return nil
}

// apply notes a step; of its state nothing.
func (g *PipelineProgress) apply(step *PipelineStep, rows uint32) {
	g.Steps++
	g.Rows += uint64(rows)
	g.Lost += step.Lost
	g.Journal = append(g.Journal, step.Page)
	at := PipelinePosition{step.Page.Source, step.Page.Partition, step.Page.To}
	i, ok := findPosition(g.Positions, at.Source, at.Partition)
	if !ok {
		g.Positions = slices.Insert(g.Positions, i, at)
	}
	g.Positions[i] = at
}

// forgetPipelines takes the steps in flight back.
func (s *Shard) forgetPipelines() {
	for id, st := range s.pipelines {
		if st.flying = nil; st.applied.Steps == 0 {
			delete(s.pipelines, id)
		}
	}
}

// buryPipelines gives up what the shard keeps of pipelines that were deleted, or whose output was.
func (s *Shard) buryPipelines() {
	for id, st := range s.pipelines {
		if st.dead(s.engine.pipelines.now(), id) {
			s.engine.pipelines.states.Add(-int64(len(st.applied.State)))
			delete(s.pipelines, id)
		}
	}
}

func (st *stepped) dead(list *pipelineList, id uint32) bool {
	return list.deleted(id) || st.partition.gone.Load() != 0
}

const stepHeadBytes = 40 // a step without the state

// appendTo encodes a step as doc.go draws it.
func (t *PipelineStep) appendTo(dst []byte, rows int) []byte {
	le := binary.LittleEndian
	dst = slices.Grow(dst, stepHeadBytes+len(t.State))
	dst = le.AppendUint32(dst, t.Pipeline)
	dst = le.AppendUint32(dst, t.Page.Partition)
	dst = le.AppendUint64(dst, t.Page.From)
	dst = le.AppendUint64(dst, t.Page.To)
	dst = le.AppendUint64(dst, t.Lost)
	dst = le.AppendUint32(dst, uint32(rows))
	has := byte(0)
	if t.HasState {
		has = 1
	}
	dst = append(dst, t.Page.Source, has, 0, 0)
	return append(dst, t.State...)
}

// readStep decodes a step; its state aliases the section.
func readStep(sec *record.Section) (t PipelineStep, rows uint32, err error) {
	d := decoder{left: sec.Body}
	t.Number = sec.Base
	t.Pipeline, t.Page.Partition = d.u32(), d.u32()
	t.Page.From, t.Page.To, t.Lost = d.u64(), d.u64(), d.u64()
	rows = d.u32()
	t.Page.Source = d.u8()
	has, zero := d.u8(), d.u16()
	t.HasState, t.State = has == 1, d.left
	if d.failed || has > 1 || zero != 0 || !t.HasState && len(t.State) > 0 || t.Page.To <= t.Page.From {
		return t, 0, fmt.Errorf("step of a pipeline in %d bytes: %w", len(sec.Body), record.ErrMalformed)
	}
	return t, rows, nil
}
