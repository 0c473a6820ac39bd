package api

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"
)

// The cluster's status, readiness, and changing who is in it.

func TestMetricsHAOfASingleNode(t *testing.T) {
	f := newFixture(t, "auto")
	f.call("POST", "/broker/topics/t/produce", "v")
	status, text, h := f.raw("GET", "/metrics_ha", "", "Authorization", "Bearer reader")
	if status != 200 || h.Get("Content-Type") != "text/plain; version=0.0.4; charset=utf-8" {
		t.Fatal(status, h)
	}
	for _, line := range []string{
		"ramforge_ha_role 0", "ramforge_ha_term 1", "ramforge_ha_fresh_quorum 1", "ramforge_ha_commit_index 2", "ramforge_ha_applied_index 2",
		"ramforge_ha_lag 0", "ramforge_ha_caught_up 1", "ramforge_ha_write_concern 1",
		`ramforge_ha_leader_info{node="single",http_addr=""} 1`, `ramforge_ha_peer_match_index{node="single"} 2`,
	} {
		if !strings.Contains(string(text), "\n"+line+"\n") {
			t.Errorf("no line %q in\n%s", line, text)
		}
	}
	f.refused("GET", "/metrics_ha", "", "Authorization", "").want(t, "no token", 401, "unauthorized", "")
	f.refused("GET", "/metrics_ha", "", "Authorization", "Bearer writer").want(t, "no role", 403, "forbidden", "")
	if _, m := f.call("GET", "/metrics_ha", "", "Accept", "application/json"); m["role"] != "leader" || m["role_code"] != 0.0 || m["node_id"] != "single" {
		t.Error(m)
	}
	f.log.set(func(m *memLog) { m.failure = errors.New("no such device") })
	f.call("POST", "/broker/topics/t/produce", "v")
	if _, m := f.call("GET", "/metrics_ha", "", "Accept", "application/json"); m["fresh_quorum"] != false {
		t.Error(m)
	}
}

// sampleLine is a line of Prometheus' text format with a value.
var sampleLine = regexp.MustCompile(`^ramforge_ha_[a-z_]+(\{[a-z_]+="([^"\\\n]|\\[\\"n])*"(,[a-z_]+="([^"\\\n]|\\[\\"n])*")*\})? (NaN|\d+(\.\d+)?)$`)

func TestMetricsHAOfACluster(t *testing.T) {
	f := newClusterFixture(t, "auto")
	f.cluster.set(func(c *fakeCluster) {
		c.status.Role, c.status.CommitIndex, c.status.AppliedIndex, c.status.LeaderCommit, c.status.LastIndex = RoleLearner, 90, 80, 100, 95
		c.status.FreshQuorum, c.status.CaughtUp = false, false
		c.status.Peers[1].MatchIndex, c.status.Peers[1].Lag, c.status.Peers[1].LastContact = 70, 25, time.Now().Add(-90*time.Second)
		c.status.Peers[2].ID = "n\"3\\\n"
	})
	_, text, _ := f.raw("GET", "/metrics_ha", "")
	helped := map[string]bool{}
	for line := range strings.Lines(strings.TrimSuffix(string(text), "\n")) {
		line = strings.TrimSuffix(line, "\n")
		if name, ok := strings.CutPrefix(line, "# HELP "); ok {
			helped[strings.Fields(name)[0]] = true
			continue
		}
		if strings.HasPrefix(line, "# TYPE ") {
			continue
		}
		if !sampleLine.MatchString(line) || !helped[regexp.MustCompile(`^\w+`).FindString(line)] {
			t.Errorf("line %q", line)
		}
	}
	for _, line := range []string{
		"ramforge_ha_role 3", "ramforge_ha_term 1", "ramforge_ha_fresh_quorum 0", "ramforge_ha_lag 20", "ramforge_ha_last_index 95", "ramforge_ha_caught_up 0",
		"ramforge_ha_write_concern 2", `ramforge_ha_leader_info{node="n2",http_addr="` + leaderAddr + `"} 1`,
		`ramforge_ha_peer_lag{node="n2"} 25`, `ramforge_ha_peer_last_contact_seconds{node="n1"} 0.000`, `ramforge_ha_peer_last_contact_seconds{node="n\"3\\\n"} NaN`,
		`ramforge_ha_peer_voter{node="n2"} 1`, `ramforge_ha_peer_connected{node="n2"} 1`, `ramforge_ha_peer_priority{node="n1"} 10`,
	} {
		if !strings.Contains(string(text), "\n"+line+"\n") {
			t.Errorf("no line %q in\n%s", line, text)
		}
	}
	if !regexp.MustCompile(`\nramforge_ha_peer_last_contact_seconds\{node="n2"\} (9\d|1\d\d)\.\d{3}\n`).Match(text) {
		t.Errorf("last contact in %s", text)
	}
	f.cluster.set(func(c *fakeCluster) { c.status.LeaderID = "" })
	if _, text, _ = f.raw("GET", "/metrics_ha", ""); strings.Contains(string(text), "leader_info{") {
		t.Error("a leader is shown where there is none")
	}
}

