package api

import (
	"context"
	"errors"
	"net"
	"strconv"
	"time"
	"unicode/utf8"
)

// Who is in the cluster, and changing that: by the leader alone, by tokens with the role admin, off the loop, because
// a change is itself an entry of the log that a majority must have.
//
// The bodies are the same for every call, so that a script can send one to all of them; what a call does not need
// may be left out.

// memberRequest is the body of the calls that change something.
type memberRequest struct {
	NodeID        *string `json:"node_id"`
	AdvertiseAddr *string `json:"advertise_addr"` // of the raft listener
	HTTPAddr      *string `json:"http_addr"`
	HTTPSAddr     *string `json:"https_addr"`
	Priority      *int    `json:"priority"`
}

var memberFields = fieldsOf(memberRequest{})

// transferRequest is the body of POST /ha/transfer.
type transferRequest struct {
	NodeID *string `json:"node_id"`
}

var transferFields = fieldsOf(transferRequest{})

// membership lists the nodes.
func membership(l *loop, _ *exchange) (reply, error) {
	st := l.server.status()
	b := append(l.body[:0], `{"ok":true`...)
	b = appendStringMember(b, "node_id", st.NodeID)
	b = appendStringMember(b, "leader", st.LeaderID)
	b = appendMember(b, "term", st.Term)
	b = append(b, `,"nodes":`...)
	b = st.appendPeers(b)
	b = appendMember(b, "count", uint64(len(st.Peers)))
	l.body = append(b, '}')
	return reply{status: 200, body: l.body}, nil
}

// addMember brings a node in that has no vote yet.
func addMember(l *loop, x *exchange) (reply, error) {
	m, err := readMember(x.body)
	switch {
	case err != nil:
		return reply{}, err
	case m.RaftAddr == "":
		return reply{}, errBadMember.with("advertise_addr is required: the new node's host:port for the other nodes")
	}
	return l.change(x, func(ctx context.Context, c Cluster) ([]byte, error) {
		return memberAnswer(m.ID, false), c.Add(ctx, m)
	})
}

// promoteMember gives a node a vote.
func promoteMember(l *loop, x *exchange) (reply, error) {
	m, err := readMember(x.body)
	if err != nil {
		return reply{}, err
	}
	return l.change(x, func(ctx context.Context, c Cluster) ([]byte, error) {
		return memberAnswer(m.ID, true), c.Promote(ctx, m.ID)
	})
}

// removeMember takes a node out.
func removeMember(l *loop, x *exchange) (reply, error) {
	m, err := readMember(x.body)
	if err != nil {
		return reply{}, err
	}
	return l.change(x, func(ctx context.Context, c Cluster) ([]byte, error) {
		b := appendStringMember([]byte(`{"ok":true`), "node_id", m.ID)
		return append(b, `,"removed":true}`...), c.Remove(ctx, m.ID)
	})
}

// transfer makes another node the leader.
func transfer(l *loop, x *exchange) (reply, error) {
	var q transferRequest
	id := ""
	if len(x.body) > 0 { // nothing to say: the best node
		if err := decodeCommand(x.body, &q, transferFields); err != nil {
			return reply{}, err
		}
	}
	if q.NodeID != nil {
		if id = *q.NodeID; !validNodeID(id) {
			return reply{}, errBadMember.with("node_id is 1 to %d characters", nodeIDBytesMax)
		}
	}
	return l.change(x, func(ctx context.Context, c Cluster) ([]byte, error) {
		st := c.Status()
		leader := st.LeaderID
		if id == "" || id != leader {
			if err := c.Transfer(ctx, id); err != nil {
				return nil, err
			}
			leader = successor(ctx, c, st)
		}
		b := []byte(`{"ok":true`)
		if leader != "" {
			b = appendStringMember(b, "leader", leader)
		}
		return append(b, '}'), nil
	})
}

