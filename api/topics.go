package api

import (
	"errors"
	"strconv"

	"ayder/engine"
)

// Topics: create, list, describe. Creation is a command in the log like a message: it is answered when it is
// durable, and the topic is usable from then on. The catalogue belongs to shard 0, so requests that
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
	case errors.Is(err, engine.ErrTopicLimit):
		return errOverloaded.with("%v", err)
	}
	return err
}

// appendTopic is the answer to a created topic.
func appendTopic(b, name []byte, partitions uint32) []byte {
	b = append(b, `{"ok":true,"topic":`...)
	b = appendJSONString(b, name)
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
		b = append(b, '}')
	}
	b = append(b, ']')
	b = appendMember(b, "count", uint64(n))
	l.body = append(appendFollower(b, x.follower), '}')
	return reply{status: 200, body: l.body}, nil
}

func appendTopicSettings(b []byte, t *engine.Topic) []byte {
	spec := t.Spec()
	b = append(b, `"topic":`...)
	b = appendJSONString(b, []byte(spec.Name))
	b = appendMember(b, "partitions", uint64(spec.Partitions))
	b = append(b, `,"mode":"`...)
	b = append(b, spec.Mode.String()...)
	b = append(b, '"')
	b = appendMember(b, "ttl_ms", spec.TTLMs)
	return appendMember(b, "max_bytes", spec.MaxBytes)
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
		b = append(b, `,"retention":{"ttl_ms":`...)
		b = strconv.AppendUint(b, t.Spec().TTLMs, 10)
		b = appendMember(b, "max_bytes", t.Spec().MaxBytes)
		b = append(b, '}', '}')
	}
	l.body = append(appendFollower(append(b, ']'), x.follower), '}')
	return reply{status: 200, body: l.body}, nil
}