func TestMetricsHAAsJSON(t *testing.T) {
	f := newClusterFixture(t, "auto")
	f.cluster.set(func(c *fakeCluster) {
		c.status.CommitIndex, c.status.AppliedIndex, c.status.LeaderCommit = 90, 80, 100
		c.status.Peers[1].MatchIndex, c.status.Peers[1].LastContact = 70, time.Time{}
		c.status.LeaderHTTPSAddr, c.status.Peers[1].HTTPSAddr = "n2.example:443", "n2.example:443"
	})
	for _, accept := range []string{"application/json", "text/html, application/json;q=0.9", "Application/JSON ; q=0.001"} {
		_, m := f.call("GET", "/metrics_ha", "", "Accept", accept)
		want := map[string]any{
			"ok": true, "node_id": "n1", "role": "follower", "role_code": 1.0, "term": 1.0, "fresh_quorum": true, "leader": map[string]any{"node_id": "n2", "http_addr": leaderAddr, "https_addr": "n2.example:443"},
			"commit_index": 90.0, "applied_index": 80.0, "last_index": 0.0, "lag": 20.0, "caught_up": true, "lost_index": 0.0, "write_concern": 2.0, "peers": m["peers"],
		}
		if !reflect.DeepEqual(m, want) {
			t.Errorf("%s: %v", accept, m)
		}
		peer := m["peers"].([]any)[1]
		if want := map[string]any{
			"node_id": "n2", "raft_addr": "127.0.0.1:7002", "http_addr": leaderAddr, "https_addr": "n2.example:443", "priority": 5.0, "voter": true, "self": false, "leader": true,
			"connected": true, "match_index": 70.0, "lag": 0.0, "last_contact_ms": nil,
		}; !reflect.DeepEqual(peer, want) {
			t.Errorf("%v", peer)
		}
	}
	for _, accept := range []string{"", "*/*", "text/plain", "application/json;q=0", "application/json; q=0.00", "application/jsonx"} {
		if _, text, _ := f.raw("GET", "/metrics_ha", "", "Accept", accept); !strings.HasPrefix(string(text), "# HELP ramforge_ha_role ") {
			t.Errorf("%q: %s", accept, text)
		}
	}
	f.cluster.set(func(c *fakeCluster) { c.status.LeaderID = "" })
	if _, m := f.call("GET", "/metrics_ha", "", "Accept", "application/json"); m["leader"] != nil {
		t.Error(m)
	}
}

// TestElectedAndNotReady: a node is called the leader from when it takes writes.
func TestElectedAndNotReady(t *testing.T) {
	f := newClusterFixture(t, "auto")
	f.cluster.set(func(c *fakeCluster) { c.status.Role, c.status.LeaderID = RoleLeader, "n1" })
	if _, m := f.call("GET", "/metrics_ha", "", "Accept", "application/json"); m["role"] != "candidate" {
		t.Error(m)
	}
	f.lead()
	if _, m := f.call("GET", "/metrics_ha", "", "Accept", "application/json"); m["role"] != "leader" {
		t.Error(m)
	}
	if status, m := f.call("GET", "/ready", ""); status != 200 {
		t.Error(status, m)
	}
}

