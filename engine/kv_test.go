package engine

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"ayder/internal/record"
)

func fullKey(namespace, key string) []byte {
	return AppendKVKey(nil, []byte(namespace), []byte(key))
}

// kvShard is the shard that owns a namespace.
func (w *world) kvShard(namespace string) (*Shard, uint32) {
	n := KVBucketOf([]byte(namespace))
	return w.e.Shard(w.e.ShardOf(KVStream(n))), n
}

func (w *world) kvPut(namespace, key, value string, opt KVOptions) (KVResult, error) {
	s, n := w.kvShard(namespace)
	return s.KVPut(w.open[s.number], n, fullKey(namespace, key), []byte(value), opt)
}

func (w *world) kvDelete(namespace, key string, opt KVOptions) (KVResult, error) {
	s, n := w.kvShard(namespace)
	return s.KVDelete(w.open[s.number], n, fullKey(namespace, key), opt)
}

func (w *world) kvGet(namespace, key string) (KVEntry, KVFound) {
	s, n := w.kvShard(namespace)
	return s.KVGet(fullKey(namespace, key), n, w.now)
}

// wantCAS expects a change to have happened, with this cas.
func wantCAS(t *testing.T, cas uint64) func(KVResult, error) {
	t.Helper()
	return func(r KVResult, err error) {
		t.Helper()
		if err != nil || !r.Changed || r.CAS != cas {
			t.Fatalf("%+v %v, want cas %d", r, err, cas)
		}
	}
}

// wantMismatch expects ErrCAS with the current cas.
func wantMismatch(t *testing.T, current uint64) func(KVResult, error) {
	t.Helper()
	return func(r KVResult, err error) {
		t.Helper()
		if !errors.Is(err, ErrCAS) || r.CAS != current {
			t.Fatalf("%+v %v, want a mismatch with current %d", r, err, current)
		}
	}
}

func cas(n uint64) KVOptions { return KVOptions{CAS: n, HasCAS: true} }

func TestKVChangesFollowEachOtherInFlight(t *testing.T) {
	w := newWorld(t, Config{Shards: 3})
	wantCAS(t, 1)(w.kvPut("ns", "k", "a", cas(0)))
	wantMismatch(t, 1)(w.kvPut("ns", "k", "b", cas(0)))
	wantCAS(t, 2)(w.kvPut("ns", "k", "b", cas(1)))
	s, _ := w.kvShard("ns")
	w.append(s.number) // in flight, and more in the open batch
	wantCAS(t, 3)(w.kvPut("ns", "k", "c", cas(2)))
	wantMismatch(t, 3)(w.kvDelete("ns", "k", cas(2)))
	if _, found := w.kvGet("ns", "k"); found != KVAbsent {
		t.Fatal("seen before it was applied")
	}
	wantCAS(t, 4)(w.kvDelete("ns", "k", cas(3)))
	if r, err := w.kvDelete("ns", "k", KVOptions{}); err != nil || r.Changed {
		t.Fatal("deleted twice", r, err)
	}
	wantMismatch(t, 0)(w.kvDelete("ns", "k", cas(4)))
	wantCAS(t, 5)(w.kvPut("ns", "k", "d", cas(0)))
	w.commit()
	if e, found := w.kvGet("ns", "k"); found != KVPresent || e.CAS != 5 || e.Size != 1 || e.Offset != 4 {
		t.Fatal(e, found)
	}
	if len(s.kvFlying) != 0 {
		t.Fatal("something is in flight still")
	}
}

