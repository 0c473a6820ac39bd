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

// The crash test: several lives of one log on a file system that loses what was not synced. In each life one to three
// writers append while the test completes their writes in any order, and then the power goes or the process is killed. The model remembers what
// was appended at each index and what was acknowledged. After every crash:
//
//   - every acknowledged batch is there, byte for byte, in order;
//   - what else is there was appended, last, at that index: nothing cut in an earlier life comes back;
//   - indexes have no gap, and opening again finds the same.
//
// A run depends on its seed alone; a failure prints it.

const (
	crashDir        = "/log"
	crashSeedsMin   = 240
	crashFrameMax   = 12 << 10
	crashInFlight   = 4
	crashStepsMax   = 120
	crashStreamsPer = 2
)

// crashRun is one run.
type crashRun struct {
	fs       *testkit.MemFS
	rng      *rand.Rand
	tune     func(*aof.Options)
	log      *aof.Log
	segment  int64 // bytes
	frameMax int   // bytes
	loops    []*crashLoop

	appended   map[uint64][]byte // payload by index, of what may be in the log
	acked      uint64
	next       map[record.Stream]uint64 // offsets, as after the last open
	checkpoint uint64                   // index of the newest that was written without an error, or found
	failed     bool                     // the log was told to fail
	killed     bool                     // the last life ended by a kill, not by a power cut
	full       bool                     // the disk was full at some time in this life

	power *stepFS // nil: nothing is given back in this run
	dead  map[record.Stream]map[uint64]bool
	gave  aof.Reclaimed // in all lives
}

// crashLoop is one writer with its submitter.
type crashLoop struct {
	id    uint32
	w     *aof.Writer
	sub   *testkit.Submitter
	woken bool
}

