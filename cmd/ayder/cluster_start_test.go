package main

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"ayder/internal/testkit/proc"
)

// How a cluster comes about, and what its nodes say to clients when all is well.

func TestClusterFromEmptyDirectories(t *testing.T) {
	t.Parallel()
	eachBackend(t, func(t *testing.T, o proc.Options) {
		g := runGroup(t, 3, o)
		var want [][]byte
		for i := range 30 { // through every node in turn
			node := i % 3
			if _, err := g.tryPut("first", 0, counted(i, 50), &node); err != nil {
				t.Fatal(err)
			}
			want = append(want, counted(i, 50))
		}
		g.mustAllHold("first", 0, want)
		g.steadily(g.rolesAreTold)
		for _, n := range g.nodes { // all at once, without a word
			mustKill(t, n.Server)
		}
		g.start(g.nodes...)
		g.mustAllHold("first", 0, want)
		want = append(want, g.putMany("first", len(want), 3)...)
		g.mustAllHold("first", 0, want)
	})
}

// rolesAreTold looks at what every node says of itself and the others.
func (g *group) rolesAreTold(leader *groupNode) error {
	roles := make(map[string]int)
	for _, n := range g.nodes {
		s, err := n.status()
		if err != nil || len(s.Peers) != 3 || s.NodeID != n.id || s.Leader == nil || s.Leader.HTTP != leader.http {
			return fmt.Errorf("%s: %+v, %w", n.id, s, err)
		}
		for _, p := range s.Peers {
			if !p.Voter {
				return fmt.Errorf("%s says that %s has no vote", n.id, p.NodeID)
			}
		}
		roles[s.Role]++
		if err := n.roleIsTold(n != leader); err != nil {
			return err
		}
	}
	if roles["leader"] != 1 || roles["follower"] != 2 {
		return fmt.Errorf("roles: %v", roles)
	}
	return nil
}

// roleIsTold reads a page and /metrics_ha's text.
func (n *groupNode) roleIsTold(follower bool) error {
	r, err := n.get("/broker/consume/first/readers/0?offset=0")
	if err != nil || r.Status != 200 || strings.Contains(string(r.Body), `"role":"follower"`) != follower {
		return fmt.Errorf("a page of %s, follower %v: %s, %w", n.id, follower, &r, err)
	}
	role := "ramforge_ha_role 0\n"
	if follower {
		role = "ramforge_ha_role 1\n"
	}
	r, err = n.get("/metrics_ha")
	if err != nil || !strings.Contains(string(r.Body), role) || !strings.Contains(string(r.Body), "ramforge_ha_fresh_quorum 1\n") {
		return fmt.Errorf("%s: %s, %w", n.id, r.Body, err)
	}
	return nil
}

func TestSingleNodeBecomesTheFirstOfACluster(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 3, proc.Options{})
	first := g.nodes[0]
	single := first.options
	single.Env = nil
	s := proc.Run(t, single)
	c := s.Connect(t)
	if err := c.CreateTopic("old", 3); err != nil {
		t.Fatal(err)
	}
	var want [][]byte
	for i := range 300 {
		body := counted(i, 5000)
		mustProduce(t, c, "old", 2, body)
		want = append(want, body)
	}
	const keyed = "/broker/topics/old/produce?partition=1&idempotency_key=once"
	if r, err := c.Post(keyed, []byte("once")); err != nil || r.Status != 200 {
		t.Fatal(&r, err)
	}
	if err := c.Commit("old", "readers", 2, 123); err != nil {
		t.Fatal(err)
	}
	mustKill(t, s)
	g.start(g.nodes...)
	g.mustAllHold("old", 2, want)
	if r := g.any("POST", keyed, []byte("once")); r.Status != 200 || !strings.Contains(string(r.Body), `"duplicate":true`) || !strings.Contains(string(r.Body), `"offset":0,`) {
		t.Errorf("a key from before: %s", &r)
	}
	g.mustAllHold("old", 1, [][]byte{[]byte("once")})
	for _, n := range g.nodes {
		r, err := n.get("/broker/consume/old/readers/2?limit=1")
		if err != nil || !strings.Contains(string(r.Body), `"committed_offset":123,`) || !strings.Contains(string(r.Body), `"offset":123,`) {
			t.Errorf("%s has another commit: %s, %v", n.id, &r, err)
		}
	}
	body := []byte("and on")
	if a := g.put("old", 2, body); a.Offset != 300 {
		t.Errorf("the next message is at offset %d", a.Offset)
	}
	g.mustAllHold("old", 2, append(want, body))
}

// The flag that founds the cluster stays in the settings of a deployment; it founds nothing twice.
func TestBootstrapIsHarmlessWhenRepeated(t *testing.T) {
	t.Parallel()
	g := runGroup(t, 3, proc.Options{})
	want := g.putMany("boot", 0, 5)
	for range 2 {
		before, err := g.leader().status()
		if err != nil {
			t.Fatal(err)
		}
		mustKill(t, g.nodes[0].Server)
		g.start(g.nodes[0])
		g.leader()
		after, err := g.nodes[0].status()
		if err != nil || after.Term < before.Term || after.Last < before.Last || len(after.Peers) != 3 {
			t.Errorf("before %+v, after %+v, %v", before, after, err)
		}
		if strings.Contains(g.nodes[0].Log(), "cluster founded") {
			t.Error("the cluster was founded once more")
		}
		want = append(want, g.putMany("boot", len(want), 5)...)
		g.mustAllHold("boot", 0, want)
	}
}

