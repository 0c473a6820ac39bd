package api

import (
	"slices"

	"ayder/internal/jsonscan"
)

// Requests that not every node may serve.
//
//	leaderOnly    every write: another node redirects it, and answers no_leader where there is none to go to
//	linearizable  consume: the leader serves it once it is certain that it still leads; another node serves what it has
//	              and says "role":"follower", or redirects if the client asks for consistency=leader
//	coordinated   what a group's member asks: the leader alone answers, and when it is certain that it still leads
//	local         other reads: every node serves what it has, or as above if the client asks for consistency=leader
//
// Certain means a lease, or else a barrier: the cluster asks its majority. A barrier holds for reads that came before
// it began, and all of one turn share one; while one is under way, later reads gather for the next.
//
// The check is made before anything is looked up, because on a follower what is looked up may be old: a topic that it has
// not heard of is no 404. It is made again where a batch is opened, which is what counts.

// where says which node may serve a route.
type where uint8

const (
	anywhere where = iota
	leaderOnly
	linearizable
	coordinated
	local
)

// reads are requests that wait until this node knows that it still leads.
type reads struct {
	asked []*exchange // for the barrier that is under way
	next  []*exchange // for the one after it
	busy  bool        // one is under way
}

// enter tells whether x may be served here and now; it waits if neither that nor an error.
func (l *loop) enter(x *exchange) (waits bool, err error) {
	cluster, asks, leads := l.server.options.Cluster, x.args.has(pConsistency), l.leading()
	switch at := x.route.where; {
	case at == anywhere:
	case !leads && (at == leaderOnly || at == coordinated || asks):
		return false, ErrNotLeader
	case !leads:
		x.follower = true
	case at == leaderOnly || at == local && !asks || x.confirmed || cluster.Leased():
	default:
		return true, l.awaitBarrier(x)
	}
	return false, nil
}

// leading tells whether this node may accept writes.
func (l *loop) leading() bool {
	c := l.server.options.Cluster
	return c == nil || !l.term.over && c.Leading()
}

// awaitBarrier parks a read. Its connection executes nothing else.
func (l *loop) awaitBarrier(x *exchange) error {
	if len(l.reads.asked)+len(l.reads.next) >= retriesMax {
		return errOverloaded
	}
	l.exclude(x.conn)
	l.reads.next = append(l.reads.next, x.cloned())
	l.wakeBy(x.readBy(l))
	l.net.WakeAt(l.deadline)
	return nil
}

// readBy is when a read that waits is given up.
func (x *exchange) readBy(l *loop) int64 { return x.complete + l.server.options.CommitTimeoutNs }

// askBarrier begins a barrier for the reads that have gathered.
func (l *loop) askBarrier() {
	r := &l.reads
	if r.busy || len(r.next) == 0 {
		return
	}
	r.asked, r.next, r.busy = r.next, r.asked[:0], true
	l.server.options.Cluster.ReadBarrier(func(err error) {
		l.net.Post(func() { l.barrierPassed(err) })
	})
}

// barrierPassed serves the reads that waited for it. What was committed before it is applied: that was posted earlier.
func (l *loop) barrierPassed(err error) {
	asked := l.reads.asked
	l.reads.asked, l.reads.busy = nil, false
	for _, x := range asked {
		switch {
		case x.conn.loop == l && x.conn.gone():
		case err != nil:
			l.finishError(x.conn, &x.meta, errNoLeader.with("This node could not confirm that it still leads: %v", err))
		default:
			x.confirmed = true
			l.resume(x)
		}
	}
}

// scanReads gives up the reads whose time is up.
func (l *loop) scanReads(at int64) {
	if len(l.reads.asked)+len(l.reads.next) == 0 {
		return
	}
	giveUp := func(x *exchange) bool {
		by := x.readBy(l)
		if by > at {
			l.wakeBy(by)
			return false
		}
		l.finishError(x.conn, &x.meta, errNoLeader.with("This node could not confirm in time that it still leads"))
		return true
	}
	l.reads.asked = slices.DeleteFunc(l.reads.asked, giveUp)
	l.reads.next = slices.DeleteFunc(l.reads.next, giveUp)
}

// redirect sends a client to the leader, with the same path and query. One that came over TLS stays with TLS: its token and
// its messages are not for everybody on the way, so it is refused where it could go on in the open alone.
func (l *loop) redirect(x *exchange) *Error {
	st := l.server.status()
	if st.LeaderID == "" || st.LeaderID == st.NodeID {
		return errNoLeader
	}
	location, leader := "http://", st.LeaderHTTPAddr
	if x.conn.net.Secure() {
		location, leader = "https://", st.LeaderHTTPSAddr
		if leader == "" {
			return errNoHTTPS.with("This request came over TLS, and node %s, which leads, has no HTTPS port that this node knows of: "+
				"give it an https_port in RF_HA_NODES (id:host:raft_port:priority:http_port:https_port)", st.LeaderID)
		}
	}
	if leader == "" {
		return errNoLeader
	}
	location += leader + string(x.req.Path)
	if x.req.Query != nil {
		location += "?" + string(x.req.Query)
	}
	e := *errRedirect
	e.Header = "Location: " + location + "\r\n"
	e.Fields = `,"leader":` + string(jsonscan.AppendString(nil, []byte(leader)))
	return &e
}
