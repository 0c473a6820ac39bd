package engine

import (
	"encoding/binary"
	"fmt"

	"ayder/internal/record"
)

// Creating topics. Only the catalogue's shard accepts this, so names and ids need no agreement between
// loops: what was applied and what that shard has in flight is everything there is. A second request for a
// topic in flight is told in which batch, so that its answer can wait for the same commit.

// CreationState says how a request to create a topic ended.
type CreationState uint8

// The ends of CreateTopic that are not errors.
const (
	Created CreationState = iota + 1 // the command is in Creation.Batch; the topic is visible after its Apply
	Exists                           // Creation.Topic has the same settings
	Pending                          // the same topic is being created in Creation.Batch: answer when that is done
)

// Creation is the result of CreateTopic. Beside ErrTopicExists it holds the topic or batch in the way.
type Creation struct {
	State CreationState
	Topic *Topic        // Exists
	Batch *record.Batch // Created, Pending
}

// changes are what is in flight for topics.
type changes struct {
	creating   map[string]creation
	deleting   map[uint32]*record.Batch
	growing    map[uint32]growth
	partitions int // that all of these add
}

type creation struct {
	spec  TopicSpec
	batch *record.Batch
}

// CreateTopic adds a command to b that brings a topic into being. It must be called on the
// catalogue's shard. Errors: ErrTopicName, ErrPartitions, ErrMode, ErrTopicExists, ErrTopicLimit.
func (s *Shard) CreateTopic(b *record.Batch, spec TopicSpec) (Creation, error) {
	s.mustBeCatalogue()
	if err := spec.validate(); err != nil {
		return Creation{}, err
	}
	if c, known, err := s.knownTopic(&spec); known {
		return c, err
	}
	if !s.roomForTopic(&spec) {
		return Creation{}, ErrTopicLimit
	}
	id := s.engine.catalogue.topics().last + uint32(len(s.changing.creating)) + 1
	b.AppendCommand(record.SectionTopicCreate, record.Stream{Topic: id}, 0, appendSpec(nil, &spec))
	s.changing.create(spec, b)
	return Creation{State: Created, Batch: b}, nil
}

// knownTopic answers where the name is taken already, by an applied topic or one in flight.
func (s *Shard) knownTopic(spec *TopicSpec) (Creation, bool, error) {
	res := Creation{State: Exists, Topic: s.engine.Topic([]byte(spec.Name))}
	var have TopicSpec
	if res.Topic != nil {
		have = res.Topic.spec
	} else if c, ok := s.changing.creating[spec.Name]; ok {
		have, res = c.spec, Creation{State: Pending, Batch: c.batch}
	} else {
		return Creation{}, false, nil
	}
	if have != *spec {
		res.State = 0
		return res, true, ErrTopicExists
	}
	return res, true, nil
}

func (s *Shard) roomForTopic(spec *TopicSpec) bool {
	known, most := s.engine.catalogue.topics(), s.engine.config.TopicsMax
	return known.count+len(s.changing.creating) < most && known.last+uint32(len(s.changing.creating)) < TopicIDMax &&
		s.roomForPartitions(int(spec.Partitions))
}

func (s *Shard) roomForPartitions(more int) bool {
	return s.engine.catalogue.partitions+s.changing.partitions+more <= s.engine.config.PartitionsMax
}

func (c *changes) create(spec TopicSpec, b *record.Batch) {
	if c.creating == nil {
		c.creating = make(map[string]creation)
	}
	c.creating[spec.Name] = creation{spec, b}
	c.partitions += int(spec.Partitions)
}

func (c *changes) created(name string) {
	if started, ok := c.creating[name]; ok {
		delete(c.creating, name)
		c.partitions -= int(started.spec.Partitions)
	}
}

// specVersion is the first byte of an encoded TopicSpec.
const specVersion = 1

const specBytes = 24 // an encoded TopicSpec without the name

// appendSpec encodes a topic's settings as doc.go draws them.
func appendSpec(dst []byte, t *TopicSpec) []byte {
	le := binary.LittleEndian
	dst = append(dst, specVersion, byte(t.Mode))
	dst = le.AppendUint16(dst, uint16(len(t.Name)))
	dst = le.AppendUint32(dst, t.Partitions)
	dst = le.AppendUint64(dst, t.TTLMs)
	dst = le.AppendUint64(dst, t.MaxBytes)
	return append(dst, t.Name...)
}

// readSpec decodes all of b and checks that such a topic may exist.
func readSpec(b []byte) (t TopicSpec, err error) {
	le := binary.LittleEndian
	if len(b) < specBytes || b[0] != specVersion || int(le.Uint16(b[2:])) != len(b)-specBytes {
		return t, fmt.Errorf("topic settings of %d bytes: %w", len(b), record.ErrMalformed)
	}
	t = TopicSpec{
		Mode: Mode(b[1]), Partitions: le.Uint32(b[4:]), TTLMs: le.Uint64(b[8:]), MaxBytes: le.Uint64(b[16:]),
		Name: string(b[specBytes:]),
	}
	return t, t.validate()
}
