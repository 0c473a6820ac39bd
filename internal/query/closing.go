package query

// closing is a heap of cells by the end of their windows. A session's end moves on after it was put here: such an entry is put back with
// its new end when its turn comes, so that a message costs nothing.
type closing struct{ entries []closingEntry }

type closingEntry struct {
	end        int64
	cell       uint32
	generation uint32 // of the cell when it was put here
}

func (h *closing) push(e closingEntry) {
	h.entries = append(h.entries, e)
	for i := len(h.entries) - 1; i > 0; {
		up := (i - 1) / 2
		if h.entries[up].end <= h.entries[i].end {
			return
		}
		h.entries[up], h.entries[i] = h.entries[i], h.entries[up]
		i = up
	}
}

func (h *closing) pop() closingEntry {
	first, last := h.entries[0], len(h.entries)-1
	h.entries[0] = h.entries[last]
	h.entries = h.entries[:last]
	for i := 0; ; {
		least := i
		for _, down := range [...]int{2*i + 1, 2*i + 2} {
			if down < last && h.entries[down].end < h.entries[least].end {
				least = down
			}
		}
		if least == i {
			return first
		}
		h.entries[i], h.entries[least] = h.entries[least], h.entries[i]
		i = least
	}
}

// due takes the cells out whose windows end at the horizon or before.
func (a *aggregation) due() (cells []uint32) {
	h := a.closing
	for len(h.entries) > 0 && h.entries[0].end <= a.horizon {
		e := h.pop()
		switch {
		case a.cells[e.cell].generation != e.generation: // it became part of another session
		case a.end(e.cell) > e.end:
			h.push(closingEntry{a.end(e.cell), e.cell, e.generation})
		default:
			cells = append(cells, e.cell)
		}
	}
	return cells
}
