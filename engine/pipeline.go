package engine

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"ayder/internal/record"
)

// Pipelines: queries that run for good and write what comes of them into one partition. The engine knows neither queries nor
// rows' meaning; it keeps what must be the same on every node: which pipelines there are (here), and how far each has come
// (pipeline_steps.go). Somebody outside reads, evaluates and asks for steps.
//
// Creating and deleting are commands of the catalogue's shard, like those about topics, and ids are given like topics': dense,
// from 1, in the order of the log, never again. So a pipeline that was deleted and made anew under its name is another one, and
// what is in flight for the old one is told from it by the id alone.
//
// Topics are bound by id when a pipeline is created: another topic of the same name is not what it reads or writes. Where reading
// begins is fixed then, too, so that a pipeline that has not made a step yet begins at the same place on every node.
//
// The list is immutable behind an atomic pointer; a change copies it, for there are a thousand at most.

// PipelineInput is one side of what a pipeline reads.
type PipelineInput struct {
	Topic     uint32
	Partition uint32   // where it is not All
	All       bool     // all partitions, those to come included
	Start     []uint64 // offsets where reading begins: of partitions 0, 1, … of All, else of Partition alone. Others are read from offset 0
}

// start is where reading of a partition begins.
func (in *PipelineInput) start(partition uint32) uint64 {
	if !in.All {
		return in.Start[0]
	}
	if int(partition) < len(in.Start) {
		return in.Start[partition]
	}
	return 0
}

// reads tells whether a partition is part of the input.
func (in *PipelineInput) reads(partition uint32) bool { return in.All || in.Partition == partition }

// PipelineSpec is what a pipeline is created with.
type PipelineSpec struct {
	Name   string // ValidName
	Text   []byte // what it does, for those who run it
	Into   record.Stream
	Inputs []PipelineInput // one, or two of a join
}

// same tells whether two specifications ask for the same, wherever they begin.
func (p *PipelineSpec) same(q *PipelineSpec) bool {
	return p.Name == q.Name && p.Into == q.Into && bytes.Equal(p.Text, q.Text) &&
		slices.EqualFunc(p.Inputs, q.Inputs, func(a, b PipelineInput) bool {
			return a.Topic == b.Topic && a.All == b.All && a.Partition == b.Partition
		})
}

func (p *PipelineSpec) validate() error {
	switch {
	case !ValidName(p.Name):
		return ErrPipelineName
	case len(p.Text) < 1 || len(p.Text) > PipelineTextMax:
		return ErrPipelineText
	case p.Into.Topic == 0 || len(p.Inputs) < 1 || len(p.Inputs) > PipelineInputsMax:
		return ErrPipelineInputs
	}
	for i := range p.Inputs {
		in := &p.Inputs[i]
		if in.Topic == 0 || in.Topic == p.Into.Topic || len(in.Start) > TopicPartitionsMax || !in.All && len(in.Start) != 1 || in.All && in.Partition != 0 {
			return ErrPipelineInputs
		}
	}
	return nil
}

// Pipeline is a pipeline that exists. It never changes and may be used from any goroutine.
type Pipeline struct {
	id      uint32
	created uint64 // index of the frame that created it
	spec    PipelineSpec
}

// ID is the number that the log knows it by.
func (p *Pipeline) ID() uint32 { return p.id }

// Created is the index of the frame that created it.
func (p *Pipeline) Created() uint64 { return p.created }

// Spec is what it was created with; the caller must not change what it refers to.
func (p *Pipeline) Spec() *PipelineSpec { return &p.spec }

// pipelineList is the pipelines at one moment. It never changes.
type pipelineList struct {
	all   []*Pipeline // by rising ids
	last  uint32      // the highest id that was given
	bytes int         // of all texts
}

func (l *pipelineList) get(id uint32) *Pipeline {
	i, ok := slices.BinarySearchFunc(l.all, id, func(p *Pipeline, id uint32) int { return int(int64(p.id) - int64(id)) })
	if !ok {
		return nil
	}
	return l.all[i]
}

func (l *pipelineList) named(name string) *Pipeline {
	for _, p := range l.all {
		if p.spec.Name == name {
			return p
		}
	}
	return nil
}

// deleted tells whether there once was a pipeline with that id.
func (l *pipelineList) deleted(id uint32) bool { return id != 0 && id <= l.last && l.get(id) == nil }

// with is the list with one more.
func (l *pipelineList) with(p *Pipeline) *pipelineList {
	return &pipelineList{all: append(slices.Clip(l.all), p), last: p.id, bytes: l.bytes + len(p.spec.Text)}
}

// without is the list with one less.
func (l *pipelineList) without(p *Pipeline) *pipelineList {
	kept := slices.DeleteFunc(slices.Clone(l.all), func(q *Pipeline) bool { return q == p })
	return &pipelineList{all: kept, last: l.last, bytes: l.bytes - len(p.spec.Text)}
}

