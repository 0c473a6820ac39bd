package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"ayder/bench/peers"
	"ayder/bench/result"
)

// trio is a cluster of three in this process: one log in memory, which every node serves and the leader alone writes. It knows
// the calls that the writers, the audit and the lab make.
type trio struct {
	t       *testing.T
	mu      sync.Mutex
	servers []*httptest.Server
	leader  int
	log     map[string][]string     // messages by topic/partition
	keys    map[string]int          // offsets by idempotency key
	refuse  map[int]int             // how many writes a node answers with this status first: status → count
	twist   func([]string) []string // what reading makes of a partition
	lag     uint64                  // of every follower
}

func startTrio(t *testing.T) *trio {
	t.Helper()
	c := &trio{t: t, log: map[string][]string{}, keys: map[string]int{}, refuse: map[int]int{}, twist: func(m []string) []string { return m }}
	for i := range 3 {
		mux := http.NewServeMux()
		mux.HandleFunc("GET /ready", func(http.ResponseWriter, *http.Request) {})
		mux.HandleFunc("GET /metrics_ha", func(w http.ResponseWriter, _ *http.Request) { c.metrics(w, i) })
		mux.HandleFunc("POST /broker/topics", func(w http.ResponseWriter, r *http.Request) { c.write(w, r, i) })
		mux.HandleFunc("POST /broker/topics/{topic}/produce", func(w http.ResponseWriter, r *http.Request) { c.write(w, r, i) })
		mux.HandleFunc("GET /broker/consume/{topic}/{group}/{partition}", c.read)
		s := httptest.NewServer(mux)
		t.Cleanup(s.Close)
		c.servers = append(c.servers, s)
	}
	return c
}

func (c *trio) addrs() (list []string) {
	for _, s := range c.servers {
		list = append(list, strings.TrimPrefix(s.URL, "http://"))
	}
	return list
}

func (c *trio) metrics(w http.ResponseWriter, node int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	role, lag := "follower", c.lag
	if node == c.leader {
		role, lag = "leader", 0
	}
	fmt.Fprintf(w, `{"role":%q,"term":%d,"fresh_quorum":true,"last_index":10,"applied_index":%d,"lag":%d}`, role, c.leader+1, 10-lag, lag)
}

func (c *trio) write(w http.ResponseWriter, r *http.Request, node int) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for status, left := range c.refuse {
		if left > 0 {
			c.refuse[status]--
			w.WriteHeader(status)
			return
		}
	}
	if node != c.leader {
		w.Header().Set("Location", c.servers[c.leader].URL+r.URL.String())
		w.WriteHeader(http.StatusTemporaryRedirect)
		return
	}
	topic := r.PathValue("topic")
	if topic == "" {
		w.WriteHeader(http.StatusCreated)
		return
	}
	stream, key := topic+"/"+r.URL.Query().Get("partition"), r.URL.Query().Get("idempotency_key")
	offset, known := c.keys[key]
	if !known {
		offset = len(c.log[stream])
		c.keys[key] = offset
		c.log[stream] = append(c.log[stream], string(body))
	}
	fmt.Fprintf(w, `{"ok":true,"offset":%d,"durable":true}`, offset)
}

func (c *trio) read(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	messages := c.twist(slices.Clone(c.log[r.PathValue("topic")+"/"+r.PathValue("partition")]))
	offset, _ := strconv.Atoi(r.URL.Query().Get("offset"))
	limit, _ := strconv.Atoi(r.URL.Query().Get("limit"))
	end := min(offset+limit, len(messages))
	var texts []string
	for o := offset; o < end; o++ {
		texts = append(texts, fmt.Sprintf(`{"offset":%d,"value":%q}`, o, messages[o]))
	}
	fmt.Fprintf(w, `{"messages":[%s],"next_offset":%d}`, strings.Join(texts, ","), max(end, offset))
}

// set changes the cluster while others use it.
func (c *trio) set(change func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change()
}

