package engine

import (
	"bytes"
	"os"
	"testing"

	"ayder/internal/record"
)

// testdata/v1 and v2 hold a log and checkpoints of former versions, and stay as they are for good: what was
// written once can be read by every later version. The log is that of sampleWorld with one shard, in the form of
// fuzzSeed; the checkpoints are of two shards.

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

func TestCheckpointsOfFormerVersions(t *testing.T) {
	want := sampleWorld(t, 2)
	for _, name := range []string{"v1/checkpoint", "v2/checkpoint"} {
		e := New(Config{IdemWindowMs: 1000})
		if err := e.Restore(golden(t, name)); err != nil {
			t.Fatal(name, err)
		}
		sameState(t, want.e, e)
	}
	if !bytes.Equal(golden(t, "v2/checkpoint"), want.checkpoint()) {
		t.Fatal("checkpoints are encoded differently now: a new version is needed")
	}
}
