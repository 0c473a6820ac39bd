package aof_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"path/filepath"
	"strings"
	"testing"

	"ayder/aof"
	"ayder/internal/record"
	"ayder/internal/testkit"
)

// rig is a log on a MemFS with its writers under the test's hand: nothing happens that the test does not ask for. Each
// batch has one record, whose value says which it is.
type rig struct {
	t     *testing.T
	fs    *testkit.MemFS
	o     aof.Options
	log   *aof.Log
	loops []*rigLoop

	unasked bool // add does not heed Admit: the test knows that there is room

	values map[uint64][]byte // by index, as appended last
	next   map[record.Stream]uint64
}

type rigLoop struct {
	w     *aof.Writer
	sub   *testkit.Submitter
	wakes int
	done  []outcome
}

// outcome is one Done.
type outcome struct {
	index uint64
	err   error
}

const (
	rigDir     = "/log"
	rigSegment = 32 << 10
	rigFrame   = 8 << 10
)

var (
	one = record.Stream{Topic: 1, Partition: 0}
	two = record.Stream{Topic: 2, Partition: 7}
)

// newRig opens an empty log with one writer and two spares at hand.
func newRig(t *testing.T, tune ...func(*aof.Options)) *rig {
	t.Helper()
	r := &rig{t: t, fs: testkit.NewMemFS(1), values: map[uint64][]byte{}, next: map[record.Stream]uint64{}}
	seeds := uint64(0)
	r.o = aof.Options{Dir: rigDir, FS: r.fs, SegmentBytes: rigSegment, FrameBytesMax: rigFrame, TailBytes: 8 * rigSegment, InFlightMax: 4}
	r.o.Manual()
	r.o.Seeds(func() uint64 { seeds += 7; return seeds })
	for _, fn := range tune {
		fn(&r.o)
	}
	r.mustOpen()
	t.Cleanup(func() { r.log.Abandon() })
	return r
}

// mustOpen opens the log, checks what is replayed, and registers one writer.
func (r *rig) mustOpen() {
	r.t.Helper()
	if err := r.open(); err != nil {
		r.t.Fatal(err)
	}
	r.loops = nil
	r.addLoop()
	r.log.Step()
}

func (r *rig) open() error {
	expect := r.o.ReplayAfter + 1
	l, err := aof.Open(r.o, func(f record.Frame) error {
		if f.Index != expect {
			return fmt.Errorf("index %d replayed where %d was expected", f.Index, expect)
		}
		expect++
		if v := valueOf(f); !bytes.Equal(v, r.values[f.Index]) {
			return fmt.Errorf("index %d holds %.20q, appended was %.20q", f.Index, v, r.values[f.Index])
		}
		return nil
	})
	if err == nil {
		r.log = l
	}
	return err
}

// valueOf is the value of the first record of a frame.
func valueOf(f record.Frame) []byte {
	it := f.Iter()
	sec, _ := it.Next()
	records := sec.Records()
	rec, _ := records.Next()
	return rec.Value
}

func (r *rig) addLoop() *rigLoop {
	l := &rigLoop{sub: &testkit.Submitter{}}
	l.w = r.log.NewWriter(l.sub, func() { l.wakes++ })
	r.loops = append(r.loops, l)
	return l
}

// close ends the log well, and reopens it.
func (r *rig) reopen() {
	r.t.Helper()
	if err := r.log.Close(); err != nil {
		r.t.Fatal(err)
	}
	r.mustOpen()
}

// kill ends the process; commits in flight never reach the disk.
func (r *rig) kill() {
	r.fs.DropPending()
	r.fs.Kill()
	for _, l := range r.loops {
		l.sub.Drop()
	}
	r.log.Abandon()
}

// crash cuts the power; the log is not opened again.
func (r *rig) crash() {
	r.fs.Crash()
	for _, l := range r.loops {
		l.sub.Drop()
	}
	r.log.Abandon()
}