func TestKVExpiresByRecordsOnly(t *testing.T) {
	w := newWorld(t, Config{})
	s, n := w.kvShard("ns")
	wantCAS(t, 1)(w.kvPut("ns", "k", "a", KVOptions{TTLMs: 100}))
	wantCAS(t, 1)(w.kvPut("ns", "other", "a", KVOptions{TTLMs: 5000}))
	wantCAS(t, 1)(w.kvPut("ns", "stays", "a", KVOptions{}))
	w.commit()
	if due := s.KVDueMs(); due != w.now+100 {
		t.Fatal("due at", due)
	}
	w.later(99)
	if e, found := w.kvGet("ns", "k"); found != KVPresent || e.Expiry != w.now+1 {
		t.Fatal(e, found)
	}
	w.later(1)
	if _, found := w.kvGet("ns", "k"); found != KVDue {
		t.Fatal(found)
	}
	// The clock jumps back: what was applied does not.
	w.commit()
	w.now -= 50
	if _, found := w.kvGet("ns", "k"); found != KVPresent {
		t.Fatal("expired without a record", found)
	}
	w.later(50)
	if n := s.KVExpireDue(w.open[0], w.now, 10); n != 1 {
		t.Fatal(n, "expired")
	}
	if n := s.KVExpireDue(w.open[0], w.now, 10); n != 0 {
		t.Fatal("expired twice")
	}
	if at := s.KVExpire(w.open[0], n, fullKey("ns", "k")); at != w.open[0] || s.engine.kv[n].assigned != 4 {
		t.Fatal("a read has it expired once more")
	}
	w.commit()
	w.now -= 5000
	if _, found := w.kvGet("ns", "k"); found != KVAbsent {
		t.Fatal("back again", found)
	}
	wantCAS(t, 3)(w.kvPut("ns", "k", "b", cas(0)))
	w.commit()
}

// A write finds a key that is due expired, and says so in the log before it.
func TestKVWriteExpiresWhatIsDue(t *testing.T) {
	w := newWorld(t, Config{})
	wantCAS(t, 1)(w.kvPut("ns", "a", "", KVOptions{TTLMs: 10}))
	wantCAS(t, 1)(w.kvPut("ns", "b", "", KVOptions{TTLMs: 10}))
	wantCAS(t, 1)(w.kvPut("ns", "c", "", KVOptions{TTLMs: 10}))
	w.commit()
	w.later(10)
	wantMismatch(t, 0)(w.kvPut("ns", "a", "", cas(1)))
	wantCAS(t, 3)(w.kvPut("ns", "a", "", cas(0)))
	wantCAS(t, 3)(w.kvPut("ns", "b", "", KVOptions{}))
	if r, err := w.kvDelete("ns", "c", KVOptions{}); err != nil || r.Changed {
		t.Fatal(r, err)
	}
	w.commit()
	var got []string
	for _, c := range w.kvChanges("ns") {
		got = append(got, fmt.Sprintf("%s%d%v%v", c.Key, c.CAS, c.Put, c.Expired))
	}
	want := "[a1truefalse b1truefalse c1truefalse a2falsetrue a3truefalse b2falsetrue b3truefalse c2falsetrue]"
	if fmt.Sprint(got) != want {
		t.Fatalf("%v\nwant %v", got, want)
	}
}

// kvChanges reads a namespace's changes back from the log.
func (w *world) kvChanges(namespace string) (all []KVChange) {
	w.t.Helper()
	stream := KVStream(KVBucketOf([]byte(namespace)))
	for i := range w.frames {
		f := w.frame(i + 1)
		it := f.Iter()
		for sec, ok := it.Next(); ok; sec, ok = it.Next() {
			if sec.Stream != stream {
				continue
			}
			rs := sec.Records()
			for r, ok := rs.Next(); ok; r, ok = rs.Next() {
				c, ok := ReadKVChange(&r)
				if !ok {
					w.t.Fatal("a change does not decode")
				}
				if string(c.Namespace) == namespace {
					all = append(all, c)
				}
			}
		}
	}
	return all
}