func TestReadinessInACluster(t *testing.T) {
	f := newClusterFixture(t, "auto")
	for _, tt := range []struct {
		change func(st *ClusterStatus)
		reason string
	}{
		{func(*ClusterStatus) {}, ""},
		{func(st *ClusterStatus) { st.LeaderID = "" }, "no leader"},
		{func(st *ClusterStatus) { st.LostIndex, st.LastIndex = 9, 7 }, "it has index 7 and gets those up to index 9"},
		{func(st *ClusterStatus) { st.LostIndex, st.LeaderID = 9, "" }, "no leader is known"},
		{func(st *ClusterStatus) { st.LostIndex = math.MaxUint64 }, "next term"},
		{func(st *ClusterStatus) { st.Role, st.LeaderID = RoleLeader, "n1" }, "about to lead"}, // it was elected and has not begun
		{func(st *ClusterStatus) { st.FreshQuorum = false }, "majority"},
		{func(st *ClusterStatus) { st.CaughtUp = false }, "catching up: 0 entries"},
		{func(st *ClusterStatus) { st.AppliedIndex, st.LeaderCommit = 5, 5+readyLagMax }, ""},
		{func(st *ClusterStatus) { st.AppliedIndex, st.LeaderCommit = 5, 6+readyLagMax }, "catching up: 10001 entries"},
		{func(st *ClusterStatus) { st.AppliedIndex, st.CommitIndex = 5, 6+readyLagMax }, "catching up: 10001 entries"},
		{func(st *ClusterStatus) { st.AppliedIndex, st.CommitIndex, st.LeaderCommit = 50, 50, 20 }, ""}, // it heard of more from another
	} {
		var before ClusterStatus
		f.cluster.set(func(c *fakeCluster) { before = c.status; tt.change(&c.status) })
		status, m := f.call("GET", "/ready", "", "Authorization", "")
		reason, _ := m["reason"].(string)
		if (status == 200) != (tt.reason == "") || m["ready"] != (tt.reason == "") || !strings.Contains(reason, tt.reason) {
			t.Errorf("%q: %d %v", tt.reason, status, m)
		}
		if _, text, _ := f.raw("GET", "/metrics", ""); strings.Contains(string(text), "\nayder_ready 1\n") != (tt.reason == "") {
			t.Errorf("%q: ayder_ready differs", tt.reason)
		}
		if status, _ := f.call("GET", "/health", ""); status != 200 {
			t.Error("health: ", status)
		}
		f.cluster.set(func(c *fakeCluster) { c.status = before })
	}
}

func TestMembershipOfASingleNode(t *testing.T) {
	f := newFixture(t, "auto")
	status, m := f.call("GET", "/ha/membership", "")
	if status != 200 || m["count"] != 1.0 || m["leader"] != "single" || m["nodes"].([]any)[0].(map[string]any)["self"] != true {
		t.Error(status, m)
	}
	eachRoute(func(r *route, path, body string) {
		if r.global && r.method.String() == "POST" {
			f.refused("POST", path, body).want(t, path, 409, "not_clustered", "")
		}
	})
}

func TestMembership(t *testing.T) {
	f := newLeader(t, readsOn(t), 1)
	status, m := f.call("GET", "/ha/membership", "")
	if status != 200 || m["count"] != 3.0 || m["leader"] != "n1" || m["node_id"] != "n1" || m["term"] != 2.0 {
		t.Fatal(status, m)
	}
	third := m["nodes"].([]any)[2].(map[string]any)
	if third["node_id"] != "n3" || third["voter"] != false || third["http_addr"] != "" || third["priority"] != 1.0 {
		t.Error(third)
	}
	for _, tt := range []struct {
		path, body, answer string
		verb               string
		member             Member
	}{
		{
			"add", `{"node_id":"n4","advertise_addr":"10.0.0.4:7004","http_addr":"[::1]:8004","priority":-3}`, `{"ok":true,"node_id":"n4","voter":false}`,
			"add",
			Member{"n4", "10.0.0.4:7004", "[::1]:8004", "", -3},
		},
		{"add", `{"node_id":"n4","advertise_addr":"node4.example:7004"}`, `{"ok":true,"node_id":"n4","voter":false}`, "add", Member{"n4", "node4.example:7004", "", "", 0}},
		{"add", `{"node_id":"n4","advertise_addr":"a:1","https_addr":"a:3"}`, `{"ok":true,"node_id":"n4","voter":false}`, "add", Member{"n4", "a:1", "", "a:3", 0}},
		{"promote", `{"node_id":"n4"}`, `{"ok":true,"node_id":"n4","voter":true}`, "promote", Member{ID: "n4"}},
		{"promote", `{"node_id":"n4","advertise_addr":"10.0.0.4:7004","priority":1}`, `{"ok":true,"node_id":"n4","voter":true}`, "promote", Member{ID: "n4"}},
		{"remove", `{"node_id":"n\"4"}`, `{"ok":true,"node_id":"n\"4","removed":true}`, "remove", Member{ID: `n"4`}},
		{"../transfer", `{"node_id":"n2"}`, `{"ok":true,"leader":"n1"}`, "transfer", Member{ID: "n2"}},
		{"../transfer", `{}`, `{"ok":true,"leader":"n1"}`, "transfer", Member{}},
		{"../transfer", ``, `{"ok":true,"leader":"n1"}`, "transfer", Member{}},
		{"../transfer", `{"node_id":"n1"}`, `{"ok":true,"leader":"n1"}`, "transfer", Member{}}, // it leads already: nothing is done
	} {
		path := strings.Replace("/ha/membership/"+tt.path, "/membership/..", "", 1)
		status, text, _ := f.raw("POST", path, tt.body)
		if status != 200 || string(text) != tt.answer {
			t.Errorf("%s %s: %d %s", path, tt.body, status, text)
		}
		f.cluster.set(func(c *fakeCluster) {
			if n := len(c.verbs) - 1; c.verbs[n] != tt.verb || c.changes[n] != tt.member {
				t.Errorf("%s %s: %s %+v", path, tt.body, c.verbs[n], c.changes[n])
			}
		})
	}
}

