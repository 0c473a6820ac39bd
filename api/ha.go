package api

import (
	"bytes"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"ayder/httpparse"

	"ayder/internal/jsonscan"
)

// The cluster as a node sees it: /metrics_ha and what /ready says about it.
//
// The first three names are those that existing scripts look for. The text is written here and not by the
// client library, because it is for people with grep, too: every line always there, in a fixed order.

// status is the cluster's; a single node leads itself. A node that was elected and may not serve yet is no leader: whoever
// waits for one to write to would be too early.
func (s *Server) status() *ClusterStatus {
	if c := s.options.Cluster; c != nil {
		st := c.Status()
		if st.Role != RoleLeader || c.Leading() {
			return st
		}
		early := *st
		early.Role = RoleCandidate
		return &early
	}
	index := uint64(0)
	for i := range s.options.Loops {
		index = max(index, s.options.Engine.Shard(i).LastApplied())
	}
	return &ClusterStatus{
		NodeID: soloNode, Role: RoleLeader, Term: soloTerm, LeaderID: soloNode, CommitIndex: index, AppliedIndex: index,
		LeaderCommit: index, LastIndex: index, CaughtUp: true, FreshQuorum: s.unready() == "", WriteConcern: 1,
		Peers: []PeerStatus{{ID: soloNode, Voter: true, Self: true, Connected: true, MatchIndex: index}},
	}
}

const (
	soloNode = "single" // a single node's id
	soloTerm = 1        // the term of every frame that it writes
)

// lag is how many entries the node has still to apply.
func (st *ClusterStatus) lag() uint64 {
	return max(st.LeaderCommit, st.CommitIndex, st.AppliedIndex) - st.AppliedIndex
}

// unready says why a node of the cluster should not be sent clients, or nothing.
func (st *ClusterStatus) unready() string {
	switch {
	case st.LostIndex > 0:
		return st.healing()
	case st.LeaderID == "":
		return "no leader is known"
	case st.LeaderID == st.NodeID && st.Role != RoleLeader:
		return "this node is about to lead"
	case !st.FreshQuorum:
		return "no majority was heard from lately"
	case !st.CaughtUp || st.lag() > readyLagMax:
		return fmt.Sprintf("catching up: %d entries behind the leader", st.lag())
	}
	return ""
}

// healing says what a node waits for whose log was damaged.
func (st *ClusterStatus) healing() string {
	until := fmt.Sprintf("up to index %d", st.LostIndex)
	if st.LostIndex == math.MaxUint64 {
		until = "which end with the next term (POST /ha/transfer begins one)"
	}
	s := fmt.Sprintf("entries of this node's log were damaged: it has index %d and gets those %s from the other nodes", st.LastIndex, until)
	if st.LeaderID == "" {
		s += "; no leader is known"
	}
	return s
}

// metricsHA answers in Prometheus' text format, or as JSON where the client prefers it.
func metricsHA(l *loop, x *exchange) (reply, error) {
	st := l.server.status()
	if acceptsJSON(x.req.Accept) {
		l.body = st.appendJSON(l.body[:0])
		return reply{status: 200, body: l.body}, nil
	}
	l.body = st.appendText(l.body[:0])
	return reply{status: 200, contentType: "text/plain; version=0.0.4; charset=utf-8", body: l.body}, nil
}

// acceptsJSON tells whether an Accept field names JSON without forbidding it.
func acceptsJSON(accept []byte) bool {
	for part := range bytes.SplitSeq(accept, []byte(",")) {
		kind, parameters, _ := bytes.Cut(part, []byte(";"))
		if httpparse.EqualFold(bytes.TrimSpace(kind), "application/json") {
			weight, has := bytes.CutPrefix(bytes.TrimSpace(parameters), []byte("q="))
			return !has || len(bytes.Trim(weight, "0.")) > 0
		}
	}
	return false
}

// appendText renders the status as metrics.
func (st *ClusterStatus) appendText(b []byte) []byte {
	gauge := func(name, help string) {
		b = fmt.Appendf(b, "# HELP ramforge_ha_%s %s\n# TYPE ramforge_ha_%s gauge\n", name, help, name)
	}
	value := func(name, help string, v uint64) {
		gauge(name, help)
		b = fmt.Appendf(b, "ramforge_ha_%s %d\n", name, v)
	}
	value("role", "0 leader, 1 follower, 2 candidate, 3 learner.", uint64(st.Role))
	value("term", "Raft term.", st.Term)
	value("fresh_quorum", "Whether a majority was heard from lately.", bit(st.FreshQuorum))
	value("commit_index", "Highest index known to be committed.", st.CommitIndex)
	value("applied_index", "Highest index that is applied.", st.AppliedIndex)
	value("last_index", "Last index of this node's log.", st.LastIndex)
	value("lag", "Committed entries that this node has still to apply.", st.lag())
	value("caught_up", "Whether this node has had everything committed since its start.", bit(st.CaughtUp))
	value("lost_index", "Up to here this node lacks entries that its log had before it was damaged; 0: none.", st.LostIndex)
	value("write_concern", "Disks that a write waits for unless it says otherwise.", uint64(max(st.WriteConcern, 0)))
	gauge("leader_info", "Who leads; always 1, absent without a leader.")
	if st.LeaderID != "" {
		b = fmt.Appendf(b, "ramforge_ha_leader_info{node=%s,http_addr=%s} 1\n", label(st.LeaderID), label(st.LeaderHTTPAddr))
	}
	for _, m := range peerMetrics {
		gauge("peer_"+m.name, m.help)
		for i := range st.Peers {
			p := &st.Peers[i]
			b = fmt.Appendf(b, "ramforge_ha_peer_%s{node=%s} %s\n", m.name, label(p.ID), m.value(p))
		}
	}
	return b
}

