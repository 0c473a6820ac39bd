package engine

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"ayder/internal/record"
)

// A random walk over everything the engine can do, beside a model made of plain maps and lists.
//
// Each step produces, commits, creates a topic, gives a batch to the log, applies one, moves the clock, captures a
// shard for a checkpoint, or crashes: then open batches are lost and a new engine, with another number of shards,
// starts from the checkpoint or from nothing and replays. Every answer is compared with the model's, and
// the state with that of an engine that read the whole log from its beginning.

type modelKey struct {
	key    string
	first  uint64
	count  uint32
	timeMs uint64
}

type modelPartition struct {
	topic     string
	number    uint32
	visible   []string // messages
	sizes     []uint64 // of these, in bytes
	times     []uint64 // of their frames
	assigned  []string // and those in flight
	floor     uint64
	cut       *inFlight  // a floor in flight
	keys      []modelKey // applied, in order
	flying    map[string]inFlight
	committed map[string]uint64
	pending   map[string]inFlight // first is the offset
}

type inFlight struct {
	first uint64
	count uint32
	batch *record.Batch
}

type modelTopic struct {
	spec       TopicSpec
	id         uint32
	partitions []*modelPartition
	own        map[uint32]Policy
}

// model also remembers what each batch will change: frame by frame if it was appended.
type model struct {
	t          *testing.T
	rng        *rand.Rand
	w          *world
	config     Config
	topics     map[string]*modelTopic
	creating   map[string]*record.Batch
	deleting   map[string]*record.Batch
	growing    map[string]inFlight // count is the partitions
	pipes      modelPipes
	schemas    []string         // by id
	schemasIn  []inFlightSchema // flight
	specs      map[string]TopicSpec
	lastID     uint32
	every      Policy
	effects    map[*record.Batch][]func(timeMs uint64)
	logged     []*record.Batch // those of the log's frames that were not applied
	shardTime  []uint64
	checkpoint []byte // the newest whole one
	after      int    // index that it needs the log from
	parts      [][]byte
	partsAfter int
	restarted  int // frames there were at the last crash, all of which are applied
	duplicates int
	seen       modelCounts
}

func newModel(t *testing.T, seed uint64) *model {
	rng := rand.New(rand.NewPCG(seed, 7))
	m := &model{
		t: t, rng: rng, config: Config{Shards: 1 + rng.IntN(4), IdemWindowMs: 500, IdemKeysMax: 1 + rng.IntN(40)},
		topics: map[string]*modelTopic{}, creating: map[string]*record.Batch{}, specs: map[string]TopicSpec{},
		deleting: map[string]*record.Batch{}, growing: map[string]inFlight{},
		effects: map[*record.Batch][]func(uint64){},
	}
	m.w = newWorld(t, m.config)
	m.shardTime = make([]uint64, m.config.Shards)
	return m
}

func (m *model) fail(format string, args ...any) {
	m.t.Helper()
	m.t.Fatalf("after %d frames: %s", len(m.w.frames), fmt.Sprintf(format, args...))
}

// later notes what happens when b is applied.
func (m *model) later(b *record.Batch, effect func(timeMs uint64)) {
	m.effects[b] = append(m.effects[b], effect)
}

func (m *model) takeEffect(b *record.Batch) {
	for _, f := range m.effects[b] {
		f(b.TimeMs)
	}
	delete(m.effects, b)
	if i := slices.Index(m.logged, b); i >= 0 {
		m.logged = slices.Delete(m.logged, i, i+1)
	}
}

func (m *model) step() {
	switch n := m.rng.IntN(100); {
	case n < 4:
		m.create()
	case n < 5:
		m.changeTopic()
	case n < 7:
		m.cutBefore()
	case n < 8:
		m.retain(m.rng.IntN(m.config.Shards))
	case n < 35:
		m.produce(1)
	case n < 45:
		m.produce(1 + m.rng.IntN(5))
	case n < 56:
		m.commitOffset()
	case n < 58:
		m.resetOrDelete()
	case n < 60:
		switch m.members(); m.rng.IntN(3) {
		case 0:
			m.register()
		case 1:
			m.pipeline()
		}
	case n < 64:
		m.stepPipeline()
	case n < 75:
		m.append()
	case n < 90:
		m.apply(m.rng.IntN(m.config.Shards))
	case n < 95:
		m.w.now += uint64(m.rng.IntN(120))
	case n < 98:
		m.capture()
	case m.rng.IntN(4) == 0:
		m.crash()
	}
}

