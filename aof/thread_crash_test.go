package aof_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"ayder/aof"
	"ayder/internal/record"
	"ayder/internal/testkit"
)

// The crash test of a replicated log: like TestCrash, with a Thread instead of writers, and with what only Raft does: frames
// of its own, cuts of the end (during which the power may go, too), cuts of the front, marks of what is committed. A
// cut never goes behind what is committed, as Raft never does. After every crash:
//
//   - every frame that was durable, and not cut, is there: by index, by offset, and as it is replayed;
//   - after a cut that was interrupted the log ends between the new end and the old;
//   - nothing that was cut comes back, and terms, times and marks are those that were appended.

// replicaRun is one run.
type replicaRun struct {
	fs     *stepFS
	rng    *rand.Rand
	tune   func(*aof.Options)
	early  bool // a bug on purpose: takes for durable what was only appended
	log    *aof.Log
	thread *aof.Thread
	sub    *testkit.Submitter
	p      []byte // of the write under way, not yet durable
	off    int64

	segment    int64
	frameMax   int
	term       uint64
	appended   map[uint64]replicaFrame // what may be in the log
	acked      uint64                  // what must be
	committed  uint64
	first      uint64 // FirstIndex is at most this
	checkpoint uint64
	failed     bool
	full       bool
	killed     bool
	dark       bool // the power went in the middle of a cut
	halfCut    bool // a cut failed: the log has stopped with its index cut and its files not
}

// replicaFrame is what was appended at an index.
type replicaFrame struct {
	term, timeMs, staged uint64
	kind                 record.Kind
	payload              []byte
}

