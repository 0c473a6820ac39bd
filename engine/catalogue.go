package engine

import (
	"iter"
	"maps"
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
// Topic ids are dense, given in the order of the log and never reused; list has the topic of each. It is immutable, too:
// a change copies the 2 KiB around one id and the pointers to such pieces. The id of a topic that was deleted stays in
// the list and has none, so that what the log still says about it is recognized and left out; where 256 neighbours are
// gone, nothing is left of them but a nil.

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

// ModeOf is the mode of that name.
func ModeOf(name string) (m Mode, ok bool) {
	for m := Sealed; m <= Rocket; m++ {
		if m.String() == name {
			return m, true
		}
	}
	return 0, false
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

// Topic is a named set of partitions. It is immutable and may be used from any goroutine: more partitions or other
// settings make it another Topic, which has the same *Partition.
type Topic struct {
	id         uint32
	spec       TopicSpec
	created    uint64 // index of the frame that created it
	partitions []*Partition
	own        map[uint32]Policy // of single partitions, what is set; never changes
}

// ID is the number that the log knows the topic by; the first one is 1.
func (t *Topic) ID() uint32 { return t.id }

// Name is the topic's name.
func (t *Topic) Name() string { return t.spec.Name }

// Created is the index of the frame that created it.
func (t *Topic) Created() uint64 { return t.created }

// Spec is the topic's settings: what it was created with, and what was changed since.
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
	return t.partitions[i]
}

const catalogueBuckets = 256 // immutable maps that names are spread over

// catalogue is written by one goroutine at a time, the catalogue's shard or recovery, and read by all.
type catalogue struct {
	names [catalogueBuckets]atomic.Pointer[map[string]*Topic] // safe: the maps never change
	list  atomic.Pointer[topicList]                           // safe: a list never changes
	every atomic.Pointer[Policy]                              // what holds where nothing closer does, nil: nothing; safe: as list

	partitions int          // of all topics; the writer's own
	retaining  atomic.Int64 // topics that have a policy of their own; read by all shards
}

// topicList has the topic of every id.
type topicList struct {
	chunks []*[topicsPerChunk]*Topic // id 1 in the first; nil: none of these exists any more
	last   uint32                    // the highest id that was given
	count  int                       // topics that exist
}

const topicsPerChunk = 256

// get returns the topic with that id, nil if it was never created or is deleted.
func (l *topicList) get(id uint32) *Topic {
	if id == 0 || id > l.last {
		return nil
	}
	if c := l.chunks[(id-1)/topicsPerChunk]; c != nil {
		return c[(id-1)%topicsPerChunk]
	}
	return nil
}

// all walks the topics in the order of their ids.
func (l *topicList) all(yield func(*Topic) bool) { l.between(1, l.last)(yield) }

// between is all with ids from first to last.
func (l *topicList) between(first, last uint32) iter.Seq[*Topic] {
	return func(yield func(*Topic) bool) {
		for id := first; id <= min(last, l.last); {
			if l.chunks[(id-1)/topicsPerChunk] == nil {
				id += topicsPerChunk - (id-1)%topicsPerChunk
				continue
			}
			if t := l.get(id); t != nil && !yield(t) {
				return
			}
			id++
		}
	}
}

// with is the list with t as the topic of id, or with none there. The ids between its last and id are given, to nobody.
func (l *topicList) with(id uint32, t *Topic) *topicList {
	at := int(id-1) / topicsPerChunk
	n := &topicList{last: max(l.last, id), count: l.count, chunks: make([]*[topicsPerChunk]*Topic, max(len(l.chunks), at+1))}
	copy(n.chunks, l.chunks)
	chunk := new([topicsPerChunk]*Topic)
	if old := n.chunks[at]; old != nil {
		*chunk = *old
	}
	if chunk[(id-1)%topicsPerChunk] != nil {
		n.count--
	}
	chunk[(id-1)%topicsPerChunk] = t
	n.chunks[at] = chunk
	switch {
	case t != nil:
		n.count++
	case *chunk == [topicsPerChunk]*Topic{}:
		n.chunks[at] = nil
	}
	return n
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

// topics returns the list as it is.
func (c *catalogue) topics() *topicList {
	if l := c.list.Load(); l != nil {
		return l
	}
	return &topicList{}
}

func (c *catalogue) get(id uint32) *Topic { return c.topics().get(id) }

// deleted tells whether there once was a topic with that id.
func (c *catalogue) deleted(id uint32) bool {
	l := c.topics()
	return id != 0 && id <= l.last && l.get(id) == nil
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
	l := c.topics()
	if t.id != l.last+1 {
		panic("bug: topic id is not the next one")
	}
	c.list.Store(l.with(t.id, t))
	c.setName(t.spec.Name, t)
	c.partitions += len(t.partitions)
	c.retaining.Add(t.retaining())
}

// replace publishes another state of a topic that exists.
func (c *catalogue) replace(t *Topic) {
	l := c.topics()
	old := l.get(t.id)
	c.list.Store(l.with(t.id, t))
	c.setName(t.spec.Name, t)
	c.partitions += len(t.partitions) - len(old.partitions)
	c.retaining.Add(t.retaining() - old.retaining())
}

// remove takes a topic out: its name is free, its id is not.
func (c *catalogue) remove(t *Topic) {
	c.setName(t.spec.Name, nil)
	c.list.Store(c.topics().with(t.id, nil))
	c.partitions -= len(t.partitions)
	c.retaining.Add(-t.retaining())
}

// skipTo notes that ids up to id were given to topics that do not exist any more.
func (c *catalogue) skipTo(id uint32) { c.list.Store(c.topics().with(id, nil)) }

// setName makes t what is found under a name, nil for nothing.
func (c *catalogue) setName(name string, t *Topic) {
	at := &c.names[bucket(name)]
	m := make(map[string]*Topic)
	if old := at.Load(); old != nil {
		maps.Copy(m, *old)
	}
	if delete(m, name); t != nil {
		m[name] = t
	}
	at.Store(&m)
}

// newTopic makes a topic with empty partitions, not yet in the catalogue.
func (e *Engine) newTopic(id uint32, spec TopicSpec, created uint64) *Topic {
	t := &Topic{id: id, spec: spec, created: created}
	t.partitions = e.appendPartitions(nil, t, spec.Partitions)
	return t
}

// appendPartitions is list, of t's partitions, with empty ones added until there are count.
func (e *Engine) appendPartitions(list []*Partition, t *Topic, count uint32) []*Partition {
	from := uint32(len(list))
	all := make([]*Partition, count)
	copy(all, list)
	made := make([]Partition, count-from)
	for i := range made {
		p := &made[i]
		p.stream = record.Stream{Topic: t.id, Partition: from + uint32(i)}
		p.owner = e.shards[e.ShardOf(p.stream)]
		p.asOf, p.skipTo = t.created, t.created
		if t.spec.Mode == Rocket {
			p.rocket = newRocket(e, t.Policy())
		}
		all[p.stream.Partition] = p
	}
	return all
}

// Topic returns the topic of that name, nil if there is none. Any goroutine may ask; it does not allocate.
func (e *Engine) Topic(name []byte) *Topic { return e.catalogue.lookup(name) }

// TopicByID returns the topic with that number, nil if there is none. Any goroutine may ask.
func (e *Engine) TopicByID(id uint32) *Topic { return e.catalogue.get(id) }

// Topics returns all topics sorted by name, in a list of the caller's own. Any goroutine may ask.
func (e *Engine) Topics() []*Topic {
	all := slices.AppendSeq([]*Topic(nil), e.catalogue.topics().all)
	slices.SortFunc(all, func(a, b *Topic) int { return strings.Compare(a.spec.Name, b.spec.Name) })
	return all
}
