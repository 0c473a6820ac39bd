package api

import (
	"errors"
	"fmt"
	"runtime/debug"

	"ayder/engine"
	"ayder/internal/query"
	"ayder/internal/record"
	"ayder/internal/schema"
)

// A pipeline at work: reading and evaluating, on a worker, a step at a time.
//
// A step takes messages of all its partitions in the order of their times in the log: what was written together is read together,
// also by a pipeline that has a million messages to catch up with, so nothing looks late that was not. Of a join's two sides the
// one that is behind in event time is read first, and the other not further ahead than a pair may reach; so what waits for a partner is
// bounded by the window.
//
// Which message is next depends on nothing but the messages and the query. So the pages of a step, read again, give the same messages in the
// same order: the choice among those that a step took was never influenced by one that it did not take. That is how a pipeline
// goes on after a restart (engine/pipeline_steps.go): state, then the journal's steps without writing, then on.
//
// What a step costs is bounded: messages, their bytes, its rows. The worker takes another pipeline's step in between.

// pipeRun is a pipeline's query, what it remembers, and how far it has read. It belongs to a worker while one has it, else to the loop.
type pipeRun struct {
	server *Server
	pipe   *engine.Pipeline
	op     query.Operator
	paced  query.Paced // of a join

	schemas   uint32                  // how many its formats may know
	from      engine.PipelineProgress // where it was taken up
	again     int                     // steps of from.Journal that were read again
	replaying bool                    // one of them is
	steps     uint64
	since     int // steps since it said what it remembers
	state     int // bytes of that
	lost      uint64

	cursors [engine.PipelineInputsMax]map[uint32]*pipeCursor
	heaps   [engine.PipelineInputsMax][]*pipeCursor // those with a message at hand, the earliest first
	message query.Message

	arena []byte // the rows being made
	rows  []pipeRow
	room  int // bytes of rows that one message may still make
}

// pipeRow is a row in the arena: its key, then its value.
type pipeRow struct {
	key, value, end int
	timeMs          uint64
	hasKey          bool
}

// pipeCursor is a place in an input partition, with some messages from there on.
type pipeCursor struct {
	source uint8
	extent
	page scanPage
	i    int    // in page: the message at hand
	from uint64 // where the step began
	read uint64 // the first offset that was not taken
}

// head is the message at hand.
func (c *pipeCursor) head() *pageMessage { return &c.page.messages[c.i] }

// pipeStep is a step that is ready to be written.
type pipeStep struct {
	engine.PipelineStep
	rows []record.Record
	size int // in a batch, at most
}

// pipeFailure is why a pipeline cannot go on, whoever runs it.
type pipeFailure struct{ reason string }

func (e *pipeFailure) Error() string { return e.reason }

func failPipe(format string, args ...any) error { return &pipeFailure{fmt.Sprintf(format, args...)} }

// work does the next piece of work: a step of the journal again, or a new one. more tells that there is more to do at once. Bugs
// cost the pipeline and not the process.
func (r *pipeRun) work(w *worker) (step *pipeStep, more bool, err error) {
	defer func() {
		if p := recover(); p != nil {
			r.server.options.Logger.Error("bug: a pipeline failed", "pipeline", r.pipe.Spec().Name, "panic", p, "stack", string(debug.Stack()))
			step, more, err = nil, false, failPipe("it met a bug of this server, which is in its log")
		}
	}()
	if r.op == nil {
		if err := r.build(); err != nil {
			return nil, false, err
		}
	}
	if r.again < len(r.from.Journal) {
		err := r.replay(w.readers[0], &r.from.Journal[r.again])
		r.again++
		return nil, true, err
	}
	step, err = r.next(w.readers[0])
	return step, step != nil, err
}

