package engine

import (
	"testing"

	"ayder/internal/record"
)

// commit seals b as frame index, as the log does, and applies it.
func commit(t testing.TB, s *Shard, b *record.Batch, index uint64) {
	t.Helper()
	b.Seal(record.Header{Index: index, Term: 1}, 1)
	if err := s.Apply(b.Frame()); err != nil {
		t.Fatal(err)
	}
}

func TestSmoke(t *testing.T) {
	e := New(Config{})
	s := e.Shard(0)
	b := record.NewBatch()
	if _, err := s.CreateTopic(b, TopicSpec{Name: "t", Partitions: 2}); err != nil {
		t.Fatal(err)
	}
	commit(t, s, b, 1)
	b = record.NewBatch()
	p := e.Topic([]byte("t")).Partition(1)
	a, err := s.Produce(b, p, &record.Record{Value: []byte("x"), HasIdem: true, Idem: []byte("k")}, ProduceOptions{})
	if err != nil || a.Offset != 0 {
		t.Fatal(a, err)
	}
	commit(t, s, b, 2)
	if p.Next() != 1 {
		t.Fatal(p.Next())
	}
	a, err = s.Produce(b, p, &record.Record{Value: []byte("x"), HasIdem: true, Idem: []byte("k")}, ProduceOptions{})
	if err != nil || !a.Duplicate || a.Pending != nil {
		t.Fatal(a, err)
	}
	e2 := New(Config{Shards: 3})
	if err := e2.Restore(EncodeCheckpoint([][]byte{s.AppendCheckpoint(nil)})); err != nil {
		t.Fatal(err)
	}
	if string(e.AppendState(nil)) != string(e2.AppendState(nil)) {
		t.Fatal("differs")
	}
}