// The cas of a key never comes back, however many others were deleted since.
func TestKVCasIsKeptForDeletedKeys(t *testing.T) {
	w := newWorld(t, Config{})
	for range 5 {
		w.kvPut("ns", "old", "", KVOptions{})
	}
	wantCAS(t, 6)(w.kvDelete("ns", "old", KVOptions{}))
	w.commit()
	k := &w.e.kv[KVBucketOf([]byte("ns"))]
	for i := range kvDeadMax + 5 {
		key := fmt.Sprint("k", i)
		wantCAS(t, k.base+1)(w.kvPut("ns", key, "", KVOptions{}))
		w.kvDelete("ns", key, KVOptions{})
		if i == 100 {
			wantCAS(t, 7)(w.kvPut("ns", "old", "", cas(0)))
			wantCAS(t, 8)(w.kvDelete("ns", "old", KVOptions{}))
			w.commit()
		}
		if i == kvDeadMax {
			w.commit()
		}
	}
	w.commit()
	if k.dead != kvDeadMax {
		t.Fatal(k.dead, "deleted keys")
	}
	sameState(t, w.e, w.recovered(Config{Shards: 5}, nil, 0))
	sameState(t, w.e, w.recovered(Config{Shards: 2}, w.checkpoint(), len(w.frames)))
	wantCAS(t, k.base+1)(w.kvPut("ns", "k1", "", cas(0)))
	for i := range 200 {
		w.kvDelete("ns", fmt.Sprint("k", i), KVOptions{})
		w.kvPut("ns", fmt.Sprint("fresh", i), "", KVOptions{})
		w.kvDelete("ns", fmt.Sprint("fresh", i), KVOptions{})
	}
	w.commit()
	if k.base < 2 {
		t.Fatal("nothing was dropped")
	}
}

// kvModel is the store by its rules, beside an engine that is appended to, applied, deposed and restarted at random.
type kvModel struct {
	*model
	assigned map[string]kvModelKey // as decided, in flight included
	visible  map[string]kvModelKey
	pending  []kvModelChange // in the order of decision per namespace
	counts   map[string]int
}

type kvModelKey struct {
	cas, expiry uint64
	live        bool
	value       string
}

type kvModelChange struct {
	batch *record.Batch
	key   string
	to    kvModelKey
}

var kvNamespaces = []string{"a", "bb", "c.c"}

func newKVModel(t *testing.T, seed uint64) *kvModel {
	return &kvModel{model: newModel(t, seed), assigned: map[string]kvModelKey{}, visible: map[string]kvModelKey{}, counts: map[string]int{}}
}

// decide notes a change.
func (m *kvModel) decide(b *record.Batch, key string, to kvModelKey) {
	m.assigned[key] = to
	m.pending = append(m.pending, kvModelChange{b, key, to})
}

// current is what a change of a key follows from; an expired one ends here.
func (m *kvModel) current(b *record.Batch, key string, now uint64) kvModelKey {
	st := m.assigned[key]
	if st.live && st.expiry != 0 && st.expiry <= now {
		st = kvModelKey{cas: st.cas + 1}
		m.decide(b, key, st)
		m.counts["expired by a write"]++
	}
	return st
}

func (st kvModelKey) shown() uint64 {
	if st.live {
		return st.cas
	}
	return 0
}

func (m *kvModel) change() {
	ns := kvNamespaces[m.rng.IntN(len(kvNamespaces))]
	key := ns + "/" + fmt.Sprint(m.rng.IntN(12))
	name := key[len(ns)+1:]
	s, _ := m.w.kvShard(ns)
	b := m.w.open[s.number]
	now := max(b.TimeMs, m.shardTime[s.number])
	st := m.current(b, key, now)
	opt := KVOptions{}
	if m.rng.IntN(2) == 0 {
		opt = cas(st.shown() + uint64(m.rng.IntN(4)/3))
	}
	var got KVResult
	var err error
	put := m.rng.IntN(3) > 0
	want, wantErr := KVResult{CAS: st.cas + 1, Changed: true}, error(nil)
	if opt.HasCAS && opt.CAS != st.shown() {
		want, wantErr = KVResult{CAS: st.shown()}, ErrCAS
		m.counts["mismatch"]++
	} else if !put && !st.live {
		want = KVResult{}
	}
	to := kvModelKey{cas: st.cas + 1, live: put}
	if put {
		to.value = fmt.Sprint(key, to.cas)
		if m.rng.IntN(3) == 0 {
			opt.TTLMs = 1 + m.rng.Uint64N(300)
			to.expiry = now + opt.TTLMs
		}
		got, err = m.w.kvPut(ns, name, to.value, opt)
	} else {
		got, err = m.w.kvDelete(ns, name, opt)
	}
	if got != want || err != wantErr {
		m.fail("change of %s put %v %+v: %+v %v, want %+v %v", key, put, opt, got, err, want, wantErr)
	}
	if err == nil && got.Changed {
		m.decide(b, key, to)
		m.counts["changed"]++
	}
}

