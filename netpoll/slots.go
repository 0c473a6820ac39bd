package netpoll

// Connections of a loop by number. A request to the kernel cannot carry a Go pointer, so it carries an id of 56 bits
// (the payload of internal/uring):
//
//	 55                    24 23          0
//	+------------------------+-------------+
//	| generation             | slot        |
//	+------------------------+-------------+
//
// A slot is given out again only when its connection is forgotten, which is after the completion of its last request;
// the generation, which grows with every use of the slot, is the second lock on the same door: a completion that
// comes later all the same finds nobody. Deadlines lie beside the connections in a plain array, so that the sweep
// over ten thousand of them reads 80 KB and no connection.

const (
	slotBits = 24
	slotMask = connSlotsMax - 1
)

// slotTable belongs to one loop.
type slotTable struct {
	conns       []*Conn
	generations []uint32
	deadlines   []int64 // per slot, monotonic ns, 0 for none
	armed       int     // how many deadlines are not 0
	free        []uint32
	live        int // conns that are not nil
}

// add gives c a slot and its id. false: all slots are taken.
func (t *slotTable) add(c *Conn) bool {
	if len(t.free) == 0 {
		if len(t.conns) == connSlotsMax {
			return false
		}
		t.conns = append(t.conns, nil)
		t.generations = append(t.generations, 0)
		t.deadlines = append(t.deadlines, 0)
		t.free = append(t.free, uint32(len(t.conns)-1))
	}
	slot := t.free[len(t.free)-1]
	t.free = t.free[:len(t.free)-1]
	t.generations[slot]++
	t.conns[slot] = c
	t.live++
	c.id = uint64(t.generations[slot])<<slotBits | uint64(slot)
	return true
}

// at is the connection with this id, nil when it is forgotten.
func (t *slotTable) at(id uint64) *Conn {
	slot := id & slotMask
	if slot >= uint64(len(t.conns)) {
		return nil
	}
	if c := t.conns[slot]; c != nil && c.id == id {
		return c
	}
	return nil
}

// remove frees the slot of c.
func (t *slotTable) remove(c *Conn) {
	slot := uint32(c.id & slotMask)
	if t.conns[slot] != c {
		panic("bug: connection forgotten twice")
	}
	t.setDeadline(c, 0)
	t.conns[slot] = nil
	t.live--
	t.free = append(t.free, slot)
}

// setDeadline sets or, with 0, clears the deadline of c.
func (t *slotTable) setDeadline(c *Conn, at int64) {
	d := &t.deadlines[c.id&slotMask]
	if *d != 0 {
		t.armed--
	}
	if at != 0 {
		t.armed++
	}
	*d = at
}

func (t *slotTable) deadline(c *Conn) int64 { return t.deadlines[c.id&slotMask] }