// build makes the query and restores what it remembers.
func (r *pipeRun) build() error {
	p, err := readPlan(r.pipe.Spec().Text)
	if err != nil {
		return failPipe("it cannot be read any more: %v", err)
	}
	r.schemas = 1<<32 - 1
	op, err := p.operator(r.schema)
	if err != nil {
		return failPipe("it cannot be compiled any more: %v", err)
	}
	if len(r.from.State) > 0 {
		if err := op.Restore(r.from.State); err != nil {
			return failPipe("what it remembers cannot be restored: %v", err)
		}
	}
	r.op, r.steps, r.state = op, r.from.Steps, len(r.from.State)
	r.since = len(r.from.Journal)
	if len(r.pipe.Spec().Inputs) > 1 {
		r.paced, _ = op.(query.Paced)
	}
	for i := range r.cursors {
		r.cursors[i] = make(map[uint32]*pipeCursor)
	}
	return nil
}

// schema finds a schema among those that were registered when the step's messages were read.
func (r *pipeRun) schema(id uint32) (schema.Schema, bool) {
	if id > r.schemas {
		return schema.Schema{}, false
	}
	return r.server.schemaByID(id)
}

// replay has the query read the messages of a step again.
func (r *pipeRun) replay(reader Reader, step *engine.PipelineRead) error {
	r.schemas, r.replaying = step.Schemas, true
	defer func() { r.replaying = false }()
	r.begin()
	expected, taken := uint64(0), 0
	for i := range step.Pages {
		page := &step.Pages[i]
		c := r.cursor(page.Source, page.Partition)
		c.from, c.read, c.next, c.end = page.From, page.From, page.From, page.To
		c.page.reset()
		c.i = 0
		expected += page.To - page.From
		if err := r.offer(c, reader, len(step.Pages)); err != nil {
			return err
		}
	}
	for c := r.pick(); c != nil; c = r.pick() {
		if err := r.push(c); err != nil {
			return err
		}
		taken++
		r.arena, r.rows = r.arena[:0], r.rows[:0] // written already
		if err := r.advance(c, reader, len(step.Pages)); err != nil {
			return err
		}
	}
	for i := range step.Pages {
		c := r.cursor(step.Pages[i].Source, step.Pages[i].Partition)
		c.read, c.next, c.i = c.end, c.end, 0
		c.page.reset()
	}
	r.lost += expected - uint64(taken)
	return nil
}

// next makes a step of messages that were not read yet; nil: there are none.
func (r *pipeRun) next(reader Reader) (*pipeStep, error) {
	r.schemas = uint32(len(r.server.options.Engine.Schemas()))
	r.begin()
	cursors, err := r.offerAll(reader)
	if err != nil {
		return nil, err
	}
	taken, size := 0, 0
	for c := r.pick(); c != nil && taken < pipeStepMessages && size < pipeStepBytes && len(r.arena) < pipeRowsBytes && len(r.rows) < pipeStepRows; c = r.pick() {
		m := c.head()
		size += m.end - m.key
		if err := r.push(c); err != nil {
			return nil, err
		}
		taken++
		if err := r.advance(c, reader, len(cursors)); err != nil {
			return nil, err
		}
	}
	return r.finish(cursors, taken)
}

// begin starts a step.
func (r *pipeRun) begin() {
	if cap(r.arena) > pipeArenaKept {
		r.arena = nil
	}
	r.arena, r.rows = r.arena[:0], r.rows[:0]
	for i := range r.heaps {
		r.heaps[i] = r.heaps[i][:0]
	}
}

// cursor is that of an input partition.
func (r *pipeRun) cursor(source uint8, partition uint32) *pipeCursor {
	c := r.cursors[source][partition]
	if c == nil {
		at := r.pipe.Position(&r.from, source, partition)
		stream := record.Stream{Topic: r.pipe.Spec().Inputs[source].Topic, Partition: partition}
		c = &pipeCursor{source: source, extent: extent{stream: stream, first: at, next: at}, read: at}
		r.cursors[source][partition] = c
	}
	return c
}

