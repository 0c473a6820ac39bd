package raftlog

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/hashicorp/raft"
)

// Against a plain map: whatever the cache returns is what was put last, and it stays within its bounds.
func TestCacheAgainstAModel(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	c := newEntryCache(16, 1000)
	model, last := map[uint64][]byte{}, uint64(0)
	for range 20000 {
		switch rng.IntN(12) {
		case 0: // another leader's entries replace the end
			from := last - min(last, rng.Uint64N(8)) + 1
			c.truncate(from)
			for i := from; i <= last; i++ {
				delete(model, i)
			}
			last = from - 1
		case 1: // a gap: the log goes on elsewhere
			clear(model)
			last += 100
			fallthrough
		default:
			last++
			data := bytes.Repeat([]byte{byte(last)}, rng.IntN(200))
			c.put(&raft.Log{Index: last, Data: data})
			model[last] = data
			if !c.get(last, &raft.Log{}) {
				t.Fatalf("the entry %d that was just put is not there", last)
			}
		}
		var got raft.Log
		probe := last - min(last, rng.Uint64N(20))
		if c.get(probe, &got) && (got.Index != probe || !bytes.Equal(got.Data, model[probe])) {
			t.Fatalf("index %d: got %d with %d bytes, want %d bytes", probe, got.Index, len(got.Data), len(model[probe]))
		}
		if held := sizeOf(c); held != c.bytes || c.bytes > 1000 && c.first < c.last {
			t.Fatalf("%d bytes held, %d counted", held, c.bytes)
		}
	}
}

func sizeOf(c *entryCache) (n int) {
	for _, e := range c.ring {
		n += len(e.Data)
	}
	return n
}
