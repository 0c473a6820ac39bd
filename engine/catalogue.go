package engine

import (
	"slices"
	"strings"
	"sync/atomic"

	"ayder/internal/record"
)

// The catalogue: which topics exist.
//
// Every loop looks names up on every request, one loop in a long while adds a topic. So reading takes
// no lock: names are spread over buckets, each an immutable map behind an atomic pointer, and adding a topic
// replaces one bucket by a copy with one more entry. A single map would be simpler still, but copying it
// for each of 100,000 topics makes creating them quadratic, and each copy a pause of its loop.
//
// Topic ids are dense, given in the order of the log and never reused; byID is the list of all. It
// only grows: an adder writes behind the published length and then publishes a longer header, so a
// reader's list never changes under it.

// Mode says what a topic promises about its messages.
type Mode uint8

// The modes, by their numbers in the log.
const (
	Sealed Mode = 0 // messages are in the log before they are acknowledged
	Rocket Mode = 1 // messages are in memory only
)

// String returns the mode's name in the HTTP interface.
func (m Mode) String() string {
	switch m {
	case Sealed:
		return "sealed"
	case Rocket:
		return "rocket"
	}
	return "unknown"
}

// TopicSpec is what a topic is created with.
type TopicSpec struct {
	Name       string // ValidName
	Partitions uint32 // 1 … TopicPartitionsMax
	Mode       Mode
	TTLMs      uint64 // age at which messages may go, 0: never
	MaxBytes   uint64 // size per partition beyond which the oldest may go, 0: none
}

func (t *TopicSpec) validate() error {
	switch {
	case !ValidName(t.Name):
		return ErrTopicName
	case t.Partitions < 1 || t.Partitions > TopicPartitionsMax:
		return ErrPartitions
	case t.Mode != Sealed && t.Mode != Rocket:
		return ErrMode
	}
	return nil
}

// ValidName tells whether a topic or group may be called so.
func ValidName[T string | []byte](name T) bool {
	if len(name) < 1 || len(name) > NameBytesMax || string(name) == "." || string(name) == ".." {
		return false
	}
	for i := range len(name) {
		if !nameByte[name[i]] {
			return false
		}
	}
	return true
}

var nameByte = func() (t [256]bool) {
	for _, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") {
		t[c] = true
	}
	return t
}()

// Topic is a named set of partitions. It is immutable and may be used from any goroutine.
type Topic struct {
	id         uint32
	spec       TopicSpec
	created    uint64 // index of the frame that created it
	partitions []Partition
}

// ID is the number that the log knows the topic by; the first one is 1.
func (t *Topic) ID() uint32 { return t.id }

// Name is the topic's name.
func (t *Topic) Name() string { return t.spec.Name }

// Spec is what the topic was created with.
func (t *Topic) Spec() TopicSpec { return t.spec }

// Mode is what it promises about its messages.
func (t *Topic) Mode() Mode { return t.spec.Mode }

// Partitions is how many there are.
func (t *Topic) Partitions() uint32 { return uint32(len(t.partitions)) }

// Partition returns partition i, nil if there is none.
func (t *Topic) Partition(i uint32) *Partition {
	if i >= uint32(len(t.partitions)) {
		return nil
	}
	return &t.partitions[i]
}

const catalogueBuckets = 256 // immutable maps that names are spread over

// catalogue is written by one goroutine at a time, the catalogue's shard or recovery, and read by all.
type catalogue struct {
	names [catalogueBuckets]atomic.Pointer[map[string]*Topic] // safe: the maps never change
	byID  atomic.Pointer[[]*Topic]                            // topic 1 at 0; safe: elements below a published length never change

	partitions int // of all topics; the writer's own
}

// bucket spreads names by FNV-1a, folded to a byte.
func bucket[T string | []byte](name T) byte {
	h := uint32(2166136261)
	for i := range len(name) {
		h = (h ^ uint32(name[i])) * 16777619
	}
	return byte(h ^ h>>8 ^ h>>16 ^ h>>24)
}

func (c *catalogue) lookup(name []byte) *Topic {
	if m := c.names[bucket(name)].Load(); m != nil {
		return (*m)[string(name)]
	}
	return nil
}

// all returns the topics in the order of their ids; the caller must not change the list.
func (c *catalogue) all() []*Topic {
	if l := c.byID.Load(); l != nil {
		return *l
	}
	return nil
}

func (c *catalogue) get(id uint32) *Topic {
	all := c.all()
	if id == 0 || uint64(id) > uint64(len(all)) {
		return nil
	}
	return all[id-1]
}

// partition returns the partition a stream names, nil if there is none.
func (c *catalogue) partition(s record.Stream) *Partition {
	t := c.get(s.Topic)
	if t == nil {
		return nil
	}
	return t.Partition(s.Partition)
}

// add publishes a topic whose id is the next one. The number comes first: whoever found the name may
// be writing to the topic already, and applies what it wrote by number.
func (c *catalogue) add(t *Topic) {
	all := c.all()
	if int(t.id) != len(all)+1 {
		panic("bug: topic id is not the next one")
	}
	all = append(all, t)
	c.byID.Store(&all)
	at := &c.names[bucket(t.spec.Name)]
	m := map[string]*Topic{t.spec.Name: t}
	if old := at.Load(); old != nil {
		for name, other := range *old {
			m[name] = other
		}
	}
	at.Store(&m)
	c.partitions += len(t.partitions)
}

// newTopic makes a topic with empty partitions, not yet in the catalogue.
func (e *Engine) newTopic(id uint32, spec TopicSpec, created uint64) *Topic {
	t := &Topic{id: id, spec: spec, created: created, partitions: make([]Partition, spec.Partitions)}
	for i := range t.partitions {
		p := &t.partitions[i]
		p.stream = record.Stream{Topic: id, Partition: uint32(i)}
		p.owner = e.shards[e.ShardOf(p.stream)]
		p.asOf, p.skipTo = created, created
		if spec.Mode == Rocket {
			p.rocket = newRocket(e, &spec)
		}
	}
	return t
}

// Topic returns the topic of that name, nil if there is none. Any goroutine may ask; it does not allocate.
func (e *Engine) Topic(name []byte) *Topic { return e.catalogue.lookup(name) }

// TopicByID returns the topic with that number, nil if there is none. Any goroutine may ask.
func (e *Engine) TopicByID(id uint32) *Topic { return e.catalogue.get(id) }

// Topics returns all topics sorted by name, in a list of the caller's own. Any goroutine may ask.
func (e *Engine) Topics() []*Topic {
	all := slices.Clone(e.catalogue.all())
	slices.SortFunc(all, func(a, b *Topic) int { return strings.Compare(a.spec.Name, b.spec.Name) })
	return all
}
