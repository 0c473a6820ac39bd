package raftlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"

	"ayder/aof"
	"ayder/internal/record"
)

// The log store: raft.LogStore over the AOF, without a second copy on disk. An entry is a frame:
//
//	command      the frame that a loop's batch became; raft.Log.Data is all of it, header included
//	anything else  a frame of kind raft without sections, whose payload is raft's type and data
//
// StoreLogs places entries and returns; the log's thread writes them. That is safe because of the gates in node.go,
// and it is what lets the leader's sync overlap the followers'. Entries that raft itself depends on (no-op, barrier,
// configuration) are waited for: gate R4. A proposal comes as an empty command with a number, and is filled in here, where
// index and term are known: so a batch's bytes are sealed once and in place.
//
// Nothing here fails: a log that cannot go on ends the process, because raft's answer to a failed StoreLogs is to step
// down and be elected again (hashicorp/raft issue 614).

type store struct {
	log       *aof.Log
	thread    *aof.Thread
	cache     *entryCache
	proposals *proposals
	serial    bool // wait for every entry
	unsafe    *unsafeOptions
	fatal     func(error)
	join      func() error    // called before entries are stored
	early     func(*raft.Log) // used with the tag ackearly only

	last    time.Time       // when the newest entries were placed
	batches []*record.Batch // of the call that is going on
	loaded  []*record.Batch // hold foreign entries during a call
}

// IsMonotonic tells raft that entries follow one another without a gap.
func (s *store) IsMonotonic() bool { return true }

// FirstIndex implements raft.LogStore.
func (s *store) FirstIndex() (uint64, error) { return s.log.FirstIndex(), nil }

// LastIndex implements raft.LogStore.
func (s *store) LastIndex() (uint64, error) { return s.log.LastIndex(), nil }

// StoreLog implements raft.LogStore.
func (s *store) StoreLog(l *raft.Log) error { return s.StoreLogs([]*raft.Log{l}) }

// StoreLogs implements raft.LogStore.
func (s *store) StoreLogs(ls []*raft.Log) error {
	if len(ls) == 0 {
		return nil
	}
	if next := s.log.LastIndex() + 1; ls[0].Index != next {
		panic(fmt.Sprintf("bug: raft stores index %d, the log goes on at %d", ls[0].Index, next))
	}
	if err := s.join(); err != nil {
		s.fatal(err)
		return err
	}
	wait := s.serial
	s.batches = s.batches[:0]
	for i, l := range ls {
		s.batches = append(s.batches, s.batch(i, l))
		wait = wait || l.Type != raft.LogCommand && !s.unsafe.noR4
	}
	switch err := s.append(ls[0], s.batches); {
	case errors.Is(err, aof.ErrClosed): // the node is being stopped
		return ErrStopped
	case err != nil:
		s.fatal(fmt.Errorf("store index %d: %w", ls[0].Index, err))
		return err
	}
	for i, l := range ls {
		s.stored(l, s.batches[i])
		if ackEarly {
			s.early(l)
		}
	}
	last := ls[len(ls)-1].Index
	if !wait && last > s.log.Durable()+backlogEntriesMax {
		last, wait = last-backlogEntriesMax, true
	}
	if wait && !s.thread.WaitDurable(last) {
		return ErrStopped
	}
	return nil
}

// append places the batches. A follower to whom little comes has nothing to do but to wait for its disk: it writes on this
// goroutine, which spares two wake-ups. When much comes, entries gather behind a write and share the next one.
func (s *store) append(first *raft.Log, bs []*record.Batch) error {
	quiet := len(first.Extensions) == 0 && first.Type == raft.LogCommand && time.Since(s.last) > quietTime
	defer func() { s.last = time.Now() }()
	if quiet {
		return s.thread.AppendHere(bs)
	}
	return s.thread.Append(bs)
}

// batch is what entry l, the i-th of its call, is appended as.
func (s *store) batch(i int, l *raft.Log) *record.Batch {
	if l.Type == raft.LogCommand && len(l.Extensions) == 8 {
		if b := s.proposals.begin(binary.LittleEndian.Uint64(l.Extensions), l.Index, l.Term); b != nil {
			b.Term = l.Term
			return b
		}
	}
	if i >= len(s.loaded) {
		s.loaded = append(s.loaded, record.NewBatch())
	}
	b := s.loaded[i]
	b.Reset(loadedBytesKept)
	switch {
	case l.Type == raft.LogCommand && len(l.Data) >= record.FrameHeaderBytes:
		h, err := record.ReadHeader(l.Data)
		if err != nil {
			panic(fmt.Sprintf("bug: entry %d is not a frame: %v", l.Index, err))
		}
		h.Term = l.Term
		b.Load(&h, l.Data[record.FrameHeaderBytes:])
	case l.Type == raft.LogCommand: // proposed by a node that gave it up since: it takes its place and does nothing
		b.Load(&record.Header{Kind: record.KindBatch, Term: l.Term}, nil)
	default:
		b.Load(&record.Header{Kind: record.KindRaft, Term: l.Term}, append([]byte{byte(l.Type)}, l.Data...))
	}
	return b
}

// stored makes l what other nodes and GetLog are to see.
func (s *store) stored(l *raft.Log, b *record.Batch) {
	if b.Index != l.Index {
		panic(fmt.Sprintf("bug: raft's index %d was stored as %d", l.Index, b.Index))
	}
	if l.Type == raft.LogCommand && len(l.Data) == 0 {
		l.Data = append([]byte(nil), b.Bytes()...)
		if len(l.Extensions) == 8 {
			s.proposals.end(binary.LittleEndian.Uint64(l.Extensions))
			l.Extensions = nil
		}
	}
	s.cache.put(l)
}

// GetLog implements raft.LogStore. Recent entries come from memory without copying.
func (s *store) GetLog(index uint64, l *raft.Log) error {
	if s.cache.get(index, l) {
		return nil
	}
	h, payload, err := s.log.Entry(index, nil)
	if err != nil {
		if isNotFound(err) {
			return raft.ErrLogNotFound
		}
		return fmt.Errorf("entry %d: %w", index, err)
	}
	return entryOf(&h, payload, l)
}

// entryOf is the entry that a frame holds. The payload must not change afterwards.
func entryOf(h *record.Header, payload []byte, l *raft.Log) error {
	*l = raft.Log{Index: h.Index, Term: h.Term}
	switch h.Kind {
	case record.KindBatch:
		l.Type = raft.LogCommand
		l.Data = make([]byte, record.FrameHeaderBytes+len(payload))
		copy(l.Data[record.FrameHeaderBytes:], payload)
		record.PutHeader(l.Data, h, 0)
	case record.KindRaft:
		if len(payload) == 0 {
			return fmt.Errorf("entry %d: %w: raft's own frame is empty", h.Index, aof.ErrDamaged)
		}
		l.Type, l.Data = raft.LogType(payload[0]), payload[1:]
	default:
		return fmt.Errorf("entry %d: %w: frame kind %d", h.Index, aof.ErrDamaged, h.Kind)
	}
	return nil
}

// DeleteRange implements raft.LogStore: of a suffix, when a leader's log differs from ours. Of a prefix, when raft has a
// snapshot instead, nothing is to be done: messages are in those frames, and space comes back by aof.Log.Reclaim.
func (s *store) DeleteRange(first, last uint64) error {
	if last < s.log.LastIndex() {
		return nil
	}
	s.cache.truncate(first)
	s.proposals.cut(first)
	if err := s.log.Truncate(first - 1); err != nil {
		s.fatal(fmt.Errorf("truncate to index %d: %w", first-1, err))
		return err
	}
	return nil
}