// offerAll puts all partitions that have something into the heaps, as far as there is memory for what they have, and returns them by source and
// partition.
func (r *pipeRun) offerAll(reader Reader) (cursors []*pipeCursor, err error) {
	e := r.server.options.Engine
	for source := range r.pipe.Spec().Inputs {
		in := &r.pipe.Spec().Inputs[source]
		t := e.TopicByID(in.Topic)
		if t == nil {
			return nil, failPipe("a topic that it reads was deleted")
		}
		for _, s := range r.server.streams(in) {
			c := r.cursor(uint8(source), s.Partition)
			c.end = max(c.end, t.Partition(s.Partition).Stats().Next)
			if c.from = c.read; c.read < c.end {
				cursors = append(cursors, c)
			}
		}
	}
	held := 0
	for i := range cursors { // another one begins each time, so that none is left out for good
		c := cursors[(i+int(r.steps%uint64(len(cursors))))%len(cursors)]
		if held < pipeHeldBytes {
			if err := r.offer(c, reader, len(cursors)); err != nil {
				return nil, err
			}
			held += len(c.page.bytes)
		}
	}
	return cursors, nil
}

// offer puts a cursor into its heap, if it has a message.
func (r *pipeRun) offer(c *pipeCursor, reader Reader, others int) error {
	if c.i >= len(c.page.messages) {
		if err := r.fill(c, reader, others); err != nil {
			return err
		}
	}
	if len(c.page.messages) > 0 {
		h := append(r.heaps[c.source], c)
		for i := len(h) - 1; i > 0 && c.before(h[(i-1)/2]); i = (i - 1) / 2 {
			h[i], h[(i-1)/2] = h[(i-1)/2], h[i]
		}
		r.heaps[c.source] = h
	}
	return nil
}

// before orders cursors by the times of their messages.
func (c *pipeCursor) before(d *pipeCursor) bool {
	if a, b := c.head().timeMs, d.head().timeMs; a != b {
		return a < b
	}
	return c.stream.Partition < d.stream.Partition
}

// pick is the cursor whose message is next, nil if there is none to be taken now.
func (r *pipeRun) pick() *pipeCursor {
	first, both := 0, false
	if r.paced != nil {
		first, both = r.paced.Order()
	}
	if h := r.heaps[first]; len(h) > 0 {
		return h[0]
	}
	if h := r.heaps[1-first]; both && len(h) > 0 {
		return h[0]
	}
	return nil
}

// push gives the query the message at hand.
func (r *pipeRun) push(c *pipeCursor) error {
	m, at := &r.message, c.head()
	m.Partition, m.Offset, m.TimeMs, m.HasKey = c.stream.Partition, at.offset, at.timeMs, at.hasKey
	m.Key, m.Value = c.page.bytes[at.key:at.value:at.value], c.page.bytes[at.value:at.end:at.end]
	r.room = pipeMessageRows
	if err := r.op.Push(int(c.source), m, r.emit); err != nil {
		return failPipe("message at offset %d of partition %d: %v", m.Offset, m.Partition, err)
	}
	if r.room < 0 {
		return failPipe("message at offset %d of partition %d: more than %d bytes of rows come of it", m.Offset, m.Partition, pipeMessageRows)
	}
	return nil
}

// emit takes a row.
func (r *pipeRun) emit(row query.Row) {
	if r.room -= len(row.Key) + len(row.JSON) + record.RecordHeaderBytes; r.room < 0 {
		return
	}
	at := pipeRow{key: len(r.arena), timeMs: row.TimeMs}
	if at.hasKey = row.Key != nil && len(row.Key) <= record.KeyBytesMax; at.hasKey {
		r.arena = append(r.arena, row.Key...)
	}
	at.value = len(r.arena)
	r.arena = append(r.arena, row.JSON...)
	at.end = len(r.arena)
	r.rows = append(r.rows, at)
}

// advance moves c, which is the first of its heap, to its next message.
func (r *pipeRun) advance(c *pipeCursor, reader Reader, others int) error {
	c.read = c.head().offset + 1
	if c.i++; c.i >= len(c.page.messages) {
		if err := r.fill(c, reader, others); err != nil {
			return err
		}
	}
	h := r.heaps[c.source]
	if c.i >= len(c.page.messages) {
		h[0] = h[len(h)-1]
		h = h[:len(h)-1]
		r.heaps[c.source] = h
	}
	for i := 0; ; {
		least := i
		for _, down := range [...]int{2*i + 1, 2*i + 2} {
			if down < len(h) && h[down].before(h[least]) {
				least = down
			}
		}
		if least == i {
			return nil
		}
		h[i], h[least] = h[least], h[i]
		i = least
	}
}

