package raftlog

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"

	"github.com/hashicorp/raft"
)

// Leadership: what is done when it is won and lost, handed over, or missing.
//
// Handing over is done here, not by raft's LeadershipTransfer: that one waits for the follower's replication in a way that
// never ends when the term does meanwhile (a follower whose disk is slow, twice), and until the process ends raft then refuses
// every entry, in later terms too: a leader that holds its lease and can do nothing.
//
// Won: a barrier brings everything that was committed before to the state machine; then reads are linearizable and writes
// admitted. Lost: proposals under way end with an unknown outcome. Handed over: proposals are stopped first, so that
// none is refused by raft for being late. Missing: a follower whose leader's connection breaks and whose dial is refused
// knows that the process is dead, and stands for election at once instead of waiting for its patience to end.

// followLeadership acts on raft's word about this node, in order.
func (n *Node) followLeadership() {
	for {
		select {
		case won := <-n.notify:
			n.lead(won)
		case <-n.anew:
			if n.leading.Load() && !n.accepting.Load() && n.raft.State() == raft.Leader {
				n.lead(true)
			}
		case <-n.stop:
			return
		}
	}
}

func (n *Node) lead(won bool) {
	if !won {
		n.stopAccepting()
		n.leading.Store(false)
		n.proposals.loseAll(ErrLeadershipLost)
		n.o.Leading(false)
		n.o.Logger.Info("no longer leader", "node", n.o.NodeID, "term", n.raft.CurrentTerm())
		return
	}
	term := n.raft.CurrentTerm()
	if !n.settled(term) {
		return
	}
	n.o.Leading(true)
	n.noteConnected()
	n.term.Store(term)
	n.leading.Store(true)
	n.accepting.Store(true)
	if n.raft.State() != raft.Leader || n.raft.CurrentTerm() != term { // the loss is in the channel
		n.accepting.Store(false)
		n.leading.Store(false)
		return
	}
	n.o.Logger.Info("leader", "node", n.o.NodeID, "term", term)
}

// settled waits until everything before this term has reached the state machine.
func (n *Node) settled(term uint64) bool {
	for n.raft.State() == raft.Leader && n.raft.CurrentTerm() == term {
		done := make(chan error, 1)
		barrier := n.raft.Barrier(barrierTimeout)
		go func() { done <- barrier.Error() }()
		select {
		case err := <-done:
			if err == nil {
				return true
			}
		case <-n.stop:
			return false
		}
		select { // raft refuses at once while it hands leadership over
		case <-time.After(barrierPause):
		case <-n.stop:
			return false
		}
	}
	return false
}

// stopAccepting ends proposing; afterwards every proposal there is has been given to raft.
func (n *Node) stopAccepting() {
	n.gate.Lock()
	n.accepting.Store(false)
	n.gate.Unlock()
}

// Leading tells that this node leads and that everything committed before its term has been applied.
func (n *Node) Leading() bool { return n.leading.Load() }

// Leased tells that no other node can lead at this moment, so that a read of the state is linearizable.
func (n *Node) Leased() bool {
	if !n.leading.Load() {
		return false
	}
	return time.Now().Before(n.transport.leaseEnd())
}

// ReadBarrier returns when a read of what is applied then is linearizable. Errors: ErrNotLeader, ErrStopped, ctx's.
func (n *Node) ReadBarrier(ctx context.Context) error {
	if n.Leased() {
		return nil
	}
	if !n.leading.Load() {
		return ErrNotLeader
	}
	commit := min(n.raft.CommitIndex(), n.transport.safe())
	if err := n.confirm(ctx); err != nil {
		return err
	}
	if !n.AwaitApplied(commit, ctx.Done()) {
		return errors.Join(ctx.Err(), ErrStopped)
	}
	return nil
}

// confirm returns when a majority has agreed that this node leads to requests that were sent from now on. Raft's VerifyLeader
// alone counts answers to requests that were under way: while such an answer is late, another node can be elected.
func (n *Node) confirm(ctx context.Context) error {
	for asked := time.Now(); ; {
		if err := n.wait(ctx, func() error { return n.raft.VerifyLeader().Error() }); err != nil {
			return err
		}
		if !n.transport.agreedSince().Before(asked) {
			return nil
		}
	}
}

