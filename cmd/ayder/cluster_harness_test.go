package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"ayder/internal/testkit/proc"
)

// Clusters of real processes on loopback. A group is nodes with their settings in the environment, as an operator
// would give them; the first has the bootstrap flag, always. Elections happen when they happen, and on a loaded
// machine also when nobody meant them to: so everything here that writes goes to any node, follows redirects, and
// tries again, with an idempotency key, until it is answered. No test waits for less than the guard.

// group is a cluster under test.
type group struct {
	t          *testing.T
	nodes      []*groupNode
	keys       atomic.Uint64 // idempotency keys
	unanswered atomic.Int64  // requests whose connection broke before an answer came
}

// groupNode is one node: its settings, and its process while it has one.
type groupNode struct {
	*proc.Server
	id      string
	http    string // host:port, the same for all its processes
	https   string // the same for TLS, empty for none
	raft    string
	options proc.Options
}

func (n *groupNode) running() bool { return n.Server != nil && n.Alive() }

// newGroup prepares nodes; nothing is started. o is what all have in common.
func newGroup(t *testing.T, count int, o proc.Options) *group {
	t.Helper()
	g := &group{t: t}
	base := t.TempDir()
	for i := range count {
		n := &groupNode{id: "n" + strconv.Itoa(i+1), http: freeAddr(t), raft: freeAddr(t), options: withBinary(t, o)}
		n.options.Dir = filepath.Join(base, n.id)
		n.options.Port = portOf(n.http)
		n.options.Args = append(append([]string(nil), smallSegments...), o.Args...)
		g.nodes = append(g.nodes, n)
	}
	for i, n := range g.nodes {
		n.options.Env = append(g.environment(n, g.nodes), o.Env...)
		if i == 0 {
			n.options.Env = append(n.options.Env, "RF_HA_BOOTSTRAP_LEADER=1")
		}
	}
	return g
}

// environment makes a server a node of a cluster of these.
func (g *group) environment(self *groupNode, nodes []*groupNode) []string {
	var members []string
	for i, n := range nodes {
		members = append(members, fmt.Sprintf("%s:%s:%d:%d", n.id, n.raft, 10*(len(nodes)-i), n.options.Port))
	}
	return []string{"RF_HA_ENABLED=1", "RF_HA_NODE_ID=" + self.id, "RF_HA_NODES=" + strings.Join(members, ",")}
}

func freeAddr(t *testing.T) string {
	t.Helper()
	port, err := proc.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return "127.0.0.1:" + strconv.Itoa(port)
}

func portOf(addr string) int {
	_, port, _ := strings.Cut(addr, ":")
	n, _ := strconv.Atoi(port)
	return n
}

// runGroup starts a cluster and waits until all are ready.
func runGroup(t *testing.T, count int, o proc.Options) *group {
	t.Helper()
	g := newGroup(t, count, o)
	g.start(g.nodes...)
	return g
}

// start starts nodes and waits until they are ready.
func (g *group) start(nodes ...*groupNode) {
	g.t.Helper()
	for _, n := range nodes {
		g.launch(n)
	}
	for _, n := range nodes {
		g.waitReady(n)
	}
}

// launch starts a node and does not wait.
func (g *group) launch(n *groupNode) {
	g.t.Helper()
	s, err := proc.Launch(n.options)
	if err != nil {
		g.t.Fatal(err)
	}
	n.Server = s
	g.t.Cleanup(func() {
		if err := s.End(g.t); err != nil {
			g.t.Error(err)
		}
		if g.t.Failed() {
			g.t.Logf("%s on %s said:\n%s", n.id, s.Addr, s.Log())
		}
	})
}

func (g *group) waitReady(n *groupNode) {
	g.t.Helper()
	if err := n.WaitReady(proc.HangGuard); err != nil {
		g.t.Fatalf("%s: %v", n.id, err)
	}
}

// eventually polls until ok.
func (g *group) eventually(what string, ok func() bool) {
	g.t.Helper()
	for began := time.Now(); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Since(began) > proc.HangGuard {
			g.t.Fatalf("not after %v: %s", proc.HangGuard, what)
		}
	}
}

