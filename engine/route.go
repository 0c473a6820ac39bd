package engine

import "ayder/internal/record"

// Which shards a frame concerns, known from the frame alone: a frame made by another node has sections of any of
// ours, and the topic that it names may be one that shard 0 has not created yet.

// ShardSet is a set of shard numbers.
type ShardSet [ShardsMax / 64]uint64

func (s *ShardSet) add(shard int) { s[shard>>6] |= 1 << (shard & 63) }

// Has tells whether a shard is in the set.
func (s *ShardSet) Has(shard int) bool { return s[shard>>6]>>(shard&63)&1 == 1 }

// ShardsOf returns the shards that own a section of f, the catalogue's for a frame that has none: somebody
// must note that it was applied. Any goroutine may ask.
func (e *Engine) ShardsOf(f record.Frame) (set ShardSet) {
	it := f.Iter()
	for sec, ok := it.Next(); ok; sec, ok = it.Next() {
		set.add(e.shardOf(&sec))
	}
	if set == (ShardSet{}) {
		set.add(CatalogueShard)
	}
	return set
}

// shardOf is the number of the shard that a section is for.
func (e *Engine) shardOf(sec *record.Section) int {
	if isCatalogue(sec.Type) || sec.Type == record.SectionGroupMembers || sec.Type == record.SectionSchema {
		return CatalogueShard
	}
	return e.ShardOf(sec.Stream)
}

// isCatalogue tells whether sections of this type change the catalogue, of topics or of pipelines.
func isCatalogue(t record.SectionType) bool {
	switch t {
	case record.SectionTopicCreate, record.SectionTopicDelete, record.SectionTopicGrow, record.SectionRetention,
		record.SectionPipelineCreate, record.SectionPipelineDelete:
		return true
	}
	return false
}

// HasCatalogue tells whether f changes the catalogue: every shard may need what it does before it can apply later
// frames.
func HasCatalogue(f record.Frame) bool {
	it := f.Iter()
	for sec, ok := it.Next(); ok; sec, ok = it.Next() {
		if isCatalogue(sec.Type) {
			return true
		}
	}
	return false
}
