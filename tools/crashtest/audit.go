package main

import (
	"bytes"
	"errors"
	"fmt"

	"ayder/internal/testkit/proc"
)

// The audit reads every partition to its end and holds it against the ledger:
//
//	offsets   follow each other: no gap, no repetition
//	messages  were sent, to this partition, and have the bytes that were sent
//	batches   lie in one piece, in line order, whole or not at all, and once
//	answers   are kept: what was acknowledged is there, where the answer said
//	order     of one connection's acknowledged requests is the order of their offsets
//	commits   of a consumer group that were acknowledged are still there
//
// An unanswered request may be there, once, or not. Only the consume call is used: what a client
// cannot see is not kept.
//
// Reading everything in every round would take most of the time after some rounds. So an audit may begin
// where the one before it ended, and builds on what that one found: a message of an earlier round that
// turns up again is a duplicate all the same. Every fullAuditEvery rounds, and at the end, it reads all.

// faults collects what is wrong; the first few are told in full.
type faults struct {
	texts []string
	total int
}

func (f *faults) addf(format string, args ...any) {
	if f.total++; f.total <= faultsMax {
		f.texts = append(f.texts, fmt.Sprintf(format, args...))
	}
}

func (f *faults) merge(other *faults) {
	f.total += other.total
	f.texts = append(f.texts, other.texts...)
	f.texts = f.texts[:min(len(f.texts), faultsMax)]
}

// err is nil if nothing is wrong.
func (f *faults) err() error {
	if f.total == 0 {
		return nil
	}
	errs := []error{fmt.Errorf("%d faults", f.total)}
	for _, t := range f.texts {
		errs = append(errs, errors.New(t))
	}
	return errors.Join(errs...)
}

// audit compares a server's messages with a ledger.
type audit struct {
	seed     uint64
	ledger   *ledger
	faults   faults
	messages int // found
	late     int // requests found although they were never answered
	payload  []byte
}

// source hands out a partition's messages from an offset on; proc.Client.Each over a server.
type source func(partition int, from uint64, visit func(*proc.Message) error) (end uint64, err error)

// run reads what lies behind from, which is where an audit of the same ledger ended, or everything. It
// returns where the partitions end. The error is one of reading; faults are in a.faults.
func (a *audit) run(read source, from [partitions]uint64) ([partitions]uint64, error) {
	ends := from
	if from == ([partitions]uint64{}) {
		a.ledger.each(func(_ *page, _ int, r *request) { r.found, r.at = 0, 0 })
	}
	for p := range partitions {
		next := from[p]
		end, err := read(p, next, func(m *proc.Message) error {
			if m.Offset != next {
				a.faults.addf("partition %d: offset %d follows %d", p, m.Offset, int64(next)-1)
			}
			next = m.Offset + 1
			a.message(p, m)
			return nil
		})
		if err != nil {
			return ends, fmt.Errorf("read partition %d: %w", p, err)
		}
		if end != next {
			a.faults.addf("partition %d: next_offset is %d behind offset %d", p, end, int64(next)-1)
		}
		ends[p] = end
	}
	a.promises()
	a.order()
	return ends, nil
}

// message checks one message by itself and notes that its line was found.
func (a *audit) message(partition int, m *proc.Message) {
	a.messages++
	n, err := parseName(a.seed, m.ValueB64)
	if err != nil {
		a.faults.addf("partition %d, offset %d: %v: %.60q", partition, m.Offset, err, m.ValueB64)
		return
	}
	r := a.ledger.find(n)
	if r == nil || int(r.partition) != partition {
		a.faults.addf("partition %d, offset %d: %+v was not sent here", partition, m.Offset, n)
		return
	}
	a.payload = appendPayload(a.payload[:0], a.seed, n, r.ndjson)
	if !bytes.Equal(a.payload, m.ValueB64) {
		a.faults.addf("partition %d, offset %d: %+v has other bytes than were sent", partition, m.Offset, n)
	}
	a.line(partition, m.Offset, n, r)
}

// line checks a message's place among the lines of its request.
func (a *audit) line(partition int, offset uint64, n name, r *request) {
	if n.line == 0 && r.found == 0 {
		r.at = offset
	}
	if n.line != r.found || offset != r.at+uint64(n.line) {
		a.faults.addf("partition %d, offset %d: %+v comes after %d lines of its request, at %d: a duplicate or a torn batch",
			partition, offset, n, r.found, r.at)
		return
	}
	r.found++
}

// promises compares what was answered with what was found.
func (a *audit) promises() {
	a.ledger.each(func(p *page, number int, r *request) {
		where := func() string {
			return fmt.Sprintf("round %d, connection %d, request %d (partition %d)", p.round, p.conn, number, r.partition)
		}
		switch {
		case r.acked && r.found == 0:
			a.faults.addf("%s: acknowledged at offset %d, lost", where(), r.offset)
		case r.found != 0 && r.found != r.lines:
			a.faults.addf("%s: %d of %d lines are there", where(), r.found, r.lines)
		case r.acked && r.at != r.offset:
			a.faults.addf("%s: acknowledged at offset %d, found at %d", where(), r.offset, r.at)
		case !r.acked && r.found != 0:
			a.late++
		}
	})
}

// order checks that requests of one connection that were answered kept their order.
func (a *audit) order() {
	for _, pages := range a.ledger.rounds {
		for _, p := range pages {
			a.orderOf(p)
		}
	}
}

func (a *audit) orderOf(p *page) {
	var next [partitions]uint64
	for i := range p.requests {
		r := &p.requests[i]
		if r.found == 0 {
			continue
		}
		if r.at < next[r.partition] {
			a.faults.addf("round %d, connection %d: request %d lies at offset %d of partition %d, before the one sent before it",
				p.round, p.conn, i, r.at, r.partition)
		}
		next[r.partition] = r.at + uint64(r.lines)
	}
}