func (m *model) create() {
	name := fmt.Sprint("topic", m.rng.IntN(6))
	spec := TopicSpec{Name: name, Partitions: uint32(1 + m.rng.IntN(2)), TTLMs: uint64(m.rng.IntN(2))}
	b := m.w.open[CatalogueShard]
	want, wantErr := Creation{State: Created, Batch: b}, error(nil)
	if tp := m.topics[name]; tp != nil {
		want = Creation{State: Exists, Topic: m.w.e.Topic([]byte(name))}
	} else if at := m.creating[name]; at != nil {
		want = Creation{State: Pending, Batch: at}
	}
	if have, ok := m.specs[name]; ok && have != spec {
		want.State, wantErr = 0, ErrTopicExists
	}
	got, err := m.w.e.Shard(CatalogueShard).CreateTopic(b, spec)
	if got != want || err != wantErr {
		m.fail("create %+v: %+v %v, want %+v %v", spec, got, err, want, wantErr)
	}
	if got.State == Created {
		m.specs[name], m.creating[name] = spec, b
		m.later(b, func(uint64) { m.created(spec) })
	}
}

func (m *model) created(spec TopicSpec) {
	delete(m.creating, spec.Name)
	m.lastID++
	tp := &modelTopic{spec: spec, id: m.lastID, own: map[uint32]Policy{}}
	tp.grow(spec.Partitions)
	m.topics[spec.Name] = tp
}

func (tp *modelTopic) grow(partitions uint32) {
	tp.spec.Partitions = partitions
	for i := uint32(len(tp.partitions)); i < partitions; i++ {
		tp.partitions = append(tp.partitions, &modelPartition{
			topic: tp.spec.Name, number: i, flying: map[string]inFlight{}, committed: map[string]uint64{}, pending: map[string]inFlight{},
		})
	}
}

// pick returns some partition, in the model and in the engine.
func (m *model) pick() (*modelPartition, *Partition) {
	if len(m.topics) == 0 {
		return nil, nil
	}
	names := slices.Sorted(maps.Keys(m.topics))
	tp := m.topics[names[m.rng.IntN(len(names))]]
	mp := tp.partitions[m.rng.IntN(len(tp.partitions))]
	return mp, m.w.e.Topic([]byte(mp.topic)).Partition(mp.number)
}

func (m *model) produce(count int) {
	mp, p := m.pick()
	if p == nil {
		return
	}
	key := ""
	if m.rng.IntN(2) == 0 {
		key = fmt.Sprint("key", m.rng.IntN(60))
	}
	opt := ProduceOptions{HasExpected: m.rng.IntN(5) == 0, ExpectedOffset: uint64(len(mp.assigned) + m.rng.IntN(2))}
	b := m.w.open[p.Shard()]
	want, wantErr := m.expect(mp, b, p.Shard(), key, uint32(count), opt)
	values := make([]string, count)
	for i := range values {
		values[i] = fmt.Sprintf("%s/%d@%d", mp.topic, mp.number, len(mp.assigned)+i)
	}
	got, err := m.send(b, p, key, values, opt)
	if got != want || err != wantErr {
		m.fail("produce %d with key %q %+v: %+v %v, want %+v %v", count, key, opt, got, err, want, wantErr)
	}
	if got.Duplicate {
		m.duplicates++
	}
	if err == nil && !got.Duplicate {
		m.sent(mp, b, key, values, got)
	}
}

// expect is the answer by the rules.
func (m *model) expect(mp *modelPartition, b *record.Batch, shard int, key string, count uint32, opt ProduceOptions) (Append, error) {
	if f, ok := mp.flying[key]; ok && key != "" {
		return Append{Offset: f.first, Count: f.count, Duplicate: true, Pending: f.batch}, nil
	}
	now := max(b.TimeMs, m.shardTime[shard])
	for _, k := range mp.keys[max(0, len(mp.keys)-m.config.IdemKeysMax):] {
		if k.key == key && key != "" && now-k.timeMs < m.config.IdemWindowMs {
			return Append{Offset: k.first, Count: k.count, Duplicate: true}, nil
		}
	}
	if opt.HasExpected && opt.ExpectedOffset != uint64(len(mp.assigned)) {
		return Append{}, ErrOffset
	}
	return Append{Offset: uint64(len(mp.assigned)), Count: count}, nil
}

