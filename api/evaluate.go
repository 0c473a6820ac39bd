package api

import (
	"errors"
	"runtime/debug"
	"strconv"
	"strings"
	"sync/atomic"

	"ayder/engine"
	"ayder/internal/query"
	"ayder/internal/schema"
)

// Evaluations: what a query and a join have in common.
//
//	loop     read the request, find topics and partitions
//	loops    each says what the group has committed in its partitions, if somebody needs that
//	worker   compile, scan, evaluate, render (workers.go)
//	loop     answer
//
// An evaluation sees the messages that were visible when its request came, and no later ones. It ends early when its time is up,
// and without an answer when its client has gone: a connection whose other side has ended only its sending is taken for that
// after a second, because the two cannot be told apart.

// evaluation is a query or a join.
type evaluation interface {
	sources() []*query.Source
	// answer evaluates and renders, on a worker. The answer begins with room for a head (beginAnswer).
	answer(t *task, w *worker) ([]byte, error)
}

// task is an evaluation under way.
type task struct {
	evaluation
	home     *loop
	conn     *conn
	meta     meta
	follower bool
	inputs   []input // by source
	deadline int64
	paused   int64       // when the last pause ended, 0: there was none
	produced uint64      // messages that producers had brought by then
	told     bool        // the connection was told that the answer takes its time
	gone     atomic.Bool // the client has; set by its loop
}

// evaluate runs what parse makes of the request's body.
func (l *loop) evaluate(x *exchange, parse func(body []byte) (evaluation, error)) (reply, error) {
	if len(x.body) > queryBodyMax {
		return reply{}, errTooLarge.with("the body of this call is at most %d bytes", queryBodyMax)
	}
	if x.evaluation == nil {
		if len(x.body) > queryInlineBytes {
			return l.parseElsewhere(x, parse)
		}
		var err error
		if x.evaluation, err = parse(x.body); err != nil {
			return reply{}, queryError(err)
		}
	}
	t := &task{evaluation: x.evaluation, home: l, conn: x.conn, meta: x.meta, follower: x.follower, deadline: x.complete + int64(queryTimeMax)}
	if ms := x.args.timeoutMs; x.args.has(pTimeout) {
		if ms == 0 || ms > queryTimeMax.Milliseconds() {
			return reply{}, errBadParameter.with("timeout_ms is 1 to %d here", queryTimeMax.Milliseconds())
		}
		t.deadline = x.complete + ms*1e6
	}
	var err error
	if t.inputs, err = l.inputs(x); err != nil {
		return reply{}, err
	}
	if !l.mayMake() {
		return reply{}, errOverloaded.with("too many large answers wait for slow readers")
	}
	l.exclude(x.conn)
	if !t.asksGroups() {
		return reply{later: true}, t.queue()
	}
	t.askGroups(func() {
		if err := t.queue(); err != nil {
			l.finishError(t.conn, &t.meta, asError(err))
		}
	})
	return reply{later: true}, nil
}

// parseElsewhere has a readers goroutine read the body; the request goes on here when that is done.
func (l *loop) parseElsewhere(x *exchange, parse func(body []byte) (evaluation, error)) (reply, error) {
	l.exclude(x.conn)
	c := x.cloned()
	ok := l.server.readers.add(func(Reader) {
		var err error
		c.evaluation, err = parse(c.body)
		l.goOn(c, queryError(err))
	})
	if !ok {
		return reply{}, errOverloaded
	}
	return reply{later: true}, nil
}

// queue gives the task to the workers.
func (t *task) queue() error {
	t.conn.task = t
	if !t.home.server.workers.add(t.run) {
		t.conn.task = nil
		return errOverloaded.with("too many queries are waiting; try again")
	}
	return nil
}

// run is a worker's part.
func (t *task) run(w *worker) {
	var body []byte
	var err error
	if t.expired() {
		t.home.server.workers.refused.Add(1)
		err = errOverloaded.with("the query's turn did not come in time; try again")
	} else {
		body, err = t.tryAnswer(w)
	}
	t.home.net.Post(func() { t.finish(body, err) })
}

// beginAnswer is the beginning of an answer, with room for its head.
func beginAnswer() []byte {
	return append(make([]byte, headBytesMax, 2*headBytesMax), `{"ok":true,`...)
}

// tryAnswer is answer, whose bugs cost the request and not the process: it changes nothing that others see.
func (t *task) tryAnswer(w *worker) (body []byte, err error) {
	defer func() {
		if r := recover(); r != nil {
			t.home.server.options.Logger.Error("bug: a query failed", "panic", r, "stack", string(debug.Stack()))
			err = errInternal
		}
	}()
	return t.answer(t, w)
}

// finish answers, on the loop.
func (t *task) finish(body []byte, err error) {
	l := t.home
	t.conn.task = nil
	if err == nil && len(body) >= headBytesMax+unreadPageBytes && !l.mayMake() {
		err = errOverloaded.with("too many large answers wait for slow readers")
	}
	if err != nil {
		l.finishError(t.conn, &t.meta, asError(queryError(err)))
		return
	}
	l.finishWhole(t.conn, &t.meta, body)
}

// expired tells that the evaluation has to end. Workers only.
func (t *task) expired() bool {
	at := now()
	if !t.told && at >= t.meta.complete+int64(queryPatience) {
		t.told = true
		t.home.net.Post(func() {
			if t.conn.task == t {
				t.conn.drowse()
			}
		})
	}
	return t.gone.Load() || at >= t.deadline || t.home.server.lifetime.Err() != nil
}

