package api

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// ringer notes that it was called.
type ringer struct {
	alarm alarm
	rung  int
}

func (r *ringer) due(*loop, int64) { r.rung++ }

// TestAlarmsAgainstAModel sets, moves and cancels alarms at random; the earliest is always at the front, every one knows
// its place, and what is taken off comes in order.
func TestAlarmsAgainstAModel(t *testing.T) {
	for seed := range uint64(30) {
		rng := rand.New(rand.NewPCG(seed, 7))
		var h alarms
		all := make([]*ringer, 40)
		set := map[*ringer]int64{}
		for i := range all {
			all[i] = &ringer{}
			all[i].alarm.who = all[i]
		}
		for range 2000 {
			r := all[rng.IntN(len(all))]
			if rng.IntN(3) == 0 {
				h.cancel(&r.alarm)
				delete(set, r)
			} else {
				at := 1 + rng.Int64N(50)
				h.set(&r.alarm, at)
				set[r] = at
			}
			earliest := int64(0)
			for _, at := range set {
				if earliest == 0 || at < earliest {
					earliest = at
				}
			}
			if h.next() != earliest || len(h) != len(set) {
				t.Fatalf("next %d of %d, want %d of %d", h.next(), len(h), earliest, len(set))
			}
			for i, a := range h {
				if a.slot != i+1 || set[a.who.(*ringer)] != a.at {
					t.Fatalf("place %d has an alarm for %d that believes to be at %d", i, a.at, a.slot)
				}
			}
		}
		var order []int64
		for len(h) > 0 {
			order = append(order, h[0].at)
			h.cancel(h[0])
		}
		if !slices.IsSorted(order) {
			t.Fatal(order)
		}
	}
}