func TestCrash(t *testing.T) {
	seeds := crashSeedsMin
	if testing.Short() {
		seeds /= 4
	}
	for seed := range uint64(seeds) {
		if err := runCrash(seed, nil); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

// TestCrashNoticesEarlyAck proves that the test above has teeth.
func TestCrashNoticesEarlyAck(t *testing.T) {
	mustNotice(t, (*aof.Options).AckEarly)
}

// TestCrashNoticesStaleBytes: without the zeroing of step 7 a frame that was cut comes back under an index given out again.
func TestCrashNoticesStaleBytes(t *testing.T) {
	mustNotice(t, (*aof.Options).KeepStale)
}

// TestCrashNoticesUnsettledWrites: without waiting for a killed process's writes, one lands behind the back of recovery.
func TestCrashNoticesUnsettledWrites(t *testing.T) {
	mustNotice(t, func(o *aof.Options) { o.FS = unsettled{o.FS} })
}

// unsettled hides Settle.
type unsettled struct{ aof.FS }

func mustNotice(t *testing.T, bug func(*aof.Options)) {
	t.Helper()
	for seed := range uint64(crashSeedsMin) {
		if err := runCrash(seed, bug); err != nil {
			t.Logf("noticed with seed %d: %v", seed, err)
			return
		}
	}
	t.Error("the crash test does not notice the bug")
}

func runCrash(seed uint64, tune func(*aof.Options)) (err error) {
	return runCrashOf(seed, tune, func(*crashRun) {})
}

func runCrashOf(seed uint64, tune func(*aof.Options), prepare func(*crashRun)) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	segments := [...]int64{16 << 10, 32 << 10, 64 << 10}
	r := &crashRun{
		fs: testkit.NewMemFS(seed), rng: rand.New(rand.NewPCG(seed, 1)), tune: tune,
		appended: map[uint64][]byte{},
	}
	r.segment = segments[r.rng.IntN(len(segments))]
	r.frameMax = int(min(crashFrameMax, r.segment/4))
	prepare(r)
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

// life opens, checks, works and crashes once.
func (r *crashRun) life() error {
	if err := r.open(); err != nil {
		return err
	}
	defer r.log.Abandon()
	if r.rng.IntN(4) == 0 { // a crash directly behind recovery changes nothing
		r.killed = false
		r.fs.Crash()
		r.log.Abandon()
		if err := r.open(); err != nil {
			return fmt.Errorf("crash during start: %w", err)
		}
	}
	r.begin()
	for range r.rng.IntN(crashStepsMax) {
		if err := r.step(); err != nil {
			return err
		}
		if r.isDark() {
			return nil
		}
	}
	if r.killed = r.rng.IntN(4) == 0; r.killed {
		r.fs.Kill()
	} else {
		r.fs.Crash()
	}
	r.fs.FailWrite(0)
	r.fs.FailSync(0)
	r.fs.SetSpace(-1)
	for _, l := range r.loops {
		l.sub.Drop()
	}
	return nil
}

func (r *crashRun) options() aof.Options {
	o := aof.Options{
		Dir: crashDir, FS: r.fs, SegmentBytes: r.segment, FrameBytesMax: r.frameMax, TailBytes: 4 * r.segment,
		WritersMax: 3, InFlightMax: crashInFlight, ReplayAfter: r.checkpoint,
	}
	if r.power != nil {
		o.FS = r.power
	}
	o.Manual()
	seeds := r.rng.Uint64()
	o.Seeds(func() uint64 { seeds++; return seeds })
	if r.tune != nil {
		r.tune(&o)
	}
	return o
}

// open opens the log twice and compares it with the model.
func (r *crashRun) open() error {
	index, payload, err := aof.LoadCheckpoint(r.fs, crashDir, nil)
	if err != nil {
		return err
	}
	if index < r.checkpoint || !bytes.Equal(payload, checkpointPayload(index)) {
		return fmt.Errorf("checkpoint at %d, at least %d expected", index, r.checkpoint)
	}
	r.checkpoint = index
	report, err := aof.Check(r.fs, crashDir)
	if err != nil {
		return err
	}
	first, err := r.recovered()
	if err != nil {
		return err
	}
	if !report.OK() || (report.Last != first && !r.killed) { // Check does not wait for what lands late
		return fmt.Errorf("check found %+v, open found %d", report, first)
	}
	if err := r.log.Close(); err != nil {
		return err
	}
	again, err := r.recovered()
	if err != nil {
		return fmt.Errorf("second open: %w", err)
	}
	if first != again {
		return fmt.Errorf("opened at index %d, then at %d", first, again)
	}
	for index := range r.appended {
		if index > first {
			delete(r.appended, index)
		}
	}
	r.acked = first
	return r.readAll()
}

// recovered opens the log once, checks every replayed frame, and returns the last index.
func (r *crashRun) recovered() (last uint64, err error) {
	expect := r.checkpoint + 1
	r.log, err = aof.Open(r.options(), func(f record.Frame) error {
		if f.Index != expect {
			return fmt.Errorf("index %d replayed, %d expected", f.Index, expect)
		}
		expect++
		if !bytes.Equal(f.Payload, r.appended[f.Index]) {
			return fmt.Errorf("index %d is not what was appended there last", f.Index)
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	if last = r.log.LastIndex(); last != expect-1 || last < r.acked {
		return 0, fmt.Errorf("last index %d, replayed up to %d, acknowledged up to %d", last, expect-1, r.acked)
	}
	return last, nil
}

// begin makes the writers of a life.
func (r *crashRun) begin() {
	r.loops, r.failed, r.full = nil, false, false
	for id := range 1 + r.rng.IntN(3) {
		l := &crashLoop{id: uint32(id), sub: &testkit.Submitter{}}
		l.w = r.log.NewWriter(l.sub, func() { l.woken = true })
		r.loops = append(r.loops, l)
	}
	if r.rng.IntN(3) == 0 {
		r.fs.ShortWrites(4)
	} else {
		r.fs.ShortWrites(0)
	}
}

// step does one thing that happens in a life.
func (r *crashRun) step() error {
	l := r.loops[r.rng.IntN(len(r.loops))]
	if l.woken {
		l.woken = false
		l.w.Deliver()
	}
	switch n := r.rng.IntN(100); {
	case r.power != nil && n < 6:
		return r.reclaim()
	case n < 50:
		return r.appendBatch(l)
	case n < 80:
		if l.sub.Held() > 0 {
			l.sub.Complete(r.rng.IntN(l.sub.Held()))
		}
	case n < 92:
		r.log.Step()
	case n < 95:
		return r.writeCheckpoint()
	case n < 97:
		return r.readAll()
	default:
		r.fault()
	}
	return r.checkErr()
}

// fault makes the disk fail, or fill up, or have room again.
func (r *crashRun) fault() {
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
	default: // the log notices at its next attempt
		r.fs.SetSpace(-1)
	}
}

func (r *crashRun) checkErr() error {
	if err := r.log.Err(); err != nil && !(r.failed && errors.Is(err, aof.ErrFailed)) {
		return fmt.Errorf("log failed: %w", err)
	}
	return nil
}

func (r *crashRun) appendBatch(l *crashLoop) error {
	if l.w.InFlight() == crashInFlight {
		return nil
	}
	switch err := l.w.Admit(); {
	case errors.Is(err, aof.ErrBusy), r.full && errors.Is(err, aof.ErrNoSpace), r.failed && errors.Is(err, aof.ErrFailed):
		return nil
	case err != nil:
		return fmt.Errorf("admit: %w", err)
	}
	b := r.fill(l)
	var fault error
	b.Done = func(b *record.Batch, err error) { fault = errors.Join(fault, r.done(b, err)) }
	l.w.Append(b)
	if b.Index != 0 {
		r.appended[b.Index] = bytes.Clone(b.Frame().Payload)
	}
	return fault
}

// fill makes a batch of random records for streams that only this loop writes.
func (r *crashRun) fill(l *crashLoop) *record.Batch {
	b := record.NewBatch()
	b.TimeMs = uint64(r.rng.IntN(1000))
	value := make([]byte, r.frameMax)
	for i := range value {
		value[i] = byte(r.rng.Uint32())
	}
	limit := 200
	if r.rng.IntN(3) == 0 {
		limit = r.frameMax * 3 / 4
	}
	for left := 1 + r.rng.IntN(limit); left > 0; {
		n := min(left, 1+r.rng.IntN(left))
		s := record.Stream{Topic: l.id + 1, Partition: uint32(r.rng.IntN(crashStreamsPer))}
		rec := record.Record{Value: value[:n]}
		if !b.Fits(rec.Size(), r.frameMax) {
			break
		}
		b.AppendRecord(s, r.next[s], &rec)
		r.next[s]++
		left -= n
	}
	return b
}

func (r *crashRun) done(b *record.Batch, err error) error {
	switch {
	case err == nil && b.Index != r.acked+1 && len(r.loops) == 1:
		panic(fmt.Sprintf("index %d acknowledged behind %d", b.Index, r.acked))
	case err == nil && b.Index > r.log.Durable():
		panic(fmt.Sprintf("index %d acknowledged, durable is %d", b.Index, r.log.Durable()))
	case err == nil:
		r.acked = max(r.acked, b.Index)
	case !r.failed || !errors.Is(err, aof.ErrFailed):
		panic(fmt.Sprintf("index %d: %v", b.Index, err))
	}
	return nil
}

func checkpointPayload(index uint64) []byte {
	if index == 0 {
		return nil
	}
	return fmt.Appendf(nil, "state after %d", index)
}

func (r *crashRun) writeCheckpoint() error {
	index := r.log.Durable()
	if index == 0 {
		return nil
	}
	err := r.log.WriteCheckpoint(index, checkpointPayload(index))
	if err == nil {
		r.checkpoint = index
	} else if !r.full && !r.failed {
		return err
	}
	return nil
}

// readAll reads every stream up to what is durable, by offset, and compares it with the model.
func (r *crashRun) readAll() error {
	want := map[record.Stream][]record.Record{}
	durable := r.log.Durable()
	for index := uint64(1); index <= durable; index++ {
		f := record.Frame{Header: record.Header{Kind: record.KindBatch}, Payload: r.appended[index]}
		it := f.Iter()
		for sec, ok := it.Next(); ok; sec, ok = it.Next() {
			records := sec.Records()
			for rec, ok := records.Next(); ok; rec, ok = records.Next() {
				want[sec.Stream] = append(want[sec.Stream], rec)
			}
		}
	}
	if r.next == nil || durable == r.log.LastIndex() {
		r.next = map[record.Stream]uint64{}
		for s, all := range want {
			r.next[s] = uint64(len(all))
		}
	}
	reader := r.log.NewReader()
	defer reader.Close()
	for s, all := range want {
		if err := readStream(reader, s, all, r.dead[s]); err != nil {
			return fmt.Errorf("stream %v: %w", s, err)
		}
	}
	return nil
}

// readStream compares what is read with what was written: all of it that is not dead must be there.
func readStream(reader *aof.Reader, s record.Stream, all []record.Record, dead map[uint64]bool) error {
	at := uint64(0)
	var fault error
	missing := func(to uint64) {
		for ; at < to && fault == nil; at++ {
			if !dead[at] {
				fault = fmt.Errorf("offset %d is missing", at)
			}
		}
	}
	_, err := reader.Read(s, 0, uint64(len(all)), true, func(sec record.Section) bool {
		if sec.Base < at {
			fault = fmt.Errorf("section at %d, at least %d expected", sec.Base, at)
			return false
		}
		missing(sec.Base)
		it := sec.Records()
		for rec, ok := it.Next(); ok && at < uint64(len(all)) && fault == nil; rec, ok = it.Next() {
			if !bytes.Equal(rec.Value, all[at].Value) {
				fault = fmt.Errorf("offset %d differs", at)
			}
			at++
		}
		return fault == nil
	})
	if err == nil {
		missing(uint64(len(all)))
	}
	return errors.Join(err, fault)
}
