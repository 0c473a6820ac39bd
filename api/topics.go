package api

import (
	"bytes"
	"errors"
	"strconv"

	"ayder/engine"
	"ayder/internal/jsonscan"
)

// Topics: create, list, describe, delete, add partitions. A change is a command in the log like a message: it is answered when it is
// durable, and seen by all from then on. What is being written to a topic while it is deleted is answered 404 if its place in
// the log is behind the deletion, and as ever if not. The catalogue belongs to shard 0, so requests that
// change it are forwarded there; reading it is free for every loop.

// topicRequest is the body of POST /broker/topics.
type topicRequest struct {
	Name       *string `json:"name"`
	Partitions *uint32 `json:"partitions"`
	Mode       *string `json:"mode"`
	TTLMs      uint64  `json:"ttl_ms"`
	MaxBytes   uint64  `json:"max_bytes"`
}

var topicFields = fieldsOf(topicRequest{})

// createTopic brings a topic into being: 201 when that is durable, 200 if it was there already.
func createTopic(l *loop, x *exchange) (reply, error) {
	spec, err := l.topicSpec(x)
	if err != nil {
		return reply{}, err
	}
	if l.index != engine.CatalogueShard {
		return l.forward(engine.CatalogueShard, x)
	}
	c, err := l.batch(len(x.body) + len(x.head))
	if err != nil {
		return reply{}, err
	}
	res, err := l.shard.CreateTopic(c.batch, spec)
	if err != nil {
		return reply{}, topicError(err, &spec)
	}
	if res.State == engine.Exists {
		l.body = appendTopic(l.body[:0], []byte(spec.Name), spec.Partitions)
		return reply{status: 200, body: l.body}, nil
	}
	clone := x.cloned()
	clone.args.topic = []byte(spec.Name)
	w := waiter{kind: owedTopic, count: spec.Partitions, duplicate: res.State == engine.Pending, again: clone}
	if !w.duplicate {
		w.concern = l.commandConcern()
	}
	return l.park(res.Batch, x, w), nil
}

// topicSpec reads and checks the body.
func (l *loop) topicSpec(x *exchange) (spec engine.TopicSpec, err error) {
	var t topicRequest
	if err := decodeCommand(x.body, &t, topicFields); err != nil {
		return spec, err
	}
	if t.Name == nil || *t.Name == "" {
		return spec, errMissingTopic
	}
	if err := checkTopic([]byte(*t.Name), x.scope); err != nil {
		return spec, err
	}
	spec = engine.TopicSpec{Name: *t.Name, Partitions: l.server.options.DefaultPartitions, TTLMs: t.TTLMs, MaxBytes: t.MaxBytes, Mode: l.server.options.DefaultMode}
	if t.Partitions != nil {
		spec.Partitions = *t.Partitions
	}
	if t.Mode != nil {
		var ok bool
		if spec.Mode, ok = engine.ModeOf(*t.Mode); !ok {
			return spec, errBadJSON.with("mode is \"sealed\" or \"rocket\"")
		}
	}
	return spec, nil
}

func topicError(err error, spec *engine.TopicSpec) error {
	switch {
	case errors.Is(err, engine.ErrTopicExists):
		return errTopicExists.with("topic %q exists with other settings", spec.Name)
	case errors.Is(err, engine.ErrTopicName):
		return errBadTopic
	case errors.Is(err, engine.ErrPartitions):
		return errBadPartitions
	case errors.Is(err, engine.ErrNoTopic):
		return errUnknownTopic.with("topic %q does not exist", spec.Name)
	case errors.Is(err, engine.ErrShrink):
		return errShrink
	case errors.Is(err, engine.ErrTopicLimit):
		return errOverloaded.with("%v", err)
	}
	return err
}

// appendTopic is the answer to a created topic.
func appendTopic(b, name []byte, partitions uint32) []byte {
	b = append(b, `{"ok":true,"topic":`...)
	b = jsonscan.AppendString(b, name)
	b = appendMember(b, "partitions", uint64(partitions))
	return append(b, '}')
}

// listTopics names every topic that the token reaches.
func listTopics(l *loop, x *exchange) (reply, error) {
	b := append(l.body[:0], `{"ok":true,"topics":[`...)
	n := 0
	for _, t := range l.server.options.Engine.Topics() {
		if !x.scope.AllowsName([]byte(t.Name())) {
			continue
		}
		if n++; n > 1 {
			b = append(b, ',')
		}
		b = appendTopicSettings(append(b, '{'), t)
		var messages, appended, bytes uint64
		for i := range t.Partitions() {
			s := t.Partition(i).Stats()
			messages, appended, bytes = messages+s.Next-s.Floor, appended+s.Next, bytes+s.Bytes
		}
		b = appendMember(b, "messages", messages)
		b = appendMember(b, "appended", appended)
		b = append(appendMember(b, "bytes", bytes), '}')
	}
	b = append(b, ']')
	b = appendMember(b, "count", uint64(n))
	l.body = append(appendFollower(b, x.follower), '}')
	return reply{status: 200, body: l.body}, nil
}