// successor waits until this node knows who leads after it has handed leadership over: until the other has said so, nobody
// does. Empty: it has not within the time for that.
func successor(ctx context.Context, c Cluster, before *ClusterStatus) string {
	ctx, cancel := context.WithTimeout(ctx, successorWait)
	defer cancel()
	for {
		if st := c.Status(); st.LeaderID != "" && (st.LeaderID != before.NodeID || st.Term > before.Term) {
			return st.LeaderID
		}
		select {
		case <-time.After(successorPoll):
		case <-ctx.Done():
			return ""
		}
	}
}

func memberAnswer(id string, voter bool) []byte {
	b := appendStringMember([]byte(`{"ok":true`), "node_id", id)
	return append(appendBoolMember(b, "voter", voter), '}')
}

// readMember reads and checks a body.
func readMember(body []byte) (m Member, err error) {
	var q memberRequest
	if err := decodeCommand(body, &q, memberFields); err != nil {
		return m, err
	}
	switch {
	case q.NodeID == nil || !validNodeID(*q.NodeID):
		return m, errBadMember.with("node_id is required, 1 to %d characters", nodeIDBytesMax)
	case q.AdvertiseAddr != nil && !validAddr(*q.AdvertiseAddr):
		return m, errBadMember.with("advertise_addr %q is not host:port", *q.AdvertiseAddr)
	case q.HTTPAddr != nil && !validAddr(*q.HTTPAddr):
		return m, errBadMember.with("http_addr %q is not host:port", *q.HTTPAddr)
	case q.HTTPSAddr != nil && !validAddr(*q.HTTPSAddr):
		return m, errBadMember.with("https_addr %q is not host:port", *q.HTTPSAddr)
	}
	m.ID = *q.NodeID
	if q.AdvertiseAddr != nil {
		m.RaftAddr = *q.AdvertiseAddr
	}
	if q.HTTPAddr != nil {
		m.HTTPAddr = *q.HTTPAddr
	}
	if q.HTTPSAddr != nil {
		m.HTTPSAddr = *q.HTTPSAddr
	}
	if q.Priority != nil {
		m.Priority = *q.Priority
	}
	return m, nil
}

func validNodeID(id string) bool {
	return id != "" && len(id) <= nodeIDBytesMax && utf8.ValidString(id)
}

// validAddr tells whether a is a host and a port that can be dialled.
func validAddr(a string) bool {
	host, port, err := net.SplitHostPort(a)
	if err != nil || host == "" || len(a) > nodeAddrBytesMax {
		return false
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0
}

// change makes a change on a goroutine and answers when it is committed.
func (l *loop) change(x *exchange, do func(context.Context, Cluster) ([]byte, error)) (reply, error) {
	s := l.server
	if s.options.Cluster == nil {
		return reply{}, errNotClustered
	}
	if s.changing.Add(1) > changesMax {
		s.changing.Add(-1)
		return reply{}, errOverloaded.with("%d changes of the cluster are under way", changesMax)
	}
	l.exclude(x.conn)
	c := x.cloned()
	go func() {
		defer s.changing.Add(-1)
		ctx, cancel := context.WithTimeout(s.lifetime, changeTimeout)
		defer cancel()
		body, err := do(ctx, s.options.Cluster)
		l.net.Post(func() { l.changed(c, body, err) })
	}()
	return reply{later: true}, nil
}

// changed answers a change that was made, or not.
func (l *loop) changed(c *exchange, body []byte, err error) {
	switch {
	case err == nil:
		l.finish(c.conn, &c.meta, 0, &reply{status: 200, body: body})
	case errors.Is(err, ErrNotLeader):
		l.decode(c)
		l.finishError(c.conn, &c.meta, l.redirect(c))
	default:
		l.finishError(c.conn, &c.meta, changeError(err))
	}
}

func changeError(err error) *Error {
	switch {
	case errors.Is(err, ErrUnknownNode):
		return errUnknownNode.with("%v", err)
	case errors.Is(err, ErrNodeConflict):
		return errNodeConflict.with("%v", err)
	case errors.Is(err, ErrLeadershipLost):
		return errLeadershipLost
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return errCommitTimeout
	}
	return errChange.with("%v", err)
}
