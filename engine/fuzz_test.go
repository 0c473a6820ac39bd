package engine

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"ayder/internal/record"
)

// Outside bytes reach the engine in two forms, both behind a checksum: checkpoints and frames. Whatever they
// hold, the answer is an error or a state that can be encoded and restored again.

func FuzzRestore(f *testing.F) {
	f.Add(sampleWorld(f, 1).checkpoint())
	f.Add(sampleWorld(f, 3).checkpoint())
	f.Add(sampleGroups(f).checkpoint())
	f.Add(EncodeCheckpoint([][]byte{part(func(*captured, *Topic) {})}))
	f.Add(EncodeCheckpoint(nil))
	f.Add(kvWorld(f).checkpoint())
	f.Add(changedWorld(f).checkpoint())
	f.Add(sampleSchemas(f).checkpoint())
	f.Add(samplePipelines(f, 2).checkpoint())
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 16<<10 { // each topic is worth up to 128 KiB of partitions
			return
		}
		e := New(Config{Shards: 2, IdemKeysMax: 100})
		if err := e.Restore(b); err != nil {
			if !errors.Is(err, ErrCheckpoint) {
				t.Fatal(err)
			}
			return
		}
		again := New(Config{Shards: 3, IdemKeysMax: 100})
		if err := again.Restore(checkpointOf(e)); err != nil {
			t.Fatal("what was restored does not restore again:", err)
		}
		sameState(t, e, again)
	})
}

// sampleGroups is a world in which every kind of command about groups occurs.
func sampleGroups(t testing.TB) *world {
	w := newWorld(t, Config{})
	p := w.topic("t", 3).Partition(0)
	for _, id := range []string{"a", "b", "c"} {
		w.join("g", id, "t", "u")
	}
	w.topic("u", 2)
	if _, err := w.coordinator().RefreshGroup(w.opener(), w.coordinator().Membership([]byte("g"))); err != nil {
		t.Fatal(err)
	}
	w.commit()
	w.acknowledge("g", "a")
	w.leave("g", "c")
	w.join("h", "a", "t")
	w.leave("h", "a")
	w.join("i", "x", "t")
	w.produce(p, "v", "")
	w.commit()
	for _, group := range []string{"g", "h"} {
		if err := p.owner.ResetOffset(w.open[p.Shard()], p, []byte(group), 1); err != nil {
			t.Fatal(err)
		}
	}
	w.commit()
	p.owner.DeleteGroup(w.open[p.Shard()], p, []byte("h"))
	w.commit()
	return w
}

// fuzzFrames cuts fuzz input into frames with correct headers: a length in two bytes, then the payload.
func fuzzFrames(b []byte, each func(f record.Frame) bool) {
	for index := uint64(1); len(b) >= 2; index++ {
		n := min(int(binary.LittleEndian.Uint16(b)), len(b)-2)
		f := record.Frame{Header: record.Header{Index: index, TimeMs: index * 100, Kind: record.KindBatch}, Payload: b[2 : 2+n]}
		b = b[2+n:]
		if !each(f) {
			return
		}
	}
}

// fuzzSeed is the reverse for the frames of a log.
func fuzzSeed(w *world) (b []byte) {
	for _, frame := range w.frames {
		payload := frame[record.FrameHeaderBytes:]
		b = binary.LittleEndian.AppendUint16(b, uint16(len(payload)))
		b = append(b, payload...)
	}
	return b
}

// kvWorld has keys that live, expire, were deleted and came back.
func kvWorld(t testing.TB) *world {
	w := newWorld(t, Config{Shards: 2})
	for i := range 5 {
		key := string(rune('a' + i%3))
		w.kvPut("ns", key, "value", KVOptions{TTLMs: uint64(i % 2 * 50)})
		w.kvPut("other", key+"/x", "", KVOptions{})
		w.kvDelete("ns", "b", KVOptions{})
		w.commit()
		w.later(30)
	}
	w.e.Shard(0).KVExpireDue(w.open[0], w.now, 9)
	w.e.Shard(1).KVExpireDue(w.open[1], w.now, 9)
	w.commit()
	return w
}

func FuzzApplyReplay(f *testing.F) {
	f.Add(fuzzSeed(kvWorld(f)))
	f.Add(fuzzSeed(sampleWorld(f, 1)))
	w := newWorld(f, Config{})
	p := w.topic("t", 1).Partition(0)
	w.produce(p, "v", "k")
	w.commit()
	w.many(p, "many", "a", "b")
	w.commitOffset(p, "g", 2)
	w.commit()
	f.Add(fuzzSeed(w))
	f.Add(fuzzSeed(sampleGroups(f)))
	f.Add(fuzzSeed(changedWorld(f)))
	f.Add(fuzzSeed(sampleSchemas(f)))
	f.Add(fuzzSeed(samplePipelines(f, 1)))
	f.Add(append([]byte{8, 0}, bytes.Repeat([]byte{0xff}, 8)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 8<<10 {
			return
		}
		config := Config{Shards: 2, IdemWindowMs: 300, IdemKeysMax: 3}
		e := New(config)
		failed := false
		fuzzFrames(b, func(f record.Frame) bool {
			err := e.ApplyReplay(f)
			if err != nil && !errors.Is(err, ErrDiverged) && !errors.Is(err, record.ErrMalformed) {
				t.Fatal(err)
			}
			failed = err != nil
			return !failed
		})
		if failed {
			return
		}
		config.Shards = 1
		restored := New(config)
		if err := restored.Restore(checkpointOf(e)); err != nil {
			t.Fatal("a state that came from frames does not restore:", err)
		}
		sameState(t, e, restored)
	})
}
