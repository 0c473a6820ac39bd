package engine

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"unsafe"

	"ayder/internal/record"
)

func TestNames(t *testing.T) {
	for name, want := range map[string]bool{
		"a": true, "events": true, "A-Z_a.z0": true, "...": true, ".a": true, strings.Repeat("x", 249): true,
		"": false, ".": false, "..": false, "a/b": false, "a b": false, "ä": false, "a\x00": false, strings.Repeat("x", 250): false,
	} {
		if ValidName(name) != want || ValidName([]byte(name)) != want {
			t.Errorf("%q: valid %v, want %v", name, !want, want)
		}
	}
}

func TestCreateTopic(t *testing.T) {
	w := newWorld(t, Config{TopicsMax: 3, PartitionsMax: 12})
	s := w.e.Shard(0)
	create := func(name string, partitions uint32, mode Mode) (Creation, error) {
		return s.CreateTopic(w.open[0], TopicSpec{Name: name, Partitions: partitions, Mode: mode})
	}
	for _, c := range []struct {
		name       string
		partitions uint32
		mode       Mode
		state      CreationState
		err        error
	}{
		{"a/b", 1, 0, 0, ErrTopicName},
		{"a", 0, 0, 0, ErrPartitions},
		{"a", 1025, 0, 0, ErrPartitions},
		{"a", 1, 9, 0, ErrMode},
		{"a", 8, 0, Created, nil},
		{"a", 8, 0, Pending, nil},
		{"a", 4, 0, 0, ErrTopicExists},
		{"b", 5, 0, 0, ErrTopicLimit}, // 13 partitions
		{"b", 1, 0, Created, nil},
	} {
		got, err := create(c.name, c.partitions, c.mode)
		if got.State != c.state || !errors.Is(err, c.err) {
			t.Fatalf("create %q %d: %+v %v, want %v %v", c.name, c.partitions, got, err, c.state, c.err)
		}
		if (c.state == Pending || c.err == ErrTopicExists) && got.Batch != w.open[0] {
			t.Fatal("a topic in flight comes without its batch")
		}
	}
	if w.e.Topic([]byte("a")) != nil {
		t.Fatal("visible before it was applied")
	}
	w.commit()
	if got, err := create("a", 8, 0); err != nil || got.State != Exists || got.Topic != w.e.Topic([]byte("a")) {
		t.Fatalf("%+v %v", got, err)
	}
	if got, err := create("a", 7, 0); !errors.Is(err, ErrTopicExists) || got.Topic == nil || got.State != 0 {
		t.Fatalf("%+v %v", got, err)
	}
	if _, err := create("c", 1, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := create("d", 1, 0); !errors.Is(err, ErrTopicLimit) {
		t.Fatal("a fourth topic:", err)
	}
	w.commit()
	for id, name := range []string{"a", "b", "c"} {
		if tp := w.e.TopicByID(uint32(id + 1)); tp.Name() != name || tp.ID() != uint32(id+1) || tp != w.e.Topic([]byte(name)) {
			t.Fatalf("topic %d is %q", id+1, tp.Name())
		}
	}
	if w.e.TopicByID(0) != nil || w.e.TopicByID(4) != nil || w.e.Topic([]byte("d")) != nil || w.e.Topic([]byte("a")).Partition(8) != nil {
		t.Fatal("something exists that was never made")
	}
}

func TestTopicSettingsComeBack(t *testing.T) {
	w := newWorld(t, Config{})
	spec := TopicSpec{Name: "t", Partitions: 3, TTLMs: 1 << 40, MaxBytes: 1 << 50}
	w.e.Shard(0).CreateTopic(w.open[0], spec)
	w.commit()
	if got := w.recovered(Config{}, nil, 0).Topic([]byte("t")); got.Spec() != spec || got.Partitions() != 3 || got.Spec().Mode.String() != "sealed" {
		t.Fatalf("%+v", got.Spec())
	}
	other := spec
	other.TTLMs++
	if _, err := w.e.Shard(0).CreateTopic(w.open[0], other); !errors.Is(err, ErrTopicExists) {
		t.Fatal("another TTL:", err)
	}
}

func TestTopicsAreSorted(t *testing.T) {
	w := newWorld(t, Config{})
	var want []string
	for i := range 600 {
		name := fmt.Sprintf("t%d", (i*7919)%600)
		want = append(want, name)
		w.topic(name, 1)
	}
	slices.Sort(want)
	var got []string
	for _, tp := range w.e.Topics() {
		got = append(got, tp.Name())
	}
	if !slices.Equal(got, want) {
		t.Fatal(got)
	}
	w.e.Topics()[0] = nil // the list is the caller's
	if w.e.Topics()[0] == nil || w.e.TopicByID(1) == nil {
		t.Fatal("a caller's list is the catalogue's")
	}
}

func TestTopicCommandsBelongToOneShard(t *testing.T) {
	w := newWorld(t, Config{Shards: 2})
	mustPanic(t, "create on shard 1", func() {
		w.e.Shard(1).CreateTopic(w.open[1], TopicSpec{Name: "t", Partitions: 1})
	})
}

func TestPartitionsSpreadEvenly(t *testing.T) {
	for shards := 1; shards <= 5; shards++ {
		e := New(Config{Shards: shards})
		wide, narrow := make([]int, shards), make([]int, shards)
		for i := range uint32(60) {
			wide[e.ShardOf(record.Stream{Topic: 7, Partition: i})]++
			narrow[e.ShardOf(record.Stream{Topic: i, Partition: 0})]++
		}
		for i := range shards {
			if wide[i] != 60/shards || narrow[i] != 60/shards {
				t.Fatalf("%d shards: %v %v", shards, wide, narrow)
			}
		}
	}
}

// Readers on other goroutines find every topic whole from the moment it is there.
func TestCatalogueIsReadWhileItGrows(t *testing.T) {
	w := newWorld(t, Config{})
	w.topic("first", 1)
	var readers sync.WaitGroup
	stop := make(chan struct{})
	for range 3 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				for i := range 300 {
					tp := w.e.Topic(fmt.Append(nil, "t", i))
					if tp != nil && (w.e.TopicByID(tp.ID()) != tp || tp.Partition(1).Stats().Floor != 0) {
						t.Error("a topic known by name is not by its number:", tp.Name())
						return
					}
				}
				for i, tp := range w.e.Topics() {
					if tp == nil {
						t.Error("a hole in the list at", i)
						return
					}
				}
			}
		})
	}
	for i := range 300 {
		tp := w.topic(fmt.Sprint("t", i), 2)
		w.must(tp.Partition(1), "x", "", Append{Offset: 0, Count: 1})
		w.commit()
	}
	close(stop)
	readers.Wait()
}

func TestEmptyPartitionsAreSmall(t *testing.T) {
	if size := unsafe.Sizeof(Partition{}); size != 128 {
		t.Fatalf("a partition is %d bytes; two cache lines were intended", size)
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	e := New(Config{})
	for i := range uint32(1000) {
		if err := e.addTopic(i+1, TopicSpec{Name: fmt.Sprint("topic-", i), Partitions: 8}, 1); err != nil {
			t.Fatal(err)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	each := (after.HeapAlloc - before.HeapAlloc) / 8000
	runtime.KeepAlive(e)
	if t.Logf("%d bytes a partition, its topic included", each); each > 300 {
		t.Fatalf("%d bytes", each)
	}
}
