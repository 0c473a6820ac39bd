package main

import (
	"fmt"
	"strings"
	"testing"

	"ayder/internal/testkit/proc"
)

// What an answer says about how far a write has got, and what becomes of a write when a node is missing.

// concerned is what produce answers beside the usual.
type concerned struct {
	proc.Append
	Acked     int    `json:"acked_nodes"`
	Committed bool   `json:"committed"`
	Error     string `json:"error"`
}

// produceOn writes through the leader, wherever it is, with a write concern.
func produceOn(t *testing.T, g *group, query string) (r proc.Response, c concerned) {
	t.Helper()
	target := "/broker/topics/concern/produce?partition=0" + query
	g.steadily(func(leader *groupNode) (err error) {
		if r, err = followFor(proc.HangGuard, leader.http, "POST", target, []byte("x")); err != nil {
			return err
		}
		if r.Status == 503 || r.Status == 307 {
			return fmt.Errorf("nobody leads: %s", &r)
		}
		return r.JSON(&c)
	})
	return r, c
}

// patientCommits is for writes that must succeed, however slow the machine is.
var patientCommits = []string{"RF_COMMIT_TIMEOUT_MS=100000"}

func TestWriteConcernOfARequest(t *testing.T) {
	t.Parallel()
	g := runGroup(t, 3, proc.Options{Env: patientCommits})
	for query, want := range map[string]struct {
		durable bool
		acked   int
	}{
		"":                                       {true, 0},
		"&concern=async":                         {false, 0},
		"&concern=sync-majority":                 {true, 0},
		"&concern=sync-all":                      {true, 3},
		"&concern=async&idempotency_key=k":       {true, 0}, // a key promises that a retry finds the first try
		"&concern=sync-all&idempotency_key=else": {true, 3},
	} {
		r, c := produceOn(t, g, query)
		if r.Status != 200 || c.Durable != want.durable || c.Synced == nil || !*c.Synced || c.Acked != want.acked {
			t.Errorf("%q: %s, want %+v", query, &r, want)
		}
	}
	if r, _ := produceOn(t, g, "&concern=some"); r.Status != 400 {
		t.Errorf("an unknown concern: %s", &r)
	}
	g.holds(g.leader(), "concern", 0, 6)
}

func TestSyncAllWithANodeDown(t *testing.T) {
	t.Parallel()
	g := runGroup(t, 3, proc.Options{}) // with the usual patience, in which a majority surely commits
	f := g.follower()
	mustKill(t, f.Server)
	r, c := produceOn(t, g, "&concern=sync-all")
	if r.Status != 504 || c.Error != "commit_timeout" || !c.Committed || c.Acked != 2 {
		t.Errorf("with a node down: %s", &r)
	}
	if r, _ := produceOn(t, g, "&concern=sync-majority"); r.Status != 200 {
		t.Errorf("a majority is there: %s", &r)
	}
	g.start(f)
	g.mustAllHold("concern", 0, [][]byte{[]byte("x"), []byte("x")})
	g.eventually("all have it", func() bool {
		r, c := produceOn(t, g, "&concern=sync-all")
		return r.Status == 200 && c.Acked == 3
	})
}

func TestWriteConcernOfTheCluster(t *testing.T) {
	t.Parallel()
	for concern, want := range map[int]string{1: `"durable":false`, 3: `"acked_nodes":3`} {
		t.Run(fmt.Sprint(concern), func(t *testing.T) {
			g := runGroup(t, 3, proc.Options{Env: append([]string{fmt.Sprintf("RF_HA_WRITE_CONCERN=%d", concern)}, patientCommits...)})
			r, _ := produceOn(t, g, "")
			if r.Status != 200 || !strings.Contains(string(r.Body), want) || !strings.Contains(string(r.Body), `"synced":true`) {
				t.Errorf("%s, want %s", &r, want)
			}
			r, c := produceOn(t, g, "&concern=sync-majority")
			if r.Status != 200 || !c.Durable {
				t.Errorf("what the request says counts: %s", &r)
			}
		})
	}
}

// A leader without followers answers async writes as long as it leads, and no longer; what it answers so may be lost, and what it
// answers as durable never is.
func TestAsyncIsNotPromised(t *testing.T) {
	t.Parallel()
	g := runGroup(t, 3, proc.Options{})
	want := g.putMany("concern", 0, 2)
	leader := g.leader()
	for _, n := range g.others(leader) {
		mustKill(t, n.Server)
	}
	for range 5 {
		r, err := leader.ask("POST", "/broker/topics/concern/produce?partition=0&concern=async", []byte("perhaps"))
		if err != nil {
			t.Fatal(err)
		}
		if r.Status == 200 && strings.Contains(string(r.Body), `"durable":true`) {
			t.Errorf("durable without a majority: %s", &r)
		}
	}
	mustKill(t, leader.Server)
	g.start(g.others(leader)...)
	for _, n := range g.others(leader) {
		if got := g.holds(n, "concern", 0, 2); fmt.Sprintf("%s", got) != fmt.Sprintf("%s", want) {
			t.Errorf("%s holds %.300s", n.id, got)
		}
	}
	want = append(want, g.putMany("concern", 2, 3)...)
	g.start(leader) // takes back what nobody else has seen
	g.mustAllHold("concern", 0, want)
}