// add appends one record whose frame takes size bytes to s, through loop n, and leaves the write in flight.
func (r *rig) add(n int, s record.Stream, size int) (index uint64) {
	r.t.Helper()
	l := r.loops[n]
	if errors.Is(l.w.Admit(), aof.ErrBusy) && !r.unasked {
		r.log.Step()
	}
	if err := l.w.Admit(); err != nil && !r.unasked {
		r.t.Fatal(err)
	}
	b := record.NewBatch()
	value := bytes.Repeat([]byte{'.'}, size-record.FrameHeaderBytes-record.SectionHeaderBytes-record.RecordHeaderBytes)
	copy(value, fmt.Sprintf("%v %d", s, r.next[s]))
	b.AppendRecord(s, r.next[s], &record.Record{Value: value})
	r.next[s]++
	b.Done = func(b *record.Batch, err error) { l.done = append(l.done, outcome{b.Index, err}) }
	l.w.Append(b)
	r.values[b.Index] = value
	return b.Index
}

// put appends to stream one through the first loop and completes everything.
func (r *rig) put(size int) (index uint64) {
	r.t.Helper()
	index = r.add(0, one, size)
	r.loops[0].sub.CompleteAll()
	return index
}

// fill puts frames of size bytes until the log has n segments.
func (r *rig) fill(n int64, size int) {
	r.t.Helper()
	for r.log.Stats().Segments.Load() < n {
		r.put(size)
		r.log.Step()
	}
	r.log.Step()
}

// path is the only file whose name ends so, and, if several, the n-th in order.
func (r *rig) path(suffix string, n int) string {
	r.t.Helper()
	for _, p := range r.fs.Paths() {
		if strings.HasSuffix(p, suffix) {
			if n == 0 {
				return p
			}
			n--
		}
	}
	r.t.Fatalf("no file %s in %v", suffix, r.fs.Paths())
	return ""
}

// edit changes a file as a failing disk would.
func (r *rig) edit(path string, fn func([]byte)) {
	r.t.Helper()
	b, ok := r.fs.Get(path)
	if !ok {
		r.t.Fatalf("no file %s", path)
	}
	fn(b)
	r.fs.Put(path, b)
}

// positions returns where the log's frames are, in order: segment file and byte.
func (r *rig) positions() (at []string) {
	r.t.Helper()
	var b bytes.Buffer
	if err := aof.Dump(&b, r.fs, rigDir, aof.DumpOptions{}); err != nil {
		r.t.Fatal(err)
	}
	file := ""
	for line := range strings.Lines(b.String()) {
		var path string
		var pos, index int
		if n, _ := fmt.Sscanf(line, "segment %s ", &path); n == 1 {
			file = filepath.Base(path)
		} else if n, _ := fmt.Sscanf(line, " byte %d index %d ", &pos, &index); n == 2 {
			at = append(at, fmt.Sprintf("%d@%s:%d", index, file, pos))
		}
	}
	return at
}

// read reads every message of s below end by pages and compares it; it returns how often the reader said ErrCold.
func (r *rig) read(s record.Stream, end uint64) (cold int) {
	r.t.Helper()
	reader := r.log.NewReader()
	defer reader.Close()
	for at := uint64(0); at < end; {
		block := false
		got := at
		visit := func(sec record.Section) bool {
			it := sec.Records()
			rec, _ := it.Next()
			if want := fmt.Sprintf("%v %d", s, sec.Base); sec.Base != got || !strings.HasPrefix(string(rec.Value), want) {
				r.t.Fatalf("at offset %d: section %d with %.20q", got, sec.Base, rec.Value)
			}
			got++
			return true
		}
		next, err := reader.Read(s, at, end, block, visit)
		if errors.Is(err, aof.ErrCold) {
			cold++
			next, err = reader.Read(s, next, min(next+3, end), true, visit)
		}
		if err != nil || next != got || next == at {
			r.t.Fatalf("read from %d: next %d, visited up to %d: %v", at, next, got, err)
		}
		at = next
	}
	return cold
}

// mustEqual compares what is printed.
func mustEqual(t *testing.T, got, want any) {
	t.Helper()
	if g, w := fmt.Sprint(got), fmt.Sprint(want); g != w {
		t.Fatalf("\n got %s\nwant %s", g, w)
	}
}

// mustBe checks an error's kind.
func mustBe(t *testing.T, err, kind error) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Fatalf("error %v, want one that is %v", err, kind)
	}
}

func castagnoli(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

// resealSidecar puts the right checksums into a changed sidecar.
func resealSidecar(b []byte) {
	le := binary.LittleEndian
	head := 96 + 48*int(le.Uint32(b[64:]))
	le.PutUint32(b[76:], castagnoli(b[head:]))
	le.PutUint32(b[12:], castagnoli(b[16:head]))
}