func TestPatientFindsTheLeader(t *testing.T) {
	c := startTrio(t)
	p := newPatient(c.addrs())
	defer p.close()
	for leader := range 3 {
		c.set(func() { c.leader = leader })
		if text, err := p.do(context.Background(), "POST", "/broker/topics/x/produce?partition=0", []byte("m")); err != nil || p.at != leader {
			t.Errorf("leader %d: %q, %v; at node %d", leader, text, err, p.at)
		}
	}
	c.servers[2].Close()
	c.set(func() { c.leader, c.refuse[503], c.refuse[429], c.refuse[504] = 0, 3, 2, 1 })
	if _, err := p.do(context.Background(), "POST", "/broker/topics/x/produce?partition=0", []byte("m")); err != nil || p.at != 0 {
		t.Errorf("after the leader's end: %v, at node %d", err, p.at)
	}
	c.set(func() { c.refuse[400] = 1 })
	if _, err := p.do(context.Background(), "POST", "/broker/topics/x/produce", nil); !errors.Is(err, errRefused) {
		t.Errorf("refused for good: %v", err)
	}
}

func TestPatienceEnds(t *testing.T) {
	c := startTrio(t)
	c.refuse[503] = 1 << 30
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	p := newPatient(c.addrs())
	if _, err := p.do(ctx, "POST", "/broker/topics/x/produce", nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
}

// TestRedirectsInACircle: two nodes that each take the other one for the leader are not asked without a pause.
func TestRedirectsInACircle(t *testing.T) {
	var asked [2]int
	var mu sync.Mutex
	var servers []*httptest.Server
	for i := range 2 {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			mu.Lock()
			defer mu.Unlock()
			asked[i]++
			if asked[0]+asked[1] > 10 {
				return
			}
			w.Header().Set("Location", servers[1-i].URL)
			w.WriteHeader(http.StatusTemporaryRedirect)
		}))
		defer s.Close()
		servers = append(servers, s)
	}
	p := newPatient([]string{hostOf(servers[0].URL), hostOf(servers[1].URL)})
	begin := time.Now()
	if _, err := p.do(context.Background(), "POST", "/", nil); err != nil {
		t.Error(err)
	}
	if time.Since(begin) < 2*tryRest {
		t.Error("ten redirects without a pause")
	}
	if hostOf("://") != "" {
		t.Error("a broken location has a host")
	}
}

func TestWritersOutliveLeaders(t *testing.T) {
	c := startTrio(t)
	ws, err := startWriters(context.Background(), c.addrs(), 3)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 6 {
		if err := ws.more(context.Background(), 30); err != nil {
			t.Fatal(err)
		}
		c.set(func() { c.leader, c.refuse[503] = (i+1)%3, 5 })
	}
	longest, slowest := ws.pulse.observed()
	if err := ws.stop(); err != nil || longest <= 0 || slowest <= 0 || ws.acked() < 180 {
		t.Errorf("%v; %d acknowledged, longest gap %v, slowest %v", err, ws.acked(), longest, slowest)
	}
	for _, addr := range c.addrs() {
		v, err := ws.audit(addr)
		if err != nil || v.lost != 0 || v.twice != 0 || v.messages != ws.acked()+v.unasked || v.unasked > 3 {
			t.Errorf("%+v of %d, %v", v, ws.acked(), err)
		}
	}
}