func TestMembershipBodies(t *testing.T) {
	f := newLeader(t, "auto", 1)
	for _, tt := range []struct{ path, body, code, part string }{
		{"membership/add", ``, "bad_json", "empty"},
		{"membership/add", `[]`, "bad_json", "object"},
		{"membership/add", `{"node_id":"n4","advertise_addr":"a:1","x":1}`, "unknown_field", `"x"`},
		{"membership/add", `{"node_id":"n4","node_id":"n5","advertise_addr":"a:1"}`, "bad_json", "twice"},
		{"membership/add", `{"Node_id":"n4","advertise_addr":"a:1"}`, "unknown_field", "Node_id"},
		{"membership/add", `{"node_id":4,"advertise_addr":"a:1"}`, "bad_json", "node_id"},
		{"membership/add", `{"advertise_addr":"a:1"}`, "bad_member", "node_id is required"},
		{"membership/add", `{"node_id":"","advertise_addr":"a:1"}`, "bad_member", "node_id is required"},
		{"membership/add", `{"node_id":"` + strings.Repeat("n", nodeIDBytesMax+1) + `","advertise_addr":"a:1"}`, "bad_member", "128"},
		{"membership/add", `{"node_id":"n4"}`, "bad_member", "advertise_addr is required"},
		{"membership/add", `{"node_id":"n4","advertise_addr":"a"}`, "bad_member", "host:port"},
		{"membership/add", `{"node_id":"n4","advertise_addr":":7000"}`, "bad_member", "host:port"},
		{"membership/add", `{"node_id":"n4","advertise_addr":"a:0"}`, "bad_member", "host:port"},
		{"membership/add", `{"node_id":"n4","advertise_addr":"a:65536"}`, "bad_member", "host:port"},
		{"membership/add", `{"node_id":"n4","advertise_addr":"::1:7000"}`, "bad_member", "host:port"},
		{"membership/add", `{"node_id":"n4","advertise_addr":"a:1","http_addr":"b"}`, "bad_member", "http_addr"},
		{"membership/add", `{"node_id":"n4","advertise_addr":"a:1","https_addr":"b:0"}`, "bad_member", "https_addr"},
		{"membership/add", `{"node_id":"n4","advertise_addr":"a:1","priority":1.5}`, "bad_json", "priority"},
		{"membership/promote", `{}`, "bad_member", "node_id is required"},
		{"membership/remove", `{"advertise_addr":"a:1"}`, "bad_member", "node_id is required"},
		{"transfer", `{"node_id":""}`, "bad_member", "node_id"},
		{"transfer", `{"to":"n2"}`, "unknown_field", `"to"`},
	} {
		f.refused("POST", "/ha/"+tt.path, tt.body).want(t, tt.path+" "+tt.body, 400, tt.code, tt.part)
	}
	f.cluster.set(func(c *fakeCluster) {
		if len(c.verbs) != 0 {
			t.Error("a bad request reached the cluster: ", c.verbs)
		}
	})
}