// peerMetrics are the series of each node.
var peerMetrics = []struct {
	name, help string
	value      func(p *PeerStatus) string
}{
	{"match_index", "The node's log equals the leader's up to here.", func(p *PeerStatus) string { return strconv.FormatUint(p.MatchIndex, 10) }},
	{"lag", "Entries between the leader's last one and that.", func(p *PeerStatus) string { return strconv.FormatUint(p.Lag, 10) }},
	{"last_contact_seconds", "Time since the node was heard from; NaN: never.", contactSeconds},
	{"connected", "Whether there is a connection to the node.", func(p *PeerStatus) string { return strconv.FormatUint(bit(p.Connected), 10) }},
	{"voter", "Whether the node has a vote.", func(p *PeerStatus) string { return strconv.FormatUint(bit(p.Voter), 10) }},
	{"priority", "How much the node is preferred as leader.", func(p *PeerStatus) string { return strconv.Itoa(p.Priority) }},
}

func contactSeconds(p *PeerStatus) string {
	ms, ok := p.contactMs()
	if !ok {
		return "NaN"
	}
	return strconv.FormatFloat(float64(ms)/1000, 'f', 3, 64)
}

// contactMs is how long ago the node was heard from, if ever. One has always heard from oneself.
func (p *PeerStatus) contactMs() (int64, bool) {
	switch {
	case p.Self:
		return 0, true
	case p.LastContact.IsZero():
		return 0, false
	}
	return max(time.Since(p.LastContact).Milliseconds(), 0), true
}

// label quotes a label's value.
func label(v string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(v) + `"`
}

func bit(on bool) uint64 {
	if on {
		return 1
	}
	return 0
}

// appendJSON renders the same as JSON.
func (st *ClusterStatus) appendJSON(b []byte) []byte {
	b = append(b, `{"ok":true`...)
	b = appendStringMember(b, "node_id", st.NodeID)
	b = appendStringMember(b, "role", st.Role.String())
	b = appendMember(b, "role_code", uint64(st.Role))
	b = appendMember(b, "term", st.Term)
	b = appendBoolMember(b, "fresh_quorum", st.FreshQuorum)
	b = append(b, `,"leader":`...)
	if st.LeaderID == "" {
		b = append(b, `null`...)
	} else {
		b = jsonscan.AppendString(append(b, `{"node_id":`...), []byte(st.LeaderID))
		b = appendStringMember(b, "http_addr", st.LeaderHTTPAddr)
		b = appendStringMember(b, "https_addr", st.LeaderHTTPSAddr)
		b = append(b, '}')
	}
	b = appendMember(b, "commit_index", st.CommitIndex)
	b = appendMember(b, "applied_index", st.AppliedIndex)
	b = appendMember(b, "last_index", st.LastIndex)
	b = appendMember(b, "lag", st.lag())
	b = appendBoolMember(b, "caught_up", st.CaughtUp)
	b = appendMember(b, "lost_index", st.LostIndex)
	b = appendMember(b, "write_concern", uint64(max(st.WriteConcern, 0)))
	b = append(b, `,"peers":`...)
	return append(st.appendPeers(b), '}')
}

// appendPeers renders the nodes, this one included.
func (st *ClusterStatus) appendPeers(b []byte) []byte {
	b = append(b, '[')
	for i := range st.Peers {
		p := &st.Peers[i]
		if i > 0 {
			b = append(b, ',')
		}
		b = jsonscan.AppendString(append(b, `{"node_id":`...), []byte(p.ID))
		b = appendStringMember(b, "raft_addr", p.RaftAddr)
		b = appendStringMember(b, "http_addr", p.HTTPAddr)
		b = appendStringMember(b, "https_addr", p.HTTPSAddr)
		b = append(b, `,"priority":`...)
		b = strconv.AppendInt(b, int64(p.Priority), 10)
		b = appendBoolMember(b, "voter", p.Voter)
		b = appendBoolMember(b, "self", p.Self)
		b = appendBoolMember(b, "leader", p.ID == st.LeaderID)
		b = appendBoolMember(b, "connected", p.Connected)
		b = appendMember(b, "match_index", p.MatchIndex)
		b = appendMember(b, "lag", p.Lag)
		b = append(b, `,"last_contact_ms":`...)
		if ms, ok := p.contactMs(); ok {
			b = strconv.AppendInt(b, ms, 10)
		} else {
			b = append(b, `null`...)
		}
		b = append(b, '}')
	}
	return append(b, ']')
}

// appendStringMember appends `,"name":"value"`.
func appendStringMember(b []byte, name, value string) []byte {
	b = append(append(append(b, ',', '"'), name...), '"', ':')
	return jsonscan.AppendString(b, []byte(value))
}

// appendBoolMember appends `,"name":value`.
func appendBoolMember(b []byte, name string, value bool) []byte {
	b = append(append(append(b, ',', '"'), name...), '"', ':')
	return strconv.AppendBool(b, value)
}
