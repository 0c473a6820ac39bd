package query

// Where a join keeps the bytes of messages that wait for a partner: chunks of 64 KiB that are filled one after the other. Messages
// come and go in about the same order, so a chunk whose last message has gone is filled again, and a join that has seen its window once
// allocates nothing any more. A single message that outlives its time keeps its chunk; what the arena occupies, and not what is
// alive in it, is what counts against the limit of memory.

// arenaChunkBytes is what is allocated at once; longer data has a chunk of its own.
const arenaChunkBytes = 64 << 10

// arenaSparesMax is how many empty chunks are kept.
const arenaSparesMax = 16

type arena struct {
	chunks []arenaChunk
	spares []int32 // empty, with memory
	unused []int32 // without memory
	open   int32   // the one that is filled
	bytes  int     // of all chunks that have memory
}

type arenaChunk struct {
	data []byte // its length is what is used
	live int    // spans in it
}

// arenaSpan is a piece of the arena.
type arenaSpan struct {
	chunk int32
	at, n uint32
}

// keep copies the parts, one behind the other.
func (a *arena) keep(parts ...[]byte) arenaSpan {
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	id := a.room(n)
	c := &a.chunks[id]
	s := arenaSpan{id, uint32(len(c.data)), uint32(n)}
	for _, p := range parts {
		c.data = append(c.data, p...)
	}
	c.live++
	return s
}

// get returns the bytes of s.
func (a *arena) get(s arenaSpan) []byte { return a.chunks[s.chunk].data[s.at : s.at+s.n : s.at+s.n] }

// release gives s back.
func (a *arena) release(s arenaSpan) {
	c := &a.chunks[s.chunk]
	if c.live--; c.live > 0 {
		return
	}
	c.data = c.data[:0]
	if s.chunk != a.open {
		a.retire(s.chunk)
	}
}

// room returns a chunk that n bytes fit in.
func (a *arena) room(n int) int32 {
	if n > arenaChunkBytes/4 {
		return a.newChunk(n)
	}
	if len(a.chunks) > 0 {
		if c := &a.chunks[a.open]; cap(c.data)-len(c.data) >= n {
			return a.open
		}
	}
	a.open = a.next() // what was open is full of what lives, and is retired with the last of it
	return a.open
}

func (a *arena) next() int32 {
	if n := len(a.spares); n > 0 {
		id := a.spares[n-1]
		a.spares = a.spares[:n-1]
		return id
	}
	return a.newChunk(arenaChunkBytes)
}

func (a *arena) newChunk(size int) int32 {
	a.bytes += size
	data := make([]byte, 0, size)
	if n := len(a.unused); n > 0 {
		id := a.unused[n-1]
		a.unused = a.unused[:n-1]
		a.chunks[id].data = data
		return id
	}
	a.chunks = append(a.chunks, arenaChunk{data: data})
	return int32(len(a.chunks) - 1)
}

// retire keeps an empty chunk for later, or gives its memory back.
func (a *arena) retire(id int32) {
	c := &a.chunks[id]
	if cap(c.data) == arenaChunkBytes && len(a.spares) < arenaSparesMax {
		a.spares = append(a.spares, id)
		return
	}
	a.bytes -= cap(c.data)
	c.data = nil
	a.unused = append(a.unused, id)
}