// pipelines are written by the catalogue's shard, or by recovery.
type pipelines struct {
	list   atomic.Pointer[pipelineList] // read by all; safe: a list never changes
	states atomic.Int64                 // bytes of operators' states on all shards; each adds what it applies
	flying pipelinesFlying
	asOf   uint64 // index of the last frame that changed the list
	skipTo uint64 // asOf when it was restored: replay leaves frames up to here out
}

// pipelinesFlying are the changes in flight.
type pipelinesFlying struct {
	creating map[string]*record.Batch
	deleting map[string]*record.Batch
	bytes    int // of the texts
}

var noPipelines = &pipelineList{}

func (p *pipelines) now() *pipelineList {
	if l := p.list.Load(); l != nil {
		return l
	}
	return noPipelines
}

// Pipelines returns all pipelines by rising ids. Any goroutine may ask; the list must not be changed.
func (e *Engine) Pipelines() []*Pipeline { return e.pipelines.now().all }

// Pipeline returns the pipeline of that name, nil if there is none. Any goroutine may ask.
func (e *Engine) Pipeline(name []byte) *Pipeline { return e.pipelines.now().named(string(name)) }

// PipelineByID returns the pipeline with that number, nil if there is none. Any goroutine may ask.
func (e *Engine) PipelineByID(id uint32) *Pipeline { return e.pipelines.now().get(id) }

// CreatePipeline brings a pipeline into being with a command in the batch that open returns. It must be called on the catalogue's
// shard; spec is not kept. Change.Made: it will exist, if nothing else happens. Neither: it exists. Errors: ErrPipelineName, ErrPipelineText,
// ErrPipelineInputs, ErrPipelineExists, ErrNoTopic, ErrNoPartition, ErrNotSealed, ErrPipelineLimit, and those of open.
func (s *Shard) CreatePipeline(open Opener, spec *PipelineSpec) (Change, error) {
	s.mustBeCatalogue()
	if err := spec.validate(); err != nil {
		return Change{}, err
	}
	f := &s.engine.pipelines.flying
	if b := f.pending(spec.Name); b != nil {
		return Change{Pending: b}, nil
	}
	list := s.engine.pipelines.now()
	if have := list.named(spec.Name); have != nil {
		if have.spec.same(spec) {
			return Change{}, nil
		}
		return Change{}, ErrPipelineExists
	}
	if err := s.engine.mayPipe(spec); err != nil {
		return Change{}, err
	}
	if n := len(f.creating); len(list.all)+n >= PipelinesMax || list.last > PipelineIDMax-uint32(n)-1 || list.bytes+f.bytes+len(spec.Text) > PipelineTextsMax {
		return Change{}, ErrPipelineLimit
	}
	body := spec.appendTo(nil)
	b, err := open(len(body))
	if err != nil {
		return Change{}, err
	}
	id := list.last + uint32(len(f.creating)) + 1
	b.AppendCommand(record.SectionPipelineCreate, record.Stream{}, uint64(id), body)
	f.bytes += len(spec.Text)
	f.creating = withPending(f.creating, spec.Name, b)
	return Change{Made: b}, nil
}

// mayPipe tells whether the topics are such that a pipeline can be between them.
func (e *Engine) mayPipe(spec *PipelineSpec) error {
	into := e.TopicByID(spec.Into.Topic)
	switch {
	case into == nil:
		return ErrNoTopic
	case into.Partition(spec.Into.Partition) == nil:
		return ErrNoPartition
	case into.Mode() != Sealed:
		return ErrNotSealed
	}
	for i := range spec.Inputs {
		in := &spec.Inputs[i]
		switch t := e.TopicByID(in.Topic); {
		case t == nil:
			return ErrNoTopic
		case !in.All && t.Partition(in.Partition) == nil:
			return ErrNoPartition
		case t.Mode() != Sealed:
			return ErrNotSealed
		}
	}
	return nil
}

// DeletePipeline takes a pipeline out with a command in the batch that open returns. It must be called on the catalogue's
// shard. Error: ErrNoPipeline, and those of open.
func (s *Shard) DeletePipeline(open Opener, name []byte) (Change, error) {
	s.mustBeCatalogue()
	f := &s.engine.pipelines.flying
	if b := f.pending(string(name)); b != nil {
		return Change{Pending: b}, nil
	}
	p := s.engine.Pipeline(name)
	if p == nil {
		return Change{}, ErrNoPipeline
	}
	b, err := open(0)
	if err != nil {
		return Change{}, err
	}
	b.AppendCommand(record.SectionPipelineDelete, record.Stream{}, uint64(p.id), nil)
	f.deleting = withPending(f.deleting, p.spec.Name, b)
	return Change{Made: b}, nil
}

// pending is the batch in which something about a name is in flight.
func (f *pipelinesFlying) pending(name string) *record.Batch {
	if b := f.creating[name]; b != nil {
		return b
	}
	return f.deleting[name]
}

