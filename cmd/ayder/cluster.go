package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"ayder/aof"
	"ayder/api"
	"ayder/internal/config"
	"ayder/internal/record"
	"ayder/raftlog"
)

// A node of a cluster: the same engine and log, with Raft between the loops and the log. The order of a start is log,
// raft, loops; committed frames wait for the loops. The order of a stop is leadership away, clients away, raft, the last
// checkpoint (the loops must still be there to be asked), loops, log.

// cluster is this node's part in its cluster. It implements api.Cluster.
type cluster struct {
	node    *raftlog.Node
	concern int
	logger  *slog.Logger
	tls     *raftlog.TLS // nil: plain TCP between the nodes

	face *api.Server
	mu   sync.Mutex // what is told to face comes one after the other
}

// startNode starts raft over the open log; face receives what is committed.
func (st *store) startNode(c *config.Config, face *api.Server) error {
	h, cl := c.HA, st.cluster
	cl.face = face
	listener, dial, err := cl.peerNetwork(h)
	if err != nil {
		return err
	}
	var peers []raftlog.Peer
	for _, n := range h.Nodes {
		peers = append(peers, raftlog.Peer{ID: n.ID, RaftAddr: n.RaftAddr(), HTTPAddr: n.HTTPAddr(), HTTPSAddr: n.HTTPSAddr(), Priority: n.Priority})
	}
	cl.node, err = raftlog.Start(raftlog.Options{
		Log: st.log, Dir: c.DataDir, NodeID: h.NodeID, Peers: peers, Recovery: st.replay, Bootstrap: h.BootstrapLeader,
		Listener: listener, Dial: dial,
		Heartbeat: c.RaftHeartbeat, Election: c.RaftElection, Lease: c.RaftLease, CommitTimeout: c.RaftCommitTimeout,
		PriorityHold: c.RaftPriorityHold, SerialSync: c.RaftLeaderSync == "serial",
		Apply: cl.apply, Leading: cl.leading, Fatal: cl.fatal, Checkpoint: st.markSealed, Restart: restart, Logger: cl.logger,
	})
	return err
}

// peerNetwork is how nodes reach each other: TCP, or TLS where it is configured.
func (cl *cluster) peerNetwork(h *config.HA) (net.Listener, func(context.Context, string) (net.Conn, error), error) {
	listener, err := net.Listen("tcp", h.RaftListen())
	if err != nil {
		return nil, nil, fmt.Errorf("listen for the other nodes: %w", err)
	}
	plain := func(ctx context.Context, addr string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", addr)
	}
	if h.TLS == nil {
		return listener, plain, nil
	}
	if cl.tls, err = raftlog.LoadTLS(h.TLS.CA, h.TLS.Cert, h.TLS.Key, h.NodeID); err != nil {
		return nil, nil, errors.Join(err, listener.Close())
	}
	return tls.NewListener(listener, cl.tls.Server()), func(ctx context.Context, addr string) (net.Conn, error) {
		conn, err := plain(ctx, addr)
		if err != nil {
			return nil, err
		}
		return tls.Client(conn, cl.tls.Client()), nil
	}, nil
}

// apply gives committed frames to the loops.
func (cl *cluster) apply(fs []raftlog.Committed) {
	frames := make([]api.CommittedFrame, len(fs))
	for i, f := range fs {
		frames[i] = api.CommittedFrame{Frame: f.Frame, Own: f.Own}
	}
	cl.mu.Lock()
	defer cl.mu.Unlock()
	cl.face.ApplyCommitted(frames)
}

// leading tells the loops that a term of this node's leadership begins or has ended.
func (cl *cluster) leading(won bool) {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	if won {
		cl.face.BeginTerm()
	} else {
		cl.face.Forget()
	}
}

// fatal ends the process: a node whose disk has failed must not go on as a member, and another one takes over at once.
func (cl *cluster) fatal(err error) {
	cl.logger.Error("this node leaves its cluster and ends", "error", err)
	os.Exit(1)
}

// restart starts the program over in its process.
func restart() error {
	path, err := os.Executable()
	if err != nil {
		return fmt.Errorf("start over: %w", err)
	}
	return fmt.Errorf("start over: %w", syscall.Exec(path, os.Args, os.Environ()))
}

