package main

import (
	"errors"
	"fmt"
)

// The audit looks at what is there when all is over: every node's log, read through its own consume call,
// against what the clients were told. It needs no search and says by itself what went wrong:
//
//	nodes      hold the same messages, with the same bytes, at the same offsets
//	messages   were written by this run, to this partition, and have their bytes
//	answers    are kept: what was acknowledged is there, where the answer said
//	refusals   too: what was refused for certain is not there
//	once       no message occurs twice, however often it was sent
//	followers  never showed anything that is not in the log

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

// message is one message as a node shows it.
type message struct {
	offset uint64
	time   uint64 // ts_ms, which is part of the log and the same everywhere
	value  string
}

func (m message) String() string {
	return fmt.Sprintf("%.40q at offset %d of time %d", m.value, m.offset, m.time)
}

// contents is what one node holds, by partition.
type contents map[int][]message

// compare holds a node's log against another's.
func compare(f *faults, nameA, nameB string, a, b contents) {
	for p := range partitionsAll {
		if len(a[p]) != len(b[p]) {
			f.addf("partition %d: %s holds %d messages, %s %d", p, nameA, len(a[p]), nameB, len(b[p]))
		}
		for i := range min(len(a[p]), len(b[p])) {
			if a[p][i] != b[p][i] {
				f.addf("partition %d: %s has %s, %s %s", p, nameA, a[p][i], nameB, b[p][i])
				break
			}
		}
	}
}

// index finds where the log holds each operation's message, and looks at each.
func (c contents) index(f *faults, seed uint64) map[uint64]place {
	places := make(map[uint64]place)
	for p := range partitionsAll {
		for i, m := range c[p] {
			if m.offset != uint64(i) {
				f.addf("partition %d: offset %d is in place %d", p, m.offset, i)
			}
			id, err := parseValue(seed, []byte(m.value))
			if err != nil {
				f.addf("partition %d, offset %d: %v", p, m.offset, err)
				continue
			}
			if at, twice := places[id]; twice {
				f.addf("operation %d: its message is at offset %d of partition %d and at offset %d of partition %d",
					id, at.offset, at.partition, m.offset, p)
			}
			places[id] = place{p, m.offset}
		}
	}
	return places
}

// promises compares what was answered with what is there.
func (h history) promises(f *faults, places map[uint64]place) {
	known := 0
	for i := range h {
		o := &h[i]
		if !o.kind.writes() {
			continue
		}
		at, found := places[o.id]
		if found {
			known++
		}
		switch {
		case found && at.partition != o.partition:
			f.addf("%s: found in partition %d", o.where(), at.partition)
		case o.outcome == outcomeOK && !found:
			f.addf("%s: acknowledged at offset %d, LOST", o.where(), o.offset)
		case o.outcome == outcomeOK && at.offset != o.offset:
			f.addf("%s: acknowledged at offset %d, found at %d", o.where(), o.offset, at.offset)
		case (o.outcome == outcomeRefused || o.outcome == outcomeFailed) && found:
			f.addf("%s: %s, found at offset %d", o.where(), o.outcome, at.offset)
		}
	}
	if known != len(places) {
		f.addf("%d messages are there that no client sent", len(places)-known)
	}
}

// followers checks that what followers showed is a piece of the log.
func (h history) followers(f *faults, final map[int][]uint64) {
	for i := range h {
		o := &h[i]
		if o.kind != kindFollower || o.outcome != outcomeOK {
			continue
		}
		log := final[o.partition]
		if end := o.from + uint64(len(o.ids)); end > uint64(len(log)) {
			f.addf("%s: a follower showed messages up to offset %d, the log has %d", o.where(), end, len(log))
			continue
		}
		for j, id := range o.ids {
			if at := o.from + uint64(j); log[at] != id {
				f.addf("%s: a follower showed the message of operation %d at offset %d, where the log has that of %d", o.where(), id, at, log[at])
				break
			}
		}
	}
}

func (o *op) where() string {
	return fmt.Sprintf("client %d, %s %d (partition %d, node %d)", o.client, o.kind, o.id, o.partition, o.node+1)
}

// ids are the operations whose messages a log holds, in order.
func (c contents) ids(seed uint64) map[int][]uint64 {
	all := make(map[int][]uint64)
	for p, messages := range c {
		for _, m := range messages {
			id, err := parseValue(seed, []byte(m.value))
			if err != nil {
				id = 0 // index has told
			}
			all[p] = append(all[p], id)
		}
	}
	return all
}