func (m *kvModel) expireDue() {
	shard := m.rng.IntN(m.config.Shards)
	b := m.w.open[shard]
	now := max(m.w.now, m.shardTime[shard])
	want := map[string]bool{}
	for key, v := range m.visible {
		ns, name, _ := bytes.Cut([]byte(key), []byte("/"))
		_, n := m.w.kvShard(string(ns))
		_, flying := m.w.e.Shard(shard).kvFlying[hashKey(fullKey(string(ns), string(name)))]
		if m.w.e.ShardOf(KVStream(n)) == shard && v.live && v.expiry != 0 && v.expiry <= now && !flying {
			want[key] = true
			m.decide(b, key, kvModelKey{cas: v.cas + 1})
		}
	}
	if n := m.w.e.Shard(shard).KVExpireDue(b, now, 1000); n != len(want) {
		m.fail("%d keys expired, want %d", n, len(want))
	}
	m.counts["expired"] += len(want)
}

// applyOne applies a batch and what the model knows of it.
func (m *kvModel) applyOne(shard int) {
	b := m.w.apply(shard)
	if b == nil {
		return
	}
	m.land(b)
	m.shardTime[shard] = max(m.shardTime[shard], b.TimeMs)
	m.checkKV()
}

func (m *kvModel) land(b *record.Batch) {
	m.pending = slices.DeleteFunc(m.pending, func(c kvModelChange) bool {
		if c.batch == b {
			m.visible[c.key] = c.to
		}
		return c.batch == b
	})
	if i := slices.Index(m.logged, b); i >= 0 {
		m.logged = slices.Delete(m.logged, i, i+1)
	}
}

// checkKV compares everything that may be read.
func (m *kvModel) checkKV() {
	m.t.Helper()
	live := 0
	for _, ns := range kvNamespaces {
		s, n := m.w.kvShard(ns)
		var want []string
		for key, v := range m.visible {
			if !v.live || !strings.HasPrefix(key, ns+"/") {
				continue
			}
			live++
			e, found := s.KVGet(fullKey(ns, key[len(ns)+1:]), n, 0)
			if due := v.expiry != 0 && v.expiry <= s.timeMs; (found == KVDue) != due || found == KVAbsent {
				m.fail("%s is %v, due %v", key, found, due)
			} else if !due {
				want = append(want, key[len(ns)+1:])
			}
			if e.CAS != v.cas || e.Expiry != v.expiry || int(e.Size) != len(v.value) {
				m.fail("%s: %+v, want %+v", key, e, v)
			}
		}
		slices.Sort(want)
		var got []string
		s.KVList([]byte(ns), nil, nil, 0, func(key []byte, _ KVEntry, live bool) bool {
			if live {
				got = append(got, string(key))
			}
			return true
		})
		if !slices.Equal(got, want) {
			m.fail("%s lists %q, want %q", ns, got, want)
		}
	}
	if m.w.e.KVKeys() != int64(live) {
		m.fail("%d keys, want %d", m.w.e.KVKeys(), live)
	}
}