func TestReplicaCrash(t *testing.T) {
	seeds := crashSeedsMin
	if testing.Short() {
		seeds /= 8
	}
	for seed := range uint64(seeds) {
		if err := runReplica(seed, nil, false); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

// The test has teeth: it notices acknowledgements before the write, and cuts that leave bytes behind.
func TestReplicaCrashNotices(t *testing.T) {
	for what, run := range map[string]func(seed uint64) error{
		"early": func(seed uint64) error { return runReplica(seed, nil, true) },
		"stale": func(seed uint64) error { return runReplica(seed, (*aof.Options).KeepStale, false) },
	} {
		noticed := false
		for seed := uint64(0); seed < crashSeedsMin && !noticed; seed++ {
			err := run(seed)
			if noticed = err != nil; noticed {
				t.Logf("%s noticed with seed %d: %v", what, seed, err)
			}
		}
		if !noticed {
			t.Error("not noticed:", what)
		}
	}
}

func runReplica(seed uint64, tune func(*aof.Options), early bool) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	segments := [...]int64{16 << 10, 32 << 10, 64 << 10}
	r := &replicaRun{
		fs: &stepFS{MemFS: testkit.NewMemFS(seed), left: 1 << 30}, rng: rand.New(rand.NewPCG(seed, 2)), tune: tune, early: early,
		appended: map[uint64]replicaFrame{}, first: 1,
	}
	r.segment = segments[r.rng.IntN(len(segments))]
	r.frameMax = int(min(crashFrameMax, r.segment/4))
	for range 2 + r.rng.IntN(4) {
		if err := r.life(); err != nil {
			return err
		}
	}
	if err := r.open(); err != nil {
		return err
	}
	return r.log.Close()
}

func (r *replicaRun) life() error {
	if err := r.open(); err != nil {
		return err
	}
	defer func() { r.log.Abandon() }()
	if r.rng.IntN(3) == 0 {
		r.fs.ShortWrites(4)
	} else {
		r.fs.ShortWrites(0)
	}
	for range r.rng.IntN(crashStepsMax) {
		if err := r.step(); err != nil {
			return err
		}
		if r.dark {
			break
		}
	}
	switch r.killed = !r.dark && r.rng.IntN(4) == 0; {
	case r.killed:
		r.fs.Kill()
	case !r.dark:
		r.fs.Crash()
	}
	r.fs.FailWrite(0)
	r.fs.FailSync(0)
	r.fs.SetSpace(-1)
	r.fs.left = 1 << 30
	return nil
}

func (r *replicaRun) options() aof.Options {
	o := aof.Options{
		Dir: crashDir, FS: r.fs, SegmentBytes: r.segment, FrameBytesMax: r.frameMax, TailBytes: (2 + r.rng.Int64N(3)) * r.segment,
		ReplayAfter: r.checkpoint, Committed: func() uint64 { return r.committed },
	}
	o.Manual()
	seeds := r.rng.Uint64()
	o.Seeds(func() uint64 { seeds++; return seeds })
	if r.tune != nil {
		r.tune(&o)
	}
	return o
}

// open recovers the log, compares it with the model, and makes the thread.
func (r *replicaRun) open() error {
	index, _, err := aof.LoadCheckpoint(r.fs, crashDir, nil)
	if err != nil {
		return err
	}
	if index < r.checkpoint {
		return fmt.Errorf("checkpoint at %d, at least %d expected", index, r.checkpoint)
	}
	r.checkpoint = index
	report, err := aof.Check(r.fs, crashDir)
	if err != nil {
		return err
	}
	expect := index + 1
	r.log, err = aof.Open(r.options(), func(f record.Frame) error {
		if f.Index != expect {
			return fmt.Errorf("index %d replayed, %d expected", f.Index, expect)
		}
		expect++
		return r.same(f.Header, f.Payload)
	})
	if err != nil {
		return err
	}
	last := r.log.LastIndex()
	if last != expect-1 || last < r.acked || last < r.committed {
		return fmt.Errorf("last index %d, replayed up to %d, durable was %d, committed %d", last, expect-1, r.acked, r.committed)
	}
	if !report.OK() || (report.Last != last && !r.killed) {
		return fmt.Errorf("check found %+v, open found %d", report, last)
	}
	for index := range r.appended {
		if index > last {
			delete(r.appended, index)
		}
	}
	r.acked, r.failed, r.full, r.dark, r.halfCut = last, false, false, false, false
	if got := r.log.FirstIndex(); got > r.first {
		return fmt.Errorf("first index %d, at most %d expected", got, r.first)
	} else if got > 0 {
		r.first = got
	}
	r.thread = r.log.NewThread(aof.ThreadOptions{OpenMax: 1})
	r.sub, r.p, r.term = &testkit.Submitter{}, nil, r.term+1
	r.sub.Start(r.complete)
	return r.readAll()
}

// same compares a frame with what was appended at its index.
func (r *replicaRun) same(h record.Header, payload []byte) error {
	f, ok := r.appended[h.Index]
	if !ok || h.Term != f.term || h.TimeMs != f.timeMs || h.Staged != f.staged || h.Kind != f.kind || !bytes.Equal(payload, f.payload) {
		return fmt.Errorf("index %d is not what was appended there last: %+v, want term %d time %d staged %d kind %d", h.Index, h, f.term, f.timeMs, f.staged, f.kind)
	}
	return nil
}

func (r *replicaRun) step() error {
	switch n := r.rng.IntN(100); {
	case n < 45:
		return r.append()
	case n < 70:
		r.write()
	case n < 82:
		r.log.Step()
	case n < 87:
		r.committed = max(r.committed, min(r.acked, r.committed+r.rng.Uint64N(20)))
	case n < 92:
		return r.truncate()
	case n < 95:
		return r.writeCheckpoint()
	case n < 96:
		err := r.log.DropBefore(r.rng.Uint64N(r.committed + 2))
		r.first = max(r.first, r.log.FirstIndex())
		return r.allowed(err)
	case n < 98:
		return r.readAll()
	default:
		r.fault()
	}
	return r.allowed(r.log.Err())
}

// allowed passes on errors that nothing has provoked.
func (r *replicaRun) allowed(err error) error {
	if r.failed || r.full || r.dark {
		return nil
	}
	return err
}

func (r *replicaRun) fault() {
	switch n := r.rng.IntN(10); {
	case n == 0:
		r.failed = true
		r.fs.FailWrite(1 + r.rng.IntN(3))
	case n == 1:
		r.failed = true
		r.fs.FailSync(1 + r.rng.IntN(3))
	case n < 5:
		r.full = true
		r.fs.SetSpace(r.rng.Int64N(2 * r.segment))
	default:
		r.fs.SetSpace(-1)
	}
}

// append gives the thread a few frames.
func (r *replicaRun) append() error {
	var bs []*record.Batch
	next := r.offsets()
	for range 1 + r.rng.IntN(5) {
		bs = append(bs, r.fill(next))
	}
	for len(bs) > 0 && r.log.Room() { // several at once, as long as none can have to wait
		n := 1
		if r.rng.IntN(2) == 0 {
			n = min(2, len(bs))
		}
		if err := r.give(bs[:n]); err != nil {
			return r.allowed(err)
		}
		bs = bs[n:]
	}
	return nil
}

func (r *replicaRun) give(bs []*record.Batch) error {
	last := r.log.LastIndex()
	give := r.thread.Append
	if r.rng.IntN(4) == 0 {
		give = r.thread.AppendHere
	}
	if err := give(bs); err != nil {
		return err
	}
	for i, b := range bs {
		h := b.Frame().Header
		want := max(r.appended[last].timeMs, b.TimeMs)
		if last++; h.Index != last || b.Index != last || h.TimeMs != want {
			return fmt.Errorf("frame %d of an append: %+v, want index %d time %d", i, h, last, want)
		}
		r.appended[last] = replicaFrame{h.Term, h.TimeMs, r.committed, h.Kind, bytes.Clone(b.Bytes()[record.FrameHeaderBytes:])}
	}
	if r.early {
		r.acked = last
	}
	r.begin()
	return nil
}

// fill makes a frame: mostly of records, sometimes one of Raft's.
func (r *replicaRun) fill(next map[record.Stream]uint64) *record.Batch {
	b := record.NewBatch()
	value := make([]byte, r.rng.IntN(r.frameMax/2)>>r.rng.IntN(6))
	for i := range value {
		value[i] = byte(r.rng.Uint32())
	}
	if r.rng.IntN(4) == 0 {
		b.Load(&record.Header{Kind: record.KindRaft}, value[:min(len(value), 300)])
	} else {
		b.TimeMs = 5*r.log.LastIndex() + r.rng.Uint64N(30)
		for range 1 + r.rng.IntN(3) {
			s := record.Stream{Topic: 1 + r.rng.Uint32N(2), Partition: r.rng.Uint32N(2)}
			b.AppendRecord(s, next[s], &record.Record{Value: value[:len(value)/4]})
			next[s]++
		}
	}
	b.Term = r.term
	return b
}

// offsets is the next offset of every stream.
func (r *replicaRun) offsets() map[record.Stream]uint64 {
	next := map[record.Stream]uint64{}
	for index := r.log.LastIndex(); index > 0; index-- {
		f := record.Frame{Header: record.Header{Kind: r.appended[index].kind}, Payload: r.appended[index].payload}
		it := f.Iter()
		for sec, ok := it.Next(); ok; sec, ok = it.Next() {
			next[sec.Stream] = max(next[sec.Stream], sec.Base+uint64(sec.Count))
		}
	}
	return next
}

// begin starts the write that the thread has under way, if it is not yet.
func (r *replicaRun) begin() {
	f, p, off, ok := r.thread.Current()
	if !ok || r.sub.Held() > 0 {
		return
	}
	r.p, r.off = p, off
	r.sub.Write(0, f, p, off)
}

// write ends the write under way.
func (r *replicaRun) write() {
	if r.sub.Held() > 0 {
		r.sub.Complete(0)
	}
}

func (r *replicaRun) complete(_ uint64, n int, err error) {
	f, _, _, _ := r.thread.Current()
	if err == nil && n < len(r.p) {
		r.p, r.off = r.p[n:], r.off+int64(n)
		r.sub.Write(0, f, r.p, r.off)
		return
	}
	r.thread.Written(err)
	r.acked = max(r.acked, r.log.Durable())
	r.begin()
}

// truncate cuts the end; one time in three the power goes meanwhile, if the cut takes so many steps.
func (r *replicaRun) truncate() error {
	for r.sub.Held() > 0 {
		r.write()
	}
	if err := r.log.Err(); err != nil {
		return r.allowed(err)
	}
	low := max(r.committed, r.checkpoint)
	if r.first > 1 {
		low = max(low, r.first)
	}
	last := r.log.LastIndex()
	if last <= low {
		return nil
	}
	cut := low + r.rng.Uint64N(last-low)
	if r.rng.IntN(2) == 0 {
		cut = max(cut, last-min(last, 8))
	}
	if r.rng.IntN(3) == 0 {
		r.fs.left = 1 + r.rng.IntN(12)
	}
	err := r.log.Truncate(cut)
	r.dark = r.fs.left == 0
	r.fs.left = max(r.fs.left, 0)
	if !r.dark {
		r.fs.left = 1 << 30
	}
	r.acked = min(r.acked, cut)
	if r.halfCut = err != nil; r.halfCut {
		return r.allowed(err)
	}
	for index := cut + 1; index <= last; index++ {
		delete(r.appended, index)
	}
	r.term++
	return r.readAll()
}

func (r *replicaRun) writeCheckpoint() error {
	index := r.committed
	if index == 0 || index < r.checkpoint {
		return nil
	}
	err := r.log.WriteCheckpoint(index, checkpointPayload(index))
	if err == nil {
		r.checkpoint = index
	}
	return r.allowed(err)
}

// readAll compares every frame by index, and every stream by offset, with the model.
func (r *replicaRun) readAll() error {
	if r.halfCut {
		return nil
	}
	first, last := r.log.FirstIndex(), r.log.LastIndex()
	r.first = max(r.first, first)
	want, earliest := map[record.Stream][]record.Record{}, map[record.Stream]uint64{}
	for index := max(first, 1); index <= last; index++ {
		h, payload, err := r.log.Entry(index, nil)
		if err != nil {
			return r.allowed(err)
		}
		if err := r.same(h, payload); err != nil {
			return err
		}
		f := record.Frame{Header: h, Payload: payload}
		it := f.Iter()
		for sec, ok := it.Next(); ok; sec, ok = it.Next() {
			if _, seen := earliest[sec.Stream]; !seen {
				earliest[sec.Stream] = sec.Base
			}
			records := sec.Records()
			for rec, ok := records.Next(); ok; rec, ok = records.Next() {
				want[sec.Stream] = append(want[sec.Stream], rec)
			}
		}
	}
	return r.readStreams(want, earliest)
}

func (r *replicaRun) readStreams(want map[record.Stream][]record.Record, earliest map[record.Stream]uint64) error {
	reader := r.log.NewReader()
	defer reader.Close()
	for topic := range uint32(3) {
		for partition := range uint32(2) {
			s := record.Stream{Topic: topic, Partition: partition}
			from, ok := r.log.Earliest(s)
			if u, _ := r.log.Stream(s); ok != (len(want[s]) > 0) || from != earliest[s] || u.Messages != uint64(len(want[s])) {
				return fmt.Errorf("stream %v: %+v, want %d messages from %d", s, u, len(want[s]), earliest[s])
			}
			if err := sameValues(reader, s, from, want[s]); err != nil {
				return r.allowed(err)
			}
		}
	}
	return nil
}

var errDiffers = errors.New("what was read differs")

func sameValues(reader *aof.Reader, s record.Stream, from uint64, want []record.Record) error {
	var fault error
	at := 0
	_, err := reader.Read(s, from, from+uint64(len(want)), true, func(sec record.Section) bool {
		it := sec.Records()
		for rec, ok := it.Next(); ok; rec, ok = it.Next() {
			if at == len(want) || !bytes.Equal(rec.Value, want[at].Value) {
				fault = fmt.Errorf("%v: %w at offset %d", s, errDiffers, sec.Base)
				return false
			}
			at++
		}
		return true
	})
	if err == nil && fault == nil && at != len(want) {
		fault = fmt.Errorf("%v: %w: %d of %d records", s, errDiffers, at, len(want))
	}
	return errors.Join(err, fault)
}