// limits are those of an evaluation.
func (t *task) limits() query.Limits {
	return query.Limits{StateBytes: queryStateBytesMax, OutputBytes: queryOutputMax, Expired: t.expired}
}

// scan is the way through the messages of a source.
func (t *task) scan(source int, w *worker) *scan {
	return &scan{input: &t.inputs[source], engine: t.home.server.options.Engine, reader: w.readers[source], page: &w.pages[source], pause: t.pause}
}

// format makes the format that a source asks for; name is what the request calls the source.
func (t *task) format(source int, name string) (query.Format, error) {
	f, err := schema.Compile(t.inputs[source].source.Decode, t.home.server.schemaByID)
	if err != nil {
		return nil, errBadQuery.with("%s: %s", name, strings.ToValidUTF8(err.Error(), "\uFFFD"))
	}
	return f, nil
}

// inputs finds what the sources of x stand for.
func (l *loop) inputs(x *exchange) (inputs []input, err error) {
	for _, source := range x.evaluation.sources() {
		in := input{source: source}
		if err := in.find(l, x); err != nil {
			return nil, err
		}
		inputs = append(inputs, in)
	}
	return inputs, nil
}

// find finds the topic and where its partitions begin, as far as the request says it.
func (in *input) find(l *loop, x *exchange) error {
	q := in.source
	if err := checkTopic([]byte(q.Topic), x.scope); err != nil {
		return err
	}
	if q.Group != "" && !engine.ValidName([]byte(q.Group)) {
		return errBadGroup
	}
	in.topic = l.server.options.Engine.Topic([]byte(q.Topic))
	switch {
	case in.topic == nil:
		return errUnknownTopic.with("topic %q does not exist", q.Topic)
	case in.topic.Mode() == engine.Rocket && x.follower:
		return ErrNotLeader // who has the messages
	}
	first, behind := uint32(0), in.topic.Partitions()
	if q.Partition != nil {
		if first = *q.Partition; first >= behind {
			return errPartition.with("topic %q has %d partitions", q.Topic, behind)
		}
		behind = first + 1
	}
	for n := first; n < behind; n++ {
		s, err := in.begin(in.topic.Partition(n))
		if err != nil {
			return err
		}
		in.extents = append(in.extents, s)
	}
	in.turn = scanPageMessages
	if n := len(in.extents); n > 1 {
		in.turn = max(1, min(scanTurnMessages, *q.Limit/(scanTurns*n)))
	}
	for name := range q.Offsets {
		if n, err := strconv.ParseUint(name, 10, 32); err != nil || n >= uint64(behind) {
			return errPartition.with("topic %q has %d partitions", q.Topic, behind)
		}
	}
	return nil
}

// begin is what is to be read of a partition.
func (in *input) begin(p *engine.Partition) (extent, error) {
	st := p.Stats()
	s := extent{stream: p.Stream(), first: st.Floor, end: st.Next, committed: true}
	offset, given := in.source.Offsets[strconv.Itoa(int(s.stream.Partition))]
	if in.source.Offset != nil {
		offset, given = *in.source.Offset, true
	}
	if given {
		s.first, s.committed = offset, false
		switch {
		case offset < st.Floor:
			return s, errBelowFloor.offsets(st.Floor, st.Next)
		case offset > st.Next:
			return s, errAboveEnd.offsets(st.Floor, st.Next)
		}
	}
	s.next = s.first
	return s, nil
}

// asksGroups tells whether a source goes on from what a group has committed.
func (t *task) asksGroups() bool {
	for i := range t.inputs {
		if t.inputs[i].asksGroup() {
			return true
		}
	}
	return false
}

func (in *input) asksGroup() bool {
	for i := range in.extents {
		if in.source.Group != "" && in.extents[i].committed {
			return true
		}
	}
	return false
}

// askGroups has every loop say what the groups have committed in its partitions, and calls done on this one.
func (t *task) askGroups(done func()) {
	var topics []*engine.Topic
	for i := range t.inputs {
		if in := &t.inputs[i]; in.asksGroup() && (len(topics) == 0 || topics[0] != in.topic) {
			topics = append(topics, in.topic)
		}
	}
	visit := func(topic *engine.Topic, p *engine.Partition) (steps int) {
		for i := range t.inputs {
			if t.inputs[i].topic == topic {
				t.inputs[i].goOn(p)
			}
		}
		return 1
	}
	t.home.walkAll(topics, func(int) visitor { return visit }, done)
}

// goOn moves the beginning of p's extent to what the group has committed there, on p's loop.
func (in *input) goOn(p *engine.Partition) {
	n := p.Stream().Partition
	if in.source.Partition != nil {
		if n != *in.source.Partition {
			return
		}
		n = 0
	}
	if int(n) >= len(in.extents) || !in.extents[n].committed || in.source.Group == "" {
		return
	}
	s := &in.extents[n]
	if committed, has := p.Committed([]byte(in.source.Group)); has && committed > s.first {
		s.first, s.next = committed, committed
		s.end = max(s.end, committed)
	}
}

// queryError is the answer to what went wrong with an evaluation.
func queryError(err error) error {
	var q *query.RequestError
	if !errors.As(err, &q) {
		return err
	}
	for _, e := range []*Error{errUnknownField, errBadJSON, errSumOverflow, errTooMuchOutput} {
		if q.Code == e.Code {
			return e.with("%s", q.Message)
		}
	}
	return errBadQuery.with("%s", q.Message)
}