// A node without the flag and without a cluster waits, says so, and does not take writes.
func TestNodeWithoutAClusterWaits(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 3, proc.Options{})
	lone := g.nodes[1]
	g.launch(lone)
	g.eventually("it answers", func() bool {
		r, err := lone.get("/health")
		return err == nil && r.Status == 200
	})
	if r, err := lone.get("/ready"); err != nil || r.Status != 503 || !strings.Contains(string(r.Body), "leader") {
		t.Errorf("/ready: %s, %v", &r, err)
	}
	mustHaveNoLeader(t, lone)
	g.start(g.nodes[0], g.nodes[2])
	g.waitReady(lone)
	g.mustAllHold("late", 0, g.putMany("late", 0, 3))
}

func mustHaveNoLeader(t *testing.T, n *groupNode) {
	t.Helper()
	r, err := n.ask("POST", "/broker/topics/none/produce?partition=0", []byte("x"))
	if err != nil || r.Status != 503 || r.ErrorCode() != "no_leader" || r.Header.Get("Retry-After") == "" {
		t.Errorf("a write without a leader: %s, Retry-After %q, %v", &r, r.Header.Get("Retry-After"), err)
	}
}

func TestFollowersRedirect(t *testing.T) {
	t.Parallel()
	g := runGroup(t, 3, proc.Options{})
	g.putMany("way", 0, 1)
	targets := map[string]string{
		"POST /broker/topics/way/produce?partition=0&key=a%20b%2F%C3%BC": "x",
		"POST /broker/topics/way/produce-ndjson?partition=0":             "{}\n",
		"POST /broker/topics": `{"name":"more","partitions":2}`,
		"POST /broker/commit": `{"topic":"way","group":"g","partition":0,"offset":1}`,
		"GET /broker/consume/way/g/0?offset=0&consistency=leader": "",
	}
	for call, body := range targets {
		g.steadily(func(leader *groupNode) error { return g.others(leader)[0].redirects(leader, call, body) })
	}
	g.steadily(func(leader *groupNode) error {
		out := curl(t, "-L", "--location-trusted", "--data", "by curl", "http://"+g.others(leader)[0].http+"/broker/topics/way/produce?partition=0")
		if !strings.Contains(out, `"durable":true`) {
			return fmt.Errorf("curl -L: %s", out)
		}
		return nil
	})
	for _, n := range g.nodes {
		g.holds(n, "way", 0, 4)
	}
}

// redirects makes a call that a follower must send to the leader, and then goes there.
func (n *groupNode) redirects(leader *groupNode, call, body string) error {
	method, target, _ := strings.Cut(call, " ")
	r, err := n.ask(method, target, []byte(body))
	if err != nil {
		return err
	}
	var said struct {
		Leader string `json:"leader"`
	}
	if err := r.JSON(&said); err != nil {
		return err
	}
	if want := "http://" + leader.http + target; r.Status != http.StatusTemporaryRedirect || r.Header.Get("Location") != want ||
		r.ErrorCode() != "redirect_to_leader" || said.Leader != leader.http {
		return fmt.Errorf("%s: %s, Location %q, want %q", call, &r, r.Header.Get("Location"), want)
	}
	if r, err := followFor(proc.HangGuard, n.http, method, target, []byte(body)); err != nil || r.Status/100 != 2 {
		return fmt.Errorf("%s, followed: %s, %w", call, &r, err)
	}
	return nil
}

// Without a majority there is no leader, and every node that is left says so; reads of what is there go on.
func TestMinorityRefusesWrites(t *testing.T) {
	t.Parallel()
	g := runGroup(t, 3, proc.Options{})
	want := g.putMany("minor", 0, 3)
	leader := g.leader()
	for _, n := range g.others(leader) {
		mustKill(t, n.Server)
	}
	g.eventually("the leader steps down", func() bool {
		r, err := leader.get("/ready")
		return err == nil && r.Status == 503
	})
	g.eventually("it has no leader", func() bool {
		r, err := leader.ask("POST", "/broker/topics/minor/produce?partition=0&idempotency_key=m", []byte("x"))
		return err == nil && r.Status == 503 && r.ErrorCode() == "no_leader"
	})
	mustHaveNoLeader(t, leader)
	g.mustAllHold("minor", 0, want)
	if r, err := leader.get("/broker/consume/minor/g/0?offset=0&consistency=leader"); err != nil || r.Status != 503 {
		t.Errorf("a read that asks for the leader: %s, %v", &r, err)
	}
	g.start(g.others(leader)...)
	want = append(want, counted(3, 50)) // refused for certain, so it is not there a second time
	if a := g.put("minor", 0, want[3]); a.Offset < 3 {
		t.Errorf("offset %d", a.Offset)
	}
	for _, n := range g.nodes {
		if got := g.holds(n, "minor", 0, 4); fmt.Sprintf("%s", got[:3]) != fmt.Sprintf("%s", want[:3]) {
			t.Errorf("%s holds %.200s", n.id, got)
		}
	}
}
