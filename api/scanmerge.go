package api

import (
	"iter"

	"ayder/internal/query"
)

// A scan of several partitions by time: for joins, to which a message counts as late once later ones of both sides have been seen. Read in turns,
// a partition with few messages would be hours ahead of the others, and all of theirs would be dropped.
//
// Every partition has a page of its own, and the one whose next message is the earliest is shown next; of equal ones that of the lower
// partition. A client may give messages times of its own (ts_ms), so a single one may lie in the far future. It must not hold up its partition
// until all others are read: a message belongs where the earliest of it and the few behind it does. Pages are filled before fewer
// than these few are left.
//
// A thousand partitions may each have a message of 8 MiB next. So a page has its share of a few MiB only; of a larger message it knows
// no more than the time, and the message is read once more when it is shown.

// merge is a scan by time.
type merge struct {
	scan  *scan
	share int          // bytes of a page
	heads []*mergeHead // a heap, the earliest first
}

// mergeHead is a partition, at its next message.
type mergeHead struct {
	at     *extent
	page   scanPage
	index  int    // of the next message in the page
	timeMs uint64 // where it belongs
}

// byTime yields the messages of all partitions, merged by the log's times. Each is valid until the next is asked for.
func (s *scan) byTime() iter.Seq[*query.Message] {
	if len(s.extents) == 1 {
		return s.all()
	}
	return func(yield func(*query.Message) bool) {
		g := &merge{scan: s, share: mergePagesBytes / len(s.extents)}
		for i := range s.extents {
			if s.err = g.begin(&s.extents[i]); s.err != nil {
				return
			}
		}
		g.run(yield)
	}
}

// begin puts a partition into the heap, if it has messages.
func (g *merge) begin(at *extent) error {
	h := &mergeHead{at: at, page: scanPage{large: g.share}}
	there, err := g.ready(h)
	if err != nil || !there {
		return err
	}
	g.heads = append(g.heads, h)
	for i := len(g.heads) - 1; i > 0; {
		up := (i - 1) / 2
		if !g.heads[i].before(g.heads[up]) {
			break
		}
		g.heads[i], g.heads[up] = g.heads[up], g.heads[i]
		i = up
	}
	return nil
}

// run shows messages until there is none left, or nobody wants one.
func (g *merge) run(yield func(*query.Message) bool) {
	var m query.Message
	for len(g.heads) > 0 {
		h := g.heads[0]
		there, err := g.show(h, &m)
		if err != nil || there && !yield(&m) {
			g.scan.err = err
			return
		}
		h.index++
		if there, err = g.ready(h); err != nil {
			g.scan.err = err
			return
		}
		if !there {
			last := len(g.heads) - 1
			g.heads[0] = g.heads[last]
			g.heads = g.heads[:last]
		}
		g.sink()
	}
}

// show sets m to the next message of a partition. False: it was left out, and has gone since.
func (g *merge) show(h *mergeHead, m *query.Message) (there bool, err error) {
	m.Partition = h.at.stream.Partition
	e := &h.page.messages[h.index]
	if !e.absent {
		h.page.get(h.index, m)
		return true, nil
	}
	p := g.scan.page
	p.reset()
	alone := extent{stream: h.at.stream, next: e.offset, end: e.offset + 1}
	if err := g.scan.fill(p, &alone, 1, 1); err != nil || len(p.messages) == 0 {
		return false, err
	}
	p.get(0, m)
	return true, nil
}

// ready sees to it that the next message of a partition is there, and those that say where it belongs. False: there is none.
func (g *merge) ready(h *mergeHead) (there bool, err error) {
	p := &h.page
	if left := len(p.messages) - h.index; left == 0 || left < mergeAheadMessages && h.at.next < h.at.end && p.bytesFrom(h.index) < g.share {
		p.drop(h.index)
		h.index = 0
		if err := g.scan.fill(p, h.at, max(g.scan.turn, mergePageMessages), g.share); err != nil {
			return false, err
		}
	}
	if h.index == len(p.messages) {
		return false, nil
	}
	ahead := p.messages[h.index:min(h.index+mergeAheadMessages, len(p.messages))]
	h.timeMs = ahead[0].timeMs
	for i := range ahead {
		h.timeMs = min(h.timeMs, ahead[i].timeMs)
	}
	return true, nil
}

// sink moves the first partition to where it belongs.
func (g *merge) sink() {
	for i := 0; ; {
		least := i
		for _, down := range [...]int{2*i + 1, 2*i + 2} {
			if down < len(g.heads) && g.heads[down].before(g.heads[least]) {
				least = down
			}
		}
		if least == i {
			return
		}
		g.heads[i], g.heads[least] = g.heads[least], g.heads[i]
		i = least
	}
}

func (h *mergeHead) before(o *mergeHead) bool {
	if h.timeMs != o.timeMs {
		return h.timeMs < o.timeMs
	}
	return h.at.stream.Partition < o.at.stream.Partition
}