func appendTopicSettings(b []byte, t *engine.Topic) []byte {
	spec := t.Spec()
	b = append(b, `"topic":`...)
	b = jsonscan.AppendString(b, []byte(spec.Name))
	b = appendMember(b, "partitions", uint64(spec.Partitions))
	b = append(b, `,"mode":"`...)
	b = append(b, spec.Mode.String()...)
	b = append(b, '"')
	b = appendMember(b, "ttl_ms", spec.TTLMs)
	b = appendMember(b, "max_bytes", spec.MaxBytes)
	b = appendMember(b, "id", uint64(t.ID()))
	return appendMember(b, "created_batch_id", t.Created())
}

// describeTopic tells a topic's settings and the extent of every partition.
func describeTopic(l *loop, x *exchange) (reply, error) {
	t := l.server.options.Engine.Topic(x.args.topic)
	if t == nil {
		return reply{}, errUnknownTopic.with("topic %q does not exist", x.args.topic)
	}
	b := appendTopicSettings(append(l.body[:0], `{"ok":true,`...), t)
	b = append(b, `,"partition_list":[`...)
	for i := range t.Partitions() {
		if i > 0 {
			b = append(b, ',')
		}
		s := t.Partition(i).Stats()
		b = append(b, `{"partition":`...)
		b = strconv.AppendUint(b, uint64(i), 10)
		b = appendMember(b, "earliest_offset", s.Floor)
		b = appendMember(b, "next_offset", s.Next)
		b = appendMember(b, "messages", s.Next-s.Floor)
		b = appendMember(b, "bytes", s.Bytes)
		policy := l.server.options.Engine.Retention(t, i)
		b = append(b, `,"retention":{"ttl_ms":`...)
		b = strconv.AppendUint(b, policy.TTLMs, 10)
		b = appendMember(b, "max_bytes", policy.MaxBytes)
		b = append(b, '}', '}')
	}
	l.body = append(appendFollower(append(b, ']'), x.follower), '}')
	return reply{status: 200, body: l.body}, nil
}

// deleteTopic takes a topic out, with its messages and what groups committed in it.
func deleteTopic(l *loop, x *exchange) (reply, error) {
	if l.index != engine.CatalogueShard {
		return l.forward(engine.CatalogueShard, x)
	}
	c, err := l.batch(len(x.head))
	if err != nil {
		return reply{}, err
	}
	change, err := l.shard.DeleteTopic(c.batch, x.args.topic)
	if err != nil {
		return reply{}, topicError(err, &engine.TopicSpec{Name: string(x.args.topic)})
	}
	name := bytes.Clone(x.args.topic)
	return l.await(x, change, func(b []byte) []byte {
		b = jsonscan.AppendString(append(b, `{"ok":true,"topic":`...), name)
		return append(b, `,"deleted":true}`...)
	}), nil
}

// growRequest is the body of POST /broker/topics/{topic}/partitions.
type growRequest struct {
	Partitions *uint32 `json:"partitions"`
}

var growFields = fieldsOf(growRequest{})

// growTopic adds partitions to a topic.
func growTopic(l *loop, x *exchange) (reply, error) {
	var q growRequest
	if err := decodeCommand(x.body, &q, growFields); err != nil {
		return reply{}, err
	}
	if q.Partitions == nil {
		return reply{}, errBadJSON.with("partitions is required: how many the topic is to have")
	}
	if l.index != engine.CatalogueShard {
		return l.forward(engine.CatalogueShard, x)
	}
	c, err := l.batch(len(x.body) + len(x.head))
	if err != nil {
		return reply{}, err
	}
	change, err := l.shard.GrowTopic(c.batch, x.args.topic, *q.Partitions)
	if err != nil {
		return reply{}, topicError(err, &engine.TopicSpec{Name: string(x.args.topic)})
	}
	name := bytes.Clone(x.args.topic)
	answer := func(b []byte) []byte { return appendTopic(b, name, *q.Partitions) }
	if change.Batch == nil {
		l.body = answer(l.body[:0])
		return reply{status: 200, body: l.body}, nil
	}
	return l.await(x, change, answer), nil
}

// await parks the answer to a change of a topic, or x itself where it has to be judged again.
func (l *loop) await(x *exchange, change engine.TopicChange, render func([]byte) []byte) reply {
	clone := x.cloned()
	if change.Again {
		l.exclude(x.conn)
		return l.park(change.Batch, x, waiter{kind: owedExecute, again: clone})
	}
	clone.render = render
	return l.park(change.Batch, x, waiter{kind: owedRender, again: clone, concern: l.commandConcern()})
}