// get asks one node, and no other.
func (n *groupNode) get(target string) (proc.Response, error) {
	return n.ask("GET", target, nil)
}

func (n *groupNode) ask(method, target string, body []byte) (proc.Response, error) {
	c, err := proc.Dial(n.http)
	if err != nil {
		return proc.Response{}, err
	}
	defer c.Close()
	return c.Do(method, target, body)
}

// haStatus is /metrics_ha.
type haStatus struct {
	NodeID  string `json:"node_id"`
	Role    string `json:"role"`
	Term    uint64 `json:"term"`
	Fresh   bool   `json:"fresh_quorum"`
	Applied uint64 `json:"applied_index"`
	Commit  uint64 `json:"commit_index"`
	Last    uint64 `json:"last_index"`
	Leader  *struct {
		NodeID string `json:"node_id"`
		HTTP   string `json:"http_addr"`
		HTTPS  string `json:"https_addr"`
	} `json:"leader"`
	Peers []haPeer `json:"peers"`
}

// haPeer is a member in /metrics_ha and /ha/membership.
type haPeer struct {
	NodeID   string `json:"node_id"`
	RaftAddr string `json:"raft_addr"`
	HTTPAddr string `json:"http_addr"`
	Priority int    `json:"priority"`
	Voter    bool   `json:"voter"`
	Lag      uint64 `json:"lag"`
}

// status is what a node says of itself.
func (n *groupNode) status() (s haStatus, err error) {
	c, err := proc.Dial(n.http)
	if err != nil {
		return s, err
	}
	defer c.Close()
	c.Header += "Accept: application/json\r\n"
	r, err := c.Get("/metrics_ha")
	if err != nil {
		return s, err
	}
	return s, r.JSON(&s)
}

// leader waits until a node leads and all others that run, and are not among the deaf, follow it.
func (g *group) leader(deaf ...*groupNode) (leader *groupNode) {
	g.t.Helper()
	g.eventually("one node leads and the others follow it", func() bool {
		leader = nil
		name, term, agreed := "", uint64(0), 0
		for _, n := range g.nodes {
			if !n.running() || slices.Contains(deaf, n) {
				continue
			}
			s, err := n.status()
			if err != nil || s.Leader == nil || agreed > 0 && (s.Leader.NodeID != name || s.Term != term) {
				return false
			}
			name, term = s.Leader.NodeID, s.Term
			agreed++
			if s.Role == "leader" && s.Fresh {
				leader = n
			}
		}
		return leader != nil && leader.id == name
	})
	return leader
}

// follower is one that runs and does not lead.
func (g *group) follower() *groupNode {
	g.t.Helper()
	leader := g.leader()
	for _, n := range g.nodes {
		if n != leader && n.running() {
			return n
		}
	}
	g.t.Fatal("no follower")
	return nil
}

// others are the nodes beside one.
func (g *group) others(than *groupNode) (rest []*groupNode) {
	for _, n := range g.nodes {
		if n != than {
			rest = append(rest, n)
		}
	}
	return rest
}

// steadily makes a check that needs one leader all the time. What it finds counts if no election came in between; otherwise it
// is made again, so it must not mind what an earlier one has done.
func (g *group) steadily(check func(leader *groupNode) error) {
	g.t.Helper()
	for began := time.Now(); ; {
		leader := g.leader()
		before, errBefore := leader.status()
		err := check(leader)
		if err == nil {
			return
		}
		after, errAfter := leader.status()
		if errBefore == nil && errAfter == nil && before.Term == after.Term && after.Role == "leader" || time.Since(began) > proc.HangGuard {
			g.t.Fatal(err)
		}
		g.t.Logf("once more, there was an election: %v", err)
	}
}

// lead makes a node the leader.
func (g *group) lead(n *groupNode) {
	g.t.Helper()
	g.eventually(n.id+" leads", func() bool {
		if g.leader() == n {
			return true
		}
		g.any("POST", "/ha/transfer", []byte(named(n)))
		return false
	})
}

