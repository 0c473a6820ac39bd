package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"

	"ayder/engine"
	"ayder/internal/auth"
	"ayder/internal/jsonscan"
	"ayder/internal/query"
	"ayder/internal/record"
	"ayder/internal/schema"
)

// Pipelines: queries and joins that run for good and write their rows into a topic, each row once.
//
//	here                  create, delete: what is asked for is checked, and becomes a command
//	pipelinelist.go       list, describe
//	piperunner.go         on the loop of the output's partition: which of them run here, and their steps
//	piperun.go            on a worker: reading and evaluating
//
// A pipeline is checked as a query is, by a worker, because schemas may have to be compiled. Then, on the loops, it is found out where
// reading begins, and that is part of the command; so the request goes around as a whole and is executed again wherever it has to be.

// pipelineRequest is the body of POST /broker/pipelines.
type pipelineRequest struct {
	Name          *string         `json:"name"`
	Query         json.RawMessage `json:"query"`
	Join          json.RawMessage `json:"join"`
	Into          *string         `json:"into"`
	IntoPartition uint32          `json:"into_partition"`
}

var pipelineFields = fieldsOf(pipelineRequest{})

// pipelineText is what a pipeline does, as it is kept.
type pipelineText struct {
	Into          string          `json:"into"`
	IntoPartition uint32          `json:"into_partition"`
	Query         json.RawMessage `json:"query,omitempty"`
	Join          json.RawMessage `json:"join,omitempty"`
}

// plan is a pipeline's text, read.
type plan struct {
	pipelineText
	query *query.QueryRequest // one of these
	join  *query.JoinRequest
}

// pipelineCall is what a request about a pipeline remembers while it is executed again and again.
type pipelineCall struct {
	name    string
	plan    *plan
	text    []byte
	inputs  []input
	located bool // it is known where reading begins
	made    bool // the command was this request's
}

// readPlan reads the text of a pipeline.
func readPlan(text []byte) (*plan, error) {
	p := new(plan)
	if err := json.Unmarshal(text, &p.pipelineText); err != nil {
		return nil, errBadJSON.with("%v", err)
	}
	return p, p.parse()
}

// parse reads the query or join.
func (p *plan) parse() (err error) {
	if p.Query != nil {
		p.query, err = query.ParseQuery(p.Query)
	} else {
		p.join, err = query.ParseJoin(p.Join)
	}
	return queryError(err)
}

// sides are what requests call the sources.
func (p *plan) sides() []string {
	if p.query != nil {
		return []string{"source"}
	}
	return []string{"left", "right"}
}

func (p *plan) sources() []*query.Source {
	if p.query != nil {
		return []*query.Source{&p.query.Source}
	}
	return []*query.Source{&p.join.Left, &p.join.Right}
}

// operator makes what runs it.
func (p *plan) operator(lookup schema.Lookup) (query.Operator, error) {
	var formats [2]query.Format
	for i, s := range p.sources() {
		f, err := schema.Compile(s.Decode, lookup)
		if err != nil {
			return nil, errBadQuery.with("%s.%s", p.sides()[i], strings.ToValidUTF8(err.Error(), "\uFFFD"))
		}
		formats[i] = f
	}
	if p.query != nil {
		q, err := p.query.Compile(formats[0])
		if err != nil {
			return nil, queryError(err)
		}
		op, err := q.Operator()
		return op, queryError(err)
	}
	j, err := p.join.Compile(formats[0], formats[1])
	if err != nil {
		return nil, queryError(err)
	}
	op, err := j.Operator()
	return op, queryError(err)
}

// readPipeline reads and checks the body of a creation.
func readPipeline(body []byte, lookup schema.Lookup) (*pipelineCall, error) {
	var q pipelineRequest
	if err := decodeJSON(body, &q, pipelineFields); err != nil {
		return nil, err
	}
	switch {
	case q.Name == nil || !engine.ValidName(*q.Name):
		return nil, errBadPipeline
	case q.Into == nil:
		return nil, errBadQuery.with("into is missing: the topic that rows are written to")
	case (q.Query == nil) == (q.Join == nil):
		return nil, errBadQuery.with("either query or join is needed")
	}
	c := &pipelineCall{name: *q.Name, plan: &plan{pipelineText: pipelineText{Into: *q.Into, IntoPartition: q.IntoPartition, Query: q.Query, Join: q.Join}}}
	if err := c.plan.parse(); err != nil {
		return nil, err
	}
	if _, err := c.plan.operator(lookup); err != nil {
		return nil, err
	}
	text, err := json.Marshal(&c.plan.pipelineText)
	if err != nil {
		return nil, errBadJSON.with("%v", err)
	}
	c.text = text
	return c, nil
}

