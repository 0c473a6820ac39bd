package main

import "testing"

func TestHeapPercent(t *testing.T) {
	for live, want := range map[uint64]int{0: 400, 1 << 20: 400, 64 << 20: 400, 256 << 20: 100, 512 << 20: 50, 64 << 30: heapPercentMin} {
		if got := heapPercent(live, 400); got != want {
			t.Errorf("%d bytes live: %d percent, want %d", live, got, want)
		}
	}
	if heapPercent(64<<30, 10) != 10 {
		t.Error("more than was set")
	}
}
