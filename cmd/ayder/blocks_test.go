package main

import (
	"sync"
	"testing"
	"time"
)

func TestBlocks(t *testing.T) {
	b := &blocks{}
	var all [][]byte
	for _, size := range []int{1, 4096, blockBytesMin, blockBytesMin + 1, 256 << 10, 8 << 20} {
		for range 3 {
			block := b.Get(size)
			if len(block) != size {
				t.Fatalf("%d bytes, want %d", len(block), size)
			}
			block[0], block[size-1] = 1, 2
			all = append(all, block)
		}
	}
	all = append(all, make([]byte, 33<<20)) // as if the system had given nothing
	for _, block := range all {
		b.Put(block)
	}
	if again := b.Get(256 << 10); again[0] != 1 {
		t.Error("a block that was kept is not used again")
	}
	deadline := time.Now().Add(30 * time.Second)
	for busy := true; busy; time.Sleep(time.Millisecond) {
		b.mu.Lock()
		busy = b.sweeping
		if b.kept > blocksKeptBytes {
			t.Errorf("%d bytes are kept", b.kept)
		}
		b.mu.Unlock()
		if time.Now().After(deadline) {
			t.Fatal("blocks are not given back")
		}
	}
}

func TestBlocksFromManyGoroutines(t *testing.T) {
	b := &blocks{}
	var loops sync.WaitGroup
	for g := range byte(4) {
		loops.Go(func() {
			for range 300 {
				var mine [][]byte
				for range 8 {
					block := b.Get(4 << 20)
					block[100] = g
					mine = append(mine, block)
				}
				for _, block := range mine {
					if block[100] != g {
						t.Error("a block has two owners")
					}
					b.Put(block)
				}
			}
		})
	}
	loops.Wait()
}