// wait is what raft answers, or gives up when the node stops or ctx ends.
func (n *Node) wait(ctx context.Context, ask func() error) error {
	done := make(chan error, 1)
	go func() { done <- ask() }()
	select {
	case err := <-done:
		if errors.Is(err, raft.ErrNotLeader) || errors.Is(err, raft.ErrLeadershipLost) {
			return ErrNotLeader
		}
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-n.stop:
		return ErrStopped
	}
}

// Leader is the node that leads, as far as this one knows.
func (n *Node) Leader() (Peer, bool) {
	addr, id := n.raft.LeaderWithID()
	if id == "" {
		return Peer{}, false
	}
	p := n.peer(string(id))
	if p.RaftAddr == "" {
		p.RaftAddr = string(addr)
	}
	return p, true
}

// Transfer hands leadership to the node id, or to the best one if id is empty. Errors: ErrNotLeader, or why it failed; then this
// node leads on.
func (n *Node) Transfer(ctx context.Context, id string) error {
	if !n.leading.Load() {
		return ErrNotLeader
	}
	to, err := n.successor(id)
	if err != nil {
		return err
	}
	if !n.handing.CompareAndSwap(false, true) {
		return errors.New("leadership is being handed over already")
	}
	defer n.handing.Store(false)
	n.stopAccepting()
	defer n.leadOn()
	n.transport.voidLease()
	for until := time.Now().Add(transferDrain); n.proposals.count() > 0 && time.Now().Before(until); {
		time.Sleep(transferPoll)
	}
	n.o.Logger.Info("handing leadership over", "node", n.o.NodeID, "to", to.ID)
	if err := n.handTo(ctx, &to); err != nil {
		return fmt.Errorf("hand over to %s: %w", to.ID, err)
	}
	return nil
}

// handTo waits until a node has everything, has it stand for election, and waits for the end of this node's term: for as
// long as an election may take each time.
func (n *Node) handTo(ctx context.Context, to *Peer) error {
	id, term := raft.ServerID(to.ID), n.raft.CurrentTerm()
	if !n.within(ctx, n.o.Election, func() bool { return n.transport.match.of(id) >= n.raft.LastIndex() }) {
		return errors.Join(ctx.Err(), fmt.Errorf("%d entries are missing there", n.raft.LastIndex()-min(n.transport.match.of(id), n.raft.LastIndex())))
	}
	if err := n.transport.mayLead(id, raft.ServerAddress(to.RaftAddr)); err != nil {
		return err
	}
	if n.within(ctx, n.o.Election, func() bool { return n.raft.State() != raft.Leader || n.raft.CurrentTerm() != term }) {
		return nil
	}
	// A node whose raft waits for its disk does not hear of another leader: then this does not end before ctx.
	switch err := n.confirm(ctx); {
	case errors.Is(err, ErrNotLeader):
		return nil
	case err != nil:
		return err
	}
	return errors.New("it was not elected in time")
}

// within polls until ok says so, for a time; false: it did not, or ctx or the node has ended.
func (n *Node) within(ctx context.Context, most time.Duration, ok func() bool) bool {
	for until := time.Now().Add(most); !ok(); {
		select {
		case <-time.After(transferPoll):
		case <-ctx.Done():
			return ok()
		case <-n.stop:
			return false
		}
		if time.Now().After(until) {
			return ok()
		}
	}
	return true
}

// maySucceed refuses to stand for election on the word of a node that does not lead, as far as this one knows: it was long under
// way, and whoever leads by now holds a lease that an election at somebody's word would not wait for.
func (n *Node) maySucceed(id string) error {
	select {
	case <-n.started:
	default:
		return errors.New("raftlog: the node is still starting")
	}
	if leader, _ := n.Leader(); leader.ID != id {
		return fmt.Errorf("raftlog: node %s does not succeed %q: %q leads", n.o.NodeID, id, leader.ID)
	}
	return n.mayStand()
}

// leadOn has this node begin its term anew if it still leads after an attempt to hand over: batches that came meanwhile were
// lost, and the loops write nothing before they are told.
func (n *Node) leadOn() {
	select {
	case n.anew <- struct{}{}:
	default:
	}
}