// fill reads the next messages of a cursor's partition, none at its end. What is gone is passed over.
func (r *pipeRun) fill(c *pipeCursor, reader Reader, others int) error {
	p := &c.page
	p.reset()
	c.i = 0
	most, bytes := max(pipePageMin, scanPageMessages/others), max(pipePageBytesMin, scanPageBytes/others)
	if !r.replaying { // what was read once may be read again for as long as it is there, floor or not
		c.next = min(max(c.next, r.floor(c)), c.end)
	}
	if err := p.fill(reader, &c.extent, most, bytes, func() error { return r.pass(c) }); err != nil {
		return err
	}
	if len(p.messages) == 0 {
		c.read = c.next
	}
	return nil
}

// pass goes on where messages are, if those that come next are not kept any more.
func (r *pipeRun) pass(c *pipeCursor) error {
	if r.server.options.Engine.TopicByID(c.stream.Topic) == nil {
		return failPipe("a topic that it reads was deleted")
	}
	floor := r.floor(c)
	if floor <= c.next {
		return errDamaged.with("the message at offset %d of partition %d is not there", c.next, c.stream.Partition)
	}
	c.next = min(floor, c.end)
	return nil
}

// floor is the first offset that the cursor's partition keeps.
func (r *pipeRun) floor(c *pipeCursor) uint64 {
	if p := r.server.lookup(c.stream); p != nil {
		return p.Stats().Floor
	}
	return 0
}

// finish makes the step of what was taken.
func (r *pipeRun) finish(cursors []*pipeCursor, taken int) (*pipeStep, error) {
	s := &pipeStep{}
	s.Pipeline, s.Number, s.Schemas = r.pipe.ID(), r.steps, r.schemas
	span := uint64(0)
	for _, c := range cursors {
		if c.read > c.from {
			s.Pages = append(s.Pages, engine.PipelinePage{Source: c.source, Partition: c.stream.Partition, From: c.from, To: c.read})
			span += c.read - c.from
		}
	}
	if len(s.Pages) == 0 {
		return nil, nil
	}
	s.Lost = r.lost + span - uint64(taken)
	r.lost = 0
	// A step that lacks messages is not read again: they would be counted once more each time.
	if r.since++; r.state <= pipeStateSmall || r.since > engine.PipelineJournalMax || s.Lost > 0 {
		s.HasState, s.State = true, r.op.AppendState(nil)
		if len(s.State) > engine.PipelineStateMax {
			return nil, failPipe("state too large: it remembers %d bytes, %d are allowed", len(s.State), engine.PipelineStateMax)
		}
		r.since, r.state = 0, len(s.State)
	}
	r.steps++
	s.take(r)
	return s, nil
}

// take copies the rows, because the arena is used again while they are written.
func (s *pipeStep) take(r *pipeRun) {
	arena := append([]byte(nil), r.arena...)
	s.rows = make([]record.Record, len(r.rows))
	for i, row := range r.rows {
		s.rows[i] = record.Record{TimeMs: row.timeMs, HasKey: row.hasKey, Key: arena[row.key:row.value:row.value], Value: arena[row.value:row.end:row.end]}
	}
	s.size = len(arena) + len(s.rows)*record.RecordHeaderBytes + len(s.State) + len(s.Pages)*pipePageEncoded + batchOverheadMax
}

// relax gives memory back that is not needed until there is something to read.
func (r *pipeRun) relax() {
	r.arena, r.rows = nil, nil
	for i := range r.cursors {
		for _, c := range r.cursors[i] {
			if c.i >= len(c.page.messages) {
				c.page, c.i = scanPage{}, 0
			}
		}
	}
}

// counts are numbers of the messages that the query was given, those before a restart included; false: not known yet.
func (r *pipeRun) counts() (query.Counts, bool) {
	if c, ok := r.op.(query.Counted); ok {
		return c.Counts(), true
	}
	return query.Counts{}, false
}

// isFinal tells whether an error is why a pipeline cannot go on, and not why it could not just now.
func isFinal(err error) bool {
	var f *pipeFailure
	return errors.As(err, &f)
}
