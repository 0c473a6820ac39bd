package record

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
)

func sampleBatch() *Batch {
	b := NewBatch()
	b.TimeMs = 1700
	s := Stream{1, 2}
	b.AppendRecord(s, 10, &Record{TimeMs: 5, Value: []byte("hello")})
	b.AppendRecord(s, 11, &Record{
		TimeMs: 6, HasKey: true, Key: []byte("k"), HasIdem: true, Idem: []byte("i-1"),
		Headers: AppendHeader(nil, []byte("trace"), []byte("abc")), Value: nil,
	})
	b.AppendRecord(Stream{1, 3}, 0, &Record{HasKey: true, Value: []byte("x")})
	b.AppendCommand(SectionGroupCommit, s, 11, []byte("group"))
	b.AppendRecord(s, 12, &Record{Value: []byte("after a command")})
	return b
}

func TestBatchRoundTrip(t *testing.T) {
	frame := sampleBatch().Seal(Header{Index: 7, Term: 3, Staged: 4, Durable: 6}, 1)
	f, err := ReadFrame(frame, 1)
	if err != nil {
		t.Fatal(err)
	}
	if f.Index != 7 || f.Term != 3 || f.Staged != 4 || f.Durable != 6 || f.TimeMs != 1700 || f.Kind != KindBatch || f.Sections != 4 {
		t.Fatalf("header %+v", f.Header)
	}
	if err := f.Validate(); err != nil {
		t.Fatal(err)
	}
	var got []string
	it := f.Iter()
	for s, ok := it.Next(); ok; s, ok = it.Next() {
		got = append(got, fmt.Sprintf("%d %v %d+%d", s.Type, s.Stream, s.Base, s.Count))
		again, err := ReadSection(frame[s.Pos:])
		if err != nil || !bytes.Equal(again.Body, s.Body) {
			t.Fatalf("section at %d: %v", s.Pos, err)
		}
		rs := s.Records()
		for r, ok := rs.Next(); ok; r, ok = rs.Next() {
			got = append(got, fmt.Sprintf("%d k=%v%q i=%v%q h=%d v=%q", r.TimeMs, r.HasKey, r.Key, r.HasIdem, r.Idem, len(r.Headers), r.Value))
		}
	}
	want := []string{
		"1 {1 2} 10+2", `5 k=false"" i=false"" h=0 v="hello"`, `6 k=true"k" i=true"i-1" h=14 v=""`,
		"1 {1 3} 0+1", `0 k=true"" i=false"" h=0 v="x"`,
		"3 {1 2} 11+1",
		"1 {1 2} 12+1", `0 k=false"" i=false"" h=0 v="after a command"`,
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("got\n%v\nwant\n%v", got, want)
	}
}

func TestHeaders(t *testing.T) {
	b := AppendHeader(AppendHeader(nil, []byte("a"), nil), []byte("bb"), []byte("v"))
	name, value, rest, ok := NextHeader(b)
	if !ok || string(name) != "a" || len(value) != 0 {
		t.Fatal("first", ok, name, value)
	}
	name, value, rest, ok = NextHeader(rest)
	if !ok || string(name) != "bb" || string(value) != "v" || len(rest) != 0 {
		t.Fatal("second", ok, name, value)
	}
	if _, _, _, ok = NextHeader([]byte{1, 0, 255, 255, 255, 255, 'x'}); ok {
		t.Fatal("a value longer than the list was accepted")
	}
}

func TestEveryDamagedByteIsSeen(t *testing.T) {
	frame := bytes.Clone(sampleBatch().Seal(Header{Index: 7}, 1))
	for i := range frame {
		frame[i] ^= 0x10
		if f, err := ReadFrame(frame, 1); err == nil {
			t.Fatalf("byte %d flipped and the frame passed: %+v", i, f.Header)
		}
		frame[i] ^= 0x10
	}
	if _, err := ReadFrame(frame, 2); !errors.Is(err, ErrChecksum) {
		t.Fatalf("a frame of another segment: %v", err)
	}
	for n := range frame {
		if _, err := ReadFrame(frame[:n], 1); err == nil {
			t.Fatalf("%d of %d bytes passed", n, len(frame))
		}
	}
}

func TestPad(t *testing.T) {
	for size := FrameHeaderBytes; size < 4096; size += 8 {
		b := bytes.Repeat([]byte{0xff}, size)
		PutPad(b, 9, 1)
		f, err := ReadFrame(b, 1)
		if err != nil || f.Kind != KindPad || AlignedSize(int(f.Size)) != size || f.Index != 9 {
			t.Fatalf("size %d: %+v %v", size, f.Header, err)
		}
		it := f.Iter()
		if _, ok := it.Next(); ok || f.Validate() != nil {
			t.Fatal("a pad has no sections")
		}
	}
}

func TestEmptyIsToldFromGarbage(t *testing.T) {
	if _, err := ReadHeader(make([]byte, 64)); !errors.Is(err, ErrEmpty) {
		t.Fatal(err)
	}
	if _, err := ReadHeader(bytes.Repeat([]byte{1}, 64)); !errors.Is(err, ErrMagic) {
		t.Fatal(err)
	}
}

