package api

import (
	"slices"
	"strings"

	"ayder/engine"
	"ayder/internal/jsonscan"
	"ayder/internal/metrics"
	"ayder/internal/query"
)

// Listing and describing pipelines. How far one has come is known to the loop that it writes on, so every loop is asked for its own,
// and what they say comes together on the one that asked.
//
// Every node knows how far pipelines have come; what state they are in, the one that leads.

// pipeStatus is what a loop says of a pipeline.
type pipeStatus struct {
	of       *engine.Pipeline
	state    pipeState
	reason   string
	progress engine.PipelineProgress
	counts   *query.Counts // nil: not known here
	inputs   []pipeInput
	lag      uint64
}

// pipeInput is how far an input partition was read.
type pipeInput struct {
	source    int
	topic     string
	partition uint32
	next, end uint64
}

// pipeStatuses are of this loop's pipelines, of one where named.
func (l *loop) pipeStatuses(name string) (all []pipeStatus) {
	e := l.server.options.Engine
	for _, of := range e.Pipelines() {
		if e.ShardOf(of.Spec().Into) == l.index && (name == "" || name == of.Spec().Name) {
			all = append(all, l.pipeStatus(of))
		}
	}
	return all
}

func (l *loop) pipeStatus(of *engine.Pipeline) pipeStatus {
	s := pipeStatus{of: of, reason: "it is about to begin"}
	switch p := l.pipes[of.ID()]; {
	case !l.leading():
		s.reason = "this node does not lead"
	case l.failed != nil:
		s.reason = errStorage.Message
	case p != nil:
		s.state, s.reason, s.counts = p.state, p.reason, &p.counts
	}
	if at := l.server.lookup(of.Spec().Into); at != nil {
		s.progress = l.shard.PipelineProgress(at, of.ID())
	}
	for i := range of.Spec().Inputs {
		in := &of.Spec().Inputs[i]
		for _, stream := range l.server.streams(in) {
			t := l.server.options.Engine.TopicByID(stream.Topic)
			if t == nil || t.Partition(stream.Partition) == nil {
				continue
			}
			st := t.Partition(stream.Partition).Stats()
			at := pipeInput{source: i, topic: t.Name(), partition: stream.Partition, end: st.Next}
			at.next = of.Position(&s.progress, uint8(i), stream.Partition)
			if from := max(at.next, st.Floor); from < st.Next {
				s.lag += st.Next - from
			}
			s.inputs = append(s.inputs, at)
		}
	}
	return s
}

// listPipelines names the pipelines whose topics the token reaches.
func listPipelines(l *loop, x *exchange) (reply, error) {
	scope := x.scope
	return l.askPipes(x, "", func(b []byte, all []pipeStatus) ([]byte, error) {
		b = append(b, `{"ok":true,"pipelines":[`...)
		n := 0
		for i := range all {
			if !reachesPipeline(scope, all[i].of) {
				continue
			}
			if n++; n > 1 {
				b = append(b, ',')
			}
			b = append(all[i].appendTo(append(b, '{')), '}')
		}
		return appendMember(append(b, ']'), "count", uint64(n)), nil
	})
}

// describePipeline tells what a pipeline does and how far it has come.
func describePipeline(l *loop, x *exchange) (reply, error) {
	name, scope := string(x.args.pipeline), x.scope
	return l.askPipes(x, name, func(b []byte, all []pipeStatus) ([]byte, error) {
		if len(all) == 0 {
			return nil, errNoPipeline.with("pipeline %q does not exist", name)
		}
		if !reachesPipeline(scope, all[0].of) {
			return nil, errForbidden.with("the token does not reach the topics of pipeline %q", name)
		}
		b = all[0].appendTo(append(b, `{"ok":true,`...))
		return all[0].appendDetails(b), nil
	})
}

// askPipes has every loop tell of its pipelines, and answers with what render makes of it.
func (l *loop) askPipes(x *exchange, name string, render func(b []byte, all []pipeStatus) ([]byte, error)) (reply, error) {
	l.exclude(x.conn)
	c, m, follower := x.conn, x.meta, x.follower
	parts := make([][]pipeStatus, len(l.server.loops))
	left := len(parts)
	for i, there := range l.server.loops {
		there.net.Post(func() {
			parts[i] = there.pipeStatuses(name)
			l.net.Post(func() {
				if left--; left > 0 {
					return
				}
				all := slices.Concat(parts...)
				slices.SortFunc(all, func(a, b pipeStatus) int { return strings.Compare(a.of.Spec().Name, b.of.Spec().Name) })
				b, err := render(nil, all)
				if err != nil {
					l.finishError(c, &m, asError(err))
					return
				}
				l.finish(c, &m, 0, &reply{status: 200, body: append(appendFollower(b, follower), '}')})
			})
		})
	}
	return reply{later: true}, nil
}

// appendTo renders what a list has of a pipeline.
func (s *pipeStatus) appendTo(b []byte) []byte {
	spec := s.of.Spec()
	b = jsonscan.AppendString(append(b, `"name":`...), []byte(spec.Name))
	b = appendMember(b, "id", uint64(s.of.ID()))
	b = appendMember(b, "created_batch_id", s.of.Created())
	b = append(append(append(b, `,"state":"`...), pipeStates[s.state]...), '"')
	b = append(b, `,"reason":`...)
	if s.reason == "" {
		b = append(b, "null"...)
	} else {
		b = jsonscan.AppendString(b, []byte(s.reason))
	}
	b = appendMember(b, "lag", s.lag)
	b = appendMember(b, "rows", s.progress.Rows)
	b = appendMember(b, "steps", s.progress.Steps)
	return appendMember(b, "lost", s.progress.Lost)
}

// appendDetails renders what only a description has.
func (s *pipeStatus) appendDetails(b []byte) []byte {
	b = appendMember(b, "state_bytes", uint64(len(s.progress.State)))
	if s.counts == nil {
		b = append(b, `,"scanned":null,"skipped":null,"late":null`...)
	} else {
		b = appendMember(b, "scanned", s.counts.Scanned)
		b = appendMember(b, "skipped", s.counts.Skipped)
		b = appendMember(b, "late", s.counts.Late)
	}
	sides := []string{"source"}
	if len(s.of.Spec().Inputs) > 1 {
		sides = []string{"left", "right"}
	}
	b = append(b, `,"positions":[`...)
	for i := range s.inputs {
		if i > 0 {
			b = append(b, ',')
		}
		in := &s.inputs[i]
		b = append(append(append(b, `{"side":"`...), sides[in.source]...), '"', ',')
		b = appendPlace(b, in.topic, in.partition)
		b = appendMember(b, "offset", in.next)
		b = append(appendMember(b, "end", in.end), '}')
	}
	return append(append(b, `],"spec":`...), s.of.Spec().Text...)
}

// metric is what /metrics shows of the pipeline.
func (s *pipeStatus) metric() metrics.Pipeline {
	return metrics.Pipeline{Name: s.of.Spec().Name, Lag: s.lag, Rows: s.progress.Rows, State: pipeStates[s.state]}
}
