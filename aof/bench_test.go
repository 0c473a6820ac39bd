package aof_test

import (
	"fmt"
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