func (m *model) send(b *record.Batch, p *Partition, key string, values []string, opt ProduceOptions) (Append, error) {
	s := m.w.e.Shard(p.Shard())
	if len(values) == 1 {
		r := &record.Record{Value: []byte(values[0]), HasIdem: key != "", Idem: []byte(key)}
		return s.Produce(b, p, r, opt)
	}
	many, dup, err := s.BeginMany(b, p, uint32(len(values)), []byte(key), key != "", opt)
	if err != nil || dup.Duplicate {
		return dup, err
	}
	for _, v := range values {
		many.Add(&record.Record{Value: []byte(v)})
	}
	return many.End(), nil
}

func (m *model) sent(mp *modelPartition, b *record.Batch, key string, values []string, a Append) {
	mp.assigned = append(mp.assigned, values...)
	var sizes []uint64
	for _, v := range values {
		sizes = append(sizes, record.RecordHeaderBytes+uint64(len(v)))
	}
	if key != "" {
		mp.flying[key] = inFlight{a.Offset, a.Count, b}
		sizes[0] += idemPrefixBytes + uint64(len(key))
	}
	m.later(b, func(timeMs uint64) {
		mp.visible = append(mp.visible, values...)
		mp.sizes = append(mp.sizes, sizes...)
		for range values {
			mp.times = append(mp.times, timeMs)
		}
		if key != "" {
			delete(mp.flying, key)
			mp.keys = append(mp.keys, modelKey{key, a.Offset, a.Count, timeMs})
		}
	})
}

func (m *model) commitOffset() {
	mp, p := m.pick()
	if p == nil {
		return
	}
	name, offset := fmt.Sprint("group", m.rng.IntN(3)), uint64(m.rng.IntN(len(mp.assigned)+2))
	b := m.w.open[p.Shard()]
	committed, has := mp.committed[name]
	pending, flying := mp.pending[name]
	want, wantErr := Commit{Changed: true}, error(nil)
	switch {
	case offset > uint64(len(mp.assigned)):
		want, wantErr = Commit{}, ErrOffsetAbove
	case has && offset <= committed:
		want = Commit{}
	case flying && offset <= pending.first:
		want = Commit{Pending: pending.batch}
	}
	got, err := m.w.commitOffset(p, name, offset)
	if got != want || err != wantErr {
		m.fail("commit of %s at %d: %+v %v, want %+v %v", name, offset, got, err, want, wantErr)
	}
	if got.Changed {
		mp.pending[name] = inFlight{first: offset, batch: b}
		m.later(b, func(uint64) {
			if before, has := mp.committed[name]; !has || offset > before {
				mp.committed[name] = offset
			}
			if mp.pending[name].first == offset {
				delete(mp.pending, name)
			}
		})
	}
}

// resetOrDelete sets a group's offset, whatever is in flight, or forgets it.
func (m *model) resetOrDelete() {
	mp, p := m.pick()
	if p == nil {
		return
	}
	name, offset := fmt.Sprint("group", m.rng.IntN(3)), uint64(m.rng.IntN(len(mp.visible)+2))
	b, s := m.w.open[p.Shard()], m.w.e.Shard(p.Shard())
	if m.rng.IntN(3) == 0 {
		if s.DeleteGroup(b, p, []byte(name)) {
			m.later(b, func(uint64) { delete(mp.committed, name) })
		} else if _, has := mp.committed[name]; has {
			m.fail("%s is not there to be deleted", name)
		}
		return
	}
	want := error(nil)
	switch {
	case offset < mp.floor:
		want = ErrOffsetBelow
	case offset > uint64(len(mp.visible)):
		want = ErrOffsetAbove
	}
	if err := s.ResetOffset(b, p, []byte(name), offset); err != want {
		m.fail("reset of %s to %d: %v, want %v", name, offset, err, want)
	}
	if want == nil {
		m.later(b, func(uint64) { mp.committed[name] = offset })
	}
}

// members has somebody join, leave or acknowledge. What that does is groupWalk's to say; here it is among everything else.
func (m *model) members() {
	group, id := []byte(fmt.Sprint("group", m.rng.IntN(3))), fmt.Sprint("member", m.rng.IntN(4))
	s, open := m.w.coordinator(), m.w.opener()
	g := s.Membership(group)
	var err error
	switch n := m.rng.IntN(10); {
	case n < 4 || g == nil:
		_, err = s.JoinGroup(open, group, Member{ID: id, SessionMs: 1000, Topics: []string{fmt.Sprint("topic", m.rng.IntN(6)), "topic7"}})
	case n < 5:
		_, err = s.LeaveGroup(open, group, []string{id})
	case n < 7:
		_, err = s.RefreshGroup(open, g)
	default:
		if _, err = s.Acknowledge(open, group, []byte(id), g.Generation()); err == ErrNoMember {
			err = nil
		}
	}
	if err != nil {
		m.fail("members: %v", err)
	}
}