// elect cuts the log somewhere behind what was applied and goes on with a node that applied the rest as another's.
func (m *kvModel) elect() {
	applied := uint64(0)
	for i := range m.config.Shards {
		applied = max(applied, m.w.e.Shard(i).LastApplied())
	}
	last := int(applied) + m.rng.IntN(len(m.w.frames)-int(applied)+1)
	m.w.frames = m.w.frames[:last]
	slices.SortFunc(m.logged, func(a, b *record.Batch) int { return int(a.Index) - int(b.Index) })
	early := m.rng.IntN(2) == 0
	if early {
		m.forgetKV()
	}
	for _, b := range slices.Clone(m.logged) {
		if int(b.Index) <= last {
			applyEverywhere(m.t, m.w.e, m.w.frame(int(b.Index)))
			m.land(b)
		}
	}
	if !early {
		m.forgetKV()
	}
	m.logged, m.pending = nil, nil
	m.assigned = maps.Clone(m.visible)
	m.counts["elected"]++
	m.restart(m.w.e)
}

func (m *kvModel) forgetKV() {
	for i := range m.config.Shards {
		m.w.e.Shard(i).Forget()
	}
}

// crash goes on from what is in the log, and perhaps a checkpoint.
func (m *kvModel) crash() {
	for _, b := range slices.Clone(m.logged) {
		m.land(b)
	}
	m.pending = nil
	m.assigned = maps.Clone(m.visible)
	m.config.Shards = 1 + m.rng.IntN(4)
	e := m.w.recovered(m.config, m.checkpoint, m.rng.IntN(m.after+1))
	m.parts = nil
	sameState(m.t, e, m.w.recovered(Config{Shards: 3}, nil, 0))
	sameState(m.t, e, m.w.recovered(Config{Shards: 2}, checkpointOf(e), len(m.w.frames)))
	m.counts["crashed"]++
	m.restart(e)
}

func (m *kvModel) restart(e *Engine) {
	m.parts = nil
	m.w.start(e)
	m.w.last = 0
	if n := len(m.w.frames); n > 0 {
		m.w.last = m.w.frame(n).TimeMs
	}
	m.shardTime = make([]uint64, m.config.Shards)
	for i := range m.shardTime {
		m.shardTime[i] = e.Shard(i).timeMs
	}
	m.checkKV()
}

func (m *kvModel) captureKV() {
	if len(m.parts) == 0 {
		m.partsAfter = len(m.w.frames)
	}
	shard := len(m.parts)
	for flying := m.w.flying[shard]; len(flying) > 0 && flying[0].Index <= uint64(m.partsAfter); flying = m.w.flying[shard] {
		m.applyOne(shard)
	}
	capture := m.w.e.Shard(shard).Capture()
	for range m.rng.IntN(5) { // encoded while the shard goes on
		m.applyOne(shard)
	}
	m.parts = append(m.parts, capture.AppendTo(nil))
	if len(m.parts) == m.config.Shards {
		m.checkpoint, m.after, m.parts = EncodeCheckpoint(m.parts), m.partsAfter, nil
	}
}

func TestKVRandomWalks(t *testing.T) {
	walks, counts := uint64(30), map[string]int{}
	if testing.Short() {
		walks = 5
	}
	for seed := range walks {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			m := newKVModel(t, seed)
			for range 2500 {
				switch n := m.rng.IntN(100); {
				case n < 55:
					m.change()
				case n < 70:
					m.append()
				case n < 85:
					m.applyOne(m.rng.IntN(m.config.Shards))
				case n < 90:
					m.w.now += m.rng.Uint64N(80)
				case n < 91:
					m.w.now -= min(m.w.now, m.rng.Uint64N(200)) // the clock is set back, or another node's is late
				case n < 95:
					m.expireDue()
				case n < 98:
					m.captureKV()
				case n == 98 && m.rng.IntN(5) == 0:
					m.crash()
				case n == 99 && m.rng.IntN(5) == 0:
					m.elect()
				}
			}
			m.crash()
			for what, n := range m.counts {
				counts[what] += n
			}
		})
	}
	t.Log(counts)
	for _, what := range []string{"changed", "mismatch", "expired", "expired by a write", "elected", "crashed"} {
		if counts[what] == 0 {
			t.Errorf("the walks never met: %s", what)
		}
	}
}