// under makes a check while one certain node leads.
func (g *group) under(n *groupNode, check func() error) {
	g.t.Helper()
	g.steadily(func(leader *groupNode) error {
		if leader != n {
			g.lead(n)
			return fmt.Errorf("%s led", leader.id) // and does no more: begin anew
		}
		return check()
	})
}

// any asks one node after the other, following redirects, until one answers with success or a refusal that is final.
func (g *group) any(method, target string, body []byte) proc.Response {
	g.t.Helper()
	first := 0
	r, err := g.tryAny(method, target, body, &first)
	if err != nil {
		g.t.Fatalf("%s %s: %v", method, target, err)
	}
	return r
}

// errUnanswered: nobody has answered within the guard.
var errUnanswered = errors.New("no node has answered")

// tryAny is any for goroutines. It begins with a node, and moves on from it where it gets no answer there.
func (g *group) tryAny(method, target string, body []byte, node *int) (r proc.Response, err error) {
	for began := time.Now(); time.Since(began) < proc.HangGuard; *node++ {
		if r, err = follow(g.nodes[*node%len(g.nodes)].http, method, target, body); err == nil && final(&r) {
			return r, nil
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) {
			g.unanswered.Add(1)
		}
		time.Sleep(5 * time.Millisecond)
	}
	return r, fmt.Errorf("%w: %s, %v", errUnanswered, &r, err)
}

func final(r *proc.Response) bool { return r.Status < 500 && r.Status != 307 && r.Status != 429 }

// nodeTimeout is for one node's answer where others can be asked: it may be stopped.
const nodeTimeout = 2 * time.Second

// follow asks one node and goes where it redirects to, as curl -L does. An answer that does not come soon is not waited for.
func follow(addr, method, target string, body []byte) (r proc.Response, err error) {
	return followFor(nodeTimeout, addr, method, target, body)
}

func followFor(patience time.Duration, addr, method, target string, body []byte) (r proc.Response, err error) {
	return redirected(addr, func(addr string) (r proc.Response, err error) {
		c, err := proc.Dial(addr)
		if err != nil {
			return r, err
		}
		defer c.Close()
		c.Timeout = patience
		return c.Do(method, target, body)
	})
}

// redirected asks at addr, and wherever the answer points to.
func redirected(addr string, ask func(addr string) (proc.Response, error)) (r proc.Response, err error) {
	for range 4 {
		if r, err = ask(addr); err != nil || r.Status != 307 {
			return r, err
		}
		u, err := url.Parse(r.Header.Get("Location"))
		if err != nil {
			return r, err
		}
		addr = u.Host
	}
	return r, nil
}

// put appends a message, through any node, exactly once.
func (g *group) put(topic string, partition int, body []byte) proc.Append {
	g.t.Helper()
	first := 0
	a, err := g.tryPut(topic, partition, body, &first)
	if err != nil {
		g.t.Fatal(err)
	}
	return a
}

func (g *group) tryPut(topic string, partition int, body []byte, node *int) (a proc.Append, err error) {
	target := fmt.Sprintf("/broker/topics/%s/produce?partition=%d&idempotency_key=%d", topic, partition, g.keys.Add(1))
	r, err := g.tryAny("POST", target, body, node)
	if err != nil {
		return a, err
	}
	if err := r.JSON(&a); err != nil {
		return a, err
	}
	if r.Status != 200 || !a.Durable {
		return a, fmt.Errorf("produce: %s", &r)
	}
	return a, nil
}

// putMany appends counted messages and returns them.
func (g *group) putMany(topic string, from, count int) (all [][]byte) {
	g.t.Helper()
	for i := range count {
		body := counted(from+i, 50)
		if a := g.put(topic, 0, body); a.Offset != uint64(from+i) {
			g.t.Fatalf("message %d is at offset %d", from+i, a.Offset)
		}
		all = append(all, body)
	}
	return all
}

