package engine

import (
	"fmt"
	"maps"
	"slices"

	"ayder/internal/record"
)

// The steps of the random walk that concern pipelines. In the model a pipeline is the list of everything that it has read, and what it
// would remember is the text of the last few pages: a state and a journal are good if the same text comes of them.

type modelPipes struct {
	byName   map[string]*modelPipe
	creating map[string]*record.Batch
	deleting map[string]*record.Batch
	lastID   uint32
}

type modelPipe struct {
	id      uint32
	into    *modelPartition
	topic   *modelTopic // that into is of
	from    uint32      // id of the topic that it reads
	start   []uint64
	applied []modelPage
	flying  []modelPage // and their batches
}

type modelPage struct {
	PipelinePage
	rows int
	lost uint64
}

func (p *modelPipes) forget() {
	clear(p.creating)
	clear(p.deleting)
	for _, mp := range p.byName {
		mp.flying = nil
	}
}

// remembers is the pipeline's state after some pages.
func (mp *modelPipe) remembers(pages []modelPage) string {
	if len(pages) > 3 {
		pages = pages[len(pages)-3:]
	}
	return fmt.Sprint(pages)
}

func (m *model) pipeline() {
	name := fmt.Sprint("pipe", m.rng.IntN(3))
	if m.pipes.byName == nil {
		m.pipes = modelPipes{byName: map[string]*modelPipe{}, creating: map[string]*record.Batch{}, deleting: map[string]*record.Batch{}}
	}
	if m.rng.IntN(4) == 0 {
		m.deletePipeline(name)
		return
	}
	from, into := m.topics[fmt.Sprint("topic", m.rng.IntN(6))], m.topics[fmt.Sprint("topic", m.rng.IntN(6))]
	if from == nil || into == nil || from == into {
		return
	}
	number := uint32(m.rng.IntN(len(into.partitions)))
	spec := &PipelineSpec{
		Name: name, Text: []byte("text"), Into: record.Stream{Topic: into.id, Partition: number},
		Inputs: []PipelineInput{{Topic: from.id, All: true, Start: []uint64{uint64(m.rng.IntN(5))}}},
	}
	b := m.w.open[CatalogueShard]
	have := m.pipes.byName[name]
	want, wantErr := Change{Made: b}, error(nil)
	switch {
	case m.pipes.creating[name] != nil:
		want = Change{Pending: m.pipes.creating[name]}
	case m.pipes.deleting[name] != nil:
		want = Change{Pending: m.pipes.deleting[name]}
	case have != nil && have.topic == into && have.into.number == number && have.from == from.id:
		want = Change{}
	case have != nil:
		want, wantErr = Change{}, ErrPipelineExists
	}
	got, err := m.w.coordinator().CreatePipeline(m.w.opener(), spec)
	if got != want || err != wantErr {
		m.fail("create %s: %+v %v, want %+v %v", name, got, err, want, wantErr)
	}
	if got.Made == nil {
		return
	}
	m.pipes.creating[name] = b
	m.later(b, func(uint64) {
		delete(m.pipes.creating, name)
		m.pipes.lastID++
		m.pipes.byName[name] = &modelPipe{id: m.pipes.lastID, into: into.partitions[number], topic: into, from: from.id, start: spec.Inputs[0].Start}
	})
}

func (m *model) deletePipeline(name string) {
	b := m.w.open[CatalogueShard]
	want, wantErr := Change{Made: b}, error(nil)
	switch {
	case m.pipes.creating[name] != nil:
		want = Change{Pending: m.pipes.creating[name]}
	case m.pipes.deleting[name] != nil:
		want = Change{Pending: m.pipes.deleting[name]}
	case m.pipes.byName[name] == nil:
		want, wantErr = Change{}, ErrNoPipeline
	}
	got, err := m.w.coordinator().DeletePipeline(m.w.opener(), []byte(name))
	if got != want || err != wantErr {
		m.fail("delete %s: %+v %v, want %+v %v", name, got, err, want, wantErr)
	}
	if got.Made != nil {
		m.pipes.deleting[name] = b
		m.later(b, func(uint64) {
			delete(m.pipes.deleting, name)
			delete(m.pipes.byName, name)
			m.seen.pipesDeleted++
		})
	}
}

