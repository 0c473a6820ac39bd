package netpoll

import "math/bits"

// The buffers of one loop: output that gathers during a turn or is on its way, and input that came in pieces. Free
// ones wait in stacks by power of two, so the next connection gets the memory that was touched last. Connections hold
// a buffer only while there is something in it; that keeps an idle one under 1 KiB, and a loop that answers N
// connections per turn lives on about 2 N small buffers for ever.
//
// They are ordinary Go slices. The kernel reads from them while a send is in flight, which is sound because the
// collector does not move heap objects and Conn.flight keeps them reachable until the completion. Off-heap memory was
// rejected: handlers append to these slices, and an append that outgrows one must give a slice of the same nature.

const (
	poolBitsMin = 12 // 4 KiB: several answers of a small request
	poolBitsMax = 20 // 1 MiB: larger ones are rare and left to the collector
)

// bufPool belongs to one loop.
type bufPool struct {
	free [poolBitsMax + 1 - poolBitsMin][][]byte
	// held is the sum of the capacities in free. Invariant: held <= poolBytesMax.
	held int
}

// get returns an empty slice with room for n bytes.
func (p *bufPool) get(n int) []byte {
	class := classAbove(n)
	if class >= len(p.free) {
		return make([]byte, 0, n)
	}
	stack := p.free[class]
	if len(stack) == 0 {
		return make([]byte, 0, 1<<(class+poolBitsMin))
	}
	b := stack[len(stack)-1]
	stack[len(stack)-1] = nil
	p.free[class] = stack[:len(stack)-1]
	p.held -= cap(b)
	return b
}

// put takes b back; nobody may use it any more. Sizes that the pool does not keep are left to the collector.
func (p *bufPool) put(b []byte) {
	n := cap(b)
	if n < 1<<poolBitsMin || n >= 2<<poolBitsMax || p.held+n > poolBytesMax {
		return
	}
	class := bits.Len(uint(n)) - 1 - poolBitsMin
	p.free[class] = append(p.free[class], b[:0])
	p.held += n
}

// classAbove is the smallest class whose buffers hold n bytes.
func classAbove(n int) int {
	if n <= 1<<poolBitsMin {
		return 0
	}
	return bits.Len(uint(n-1)) - poolBitsMin
}
