package aof_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"ayder/aof"
	"ayder/internal/record"
)

// idleSubmitter claims every write done at the next turn, without doing it: what remains is the log's own work.
type idleSubmitter struct {
	complete func(token uint64, n int, err error)
	tokens   []uint64
	sizes    []int
}

func (s *idleSubmitter) Start(complete func(token uint64, n int, err error)) { s.complete = complete }

func (s *idleSubmitter) Write(token uint64, _ aof.File, p []byte, _ int64) {
	s.tokens, s.sizes = append(s.tokens, token), append(s.sizes, len(p))
}

func (s *idleSubmitter) turn() {
	for i, token := range s.tokens {
		s.complete(token, s.sizes[i], nil)
	}
	s.tokens, s.sizes = s.tokens[:0], s.sizes[:0]
}

// BenchmarkAppend is what the log costs a loop per commit, disk excluded, at several batch sizes of 64-byte records.
func BenchmarkAppend(b *testing.B) {
	for _, records := range []int{1, 64, 400} {
		b.Run(fmt.Sprintf("records=%d", records), func(b *testing.B) {
			l, err := aof.Open(aof.Options{Dir: b.TempDir()}, nil)
			if err != nil {
				b.Fatal(err)
			}
			defer l.Close()
			sub := &idleSubmitter{}
			w := l.NewWriter(sub, func() {})
			batch := record.NewBatch()
			batch.Done = func(*record.Batch, error) {}
			s := record.Stream{Topic: 1}
			value := make([]byte, 64)
			next := uint64(0)
			b.ReportAllocs()
			for b.Loop() {
				for w.Admit() != nil { // the keeper cannot keep up with a disk that takes no time
					b.StopTimer()
					time.Sleep(time.Millisecond)
					b.StartTimer()
				}
				batch.Reset(1 << 20)
				for range records {
					batch.AppendRecord(s, next, &record.Record{Value: value})
					next++
				}
				w.Append(batch)
				sub.turn()
			}
		})
	}
}

// BenchmarkRead is a page of 100 messages, from memory and from files in the page cache.
func BenchmarkRead(b *testing.B) {
	const messages = 1 << 20
	dir := b.TempDir()
	o := aof.Options{Dir: dir, SegmentBytes: 16 << 20, TailBytes: 1 << 30}
	l := openFilled(b, o, messages)
	b.Run("hot", func(b *testing.B) { benchRead(b, l, messages) })
	if err := l.Close(); err != nil {
		b.Fatal(err)
	}
	l, err := aof.Open(o, nil)
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	b.Run("cold", func(b *testing.B) { benchRead(b, l, messages) })
}

func openFilled(b *testing.B, o aof.Options, messages int) *aof.Log {
	l, err := aof.Open(o, nil)
	if err != nil {
		b.Fatal(err)
	}
	posts := make(chan func(), 1024)
	sub := aof.NewPoolSubmitter(1, func(f func()) { posts <- f })
	defer sub.Close()
	w := l.NewWriter(sub, func() { posts <- func() {} })
	value := make([]byte, 64)
	for next := 0; next < messages; {
		for w.Admit() != nil {
			(<-posts)()
		}
		batch := record.NewBatch()
		batch.Done = func(*record.Batch, error) {}
		for range 400 {
			batch.AppendRecord(record.Stream{Topic: 1}, uint64(next), &record.Record{Value: value})
			next++
		}
		w.Append(batch)
		for w.InFlight() > 0 {
			(<-posts)()
		}
	}
	return l
}

func benchRead(b *testing.B, l *aof.Log, messages uint64) {
	const page = 100
	r := l.NewReader()
	defer r.Close()
	offset := uint64(0)
	b.ReportAllocs()
	for b.Loop() {
		if offset+page > messages {
			offset = 0
		}
		want, got := offset+page, 0
		_, err := r.Read(record.Stream{Topic: 1}, offset, want, true, func(sec record.Section) bool {
			it := sec.Records()
			it.Skip(int(offset - min(offset, sec.Base)))
			for _, ok := it.Next(); ok && got < page; _, ok = it.Next() {
				got++
			}
			return got < page
		})
		if err != nil || got != page {
			b.Fatal(got, err)
		}
		offset = want
	}
	b.ReportMetric(float64(b.N)*page/b.Elapsed().Seconds(), "msg/s")
}