// successor is the node that leadership may go to: a voter that has almost everything and answered within a heartbeat.
func (n *Node) successor(id string) (Peer, error) {
	if id == n.o.NodeID {
		return Peer{}, fmt.Errorf("node %q leads already", id)
	}
	var best Peer
	found := false
	for _, m := range n.Status().Members {
		if m.ID == n.o.NodeID || !m.Voter || id != "" && m.ID != id {
			continue
		}
		found = true
		if n.fit(&m) && (best.ID == "" || m.Priority > best.Priority) {
			best = m.Peer
		}
	}
	switch {
	case !found && id != "":
		return best, fmt.Errorf("%w: %q", ErrUnknownNode, id)
	case best.ID == "":
		return best, errors.New("no other voter is current and answering")
	}
	return best, nil
}

// fit tells whether leadership can go to m without stopping writes for long.
func (n *Node) fit(m *MemberStatus) bool {
	return m.Connected && time.Since(m.LastContact) < n.o.Heartbeat && m.Lag <= transferLagMax
}

// tend looks after what time brings: room for refused writers, a better leader, a disk that hangs.
func (n *Node) tend() {
	tick := time.NewTicker(tendEvery)
	defer tick.Stop()
	var better betterLeader
	var disk diskWatch
	var full fullDisk
	for i := 0; ; i++ {
		select {
		case <-n.stop:
			return
		case <-tick.C:
		}
		n.wakeRefused()
		n.healed()
		disk.look(n)
		full.look(n)
		if i%priorityTicks == 0 {
			better.look(n)
		}
	}
}

// room tells whether a batch may be proposed: there is a place for it in the log, and the disk is not so far behind that
// StoreLogs would have to wait, which keeps raft from hearing anything, a transfer of leadership included.
func (n *Node) room() bool {
	return n.o.Log.Room() && n.o.Log.LastIndex()-n.o.Log.Durable() < backlogAdmitMax
}

// wakeRefused wakes the loops that had no room.
func (n *Node) wakeRefused() {
	if !n.room() {
		return
	}
	n.mu.Lock()
	all := n.proposers
	n.mu.Unlock()
	for _, p := range all {
		if p.refused.Swap(false) {
			p.wake()
		}
	}
}

// betterLeader hands leadership to a node of higher priority that has been fit for a while. One that gave it away itself,
// because its disk is full or an operator said so, is left in peace for some time.
type betterLeader struct {
	id     string
	since  time.Time
	before string               // who led before this node
	term   uint64               // that before is of
	spared map[string]time.Time // until when
}

func (b *betterLeader) look(n *Node) {
	if !n.leading.Load() {
		b.id = ""
		if p, ok := n.Leader(); ok && p.ID != n.o.NodeID {
			b.before = p.ID
		}
		return
	}
	s := n.Status()
	b.spare(s, *n.connected.Load())
	mine, best := n.peer(n.o.NodeID), Peer{}
	for _, m := range s.Members {
		if m.Voter && m.Priority > mine.Priority && m.Priority > best.Priority && n.fit(&m) && b.spared[m.ID].IsZero() {
			best = m.Peer
		}
	}
	switch now := time.Now(); {
	case best.ID == "":
		b.id = ""
	case best.ID != b.id:
		b.id, b.since = best.ID, now
	case now.Sub(b.since) >= n.o.PriorityHold:
		b.id = ""
		if !n.handOver(best.ID) {
			b.leaveAlone(best.ID, refusedHolds*n.o.PriorityHold)
		}
	}
}

// leaveAlone spares a node that will not, or cannot, be the leader now: every attempt keeps writes waiting for a moment.
func (b *betterLeader) leaveAlone(id string, d time.Duration) {
	if b.spared == nil {
		b.spared = make(map[string]time.Time)
	}
	b.spared[id] = time.Now().Add(d)
}

// noteConnected notes who is connected as this node begins to lead. Whoever led before and is among them has given
// leadership away; one whose process had died is not, however soon it comes back.
func (n *Node) noteConnected() {
	ids := make(map[string]bool)
	for _, p := range n.transport.peers() {
		ids[string(p.ID)] = p.Connected
	}
	n.connected.Store(&ids)
}

// spare notes at the beginning of a term that its predecessor was alive then (connected), and forgets who went away or whose
// time is up.
func (b *betterLeader) spare(s *Status, connected map[string]bool) {
	now := time.Now()
	for _, m := range s.Members {
		if !m.Connected || now.After(b.spared[m.ID]) {
			delete(b.spared, m.ID)
		}
		if s.Term != b.term && m.ID == b.before && m.Connected && connected[m.ID] {
			b.leaveAlone(m.ID, spareTime)
		}
	}
	b.term = s.Term
}

