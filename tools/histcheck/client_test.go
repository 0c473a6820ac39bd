package main

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"ayder/internal/testkit/proc"
)

// Nodes of paper: what a client makes of every kind of answer.

// paper starts a node that answers with f, and returns its address.
func paper(t *testing.T, f http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(f)
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

func answer(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}
}

// redirect sends the client to address, with the target or what is put behind it.
func redirect(address *string, behind string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", "http://"+*address+r.URL.RequestURI()+behind)
		w.WriteHeader(307)
	}
}

// silent is an address where nothing listens.
func silent(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	return l.Addr().String()
}

func TestAnswersAreJudged(t *testing.T) {
	refusal := func(code string) string { return `{"ok":false,"error":"` + code + `"}` }
	cases := map[string]struct {
		node   http.HandlerFunc
		target string
		want   outcome
		fault  bool
	}{
		"ok":               {answer(200, "{}"), "/broker/topics/t/produce", outcomeOK, false},
		"created":          {answer(201, "{}"), "/broker/topics", outcomeOK, false},
		"declined":         {answer(412, "{}"), "/broker/topics/t/produce", outcomeFailed, false},
		"beyond the end":   {answer(416, "{}"), "/broker/consume", outcomeFailed, false},
		"no leader":        {answer(503, refusal("no_leader")), "/broker/topics/t/produce", outcomeRefused, false},
		"overloaded":       {answer(503, refusal("overloaded")), "/broker/topics/t/produce", outcomeRefused, false},
		"leadership lost":  {answer(503, refusal("leadership_lost")), "/broker/topics/t/produce", outcomeUnknown, false},
		"timeout":          {answer(504, refusal("commit_timeout")), "/broker/topics/t/produce", outcomeUnknown, false},
		"storage failed":   {answer(500, refusal("storage_failed")), "/broker/topics/t/produce", outcomeUnknown, false},
		"disk full":        {answer(507, refusal("disk_full")), "/broker/topics/t/produce", outcomeRefused, false},
		"not heard of yet": {answer(404, refusal("unknown_topic")), "/broker/consume/t", outcomeRefused, false},
		"gone":             {answer(404, refusal("unknown_topic")), "/broker/topics/t/produce", outcomeUnknown, true},
		"bad parameter":    {answer(400, refusal("bad_parameter")), "/broker/consume/t", outcomeUnknown, true},
		"broken off":       {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "/broker/consume/t", outcomeUnknown, false},
	}
	for name, c := range cases {
		f := &shared{}
		caller := newCaller(proc.Dial, f)
		if _, got := caller.ask(paper(t, c.node), "POST", c.target, []byte("x")); got != c.want || f.total != 0 != c.fault {
			t.Errorf("%s: %s, %v", name, got, f.err())
		}
		caller.close()
	}
	caller := newCaller(proc.Dial, &shared{})
	if _, got := caller.ask(silent(t), "POST", "/", nil); got != outcomeRefused {
		t.Errorf("nobody there: %s", got)
	}
}

func TestRedirectsAreFollowed(t *testing.T) {
	var asked atomic.Int64
	leader := paper(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		fmt.Fprint(w, r.Method, " ", r.URL.RequestURI())
	})
	f := &shared{}
	c := newCaller(proc.Dial, f)
	defer c.close()
	const target = "/broker/topics/t/produce?partition=1&idempotency_key=a%20b"
	r, out := c.ask(paper(t, redirect(&leader, "")), "POST", target, []byte("x"))
	if out != outcomeOK || string(r.Body) != "POST "+target || asked.Load() != 1 || f.total != 0 {
		t.Errorf("%s: %s, asked %d times, %v", out, &r, asked.Load(), f.err())
	}
	var self string
	self = paper(t, func(w http.ResponseWriter, r *http.Request) { redirect(&self, "")(w, r) })
	if _, out := c.ask(self, "POST", target, nil); out != outcomeRefused || f.total != 0 {
		t.Errorf("sent round in circles: %s, %v", out, f.err())
	}
	if _, out := c.ask(paper(t, redirect(&leader, "&more=1")), "POST", target, nil); out != outcomeRefused || f.total != 1 {
		t.Errorf("another target: %s, %v", out, f.err())
	}
	if _, out := c.ask(paper(t, answer(307, "")), "POST", target, nil); out != outcomeRefused || f.total != 2 {
		t.Errorf("nowhere: %s, %v", out, f.err())
	}
	if asked.Load() != 1 {
		t.Error("a redirect to another target was followed")
	}
}