// BenchmarkThread is one Append of a frame with 64 records and the wait until it is durable, on the disk that the temporary
// directory is on: p50 in microseconds, and how much of it is the write itself.
func BenchmarkThread(b *testing.B) {
	var waited, wrote []int64
	l, err := aof.Open(aof.Options{Dir: b.TempDir(), OnCommit: func(ns int64, _ int) { wrote = append(wrote, ns) }}, nil)
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	t := l.NewThread(aof.ThreadOptions{})
	defer t.Close()
	bs := []*record.Batch{record.NewBatch()}
	b.ReportAllocs()
	for next := uint64(0); b.Loop(); {
		fill64(bs[0], &next)
		started := time.Now()
		if err := t.Append(bs); err != nil || !t.WaitDurable(bs[0].Index) {
			b.Fatal(err)
		}
		waited = append(waited, time.Since(started).Nanoseconds())
	}
	slices.Sort(waited)
	slices.Sort(wrote)
	b.ReportMetric(float64(waited[len(waited)/2])/1e3, "p50-µs")
	b.ReportMetric(float64(wrote[len(wrote)/2])/1e3, "write-p50-µs")
}

// BenchmarkThreadAppend is Append alone, with the disk as far behind as it likes.
func BenchmarkThreadAppend(b *testing.B) {
	l, err := aof.Open(aof.Options{Dir: b.TempDir()}, nil)
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	t := l.NewThread(aof.ThreadOptions{})
	defer t.Close()
	bs := []*record.Batch{record.NewBatch()}
	b.ReportAllocs()
	for next := uint64(0); b.Loop(); {
		b.StopTimer()
		for !l.Room() {
			time.Sleep(time.Millisecond)
		}
		fill64(bs[0], &next)
		b.StartTimer()
		if err := t.Append(bs); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/float64(max(1, l.Stats().Commits.Load())), "frames/write")
}

// fill64 fills a batch with 64 records of 64 bytes.
func fill64(batch *record.Batch, next *uint64) {
	var value [64]byte
	batch.Reset(1 << 20)
	for range 64 {
		batch.AppendRecord(one, *next, &record.Record{Value: value[:]})
		*next++
	}
}

// BenchmarkEntry reads entries in order, as a leader does for its followers: from memory and from files in the page cache.
func BenchmarkEntry(b *testing.B) {
	for _, c := range []struct {
		name    string
		records int
		tail    int64
	}{{"small", 1, 1 << 30}, {"large", 64, 1 << 30}, {"cold", 64, 16 << 20}} {
		b.Run(c.name, func(b *testing.B) {
			l := openThread(b, aof.Options{Dir: b.TempDir(), SegmentBytes: 16 << 20, TailBytes: c.tail}, c.records)
			defer l.Close()
			buf, index := make([]byte, 0, 64<<10), uint64(1)
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := l.Entry(index, buf); err != nil {
					b.Fatal(err)
				}
				if index++; index > l.LastIndex() {
					index = 1
				}
			}
		})
	}
}

// openThread makes a log of 40 MiB in frames of so many records.
func openThread(b *testing.B, o aof.Options, records int) *aof.Log {
	l, err := aof.Open(o, nil)
	if err != nil {
		b.Fatal(err)
	}
	t := l.NewThread(aof.ThreadOptions{})
	defer t.Close()
	bs := []*record.Batch{record.NewBatch()}
	for next := uint64(0); l.Stats().AppendedBytes.Load() < 40<<20; {
		bs[0].Reset(1 << 20)
		for range records {
			bs[0].AppendRecord(one, next, &record.Record{Value: make([]byte, 64)})
			next++
		}
		if err := t.Append(bs); err != nil {
			b.Fatal(err)
		}
	}
	return l
}
