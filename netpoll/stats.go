package netpoll

import "sync"

// LoopStats are one loop's numbers since its start; Conns is the present number.
type LoopStats struct {
	Conns        int64 // open now
	Accepted     int64 // connections opened
	Closed       int64 // connections ended
	Refused      int64 // accepted and closed at once: ConnsMax reached, or shutting down
	AcceptErrors int64 // failures of accept, for instance for want of descriptors
	BytesIn      int64
	BytesOut     int64 // taken by the kernel
	Sends        int64 // sends begun
	Starved      int64 // receives that found no free buffer and were repeated (uring)
	Turns        int64
}

// statsBoard is where a loop leaves its numbers once per turn, for everybody to read: a lock per turn is cheaper than
// an atomic per event.
type statsBoard struct {
	mu  sync.Mutex
	now LoopStats // under mu
}

func (b *statsBoard) publish(s *LoopStats) {
	b.mu.Lock()
	b.now = *s
	b.mu.Unlock()
}

func (b *statsBoard) read() LoopStats {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.now
}