// A node that did not answer is left alone for a while, if there are others.
func TestSilentNodesAreShunned(t *testing.T) {
	broken := paper(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	w := newWorld(1, []string{broken, "elsewhere"}, 1, 1, &shared{})
	c := newClient(w, 0, proc.Dial)
	c.caller.ask(broken, "GET", "/", nil)
	for range 100 {
		if c.pickNode() == 0 {
			return // once in a great many times both tries hit the silent one
		}
	}
	if c.caller.shun[broken].IsZero() {
		t.Error("the node is not shunned")
	}
}

// perform runs one operation of a kind against a node of paper.
func perform(t *testing.T, k kind, node http.HandlerFunc) (client, *op) {
	t.Helper()
	w := newWorld(testSeed, []string{paper(t, node)}, 1, 1, &shared{})
	w.began = time.Now()
	w.learn(0, 5)
	c := newClient(w, 0, proc.Dial)
	defer c.caller.close()
	c.perform(&op{kind: k})
	if len(c.ops) == 0 {
		return *c, nil
	}
	return *c, &c.ops[0]
}

func TestOperationsAreRecorded(t *testing.T) {
	const appended = `{"ok":true,"offset":7,"partition":0,"durable":true,"synced":true}`
	value := appendValue(nil, testSeed, 1)
	pages := func(role, rest string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, `{"messages":[],"count":0,"next_offset":%s,"committed_offset":3,"truncated":false%s%s}`, r.FormValue("offset"), role, rest)
		}
	}
	c, o := perform(t, kindAppend, func(w http.ResponseWriter, r *http.Request) {
		if c := r.FormValue("concern"); c == "async" {
			t.Errorf("another seed is needed: the dice say %s", c)
		}
		fmt.Fprint(w, appended)
	})
	if o.outcome != outcomeOK || o.offset != 7 || o.call >= o.ret || c.known[0].Load() != 8 || c.faults.total != 0 {
		t.Errorf("append: %+v, %v", o, c.faults.err())
	}
	_, o = perform(t, kindSwap, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(412)
		fmt.Fprintf(w, `{"ok":false,"error":"unexpected_offset","next_offset":9,"said":%s}`, r.FormValue("expected_offset"))
	})
	if o.outcome != outcomeFailed || o.expect != 5 || o.next != 9 {
		t.Errorf("swap: %+v", o)
	}
	var tries atomic.Int64
	c, o = perform(t, kindKeyed, func(w http.ResponseWriter, _ *http.Request) {
		if tries.Add(1) < 3 {
			answer(504, `{"error":"commit_timeout"}`)(w, nil)
			return
		}
		fmt.Fprint(w, strings.Replace(appended, `"synced":true`, `"duplicate":true,"synced":null`, 1))
	})
	if o.outcome != outcomeOK || o.offset != 7 || tries.Load() != 3 || c.faults.total != 0 {
		t.Errorf("keyed: %+v after %d tries, %v", o, tries.Load(), c.faults.err())
	}
	if c, _ = perform(t, kindKeyed, answer(200, strings.Replace(appended, `"synced":true`, `"duplicate":true,"synced":null`, 1))); c.faults.total != 1 {
		t.Errorf("a duplicate at the first try: %v", c.faults.err())
	}
	if c, _ = perform(t, kindSwap, answer(200, strings.Replace(appended, `"durable":true,"synced":true`, `"durable":true,"synced":false`, 1))); c.faults.total != 1 {
		t.Errorf("an answer that promises nothing: %v", c.faults.err())
	}
	c, o = perform(t, kindRead, pages("", ""))
	if o.outcome != outcomeOK || o.next != o.from || len(c.ops) != 2 || c.ops[1].kind != kindCommitted || c.ops[1].offset != 3 || c.ops[1].ret == 0 {
		t.Errorf("read: %+v", c.ops)
	}
	if c, _ = perform(t, kindRead, pages(`,"role":"follower"`, "")); c.faults.total != 1 {
		t.Errorf("a follower's answer instead of the leader's: %v", c.faults.err())
	}
	if c, o = perform(t, kindFollower, pages(`,"role":"follower"`, "")); len(c.ops) != 1 || o.kind != kindFollower || c.faults.total != 0 {
		t.Errorf("follower read: %+v, %v", c.ops, c.faults.err())
	}
	if _, o = perform(t, kindFollower, pages("", "")); o.kind != kindRead {
		t.Errorf("a leader's answer is held to more: %+v", o)
	}
	c, o = perform(t, kindFollower, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `{"messages":[{"offset":%s,"value_b64":%q}],"next_offset":6,"role":"follower"}`, r.FormValue("offset"), value)
	})
	if c.faults.total != 1 {
		t.Errorf("a message that is not this run's: %v, %+v", c.faults.err(), o)
	}
	if c, o = perform(t, kindRead, answer(416, `{"next_offset":2}`)); o.next != 2 || o.outcome != outcomeOK || c.faults.total != 0 {
		t.Errorf("read beyond the end: %+v", o)
	}
	if c, o = perform(t, kindCommit, answer(200, `{"ok":true}`)); o.outcome != outcomeOK || o.offset > 5 {
		t.Errorf("commit: %+v", o)
	}
	if c, _ = perform(t, kindCommit, answer(416, `{}`)); c.faults.total != 1 {
		t.Error("a commit declined that must not be")
	}
}

// Clients meet on few partitions, and each partition's share is limited.
func TestPartitionsTakeTurns(t *testing.T) {
	w := newWorld(1, []string{"a"}, 1, 1, &shared{})
	c := newClient(w, 0, proc.Dial)
	var worked [partitionsAll]int
	for range 20 * partitionOps {
		worked[w.partition(c.random)]++
	}
	used := 0
	for p, n := range worked {
		if n > partitionOps {
			t.Errorf("partition %d: %d operations", p, n)
		}
		if n > 0 {
			used++
		}
	}
	if used < 20 || used > 20+activeMax {
		t.Errorf("%d partitions", used)
	}
	if w := newWorld(1, nil, 1_000_000, 1, &shared{}); w.share*(partitionsAll-activeMax) < 1_000_000 {
		t.Errorf("a long run has too few partitions for %d operations each", w.share)
	}
}
