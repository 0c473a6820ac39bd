package main

// The ledger is what the clients know: every request that was sent, and for those that were
// answered the offset that the server promised. Each connection writes its own page, so nothing is
// shared while the load runs; the audit reads when all connections have ended.

// request is one produce, of one message or of a batch.
type request struct {
	partition uint8
	ndjson    bool
	acked     bool
	lines     uint16
	offset    uint64 // of the first message; valid if acked

	// Filled by an audit.
	found uint16 // lines seen so far
	at    uint64 // offset at which line 0 was seen
}

// page is what one connection sent in one round.
type page struct {
	round, conn uint16
	requests    []request
}

// ledger has a page per round and connection.
type ledger struct {
	rounds [][]*page
}

// open starts a round's pages.
func (l *ledger) open(conns int) []*page {
	pages := make([]*page, conns)
	for i := range pages {
		pages[i] = &page{round: uint16(len(l.rounds)), conn: uint16(i)}
	}
	l.rounds = append(l.rounds, pages)
	return pages
}

// find returns the request that a message belongs to, nil if nobody sent it.
func (l *ledger) find(n name) *request {
	if int(n.round) >= len(l.rounds) || int(n.conn) >= len(l.rounds[n.round]) {
		return nil
	}
	p := l.rounds[n.round][n.conn]
	if int(n.request) >= len(p.requests) {
		return nil
	}
	r := &p.requests[n.request]
	if n.line >= r.lines {
		return nil
	}
	return r
}

// each visits every request, round by round, connection by connection, in the order of sending.
func (l *ledger) each(visit func(p *page, number int, r *request)) {
	for _, pages := range l.rounds {
		for _, p := range pages {
			for i := range p.requests {
				visit(p, i, &p.requests[i])
			}
		}
	}
}

// count is a summary of a round.
type count struct {
	requests, messages int // acknowledged
	open               int // requests without an answer
}

func (l *ledger) count(round int) (c count) {
	for _, p := range l.rounds[round] {
		for i := range p.requests {
			if r := &p.requests[i]; r.acked {
				c.requests++
				c.messages += int(r.lines)
			} else {
				c.open++
			}
		}
	}
	return c
}
