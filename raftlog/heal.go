package raftlog

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"time"

	"github.com/hashicorp/raft"

	"ayder/aof"
)

// A node whose log was damaged: acknowledged entries are unreadable in the middle of it. The others have them, so it need not
// stay away; but it confirmed what it does not have any more, and majorities were counted on its word.
//
// PutAside, before the log is opened, writes down in raft.state what the log had at least (the bound: term and index of its
// last entry), and only then moves the damaged segment and all behind it aside (aof.Quarantine). What is left is a log
// that ends earlier. The node starts with it, and as long as its log does not reach the bound,
//
//	it votes as if it still had the log that it lost: only for a candidate whose log is at least as good as the bound;
//	it is no candidate, because it lacks what it may have been the last to have;
//	it confirms what it has, and nothing else, as ever (gate R1), and is not ready.
//
// Why that is safe. Of a voter Raft asks three things: that it votes once in a term (raft.state, which is whole), that a
// confirmed entry is on its disk (of what it confirms from now on that is true), and that it elects nobody who lacks an entry that
// it confirmed. The last is decided by comparing the candidate's last entry with the voter's, and there the bound stands for
// the log that was lost. So an entry that a majority has confirmed, this node among them, is in the log of everyone who can be
// elected, as if nothing had been lost. And as it is no candidate, it cannot itself be elected without it.
//
// When the last entry on its disk is not less than the bound, in Raft's order, nothing more is needed: that entry came from a
// leader, whose log up to there is this one's (log matching). If its term is the bound's, the log is the one that was lost,
// at least up to where it ended. If it is a later one, its leader had everything that had been committed before.
//
// Where the last entry's term cannot be read the bound is the node's term, which is not less; where it cannot even be told
// how far the log went, the bound ends with that term: only a later one is enough. All this makes the bound too high, which costs
// time and harms nothing. A cluster in which no log reaches the bounds that its voters hold elects nobody and says so.
//
// The entries come as to any follower that lags: one by one, or, where the others have dropped them, as files (install.go).
//
// Rejected: filling the gap in the place where it is, from entries that others know to be committed. It moves fewer bytes, but
// needs a second way for entries to travel, and a rule for damage in what is not known to be committed; this needs none.

// logEnd is the place of a log's last entry, in Raft's order: by term, then by index.
type logEnd struct {
	Index uint64 `json:"index"`
	Term  uint64 `json:"term"`
}

// everything is the index of a bound that only a later term reaches.
const everything = math.MaxUint64

func (e logEnd) reaches(bound logEnd) bool {
	return e.Term > bound.Term || e.Term == bound.Term && e.Index >= bound.Index
}

// PutAside makes a damaged log one that can be opened, if this node is one of several that vote. damage is Open's error; it is
// returned, with a reason, if nothing can be done here. all: less was not enough.
func PutAside(fsys aof.FS, dir, node string, damage error, all bool, logger *slog.Logger) error {
	member, err := HasState(fsys, dir)
	if err != nil || !member {
		return errors.Join(damage, err)
	}
	st, _, err := openStable(fsys, dir, node)
	if err != nil {
		return errors.Join(damage, err)
	}
	s := st.get()
	if !s.othersVote(node) {
		return fmt.Errorf("%w; no other node is known to have the same entries", damage)
	}
	loss, err := aof.DiagnoseLoss(fsys, dir, all)
	if err != nil {
		return errors.Join(damage, err)
	}
	bound := boundOf(loss, s.Term)
	logger.Error("the log is damaged: what cannot be read, and all behind it, goes to the directory quarantine; the other nodes have it",
		"dir", dir, "damage", damage, "found", loss.Reason, "files", len(loss.Files), "first_index", loss.From, "had_index", loss.Index, "had_term", bound.Term)
	if err := st.change(func(s *state) { s.Lost = further(s.Lost, bound) }); err != nil {
		return errors.Join(damage, err)
	}
	return aof.Quarantine(fsys, dir, loss)
}

// othersVote tells whether the newest configuration that the node knows to be committed names another voter.
func (s *state) othersVote(node string) bool {
	if s.Cluster == "" || len(s.Configurations) == 0 {
		return false
	}
	newest := s.Configurations[len(s.Configurations)-1]
	return slices.ContainsFunc(newest.Members, func(m server) bool { return m.Voter && m.ID != node })
}