type inFlightSchema struct {
	text  string
	batch *record.Batch
}

// register asks for the id of one of a few schemas.
func (m *model) register() {
	text := fmt.Sprint("schema", m.rng.IntN(20))
	b := m.w.open[CatalogueShard]
	want := Registration{Made: true, Batch: b, ID: uint32(len(m.schemas) + len(m.schemasIn) + 1)}
	for i, f := range m.schemasIn {
		if f.text == text {
			want = Registration{ID: uint32(len(m.schemas) + i + 1), Batch: f.batch}
		}
	}
	if i := slices.Index(m.schemas, text); i >= 0 {
		want = Registration{ID: uint32(i + 1)}
	}
	got, err := m.w.coordinator().RegisterSchema(m.w.opener(), &Schema{Type: SchemaAvro, Text: text})
	if got != want || err != nil {
		m.fail("registration of %s: %+v %v, want %+v", text, got, err, want)
	}
	if got.Made {
		m.schemasIn = append(m.schemasIn, inFlightSchema{text, b})
		m.later(b, func(uint64) {
			m.schemas = append(m.schemas, text)
			m.schemasIn = slices.DeleteFunc(m.schemasIn, func(f inFlightSchema) bool { return f.text == text })
		})
	}
}

func (m *model) append() {
	shard := m.rng.IntN(m.config.Shards)
	b := m.w.open[shard]
	if m.w.append(shard) == 0 {
		b.TimeMs = m.w.now // as a loop that opens its batch when there is something for it
		return
	}
	m.logged = append(m.logged, b)
}

func (m *model) apply(shard int) bool {
	b := m.w.apply(shard)
	if b == nil {
		return false
	}
	m.takeEffect(b)
	m.shardTime[shard] = max(m.shardTime[shard], b.TimeMs)
	m.check()
	return true
}

// capture takes a part of a checkpoint from the next shard. As the server does, it fixes the index first, and
// each shard applies up to there before it is captured.
func (m *model) capture() {
	if len(m.parts) == 0 {
		m.partsAfter = len(m.w.frames)
	}
	shard := len(m.parts)
	for flying := m.w.flying[shard]; len(flying) > 0 && flying[0].Index <= uint64(m.partsAfter); flying = m.w.flying[shard] {
		m.apply(shard)
	}
	m.parts = append(m.parts, m.w.e.Shard(shard).AppendCheckpoint(nil))
	if len(m.parts) == m.config.Shards {
		m.checkpoint, m.after, m.parts = EncodeCheckpoint(m.parts), m.partsAfter, nil
	}
}

// crash loses what is not in the log and starts anew from what is.
func (m *model) crash() {
	slices.SortFunc(m.logged, func(a, b *record.Batch) int { return cmp.Compare(a.Index, b.Index) })
	for _, b := range slices.Clone(m.logged) {
		m.takeEffect(b)
	}
	m.forget()
	m.config.Shards = 1 + m.rng.IntN(4)
	e := m.w.recovered(m.config, m.checkpoint, m.rng.IntN(m.after+1))
	m.restarted = len(m.w.frames)
	m.w.start(e)
	m.shardTime = make([]uint64, m.config.Shards)
	for i := range m.shardTime {
		m.shardTime[i] = m.w.last
	}
	m.check()
	m.compare()
}

// forget drops everything in flight from the model.
func (m *model) forget() {
	m.effects, m.parts = map[*record.Batch][]func(uint64){}, nil
	for name := range m.creating {
		delete(m.specs, name)
	}
	clear(m.creating)
	clear(m.deleting)
	clear(m.growing)
	m.schemasIn = nil
	m.pipes.forget()
	for _, tp := range m.topics {
		for _, mp := range tp.partitions {
			mp.assigned = slices.Clone(mp.visible)
			clear(mp.flying)
			clear(mp.pending)
			mp.cut = nil
		}
	}
}