// handOver is Transfer for this node's own reasons. It tells whether that succeeded.
func (n *Node) handOver(id string) bool {
	ctx, cancel := context.WithTimeout(context.Background(), transferTimeout)
	defer cancel()
	err := n.Transfer(ctx, id)
	if err != nil {
		n.o.Logger.Warn("leadership was not handed over", "to", id, "error", err)
	}
	return err == nil
}

// fullDisk gives leadership away when there is no space for another segment here: another node may have some.
type fullDisk struct{ tried time.Time }

func (f *fullDisk) look(n *Node) {
	if !n.leading.Load() || n.o.Log.Room() || !n.o.Log.Full() || time.Since(f.tried) < fullDiskRetry {
		return
	}
	f.tried = time.Now()
	n.o.Logger.Warn("the disk is full: leadership goes to another node", "node", n.o.NodeID)
	n.handOver("")
}

// diskWatch notices a disk that neither writes nor fails. The leader's own sync is not waited for where others make a
// majority, so nothing else would.
type diskWatch struct {
	durable uint64
	since   time.Time
	moved   bool // leadership was given away for this
}

func (d *diskWatch) look(n *Node) {
	durable, now := n.o.Log.Durable(), time.Now()
	if d.since.IsZero() || durable != d.durable || n.o.Log.LastIndex() == durable {
		*d = diskWatch{durable: durable, since: now}
		return
	}
	switch stuck := now.Sub(d.since); {
	case stuck > diskHangsExit:
		n.fatal(fmt.Errorf("no write has reached the disk for %v", stuck.Round(time.Second)))
	case stuck > diskHangsTransfer && !d.moved && n.leading.Load():
		d.moved = true
		n.o.Logger.Warn("the disk hangs: leadership goes to another node", "for", stuck.Round(time.Millisecond))
		ctx, cancel := context.WithTimeout(context.Background(), transferTimeout)
		defer cancel()
		switch err := n.Transfer(ctx, ""); {
		case errors.Is(err, context.DeadlineExceeded): // raft itself waits for the disk; without this process the others elect
			n.fatal(fmt.Errorf("no write has reached the disk for %v, and leadership cannot be handed over: %w", stuck.Round(time.Second), err))
		case err != nil:
			n.o.Logger.Warn("leadership was not handed over", "error", err)
		}
	}
}

// peerGone is called when the connection that a leader used broke. If its machine refuses a new one, its process is
// dead, and this node stands for election: the better its rank the sooner.
func (n *Node) peerGone(id raft.ServerID) {
	if !n.running() {
		return
	}
	addr, leader := n.raft.LeaderWithID()
	if leader != id || n.failed.Load() {
		return
	}
	select {
	case <-n.stop:
		return
	case <-time.After(time.Duration(n.rankAmongOthers(string(id))) * candidacyStagger):
	}
	ctx, cancel := context.WithTimeout(context.Background(), n.o.Heartbeat)
	defer cancel()
	c, err := n.o.Dial(ctx, string(addr))
	if err == nil {
		_ = c.Close()
		return
	}
	if !refused(err) {
		return
	}
	if _, now := n.raft.LeaderWithID(); now == id && n.votes() && n.lost() == nil {
		n.o.Logger.Info("the leader's process is gone: standing for election", "leader", id)
		n.transport.injectTimeoutNow()
	}
}

// rankAmongOthers is this node's place in the order of priority without node id.
func (n *Node) rankAmongOthers(id string) int {
	rank, mine, gone := n.rank(), n.peer(n.o.NodeID), n.peer(id)
	if gone.Priority > mine.Priority || gone.Priority == mine.Priority && gone.ID < mine.ID {
		rank--
	}
	return rank
}

// votes tells whether this node is a voter.
func (n *Node) votes() bool {
	for _, id := range n.voters() {
		if string(id) == n.o.NodeID {
			return true
		}
	}
	return false
}

// refused tells that nobody listens there although the machine answers.
func refused(err error) bool {
	var op *net.OpError
	return errors.Is(err, syscall.ECONNREFUSED) || errors.As(err, &op) && errors.Is(op.Err, syscall.ECONNREFUSED)
}