func TestResetReusesAndShrinks(t *testing.T) {
	b := NewBatch()
	b.AppendRecord(Stream{1, 1}, 0, &Record{Value: make([]byte, 1<<20)})
	if b.Empty() || b.Size() < 1<<20 {
		t.Fatal("size", b.Size())
	}
	b.Reset(1 << 19)
	if !b.Empty() || cap(b.buf) > 1<<19 || b.Size() != FrameHeaderBytes {
		t.Fatal("after reset", cap(b.buf), b.Size())
	}
}

func TestAppendAllocatesNothing(t *testing.T) {
	b := NewBatch()
	r := &Record{Value: make([]byte, 64), HasKey: true, Key: []byte("key")}
	n := testing.AllocsPerRun(200, func() {
		b.Reset(1 << 20)
		for i := range uint64(64) {
			b.AppendRecord(Stream{1, 1}, i, r)
		}
		b.Seal(Header{Index: 1}, 1)
	})
	if n != 0 {
		t.Fatalf("%v allocations a batch", n)
	}
}

func TestRandomBatches(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	blob := func(max int) []byte {
		p := make([]byte, rng.IntN(max))
		for i := range p {
			p[i] = byte(rng.Uint32())
		}
		return p
	}
	for range 200 {
		b := NewBatch()
		var want []Record
		for i := range rng.IntN(50) {
			r := Record{TimeMs: rng.Uint64(), HasKey: true, Key: blob(40), HasIdem: true, Idem: blob(40), Value: blob(300)}
			want = append(want, r)
			b.AppendRecord(Stream{1, uint32(rng.IntN(2))}, uint64(i), &r)
		}
		f, err := ReadFrame(b.Seal(Header{Index: 1}, 5), 5)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Validate(); err != nil {
			t.Fatal(err)
		}
		it := f.Iter()
		for s, ok := it.Next(); ok; s, ok = it.Next() {
			rs := s.Records()
			for i := range uint64(s.Count) {
				r, _ := rs.Next()
				w := want[s.Base+i]
				if r.TimeMs != w.TimeMs || !bytes.Equal(r.Key, w.Key) || !bytes.Equal(r.Idem, w.Idem) || !bytes.Equal(r.Value, w.Value) {
					t.Fatalf("offset %d differs", s.Base+i)
				}
			}
		}
	}
}

func FuzzReadFrame(f *testing.F) {
	f.Add(bytes.Clone(sampleBatch().Seal(Header{Index: 7}, 1)))
	f.Add(make([]byte, 64))
	pad := make([]byte, 128)
	PutPad(pad, 3, 1)
	f.Add(pad)
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) >= FrameHeaderBytes {
			// Give the payload a correct header, so that the walk behind the checksum is reached too.
			h := Header{Size: uint32(len(b)), Sections: uint32(b[12]), Kind: KindBatch}
			PutHeader(b, &h, 1)
		}
		fr, err := ReadFrame(b, 1)
		if err != nil {
			return
		}
		_ = fr.Validate()
		it := fr.Iter()
		for s, ok := it.Next(); ok; s, ok = it.Next() {
			rs := s.Records()
			rs.Skip(1)
			for r, ok := rs.Next(); ok; r, ok = rs.Next() {
				for h, more := r.Headers, true; more; {
					_, _, h, more = NextHeader(h)
				}
			}
		}
	})
}

func BenchmarkBatch64x64(b *testing.B) {
	bt := NewBatch()
	r := &Record{Value: make([]byte, 64)}
	for b.Loop() {
		bt.Reset(1 << 20)
		for i := range uint64(64) {
			bt.AppendRecord(Stream{1, 1}, i, r)
		}
		bt.Seal(Header{Index: 1}, 1)
	}
}

// A frame that another node sealed is sealed again for a place in this node's log, and only the place differs.
func TestLoadKeepsWhatTheFrameIs(t *testing.T) {
	b := NewBatch()
	b.TimeMs = 77
	b.AppendRecord(Stream{Topic: 1, Partition: 2}, 5, &Record{Value: []byte("hello")})
	b.Seal(Header{Index: 9, Term: 4, Flags: 0}, 1)
	from := b.Frame()

	other := NewBatch()
	h := from.Header
	h.Flags, h.Group = 3, 8
	other.Load(&h, from.Payload)
	if other.Empty() {
		t.Fatal("a loaded batch is empty")
	}
	frame := other.Seal(Header{Index: 9, Term: 4, Staged: 6, Durable: 7}, 99)
	got, err := ReadFrame(frame, 99)
	if err != nil {
		t.Fatal(err)
	}
	want := h
	want.Staged, want.Durable = 6, 7
	if got.Header != want || !bytes.Equal(got.Payload, from.Payload) {
		t.Fatalf("%+v, want %+v", got.Header, want)
	}
	other.Reset(1 << 20)
	if !other.Empty() || other.Term != 0 || other.Kind != 0 {
		t.Fatal("reset leaves something")
	}
}