// stepPipeline is a runner's step, or that of one which has missed something.
func (m *model) stepPipeline() {
	if len(m.pipes.byName) == 0 {
		return
	}
	names := slices.Sorted(maps.Keys(m.pipes.byName))
	mp := m.pipes.byName[names[m.rng.IntN(len(names))]]
	if m.topics[mp.topic.spec.Name] != mp.topic {
		m.seen.pipesOrphaned++
		return
	}
	p := m.w.e.TopicByID(mp.topic.id).Partition(mp.into.number)
	all := slices.Concat(mp.applied, mp.flying)
	pg := modelPage{rows: m.rng.IntN(3), lost: uint64(m.rng.IntN(2))}
	pg.Partition = uint32(m.rng.IntN(3))
	if int(pg.Partition) < len(mp.start) {
		pg.From = mp.start[pg.Partition]
	}
	for _, before := range all {
		if before.Partition == pg.Partition {
			pg.From = before.To
		}
	}
	step := PipelineStep{Pipeline: mp.id, Number: uint64(len(all)), Lost: pg.lost}
	wantErr := error(nil)
	switch m.rng.IntN(12) {
	case 0:
		step.Number++
		wantErr = ErrStale
	case 1:
		pg.From++
		wantErr = ErrStale
	case 2:
		if step.Number > 0 {
			step.Number--
			wantErr = ErrStale
		}
	}
	pg.To = pg.From + 1 + uint64(m.rng.IntN(4))
	step.PipelineRead = pages(pg.PipelinePage)
	if g := m.w.e.Shard(p.Shard()).PipelineProgress(p, mp.id); m.rng.IntN(4) == 0 || len(g.Journal)+g.InFlight >= PipelineJournalMax {
		step.HasState, step.State = true, []byte(mp.remembers(append(all, pg)))
	}
	b := m.w.open[p.Shard()]
	var rows []record.Record
	var values []string
	for i := range pg.rows {
		values = append(values, fmt.Sprintf("%s/%d@%d", mp.into.topic, mp.into.number, len(mp.into.assigned)+i))
		rows = append(rows, record.Record{Value: []byte(values[i])})
	}
	first := uint64(len(mp.into.assigned))
	if err := m.w.e.Shard(p.Shard()).StepPipeline(b, p, &step, rows); err != wantErr {
		m.fail("step %+v: %v, want %v", step, err, wantErr)
	}
	if wantErr != nil {
		m.seen.stale++
		return
	}
	m.seen.steps++
	if len(values) > 0 {
		m.sent(mp.into, b, "", values, Append{Offset: first, Count: uint32(len(values))})
	}
	mp.flying = append(mp.flying, pg)
	m.later(b, func(uint64) {
		mp.applied = append(mp.applied, pg)
		if len(mp.flying) > 0 {
			mp.flying = mp.flying[1:]
		}
	})
}

// checkPipelines compares what the engine shows of every pipeline.
func (m *model) checkPipelines() {
	if n := len(m.w.e.Pipelines()); n != len(m.pipes.byName) {
		m.fail("%d pipelines, want %d", n, len(m.pipes.byName))
	}
	for name, mp := range m.pipes.byName {
		p := m.w.e.Pipeline([]byte(name))
		if p == nil || p.ID() != mp.id || m.w.e.PipelineByID(mp.id) != p {
			m.fail("pipeline %s: %+v, want %+v", name, p, mp)
		}
		if m.topics[mp.topic.spec.Name] != mp.topic {
			continue
		}
		at := m.w.e.TopicByID(mp.topic.id).Partition(mp.into.number)
		g := m.w.e.Shard(at.Shard()).PipelineProgress(at, mp.id)
		rows, lost := 0, uint64(0)
		for _, pg := range mp.applied {
			rows, lost = rows+pg.rows, lost+pg.lost
		}
		if g.Steps != uint64(len(mp.applied)) || g.Rows != uint64(rows) || g.Lost != lost || g.InFlight != len(mp.flying) || len(g.Journal) > len(mp.applied) {
			m.fail("pipeline %s: %+v, want %d steps, %d rows, %d lost, %d in flight", name, g, len(mp.applied), rows, lost, len(mp.flying))
		}
		journal := mp.applied[len(mp.applied)-len(g.Journal):]
		for i := range journal {
			if len(g.Journal[i].Pages) != 1 || g.Journal[i].Pages[0] != journal[i].PipelinePage {
				m.fail("pipeline %s: page %d of the journal is %+v, want %+v", name, i, g.Journal[i], journal[i])
			}
		}
		if before := mp.applied[:len(mp.applied)-len(g.Journal)]; len(before) > 0 && string(g.State) != mp.remembers(before) {
			m.fail("pipeline %s: remembers %q before the journal's %d pages, want %q", name, g.State, len(journal), mp.remembers(before))
		}
		for _, pg := range mp.applied {
			at := pg.To
			for _, other := range mp.applied {
				if other.Partition == pg.Partition {
					at = max(at, other.To)
				}
			}
			if got := p.Position(&g, 0, pg.Partition); got != at {
				m.fail("pipeline %s: partition %d is read to %d, want %d", name, pg.Partition, got, at)
			}
		}
	}
}