func withPending(m map[string]*record.Batch, name string, b *record.Batch) map[string]*record.Batch {
	if m == nil {
		m = make(map[string]*record.Batch)
	}
	m[name] = b
	return m
}

// applyPipelineCreate adds a pipeline.
func (e *Engine) applyPipelineCreate(f *record.Frame, sec *record.Section, live bool) error {
	ps := &e.pipelines
	if !live && f.Index <= ps.skipTo {
		return nil
	}
	if sec.Stream != (record.Stream{}) {
		return fmt.Errorf("create pipeline %d in stream %v: %w", sec.Base, sec.Stream, ErrDiverged)
	}
	p, err := readPipeline(sec.Base, f.Index, sec.Body)
	if err == nil {
		err = ps.add(p)
	}
	if err != nil {
		return fmt.Errorf("create pipeline %d: %w: %w", sec.Base, err, ErrDiverged)
	}
	ps.asOf = f.Index
	if fl := &ps.flying; fl.creating[p.spec.Name] != nil {
		delete(fl.creating, p.spec.Name)
		fl.bytes -= len(p.spec.Text)
	}
	return nil
}

// add publishes a pipeline whose id must be the next one.
func (ps *pipelines) add(p *Pipeline) error {
	list := ps.now()
	if p.id != list.last+1 || list.named(p.spec.Name) != nil {
		return fmt.Errorf("pipeline %d %q behind %d: %w", p.id, p.spec.Name, list.last, ErrPipelineExists)
	}
	ps.list.Store(list.with(p))
	return nil
}

// applyPipelineDelete takes a pipeline out; the shard that has its state gives that up in bury.
func (e *Engine) applyPipelineDelete(f *record.Frame, sec *record.Section, live bool) error {
	ps := &e.pipelines
	if !live && f.Index <= ps.skipTo {
		return nil
	}
	list := ps.now()
	p := list.get(uint32(min(sec.Base, PipelineIDMax+1)))
	if p == nil || len(sec.Body) > 0 || sec.Stream != (record.Stream{}) {
		return fmt.Errorf("delete pipeline %d in stream %v with a body of %d bytes: %w", sec.Base, sec.Stream, len(sec.Body), ErrDiverged)
	}
	ps.list.Store(list.without(p))
	ps.asOf = f.Index
	delete(ps.flying.deleting, p.spec.Name)
	e.deletions.Add(1)
	return nil
}

const (
	pipelineVersion    = 1
	pipelineHeadBytes  = 16 // a specification without its parts
	pipelineInputBytes = 12 // an input without its offsets
)

// appendTo encodes a specification as doc.go draws it.
func (p *PipelineSpec) appendTo(dst []byte) []byte {
	le := binary.LittleEndian
	dst = append(dst, pipelineVersion, byte(len(p.Inputs)), byte(len(p.Name)), 0)
	dst = le.AppendUint32(dst, uint32(len(p.Text)))
	dst = le.AppendUint32(dst, p.Into.Topic)
	dst = le.AppendUint32(dst, p.Into.Partition)
	dst = append(dst, p.Name...)
	for i := range p.Inputs {
		in := &p.Inputs[i]
		all := byte(0)
		if in.All {
			all = 1
		}
		dst = le.AppendUint32(dst, in.Topic)
		dst = le.AppendUint32(dst, in.Partition)
		dst = le.AppendUint16(append(dst, all, 0), uint16(len(in.Start)))
		for _, offset := range in.Start {
			dst = le.AppendUint64(dst, offset)
		}
	}
	return append(dst, p.Text...)
}

// readPipeline decodes all of b, copied, and checks that there may be such a pipeline.
func readPipeline(id, created uint64, b []byte) (*Pipeline, error) {
	d := decoder{left: b}
	head := decoder{left: d.bytes(pipelineHeadBytes)}
	version, inputs, name, zero := head.u8(), head.u8(), head.u8(), head.u8()
	text := head.u32()
	p := &Pipeline{id: uint32(id), created: created}
	p.spec.Into = record.Stream{Topic: head.u32(), Partition: head.u32()}
	p.spec.Name = strings.Clone(string(d.bytes(uint64(name))))
	for range inputs {
		zero |= p.spec.readInput(&d)
	}
	p.spec.Text = bytes.Clone(d.bytes(uint64(text)))
	if d.failed || len(d.left) > 0 || version != pipelineVersion || zero != 0 || id < 1 || id > PipelineIDMax {
		return nil, fmt.Errorf("pipeline %d in %d bytes: %w", id, len(b), record.ErrMalformed)
	}
	return p, p.spec.validate()
}

// readInput decodes an input; what it returns must be zero.
func (p *PipelineSpec) readInput(d *decoder) (zero byte) {
	in := PipelineInput{Topic: d.u32(), Partition: d.u32()}
	all := d.u8()
	zero = d.u8() | all&^1
	in.All = all == 1
	for range d.u16() {
		in.Start = append(in.Start, d.u64())
	}
	p.Inputs = append(p.Inputs, in)
	return zero
}