// handOver makes another node the leader, if this one is.
func (cl *cluster) handOver(timeout time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	if cl.node.Leading() {
		if err := cl.node.Transfer(ctx, ""); err != nil {
			cl.logger.Warn("leadership was not handed over; the others will elect a leader", "error", err)
		}
	}
}

// stop ends raft; what is parked is answered on the way.
func (cl *cluster) stop(timeout time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	if err := cl.node.Shutdown(ctx); err != nil {
		cl.logger.Warn("raft did not stop cleanly", "error", err)
	}
}

// Status implements api.Cluster.
func (cl *cluster) Status() *api.ClusterStatus {
	s := cl.node.Status()
	out := &api.ClusterStatus{
		NodeID: s.NodeID, Role: api.Role(s.Role), Term: s.Term, LeaderID: s.Leader, LeaderHTTPAddr: s.LeaderHTTP, LeaderHTTPSAddr: s.LeaderHTTPS,
		CommitIndex: s.CommitIndex, AppliedIndex: s.AppliedIndex, LeaderCommit: s.LeaderCommit, LastIndex: s.LastIndex,
		CaughtUp: s.CaughtUp, LostIndex: s.Lost, FreshQuorum: s.FreshQuorum, WriteConcern: cl.concern,
	}
	for _, m := range s.Members {
		out.Peers = append(out.Peers, api.PeerStatus{
			ID: m.ID, RaftAddr: m.RaftAddr, HTTPAddr: m.HTTPAddr, HTTPSAddr: m.HTTPSAddr, Priority: m.Priority, Voter: m.Voter, Self: m.ID == s.NodeID,
			Connected: m.Connected, MatchIndex: m.Match, Lag: m.Lag, LastContact: m.LastContact,
		})
	}
	return out
}

// Leading implements api.Cluster.
func (cl *cluster) Leading() bool { return cl.node.Leading() }

// Leased implements api.Cluster.
func (cl *cluster) Leased() bool { return cl.node.Leased() }

// ReadBarrier implements api.Cluster.
func (cl *cluster) ReadBarrier(done func(error)) {
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), readBarrierTimeout)
		defer cancel()
		done(faceError(cl.node.ReadBarrier(ctx)))
	}()
}

// Add implements api.Cluster.
func (cl *cluster) Add(ctx context.Context, m api.Member) error {
	return faceError(cl.node.Add(ctx, raftlog.Peer{ID: m.ID, RaftAddr: m.RaftAddr, HTTPAddr: m.HTTPAddr, HTTPSAddr: m.HTTPSAddr, Priority: m.Priority}))
}

// Promote implements api.Cluster.
func (cl *cluster) Promote(ctx context.Context, id string) error {
	return faceError(cl.node.Promote(ctx, id))
}

// Remove implements api.Cluster.
func (cl *cluster) Remove(ctx context.Context, id string) error {
	return faceError(cl.node.Remove(ctx, id))
}

// Transfer implements api.Cluster.
func (cl *cluster) Transfer(ctx context.Context, id string) error {
	return faceError(cl.node.Transfer(ctx, id))
}

// faceError is err in the terms of the HTTP face.
func faceError(err error) error {
	for _, e := range [...]struct{ ours, face error }{
		{raftlog.ErrNotLeader, api.ErrNotLeader},
		{raftlog.ErrLeadershipLost, api.ErrLeadershipLost},
		{raftlog.ErrUnknownNode, api.ErrUnknownNode},
		{raftlog.ErrConflict, api.ErrNodeConflict},
		{raftlog.ErrNotCurrent, api.ErrNodeConflict},
		{aof.ErrNoSpace, api.ErrNoSpace},
		{aof.ErrBusy, api.ErrBusy},
	} {
		if errors.Is(err, e.ours) {
			return fmt.Errorf("%w: %w", e.face, err)
		}
	}
	return err
}

// proposer is a loop's way into the cluster's log.
type proposer struct{ *raftlog.Proposer }

// Admit is raftlog.Proposer's.
func (p proposer) Admit() error { return faceError(p.Proposer.Admit()) }

// Append is raftlog.Proposer's; a lost batch ends with the HTTP face's error.
func (p proposer) Append(b *record.Batch) {
	done := b.Done
	b.Done = func(b *record.Batch, err error) {
		b.Done = done
		done(b, faceError(err))
	}
	p.Proposer.Append(b)
}

// readBarrierTimeout bounds the wait for a proof that this node leads.
const readBarrierTimeout = 5 * time.Second