func TestAuditFindsWhatIsWrong(t *testing.T) {
	c := startTrio(t)
	w := &writer{partition: 0, acked: []int64{0, 1, 2, 3}}
	for n := range 4 {
		c.log[writersTopic+"/0"] = append(c.log[writersTopic+"/0"], numbered(0, n))
	}
	for name, test := range map[string]struct {
		twist func([]string) []string
		want  verdict
	}{
		"as it should be":   {func(m []string) []string { return m }, verdict{messages: 4}},
		"one more, unasked": {func(m []string) []string { return append(m, numbered(0, 4)) }, verdict{messages: 5, unasked: 1}},
		"unasked twice":     {func(m []string) []string { return append(m, numbered(0, 4), numbered(0, 4)) }, verdict{messages: 6, unasked: 1, twice: 1}},
		"the last is lost":  {func(m []string) []string { return m[:3] }, verdict{messages: 3, lost: 1}},
		"all are lost":      {func([]string) []string { return nil }, verdict{lost: 4}},
		"one in the middle": {func(m []string) []string { return slices.Delete(m, 1, 2) }, verdict{messages: 3, lost: 3}},
		"one again":         {func(m []string) []string { return append(m, m[2]) }, verdict{messages: 5, twice: 1}},
	} {
		c.set(func() { c.twist = test.twist })
		if v, err := w.audit(c.addrs()[0]); err != nil || v != test.want {
			t.Errorf("%s: %+v, %v; want %+v", name, v, err, test.want)
		}
	}
	for name, text := range map[string]string{"somebody else's": numbered(1, 0), "not ours": "x", "no number": "0 x", "below 0": "0 -1 x"} {
		c.set(func() { c.twist = func([]string) []string { return []string{text} } })
		if _, err := w.audit(c.addrs()[0]); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if len(numbered(7, 12345)) != messageBytes {
		t.Errorf("a message of %d bytes", len(numbered(7, 12345)))
	}
}

func TestWriterStopsAtARefusal(t *testing.T) {
	c := startTrio(t)
	ws, err := startWriters(context.Background(), c.addrs(), 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := ws.more(context.Background(), 5); err != nil {
		t.Fatal(err)
	}
	c.set(func() { c.refuse[404] = 1 })
	ws.running.Wait()
	if err := ws.stop(); !errors.Is(err, errRefused) {
		t.Errorf("error %v", err)
	}
}

func TestPulse(t *testing.T) {
	t0 := time.Now()
	at := func(ms int) time.Time { return t0.Add(time.Duration(ms) * time.Millisecond) }
	p := pulse{last: t0}
	p.beat(at(0), at(10))
	p.beat(at(5), at(40))
	p.beat(at(41), at(42))
	p.beat(at(1), at(41)) // told late
	if longest, slowest := p.observed(); longest != 30*time.Millisecond || slowest != 40*time.Millisecond || p.count() != 4 {
		t.Errorf("longest %v, slowest %v, %d", longest, slowest, p.count())
	}
	p.reset()
	p.beat(at(50), at(60))
	if longest, slowest := p.observed(); longest != 18*time.Millisecond || slowest != 10*time.Millisecond {
		t.Errorf("after a reset: longest %v, slowest %v; the gap begins before the reset", longest, slowest)
	}
}

func TestCaughtUp(t *testing.T) {
	c := startTrio(t)
	c.lag = 3
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Millisecond)
	defer cancel()
	follower := c.addrs()[1]
	if err := caughtUp(ctx, follower, 5); err == nil {
		t.Error("a follower with a lag has caught up")
	}
	c.set(func() { c.lag = 0 })
	if err := caughtUp(context.Background(), follower, 10); err != nil {
		t.Error(err)
	}
	gone, end := context.WithTimeout(context.Background(), 30*time.Millisecond)
	defer end()
	if err := caughtUp(gone, follower, 11); err == nil {
		t.Error("an index that nobody has is applied")
	}
	if err := caughtUp(gone, "127.0.0.1:1", 0); err == nil {
		t.Error("nobody has caught up")
	}
}

func TestSettle(t *testing.T) {
	l := testLab(t, settings{bench: "x", calm: 50 * time.Millisecond})
	dir := t.TempDir()
	spare := filepath.Join(dir, "spare-1.tmp")
	if err := os.WriteFile(spare, []byte("0"), 0o600); err != nil {
		t.Fatal(err)
	}
	settled := make(chan error, 1)
	go func() { settled <- l.settle(dir) }()
	time.Sleep(2 * restStep)
	select {
	case err := <-settled:
		t.Fatalf("a spare is being made: %v", err)
	default:
	}
	if err := os.Rename(spare, filepath.Join(dir, "spare-1.ready")); err != nil {
		t.Fatal(err)
	}
	if err := <-settled; err != nil {
		t.Error(err)
	}
	before, _, err := filesOf(dir)
	if err != nil || before == "" {
		t.Fatal(before, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "more"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if after, busy, err := filesOf(dir); after == before || busy || err != nil {
		t.Errorf("%q, %t, %v", after, busy, err)
	}
}

func TestClusterSpecs(t *testing.T) {
	l := testLab(t, settings{bench: "x", ayder: "ayder", nats: "nats-server", nodeFlags: []string{"--flag"}})
	for name, want := range map[string]int{threePlain: 3, natsR3: 3, threeTLS: 0, etcdThree: 0} {
		specs, isCluster, err := l.clusterSpecs(name, t.TempDir())
		if err != nil || !isCluster || len(specs) != want {
			t.Errorf("%s: %d nodes, %t, %v", name, len(specs), isCluster, err)
		}
	}
	if _, isCluster, err := l.clusterSpecs(uring, t.TempDir()); isCluster || err != nil {
		t.Errorf("a single node: %t, %v", isCluster, err)
	}
	l.certs = "/no/such/program"
	if _, _, err := l.clusterSpecs(threeTLS, t.TempDir()); err == nil {
		t.Error("certificates without a program")
	}
}

// TestClusterRounds plays the part with everything faked but the orchestration.
func TestClusterRounds(t *testing.T) {
	l := testLab(t, settings{
		bench: role(t, "bench-role"), ayder: role(t, "serve-role"), certs: role(t, "certs-role"), rounds: 2, duration: time.Second,
	})
	p, _ := findPart("cluster")
	if err := l.runPart(p); err != nil {
		t.Fatal(err)
	}
	var order []string
	for _, r := range l.runs {
		order = append(order, fmt.Sprint(r.Round, " ", r.Server, " ", r.Load))
	}
	want := []string{
		"0 ayder uring 1", "0 ayder uring 64", "0 ayder uring 400", "0 ayder ×3 1", "0 ayder ×3 64", "0 ayder ×3 400", "0 ayder ×3 async",
		"0 ayder ×3 sync-all", "0 ayder ×3, mTLS 1", "0 ayder ×3, mTLS 64", "0 ayder ×3, mTLS 400",
	}
	if len(order) != 2*len(want) || !slices.Equal(order[:len(want)], want) || order[len(want)] != "1 ayder uring 1" {
		t.Errorf("order %q", order)
	}
	args := l.runs[4].Result.Workload
	if addrs := strings.Split(strings.Fields(args)[1], ","); len(addrs) != 3 || strings.Count(strings.Fields(args)[3], ",") != 2 || !strings.Contains(args, `"durable":true`) {
		t.Errorf("arguments %q", args)
	}
	if len(l.groups) != 0 || len(l.servers) != 0 {
		t.Error("something is left running")
	}
	if left, _ := filepath.Glob(filepath.Join(l.work, "*")); len(left) > 0 {
		t.Errorf("data left behind: %v", left)
	}
}

// TestClusterGoesOnWithoutOne: a cluster that fails is told and does not cost the others.
func TestClusterGoesOnWithoutOne(t *testing.T) {
	l := testLab(t, settings{bench: role(t, "bench-role"), ayder: role(t, "serve-role"), certs: "/no/such/program", rounds: 1, duration: time.Second})
	if err := runCluster(l); err == nil || !strings.Contains(err.Error(), threeTLS) {
		t.Errorf("error %v", err)
	}
	if l.find("cluster", threePlain, "400").rounds != 1 {
		t.Error("the others were not measured")
	}
}

func TestTargetsOfAGroup(t *testing.T) {
	l := testLab(t, settings{bench: "x", ayder: role(t, "serve-role")})
	if err := l.start(threePlain); err != nil {
		t.Fatal(err)
	}
	g := l.groups[threePlain]
	if err := g.nodes[1].Kill(); err != nil {
		t.Fatal(err)
	}
	if args := g.target(); strings.Contains(args[1], g.nodes[1].Addr) || strings.Count(args[1], ",") != 1 || len(g.addrs()) != 3 {
		t.Errorf("without a node: %q", args)
	}
	if err := g.restart(context.Background(), 1, l.out); err != nil || len(g.alive()) != 3 {
		t.Errorf("%d alive, %v", len(g.alive()), err)
	}
	l.groups[natsR3] = g
	if args := l.target(natsR3); !slices.Equal(args[4:], []string{"-target", "nats"}) {
		t.Errorf("nats: %q", args)
	}
	delete(l.groups, natsR3)
	nodes := g.nodes
	if err := l.stop(threePlain); err != nil {
		t.Error(err)
	}
	if (&group{nodes: nodes}).alive() != nil {
		t.Error("a node is left running")
	}
	if err := peers.KillAll(nodes); err != nil {
		t.Error(err)
	}
}

// TestClusterReport goes from runs to the tables and their verdicts.
func TestClusterReport(t *testing.T) {
	l := testLab(t, settings{bench: "x"})
	add := func(server, load string, rate, p50 float64, followers ...float64) {
		r := &result.Result{
			RequestsPerS: rate, Latency: result.Percentiles{P50: p50, P99: 2 * p50}, ClientCPU: result.CPU{PerMillionS: 3},
			Server: &result.Server{CPU: result.CPU{PerMillionS: 12}},
		}
		for _, f := range followers {
			r.Followers = append(r.Followers, result.Server{CPU: result.CPU{PerMillionS: f}})
		}
		l.runs = append(l.runs, sample{"cluster", server, load, 0, r})
	}
	add(uring, "1", 4000, 200)
	add(threePlain, "1", 2000, 500, 7, 9)
	add(threePlain, "64", 60_000, 900, 7, 9)
	add(threePlain, asyncConcern, 70_000, 800, 7, 9)
	add(natsR3, "1", 1100, 900, 1, 1)
	add(natsR3, "64", 31_000, 2000, 1, 1)
	add(etcdThree, "64", 7000, 9000, 1, 1)
	l.runs[6].Result.LeaderMoved = true
	var b strings.Builder
	reportCluster(l, &b)
	for _, want := range []string{
		"| ayder uring | 4.0 k | 200 µs | 400 µs | 12.0 (3.0) | – |",
		"| ayder ×3 | 2.0 k | 500 µs | 1000 µs | 12.0 + 8.0 (3.0) | 60 k |",
		"| async: the leader's disk | 70 k |", "| sync-majority: two disks of three | 60 k |",
		"| requests/s ÷ nats R3, 1 connections | ≥ 2.00 × | 1.82 × | **missed** |",
		"| requests/s ÷ nats R3, 400 connections | ≥ 2.00 × | – | – |",
		"| requests/s ÷ etcd ×3, 64 connections | ≥ 4.00 × | 8.57 × | met |",
		"| p50 at 1 connection ÷ single node's | ≤ 3.00 × | 2.50 × | met |",
		"| p50 at 1 connection ÷ nats R3's | ≤ 1.00 × | 0.56 × | met |",
		"- etcd ×3, 64, round 1: **another node led in the end**",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
	if strings.Contains(b.String(), "etcd ×3, 1 connections") || strings.Contains(b.String(), "sync-all") {
		t.Errorf("what was never promised or measured:\n%s", b.String())
	}
}

func TestFailoverAndRejoinReports(t *testing.T) {
	l := testLab(t, settings{bench: "x", rejoinMessages: 1_000_000})
	for _, gap := range []float64{48, 44, 620} {
		l.fact("failover gap ms", gap)
		l.fact("failover usual ms", 3)
		l.fact("failover slowest ms", gap+2)
		l.fact("failover lost", 0)
		l.fact("failover twice", 0)
	}
	l.fact("failover acknowledged", 12345)
	l.fact("rejoin seconds", 1.5)
	l.fact("rejoin seconds", 5.5)
	l.fact("outage seconds", 2)
	l.fact("rejoin written", 8_000_000)
	l.fact("rejoin found", 8_000_000)
	l.fact("leader changes", 0)
	l.fact("leader seconds", 60)
	l.runs = append(l.runs, sample{"leader", threePlain, leaderLoad, 0, &result.Result{
		RequestsPerS: 5000, Stages: []result.Route{{Route: "POST /p", Stages: map[string]result.Percentiles{"commit": {Count: 9, P50: 400}}}},
	}})
	var b strings.Builder
	reportFailover(l, &b)
	reportRejoin(l, &b)
	reportLeader(l, &b)
	for _, want := range []string{
		"| 3 kills | median | max |", "| without any acknowledgement | 48.0 ms | 620.0 ms |", "sorted: 44, 48, 620. 12345 messages",
		"| acknowledged and missing on any node | ≤ 0 | 0 | met |",
		"missed 1000000 messages: start to ready, nothing left to apply | 2 | 3.500 s | 5.500 s |", "| follower healthy, slowest | ≤ 5.00 s | 5.50 s | **missed** |",
		"| cluster accepts writes, slowest | ≤ 5.00 s | 2.00 s | met |", "killed with 8000000 messages", "| messages still there | ≥ 8000000 | 8000000 | met |",
		"| ayder ×3 | 5.0 k |", "| commit |  | 400 µs |", "| changes of leadership | ≤ 0 | 0 | met |", "| failed requests | ≤ 0 | 0 | met |",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
	l.facts["failover lost"] = []float64{0, 2} // and the audit of the third node failed
	b.Reset()
	if reportFailover(l, &b); !strings.Contains(b.String(), "| acknowledged and missing on any node | ≤ 0 | 2 | **missed** |") {
		t.Errorf("two lost messages:\n%s", b.String())
	}
}