func TestMembershipFaults(t *testing.T) {
	f := newLeader(t, readsOn(t), 1, func(o *Options) { o.Loops = 2 })
	for _, tt := range []struct {
		fault  error
		status int
		code   string
	}{
		{fmt.Errorf("promote n9: %w", ErrUnknownNode), 404, "unknown_node"},
		{fmt.Errorf("n4 lags by 7 entries: %w", ErrNodeConflict), 409, "node_conflict"},
		{ErrLeadershipLost, 503, "leadership_lost"},
		{errors.New("n2 does not answer"), 503, "change_failed"},
		{context.DeadlineExceeded, 504, "commit_timeout"},
		{ErrNotLeader, 503, "no_leader"}, // the status names us still
	} {
		f.cluster.set(func(c *fakeCluster) { c.fault = tt.fault })
		for _, path := range []string{"membership/add", "membership/promote", "membership/remove", "transfer"} {
			r := f.refused("POST", "/ha/"+path, goodBodies["/ha/"+path])
			r.want(t, path, tt.status, tt.code, "")
			if (tt.code == "unknown_node" || tt.code == "node_conflict" || tt.code == "change_failed") && r.message != tt.fault.Error() {
				t.Errorf("%s: %q, want %q", path, r.message, tt.fault)
			}
		}
	}
	f.cluster.set(func(c *fakeCluster) { c.status.LeaderID, c.status.LeaderHTTPAddr = "n2", leaderAddr }) // known before we notice
	f.redirected("POST", "/ha/membership/add", goodBodies["/ha/membership/add"], "http://"+leaderAddr+"/ha/membership/add")
}

// TestChangesDoNotHoldUpTheLoop, are bounded in number, and end with the server.
func TestChangesDoNotHoldUpTheLoop(t *testing.T) {
	f := newLeader(t, readsOn(t), 1)
	block := make(chan struct{})
	f.cluster.set(func(c *fakeCluster) { c.block = block })
	var readers []*bufio.Reader
	for range changesMax {
		c, r := f.dial()
		fmt.Fprint(c, post("/ha/transfer", ""))
		readers = append(readers, r)
	}
	waitFor(t, "the changes", func() bool {
		n := 0
		f.cluster.set(func(c *fakeCluster) { n = len(c.verbs) })
		return n == changesMax
	})
	f.refused("POST", "/ha/transfer", "").want(t, "one too many", http.StatusServiceUnavailable, "overloaded", "under way")
	if status, m := f.call("POST", produceT, "v"); status != 200 {
		t.Error(status, m)
	}
	close(block)
	for _, r := range readers {
		expect(t, r, "200 n1")
	}
	if status, m := f.call("POST", "/ha/transfer", ""); status != 200 {
		t.Error(status, m)
	}
}

// TestChangesEndWithTheServer: nothing of it runs on.
func TestChangesEndWithTheServer(t *testing.T) {
	f := newLeader(t, readsOn(t), 1)
	f.cluster.set(func(c *fakeCluster) { c.block = make(chan struct{}) })
	c, _ := f.dial()
	fmt.Fprint(c, post("/ha/transfer", ""))
	waitFor(t, "the change", func() bool { return f.server.changing.Load() == 1 })
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = f.net.Shutdown(ctx)
	waitFor(t, "its end", func() bool { return f.server.changing.Load() == 0 })
}

// TestTransferNamesTheSuccessor: who has handed leadership over waits until it hears from who has it now.
func TestTransferNamesTheSuccessor(t *testing.T) {
	f := newLeader(t, readsOn(t), 1)
	f.cluster.set(func(c *fakeCluster) { c.lasting = true })
	conn, r := f.dial()
	fmt.Fprint(conn, post("/ha/transfer", `{"node_id":"n2"}`))
	waitFor(t, "the transfer", func() (asked bool) {
		f.cluster.set(func(c *fakeCluster) { asked = len(c.verbs) == 1 })
		return asked
	})
	f.cluster.set(func(c *fakeCluster) { c.status.LeaderID, c.status.Role = "", RoleFollower })
	f.cluster.set(func(c *fakeCluster) { c.status.LeaderID, c.status.Term = "n2", c.status.Term+1 })
	expect(t, r, "200 n2")
}

// TestTransferWithoutASuccessor says so by not naming one.
func TestTransferWithoutASuccessor(t *testing.T) {
	c := &fakeCluster{status: ClusterStatus{NodeID: "n1", Term: 3}}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if got := successor(ctx, c, &ClusterStatus{NodeID: "n1", LeaderID: "n1", Term: 3}); got != "" {
		t.Error(got)
	}
	c.status.LeaderID = "n1" // it has not noticed yet
	if got := successor(ctx, c, &ClusterStatus{NodeID: "n1", LeaderID: "n1", Term: 3}); got != "" {
		t.Error(got)
	}
	if c.status.Term = 4; successor(ctx, c, &ClusterStatus{NodeID: "n1", LeaderID: "n1", Term: 3}) != "n1" {
		t.Error("it leads again")
	}
}