// holds waits until a node has count messages of a partition, as its own consume call shows them, and returns them.
func (g *group) holds(n *groupNode, topic string, partition int, count uint64) (all [][]byte) {
	g.t.Helper()
	var said error
	g.eventually(fmt.Sprintf("%s holds %d messages of %s/%d", n.id, count, topic, partition), func() bool {
		c, err := proc.Dial(n.http)
		if err != nil {
			return false
		}
		defer c.Close()
		_, said = c.Each(topic, partition, uint64(len(all)), func(m *proc.Message) error {
			all = append(all, m.ValueB64)
			return nil
		})
		return said == nil && uint64(len(all)) >= count // what a node has shown it keeps: go on from there
	})
	return all
}

// mustAllHold checks that every node that runs has exactly these messages.
func (g *group) mustAllHold(topic string, partition int, want [][]byte) {
	g.t.Helper()
	for _, n := range g.nodes {
		if !n.running() {
			continue
		}
		got := g.holds(n, topic, partition, uint64(len(want)))
		if len(got) != len(want) {
			g.t.Errorf("%s holds %d messages of %s/%d, want %d", n.id, len(got), topic, partition, len(want))
			continue
		}
		for i := range want {
			if !bytes.Equal(got[i], want[i]) {
				g.t.Errorf("%s has %.40q at offset %d of %s/%d, want %.40q", n.id, got[i], i, topic, partition, want[i])
				break
			}
		}
	}
}

// traffic is a load of producers, each with a partition of its own, which never give up.
type traffic struct {
	g         *group
	topic     string
	done      chan struct{}
	running   sync.WaitGroup
	producers []*trafficProducer
}

type trafficProducer struct {
	acked [][]byte     // by offset
	times []time.Time  // of the answers
	count atomic.Int64 // of acked, for others to see
	err   error
}

// load starts producers.
func (g *group) load(topic string, producers int) *traffic {
	l := &traffic{g: g, topic: topic, done: make(chan struct{})}
	for i := range producers {
		p := &trafficProducer{}
		l.producers = append(l.producers, p)
		l.running.Go(func() { p.run(l, i) })
	}
	return l
}

func (p *trafficProducer) run(l *traffic, partition int) {
	node := partition
	for number := 0; ; number++ {
		select {
		case <-l.done:
			return
		default:
		}
		body := counted(number, 60)
		a, err := l.g.tryPut(l.topic, partition, body, &node)
		switch {
		case err != nil:
			p.err = err
			return
		case a.Offset != uint64(len(p.acked)):
			p.err = fmt.Errorf("message %d of partition %d is at offset %d", number, partition, a.Offset)
			return
		}
		p.acked, p.times = append(p.acked, body), append(p.times, time.Now())
		p.count.Add(1)
	}
}

// more waits until every producer has had count more answers.
func (l *traffic) more(count int64) {
	l.g.t.Helper()
	want := make([]int64, len(l.producers))
	for i, p := range l.producers {
		want[i] = p.count.Load() + count
	}
	for i, p := range l.producers {
		l.g.eventually("the load goes on", func() bool { return p.count.Load() >= want[i] })
	}
}

// stop ends the load and checks that every node has all of it.
func (l *traffic) stop() {
	l.g.t.Helper()
	close(l.done)
	l.running.Wait()
	total := 0
	for i, p := range l.producers {
		if p.err != nil {
			l.g.t.Fatal(p.err)
		}
		l.g.mustAllHold(l.topic, i, p.acked)
		total += len(p.acked)
	}
	l.g.t.Logf("%d messages acknowledged", total)
}

// gaps are, for each moment, the longest time without an answer to anybody that ended between it and the next moment.
func (l *traffic) gaps(moments []time.Time) []time.Duration {
	var answers []time.Time
	for _, p := range l.producers {
		answers = append(answers, p.times...)
	}
	slices.SortFunc(answers, time.Time.Compare)
	gaps := make([]time.Duration, len(moments))
	for i := 1; i < len(answers); i++ {
		for m := range moments {
			if answers[i].After(moments[m]) && (m+1 == len(moments) || answers[i].Before(moments[m+1])) {
				gaps[m] = max(gaps[m], answers[i].Sub(answers[i-1]))
			}
		}
	}
	return gaps
}
