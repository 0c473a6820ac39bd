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
// A step is some messages of the input, a page of each of some partitions from an offset to another, and what came of them: rows, which are records of
// the partition that the pipeline writes to, and a command that says which pages these were. Both are of that partition, so they are in one frame,
// and one shard applies them: either both happened or neither, and no checkpoint can have the one without the other.
//
// Steps are numbered, and a page begins where the one before of the same input partition ended. A step that follows from anything but what
// was applied and what is in flight is refused with ErrStale: a second runner, or one whose leadership is over, cannot write twice.
//
// What the query remembers between messages (open windows, unmatched rows) is bytes to the engine. It would be too much to log with every step,
// and need not be: the same messages in the same order give it again. So now and then a step brings it along, and from there on the engine
// keeps the list of what steps have read, the journal. Whoever goes on, after a restart or on another node, takes the state, has the query read
// the journal's pages once more without writing anything, and is where the last step ended:
//
//	state ── step ── step ── step ──> now            journal: what is between
//
// In which order the messages of a step's pages are taken follows from the messages; how many schemas there were is part of a step, because a
// message that names a schema which is registered later must be passed over again.
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

// PipelineRead is what one step has read.
type PipelineRead struct {
	Schemas uint32         // how many were registered
	Pages   []PipelinePage // by source and partition, each once; at least one
}

// PipelineStep is one step of a pipeline.
type PipelineStep struct {
	Pipeline uint32
	Number   uint64 // how many were before it
	PipelineRead
	Lost     uint64 // messages of the pages, or of those read again, that were not there any more
	HasState bool
	State    []byte // with HasState: what the query remembers after this step; may be empty
}

