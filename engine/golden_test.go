package engine

import (
	"bytes"
	"os"
	"testing"

	"ayder/internal/record"
)

// testdata/v1 holds a log and a checkpoint of the first version, and stays as it is for good: what was
// written once can be read by every later version. The log is that of sampleWorld with one shard, in the form of
// fuzzSeed; the checkpoint is of two shards.

func golden(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile("testdata/v1/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestLogOfVersion1(t *testing.T) {
	want := sampleWorld(t, 1)
	e := New(want.e.Config())
	index := uint64(0)
	fuzzFrames(golden(t, "log"), func(f record.Frame) bool {
		index++
		f.TimeMs = want.frame(int(index)).TimeMs
		if err := e.ApplyReplay(f); err != nil {
			t.Fatal(err)
		}
		return true
	})
	sameState(t, want.e, e)
	if !bytes.Equal(golden(t, "log"), fuzzSeed(want)) {
		t.Fatal("commands are encoded differently now: a new version of the body is needed")
	}
}

func TestCheckpointOfVersion1(t *testing.T) {
	want := sampleWorld(t, 2)
	e := New(Config{IdemWindowMs: 1000})
	if err := e.Restore(golden(t, "checkpoint")); err != nil {
		t.Fatal(err)
	}
	sameState(t, want.e, e)
	if !bytes.Equal(golden(t, "checkpoint"), want.checkpoint()) {
		t.Fatal("checkpoints are encoded differently now: a new version is needed")
	}
}