// createPipeline brings a pipeline into being: 201 when that is durable, 200 if it was there already.
func createPipeline(l *loop, x *exchange) (reply, error) {
	if len(x.body) > queryBodyMax {
		return reply{}, errTooLarge.with("the body of this call is at most %d bytes", queryBodyMax)
	}
	if x.pipeline == nil {
		return l.readPipelineElsewhere(x)
	}
	c := x.pipeline
	into, err := c.find(l, x)
	if err != nil {
		return reply{}, err
	}
	if into == nil {
		x.args.topic = []byte(c.plan.Into)
		return l.autoCreate(x)
	}
	if !c.located {
		return l.locatePipeline(x)
	}
	if l.index != engine.CatalogueShard {
		return l.forward(engine.CatalogueShard, x)
	}
	spec := c.spec(into)
	change, err := l.shard.CreatePipeline(l.openBatch, spec)
	if wait := change.Batch(); err != nil || wait != nil {
		c.made = c.made || change.Made != nil
		return l.after(wait, x, pipelineError(err, c.name))
	}
	l.server.tendPipelines()
	l.body = appendPipelineCreated(l.body[:0], l.server.options.Engine.Pipeline([]byte(c.name)))
	if c.made {
		return reply{status: 201, body: l.body}, nil
	}
	return reply{status: 200, body: l.body}, nil
}

func appendPipelineCreated(b []byte, p *engine.Pipeline) []byte {
	b = jsonscan.AppendString(append(b, `{"ok":true,"name":`...), []byte(p.Spec().Name))
	return append(appendMember(b, "id", uint64(p.ID())), '}')
}

// readPipelineElsewhere has a worker read the body; the request goes on here when that is done.
func (l *loop) readPipelineElsewhere(x *exchange) (reply, error) {
	c := x.cloned()
	ok := l.server.pipers.add(func(*worker) {
		var err error
		c.pipeline, err = readPipeline(c.body, l.server.schemaByID)
		l.goOn(c, err)
	})
	if !ok {
		return reply{}, errOverloaded
	}
	l.exclude(x.conn)
	return reply{later: true}, nil
}

// find finds the topics. Without an error and without a topic to write into, that has to be created.
func (c *pipelineCall) find(l *loop, x *exchange) (into *engine.Topic, err error) {
	if c.inputs == nil {
		var inputs []input
		for _, source := range c.plan.sources() {
			in := input{source: source}
			if err := in.find(l, x); err != nil {
				return nil, err
			}
			if in.topic.Mode() == engine.Rocket {
				return nil, errNeedsSealed.with("a pipeline reads sealed topics: topic %q keeps its messages in memory only", source.Topic)
			}
			if source.Topic == c.plan.Into {
				return nil, errBadQuery.with("into is %q, which the pipeline reads", source.Topic)
			}
			inputs = append(inputs, in)
		}
		c.inputs = inputs
	}
	if err := checkTopic([]byte(c.plan.Into), x.scope); err != nil {
		return nil, err
	}
	into = l.server.options.Engine.Topic([]byte(c.plan.Into))
	o := &l.server.options
	switch {
	case into == nil && !o.AutoCreate:
		return nil, errUnknownTopic.with("topic %q does not exist", c.plan.Into)
	case into == nil && o.DefaultMode == engine.Rocket, into != nil && into.Mode() == engine.Rocket:
		return nil, errNeedsSealed.with("a pipeline writes into a sealed topic: topic %q would keep its rows in memory only", c.plan.Into)
	case into == nil && c.plan.IntoPartition >= o.DefaultPartitions:
		return nil, errPartition.with("topic %q has %d partitions", c.plan.Into, o.DefaultPartitions)
	case into != nil && into.Partition(c.plan.IntoPartition) == nil:
		return nil, errPartition.with("topic %q has %d partitions", c.plan.Into, into.Partitions())
	}
	return into, nil
}

