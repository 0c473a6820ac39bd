package engine

import (
	"bytes"
	"os"
	"testing"

	"ayder/internal/record"
)

// testdata/v1 to v3, groups, schemas and pipelines hold a log and checkpoints of former versions, and stay as they are for good: what was
// written once can be read by every later version. The log is that of sampleWorld with one shard, in the form of
// fuzzSeed; the checkpoints are of two shards. v3 is of version 2 with extension 1.

func golden(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestLogOfVersion1(t *testing.T) {
	want := sampleWorld(t, 1)
	e := New(want.e.Config())
	index := uint64(0)
	fuzzFrames(golden(t, "v1/log"), func(f record.Frame) bool {
		index++
		f.TimeMs = want.frame(int(index)).TimeMs
		if err := e.ApplyReplay(f); err != nil {
			t.Fatal(err)
		}
		return true
	})
	sameState(t, want.e, e)
	if !bytes.Equal(golden(t, "v1/log"), fuzzSeed(want)) {
		t.Fatal("commands are encoded differently now: a new version of the body is needed")
	}
}

// A log and a checkpoint with every kind of command about groups, of sampleGroups.
func TestGroupsOfVersion2(t *testing.T) {
	want := sampleGroups(t)
	e := New(Config{})
	index := uint64(0)
	fuzzFrames(golden(t, "groups/log"), func(f record.Frame) bool {
		index++
		f.TimeMs = want.frame(int(index)).TimeMs
		if err := e.ApplyReplay(f); err != nil {
			t.Fatal(err)
		}
		return true
	})
	sameState(t, want.e, e)
	e = New(Config{})
	if err := e.Restore(golden(t, "v3/groups")); err != nil {
		t.Fatal(err)
	}
	sameState(t, want.e, e)
	if !bytes.Equal(golden(t, "groups/log"), fuzzSeed(want)) || !bytes.Equal(golden(t, "v3/groups"), want.checkpoint()) {
		t.Fatal("groups are encoded differently now: a new version is needed")
	}
	e = New(Config{})
	if err := e.Restore(golden(t, "groups/checkpoint")); err != nil {
		t.Fatal(err)
	}
	sameState(t, withoutLadders(want.e), withoutLadders(e))
}

func TestCheckpointsOfFormerVersions(t *testing.T) {
	want := sampleWorld(t, 2)
	for _, name := range []string{"v1/checkpoint", "v2/checkpoint"} {
		e := New(Config{IdemWindowMs: 1000})
		if err := e.Restore(golden(t, name)); err != nil {
			t.Fatal(name, err)
		}
		sameState(t, withoutLadders(sampleWorld(t, 2).e), withoutLadders(e))
	}
	e := New(Config{IdemWindowMs: 1000})
	if err := e.Restore(golden(t, "v3/checkpoint")); err != nil {
		t.Fatal(err)
	}
	sameState(t, want.e, e)
	if !bytes.Equal(golden(t, "v3/checkpoint"), want.checkpoint()) {
		t.Fatal("checkpoints are encoded differently now: a new version is needed")
	}
}

// Logs and checkpoints with schemas and with pipelines.
func TestSchemasAndPipelinesOfVersion2(t *testing.T) {
	for name, want := range map[string]*world{"schemas": sampleSchemas(t), "pipelines": samplePipelines(t, 1)} {
		t.Run(name, func(t *testing.T) { goldenLog(t, name, want) })
	}
}

// goldenLog wants want's log and checkpoint to be those of a directory.
func goldenLog(t *testing.T, name string, want *world) {
	e := New(Config{})
	fuzzFrames(golden(t, name+"/log"), func(f record.Frame) bool {
		f.TimeMs = want.frame(int(f.Index)).TimeMs
		if err := e.ApplyReplay(f); err != nil {
			t.Fatal(err)
		}
		return true
	})
	sameState(t, want.e, e)
	e = New(Config{})
	if err := e.Restore(golden(t, name+"/checkpoint")); err != nil {
		t.Fatal(err)
	}
	sameState(t, want.e, e)
	if !bytes.Equal(golden(t, name+"/log"), fuzzSeed(want)) || !bytes.Equal(golden(t, name+"/checkpoint"), want.checkpoint()) {
		t.Fatal("they are encoded differently now: a new version is needed")
	}
}

// withoutLadders is e as a version knows it that had none.
func withoutLadders(e *Engine) *Engine {
	for t := range e.catalogue.topics().all {
		for _, p := range t.partitions {
			p.ladder = nil
		}
	}
	return e
}

// Partitions of a checkpoint without ladders go on, and can be cut.
func TestRetentionAfterAFormerVersion(t *testing.T) {
	w := sampleWorld(t, 1)
	e := w.recovered(Config{IdemWindowMs: 1000}, golden(t, "v2/checkpoint"), len(w.frames))
	w.start(e)
	p := e.Topic([]byte("a")).Partition(3)
	w.produce(p, "new", "")
	w.commit()
	total := p.Bytes()
	cut, err := p.owner.CutBefore(w.open[0], p, Mark{30, total - record.RecordHeaderBytes - 3})
	if err != nil || cut.Messages != 30 || cut.Bytes != total-record.RecordHeaderBytes-3 {
		t.Fatalf("%+v %v", cut, err)
	}
	w.commit()
	if p.Floor() != 30 || p.Bytes() != record.RecordHeaderBytes+3 {
		t.Fatalf("floor %d bytes %d", p.Floor(), p.Bytes())
	}
	sameState(t, e, w.recovered(Config{IdemWindowMs: 1000}, w.checkpoint(), len(w.frames)))
}