// check compares every number that the engine shows.
func (m *model) check() {
	m.t.Helper()
	if len(m.w.e.Topics()) != len(m.topics) {
		m.fail("%d topics, want %d", len(m.w.e.Topics()), len(m.topics))
	}
	m.checkPipelines()
	for i, text := range m.schemas {
		if sc := m.w.e.SchemaByID(uint32(i) + 1); sc == nil || sc.Text != text {
			m.fail("schema %d is %+v, want %q", i+1, sc, text)
		}
	}
	if n := len(m.w.e.Schemas()); n != len(m.schemas) {
		m.fail("%d schemas, want %d", n, len(m.schemas))
	}
	for _, g := range m.w.coordinator().Memberships() {
		if err := g.check(); err != nil {
			m.fail("group %s: %v", g.Name(), err)
		}
	}
	for name, tp := range m.topics {
		got := m.w.e.Topic([]byte(name))
		if got == nil || got.ID() != tp.id || got.Spec() != tp.spec {
			m.fail("topic %s: %+v", name, got)
		}
		for i, mp := range tp.partitions {
			p := got.Partition(uint32(i))
			if p.Next() != uint64(len(mp.visible)) || p.Assigned() != uint64(len(mp.assigned)) || p.Floor() != mp.floor ||
				p.Bytes() != mp.bytes(mp.floor, p.Next()) || p.Messages() != p.Next()-mp.floor {
				m.fail("%s/%d: floor %d next %d assigned %d bytes %d", name, i, p.Floor(), p.Next(), p.Assigned(), p.Bytes())
			}
			if want := tp.own[uint32(i)].or(tp.policy()).or(m.every); m.w.e.Retention(got, uint32(i)) != want {
				m.fail("%s/%d: retention %+v, want %+v", name, i, m.w.e.Retention(got, uint32(i)), want)
			}
			for n := range 3 {
				g := fmt.Sprint("group", n)
				want, has := mp.committed[g]
				if c, ok := p.Committed([]byte(g)); c != want || ok != has {
					m.fail("%s/%d %s: committed %d %v, want %d %v", name, i, g, c, ok, want, has)
				}
			}
		}
	}
}

// compare holds the engine, with nothing in flight, against one that read the whole log alone.
func (m *model) compare() {
	m.t.Helper()
	whole := m.config
	whole.Shards = 1 + m.rng.IntN(3)
	sameState(m.t, m.w.e, m.w.recovered(whole, nil, 0))
	again := m.w.recovered(whole, checkpointOf(m.w.e), len(m.w.frames))
	sameState(m.t, m.w.e, again)
}

// messages reads a partition's values back from the log.
func (m *model) messages(s record.Stream) (got []string) {
	for i := range m.w.frames {
		f := m.w.frame(i + 1)
		it := f.Iter()
		for sec, ok := it.Next(); ok; sec, ok = it.Next() {
			if sec.Stream != s || sec.Type != record.SectionRecords {
				continue
			}
			rs := sec.Records()
			for r, ok := rs.Next(); ok; r, ok = rs.Next() {
				got = append(got, string(r.Value))
			}
		}
	}
	return got
}

func (m *model) finish() {
	for i := range m.config.Shards {
		for m.w.append(i) > 0 || m.apply(i) {
			continue
		}
	}
	m.compare()
	for _, tp := range m.topics {
		for i, mp := range tp.partitions {
			if got := m.messages(record.Stream{Topic: tp.id, Partition: uint32(i)}); !slices.Equal(got, mp.visible) {
				m.fail("%s/%d: the log has %q, want %q", mp.topic, i, got, mp.visible)
			}
		}
	}
}

func run(t *testing.T, seed uint64, steps int) *model {
	m := newModel(t, seed)
	for range steps {
		m.step()
	}
	m.finish()
	return m
}

func TestRandomWalks(t *testing.T) {
	walks, frames, duplicates, seen := uint64(60), 0, 0, modelCounts{}
	if testing.Short() {
		walks = 10
	}
	for seed := range walks {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			m := run(t, seed, 3000)
			frames += len(m.w.frames)
			duplicates += m.duplicates
			seen = seen.plus(m.seen)
		})
	}
	t.Logf("%d frames, %d duplicates, %+v", frames, duplicates, seen)
	if duplicates == 0 || seen.deleted == 0 || seen.grown == 0 || seen.cut == 0 || seen.expired == 0 ||
		seen.steps == 0 || seen.stale == 0 || seen.pipesDeleted == 0 || seen.pipesOrphaned == 0 {
		t.Fatal("the walks did not meet what they are for")
	}
}

// The same walk twice leaves the same log and the same checkpoint, byte for byte.
func TestWalksAreDeterministic(t *testing.T) {
	a, b := run(t, 1234, 2000), run(t, 1234, 2000)
	if !slices.EqualFunc(a.w.frames, b.w.frames, bytes.Equal) || !bytes.Equal(a.checkpoint, b.checkpoint) {
		t.Fatal("two equal walks differ")
	}
}
