package engine

import (
	"math/rand/v2"
	"runtime"
	"testing"
)

// windowModel is a window as one would write it without a thought about memory.
type windowModel []entry

func (m windowModel) lookup(h keyHash, now, windowMs uint64, most int) *entry {
	live := m[max(0, len(m)-most):]
	for i := len(live) - 1; i >= 0; i-- {
		if live[i].hash == h {
			if expired(live[i].timeMs, now, windowMs) {
				return nil
			}
			return &live[i]
		}
	}
	return nil
}

// hashes come from few values, so that keys repeat, tags collide with different hashes behind them, and
// everything wants to live in the same corner of the table.
func crowdedHash(rng *rand.Rand, keys int) keyHash {
	n := uint64(rng.IntN(keys))
	return keyHash{(n % 7) << 34, n}
}

func spreadHash(rng *rand.Rand, keys int) keyHash {
	n := uint64(rng.IntN(keys))
	return keyHash{n * 0x9E3779B97F4A7C15, n}
}

func TestWindowAgainstModel(t *testing.T) {
	for name, hash := range map[string]func(*rand.Rand, int) keyHash{"crowded": crowdedHash, "spread": spreadHash} {
		for seed := range uint64(30) {
			rng := rand.New(rand.NewPCG(seed, 1))
			keys, most, windowMs := 1+rng.IntN(400), 1+rng.IntN(3000), uint64(1+rng.IntN(3000))
			w, model, now := &window{}, windowModel{}, uint64(10)
			for step := range 4000 {
				now += uint64(rng.IntN(3))
				if rng.IntN(500) == 0 {
					now += windowMs / 2 // a pause: much expires at once, and the table shrinks
				}
				h := hash(rng, keys)
				got, want := w.lookup(h, now, windowMs), model.lookup(h, now, windowMs, most)
				if (got == nil) != (want == nil) || got != nil && *got != *want {
					t.Fatalf("%s seed %d step %d: %+v, want %+v", name, seed, step, got, want)
				}
				if rng.IntN(10) == 0 { // put over a live one too: another node's window may have been shorter
					got = nil
				}
				if got == nil {
					k := entry{hash: h, first: uint64(step), timeMs: now, count: 1}
					w.put(k, windowMs, most)
					model = append(model, k)
				} else if rng.IntN(3) == 0 {
					w.expire(now, windowMs, rng.IntN(300))
				}
				if step%64 == 0 {
					checkWindow(t, w)
				}
			}
		}
	}
}

// checkWindow verifies the invariants of both parts and between them.
func checkWindow(t *testing.T, w *window) {
	t.Helper()
	newest := map[keyHash]uint64{}
	for seq := w.queue.head; seq < w.queue.tail; seq++ {
		newest[w.queue.at(seq).hash] = seq
		if seq > w.queue.head && w.queue.at(seq).timeMs < w.queue.at(seq-1).timeMs {
			t.Fatalf("time falls at %d", seq)
		}
	}
	slots := 0
	for _, s := range w.table.slots {
		if s != 0 {
			slots++
		}
	}
	if slots != w.table.used {
		t.Fatalf("%d slots in use, counted %d", slots, w.table.used)
	}
	for _, s := range w.table.old {
		if s > tombstone {
			slots++
		}
	}
	if slots != len(newest) {
		t.Fatalf("%d slots for %d keys", slots, len(newest))
	}
	for h, seq := range newest {
		if got, ok := w.table.find(h, &w.queue); !ok || got != seq {
			t.Fatalf("key %v is at %d, found %d %v", h, seq, got, ok)
		}
	}
}

// Sequence numbers are kept by their low 32 bits: nothing happens where those begin anew.
func TestSequenceNumbersPass32Bits(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	w := &window{}
	w.queue.head, w.queue.tail = 1<<32-5000, 1<<32-5000
	w.queue.tail &^= chunkKeys - 1
	w.queue.head = w.queue.tail
	for i := range uint64(12_000) {
		w.put(entry{hash: spreadHash(rng, 1<<40), first: i, timeMs: i, count: 1}, 1<<40, 2000)
		if i%97 == 0 {
			checkWindow(t, w)
		}
	}
}

func TestWindowShrinksAndGivesBack(t *testing.T) {
	w := newWorld(t, Config{IdemWindowMs: 1000})
	tp := w.topic("t", 2)
	p, other := tp.Partition(0), tp.Partition(1)
	for i := range 5000 {
		w.must(p, "", string(rune(0x4e00+i)), Append{Offset: uint64(i), Count: 1})
	}
	w.commit()
	slots := len(p.window.table.slots)
	w.later(1000)
	// Nobody writes to p any more, and the traffic of another partition frees its window nonetheless.
	for i := 0; p.window != nil; i++ {
		if i > 100 {
			t.Fatalf("%d keys left after %d frames", p.window.queue.len(), i)
		}
		if i == 19 && len(p.window.table.slots) >= slots {
			t.Fatalf("%d keys in %d slots", p.window.queue.len(), len(p.window.table.slots))
		}
		w.produce(other, "tick", "")
		w.commit()
	}
	if len(w.e.Shard(0).windows) != 0 {
		t.Fatal("an empty window is still swept")
	}
	w.must(p, "", string(rune(0x4e00)), Append{Offset: 5000, Count: 1})
	w.commit()
	sameState(t, w.e, w.recovered(Config{IdemWindowMs: 1000}, nil, 0))
}

func TestMemoryPerKey(t *testing.T) {
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	for _, c := range []struct {
		n    uint64
		most float64
	}{{95_000, 64}, {99_000, 73}, {105_000, 64}, {300_000, 64}} { // the second is in the middle of a move
		n := c.n
		before := heap()
		w := &window{}
		for i := range n {
			w.put(entry{hash: keyHash{i * 0x9E3779B97F4A7C15, i}, first: i, timeMs: 1, count: 1}, 1<<40, 1<<30)
		}
		after := heap()
		perKey := float64(after-before) / float64(n)
		runtime.KeepAlive(w)
		t.Logf("%d keys: %.1f bytes each", n, perKey)
		if perKey > c.most {
			t.Fatalf("%.1f bytes a key, %.0f were promised", perKey, c.most)
		}
	}
	before := heap()
	small := make([]*window, 1000)
	for i := range small {
		small[i] = &window{}
		small[i].put(entry{hash: keyHash{1, 2}, count: 1}, 1, 1)
	}
	perWindow := float64(heap()-before) / 1000
	runtime.KeepAlive(small)
	if perWindow > 1024 {
		t.Fatalf("a window with one key takes %.0f bytes", perWindow)
	}
}

// A capture keeps reading while the window goes on: the race detector watches, and the values must stay.
func TestCapturedKeysStay(t *testing.T) {
	w := &window{}
	put := func(i uint64) {
		w.put(entry{hash: keyHash{i * 0x9E3779B97F4A7C15, i}, first: i, timeMs: i, count: 1}, 1<<40, 2500)
	}
	for i := range uint64(3000) {
		put(i)
	}
	for round := range uint64(20) {
		c := w.queue.capture()
		head, tail := c.head, c.tail
		done := make(chan bool)
		go func() {
			good := true
			for range 3 {
				for seq := head; seq < tail; seq++ {
					good = good && c.at(seq).first == seq && c.at(seq).hash[1] == seq
				}
			}
			done <- good
		}()
		for i := range uint64(3000) {
			put(3000 + round*3000 + i)
		}
		if !<-done {
			t.Fatal("captured entries were overwritten")
		}
	}
}