// locatePipeline finds out where reading begins, which the loops of the inputs know; the request is executed again then.
func (l *loop) locatePipeline(x *exchange) (reply, error) {
	c := x.cloned()
	t := &task{home: l, inputs: c.pipeline.inputs}
	if !t.asksGroups() {
		c.pipeline.located = true
		l.exclude(x.conn)
		l.net.Post(func() { l.resume(c) })
		return reply{later: true}, nil
	}
	l.exclude(x.conn)
	t.askGroups(func() {
		c.pipeline.located = true
		l.resume(c)
	})
	return reply{later: true}, nil
}

// spec is what the engine is to keep.
func (c *pipelineCall) spec(into *engine.Topic) *engine.PipelineSpec {
	spec := &engine.PipelineSpec{Name: c.name, Text: c.text, Into: into.Partition(c.plan.IntoPartition).Stream()}
	for i := range c.inputs {
		in := &c.inputs[i]
		p := engine.PipelineInput{Topic: in.topic.ID(), All: in.source.Partition == nil}
		if !p.All {
			p.Partition = *in.source.Partition
		}
		for n := range in.extents {
			p.Start = append(p.Start, in.extents[n].first)
		}
		spec.Inputs = append(spec.Inputs, p)
	}
	return spec
}

func pipelineError(err error, name string) error {
	switch {
	case errors.Is(err, engine.ErrPipelineExists):
		return errPipelineExists.with("pipeline %q exists and does something else; delete it first", name)
	case errors.Is(err, engine.ErrNoPipeline):
		return errNoPipeline.with("pipeline %q does not exist", name)
	case errors.Is(err, engine.ErrPipelineLimit):
		return errPipelineLimit.with("%v", err)
	case errors.Is(err, engine.ErrNoTopic), errors.Is(err, engine.ErrNoPartition):
		return errUnknownTopic.with("a topic of the pipeline was deleted")
	case errors.Is(err, engine.ErrPipelineText), errors.Is(err, engine.ErrPipelineInputs), errors.Is(err, engine.ErrPipelineName):
		return errBadQuery.with("%v", err)
	}
	return err
}

// deletePipeline takes a pipeline out. What it has written stays.
func deletePipeline(l *loop, x *exchange) (reply, error) {
	if l.index != engine.CatalogueShard {
		return l.forward(engine.CatalogueShard, x)
	}
	name := bytes.Clone(x.args.pipeline)
	if p := l.server.options.Engine.Pipeline(name); p != nil && !reachesPipeline(x.scope, p) {
		return reply{}, errForbidden.with("the token does not reach the topics of pipeline %q", name)
	}
	change, err := l.shard.DeletePipeline(l.openBatch, name)
	if wait := change.Batch(); wait != nil {
		if x.pipeline == nil {
			x.pipeline = &pipelineCall{}
		}
		x.pipeline.made = x.pipeline.made || change.Made != nil
		return l.after(wait, x, nil)
	}
	if errors.Is(err, engine.ErrNoPipeline) && x.pipeline != nil && x.pipeline.made {
		l.server.tendPipelines()
		b := jsonscan.AppendString(append(l.body[:0], `{"ok":true,"name":`...), name)
		l.body = append(b, `,"deleted":true}`...)
		return reply{status: 200, body: l.body}, nil
	}
	return reply{}, pipelineError(err, string(name))
}

// reachesPipeline tells whether a token reaches the topics that a pipeline names.
func reachesPipeline(scope *auth.Scope, p *engine.Pipeline) bool {
	if scope == nil || !scope.Restricted() {
		return true
	}
	read, err := readPlan(p.Spec().Text)
	if err != nil || !scope.AllowsName([]byte(read.Into)) {
		return false
	}
	for _, s := range read.sources() {
		if !scope.AllowsName([]byte(s.Topic)) {
			return false
		}
	}
	return true
}

// streams are the partitions that an input of a pipeline has now.
func (s *Server) streams(in *engine.PipelineInput) (list []record.Stream) {
	t := s.options.Engine.TopicByID(in.Topic)
	switch {
	case t == nil:
	case in.All:
		for n := range t.Partitions() {
			list = append(list, record.Stream{Topic: in.Topic, Partition: n})
		}
	case in.Partition < t.Partitions():
		list = append(list, record.Stream{Topic: in.Topic, Partition: in.Partition})
	}
	return list
}