// boundOf is the end that the lost log had at most, given the node's term.
func boundOf(l *aof.Loss, term uint64) logEnd {
	switch {
	case l.Blind:
		return logEnd{everything, term}
	case l.Index > l.Seen:
		return logEnd{l.Index, max(term, l.Term)}
	}
	return logEnd{l.Seen, l.Term}
}

// further is the later of two bounds, the first of which may not exist.
func further(old *logEnd, now logEnd) *logEnd {
	if old != nil && old.reaches(now) {
		return old
	}
	return &now
}

// lost is the bound that the log has still to reach, nil for none.
func (n *Node) lost() *logEnd {
	if n.o.unsafe.noBound {
		return nil
	}
	return n.stable.get().Lost
}

// mayElect refuses a vote that the log which was lost would have refused.
func (n *Node) mayElect(candidate string, end logEnd) error {
	bound := n.lost()
	if bound == nil || end.reaches(*bound) {
		return nil
	}
	return fmt.Errorf("raftlog: no vote for %s, whose log ends at index %d of term %d: this node had %v before its log was damaged", candidate, end.Index, end.Term, bound)
}

// mayStand refuses to be a candidate, or a leader's successor.
func (n *Node) mayStand() error {
	if bound := n.lost(); bound != nil {
		return fmt.Errorf("raftlog: node %s does not stand for election before it has got back %v, which its damaged log had", n.o.NodeID, bound)
	}
	return nil
}

// String says it for people.
func (e logEnd) String() string {
	if e.Index == everything {
		return fmt.Sprintf("entries of term %d, nobody knows how many", e.Term)
	}
	return fmt.Sprintf("index %d of term %d", e.Index, e.Term)
}

// healed forgets the bound when the log on disk reaches it.
func (n *Node) healed() {
	bound := n.lost()
	if bound == nil {
		return
	}
	index := n.o.Log.Durable()
	h, _, err := n.o.Log.Entry(index, nil)
	end := logEnd{index, h.Term}
	if index == 0 || err != nil || !end.reaches(*bound) {
		return
	}
	if n.stable.change(func(s *state) { s.Lost = nil }) == nil {
		n.o.Logger.Info("the damaged log is whole again", "node", n.o.NodeID, "index", index, "had", bound.String())
	}
}

// scrub reads all sealed segments, at a tenth of what the disk can do: at the start, then once in scrubEvery, and when
// somebody met damage. What a start has not read is found here. A damaged log is mended by a start (PutAside), so then the program
// starts over.
func (n *Node) scrub() {
	for {
		for next := uint64(1); next != 0; {
			began := time.Now()
			after, err := n.o.Log.Verify(next)
			if errors.Is(err, aof.ErrDamaged) {
				n.damaged(err)
			} else if err != nil {
				n.o.Logger.Warn("a segment was not verified", "from", next, "error", err)
			}
			if next = after; !n.pause(scrubRest * time.Since(began)) {
				return
			}
		}
		select {
		case <-n.stop:
			return
		case <-n.rotten:
		case <-time.After(scrubEvery):
		}
	}
}

// pause waits; false: the node stops.
func (n *Node) pause(d time.Duration) bool {
	select {
	case <-n.stop:
		return false
	case <-time.After(d):
		return true
	}
}

// Damaged is for aof.Options.OnDamage: somebody met an entry that cannot be read. Never blocks.
func (r *Recovery) Damaged(error) {
	select {
	case r.rotten <- struct{}{}:
	default:
	}
}

// damaged has the next start find the damage, and starts the program over, unless the others could not do without this node.
func (n *Node) damaged(damage error) {
	n.o.Logger.Error("the log is damaged", "node", n.o.NodeID, "error", damage)
	var d *aof.Damage
	s := n.stable.get()
	if !errors.As(damage, &d) || n.o.Restart == nil || !s.othersVote(n.o.NodeID) {
		return
	}
	if n.leading.Load() {
		n.handOver("")
	}
	if err := n.o.Log.Distrust(d.Index); err != nil {
		n.o.Logger.Warn("the damage stays", "error", err)
		return
	}
	if err := n.o.Restart(); err != nil {
		n.o.Logger.Warn("the damage stays until the next start", "error", err)
	}
}

// endOf is where a candidate's log ends.
func endOf(request any) (logEnd, bool) {
	switch r := request.(type) {
	case *raft.RequestVoteRequest:
		return logEnd{r.LastLogIndex, r.LastLogTerm}, true
	case *raft.RequestPreVoteRequest:
		return logEnd{r.LastLogIndex, r.LastLogTerm}, true
	}
	return logEnd{}, false
}