// PipelineProgress is how far a pipeline has come: what was applied. Its slices must not be changed.
type PipelineProgress struct {
	Steps     uint64
	Rows      uint64 // written
	Lost      uint64
	Positions []PipelinePosition // by source and partition; those that a step was made of
	State     []byte             // what the query remembered before the journal's first step
	Journal   []PipelineRead
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

// reads tells whether pages are of the pipeline's inputs, of something each, and in order.
func (p *PipelineSpec) reads(pages []PipelinePage) bool {
	for i := range pages {
		a := &pages[i]
		if int(a.Source) >= len(p.Inputs) || !p.Inputs[a.Source].reads(a.Partition) || a.From >= a.To || i > 0 && pages[i-1].compare(a) >= 0 {
			return false
		}
	}
	return len(pages) > 0
}

// compare orders pages by what they are of.
func (a *PipelinePage) compare(b *PipelinePage) int {
	return cmp.Or(cmp.Compare(a.Source, b.Source), cmp.Compare(a.Partition, b.Partition))
}

// of returns the page of an input partition.
func (r *PipelineRead) of(source uint8, partition uint32) (*PipelinePage, bool) {
	i, ok := slices.BinarySearchFunc(r.Pages, PipelinePage{Source: source, Partition: partition}, func(a, b PipelinePage) int { return a.compare(&b) })
	if !ok {
		return nil, false
	}
	return &r.Pages[i], true
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

// PipelineSteps returns how many steps of a pipeline that writes into p were applied, and how many are in flight.
func (s *Shard) PipelineSteps(p *Partition, pipeline uint32) (applied uint64, inFlight int) {
	s.mustOwn(p)
	if st := s.pipelines[pipeline]; st != nil {
		return st.applied.Steps, len(st.flying)
	}
	return 0, 0
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
	f := *step
	f.State, f.Pages = nil, slices.Clone(step.Pages)
	st.flying = append(st.flying, f)
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
	if !pipe.spec.reads(step.Pages) || len(step.Pages) > PipelinePagesMax {
		panic("bug: step of a pipeline that reads something else than its inputs")
	}
	journal := len(st.applied.Journal)
	for i := range st.flying {
		if journal++; st.flying[i].HasState {
			journal = 0
		}
	}
	switch {
	case step.Number != st.applied.Steps+uint64(len(st.flying)), !st.follows(&pipe.spec, step.Pages):
		return ErrStale
	case !step.HasState && journal >= PipelineJournalMax:
		return ErrPipelineJournal
	case len(step.State) > PipelineStateMax, e.pipelines.states.Load()+int64(len(step.State)-len(st.applied.State)) > PipelineStatesMax:
		return ErrPipelineState
	}
	return nil
}

// follows tells whether pages begin where those before, in flight included, end.
func (st *stepped) follows(spec *PipelineSpec, pages []PipelinePage) bool {
	for i := range pages {
		page := &pages[i]
		at := spec.position(&st.applied, page.Source, page.Partition)
		for j := range st.flying {
			if f, ok := st.flying[j].of(page.Source, page.Partition); ok {
				at = f.To
			}
		}
		if page.From != at {
			return false
		}
	}
	return true
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
	g := &st.applied
	if pipe.spec.Into != p.stream || p.rocket != nil || step.Number != g.Steps || !pipe.spec.reads(step.Pages) || !(&stepped{applied: *g}).follows(&pipe.spec, step.Pages) {
		return fmt.Errorf("step %d of pipeline %d, expected step %d, reads something else: %w", step.Number, step.Pipeline, g.Steps, ErrDiverged)
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
	g.Journal = append(g.Journal, step.PipelineRead)
	for i := range step.Pages {
		at := PipelinePosition{step.Pages[i].Source, step.Pages[i].Partition, step.Pages[i].To}
		n, ok := findPosition(g.Positions, at.Source, at.Partition)
		if !ok {
			g.Positions = slices.Insert(g.Positions, n, at)
		}
		g.Positions[n] = at
	}
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

const (
	stepHeadBytes = 24 // a step without pages and state
	stepPageBytes = 24
)

// appendTo encodes a step as doc.go draws it.
func (t *PipelineStep) appendTo(dst []byte, rows int) []byte {
	le := binary.LittleEndian
	dst = slices.Grow(dst, stepHeadBytes+len(t.Pages)*stepPageBytes+len(t.State))
	dst = le.AppendUint32(dst, t.Pipeline)
	dst = le.AppendUint32(dst, t.Schemas)
	dst = le.AppendUint64(dst, t.Lost)
	dst = le.AppendUint32(dst, uint32(rows))
	dst = le.AppendUint16(dst, uint16(len(t.Pages)))
	has := byte(0)
	if t.HasState {
		has = 1
	}
	dst = appendPages(append(dst, has, 0), t.Pages)
	return append(dst, t.State...)
}

func appendPages(dst []byte, pages []PipelinePage) []byte {
	le := binary.LittleEndian
	for i := range pages {
		dst = le.AppendUint32(dst, pages[i].Partition)
		dst = le.AppendUint32(dst, uint32(pages[i].Source))
		dst = le.AppendUint64(dst, pages[i].From)
		dst = le.AppendUint64(dst, pages[i].To)
	}
	return dst
}

// readPages takes count pages; what else they could be is not checked, but that each is of something.
func readPages(d *decoder, count int) (pages []PipelinePage, ok bool) {
	if count*stepPageBytes > len(d.left) {
		return nil, false
	}
	pages = make([]PipelinePage, 0, count)
	for range count {
		page := PipelinePage{Partition: d.u32()}
		source := d.u32()
		page.Source, page.From, page.To = uint8(source), d.u64(), d.u64()
		if source >= PipelineInputsMax || page.From >= page.To || len(pages) > 0 && pages[len(pages)-1].compare(&page) >= 0 {
			return nil, false
		}
		pages = append(pages, page)
	}
	return pages, true
}

// readStep decodes a step; its state aliases the section.
func readStep(sec *record.Section) (t PipelineStep, rows uint32, err error) {
	d := decoder{left: sec.Body}
	t.Number = sec.Base
	t.Pipeline, t.Schemas, t.Lost = d.u32(), d.u32(), d.u64()
	rows = d.u32()
	count, has, zero := d.u16(), d.u8(), d.u8()
	ok := false
	t.Pages, ok = readPages(&d, int(count))
	t.HasState, t.State = has == 1, d.left
	if !ok || d.failed || count == 0 || has > 1 || zero != 0 || !t.HasState && len(t.State) > 0 {
		return t, 0, fmt.Errorf("step of a pipeline in %d bytes: %w", len(sec.Body), record.ErrMalformed)
	}
	return t, rows, nil
}
