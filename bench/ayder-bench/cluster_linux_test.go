package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
)

func TestParseNodes(t *testing.T) {
	nodes, err := parseNodes("a:1,b:2,c:3", "7,8,9")
	if err != nil || !slices.Equal(nodes, []node{{"a:1", 7}, {"b:2", 8}, {"c:3", 9}}) {
		t.Errorf("%v, %v", nodes, err)
	}
	if nodes, err = parseNodes("a:1", ""); err != nil || !slices.Equal(nodes, []node{{"a:1", 0}}) {
		t.Errorf("%v, %v", nodes, err)
	}
	for _, pids := range []string{"7", "7,8,9,10", "7,8,x", "7,8,-1"} {
		if _, err := parseNodes("a:1,b:2,c:3", pids); err == nil {
			t.Errorf("processes %q were taken", pids)
		}
	}
	if _, err := parseNodes(strings.Repeat("a:1,", nodesMax)+"a:1", ""); err == nil {
		t.Error("there is no end to nodes")
	}
}

func TestTheLeadersProcessIsTheFirst(t *testing.T) {
	c := &config{nodes: []node{{"a:1", 7}, {"b:2", 8}, {"c:3", 9}}}
	for addr, want := range map[string][]int{"a:1": {7, 8, 9}, "b:2": {8, 7, 9}, "c:3": {9, 7, 8}} {
		if c.addr = addr; !slices.Equal(c.pids(), want) {
			t.Errorf("%s leads: %v", addr, c.pids())
		}
	}
	c.nodes = []node{{"a:1", 0}}
	if len(c.pids()) != 0 {
		t.Errorf("processes %v of none", c.pids())
	}
}

// trio is three brokers of which one leads; the others redirect what is written to them.
type trio struct {
	addrs  []string
	leader atomic.Int32
	fresh  atomic.Bool
	unsure atomic.Int32 // how many topics the leader refuses first
}

func startTrio(t *testing.T) *trio {
	t.Helper()
	g := &trio{}
	g.fresh.Store(true)
	for i := range int32(3) {
		b := (&broker{}).handler()
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch leads := g.leader.Load() == i; {
			case r.URL.Path == "/metrics_ha" && r.Header.Get("Accept") == "application/json" && r.Header.Get("Authorization") == "Bearer dev":
				fmt.Fprintf(w, `{"ok":true,"role":%q,"fresh_quorum":%t}`, map[bool]string{true: "leader", false: "follower"}[leads], g.fresh.Load())
			case leads && r.URL.Path == "/broker/topics" && g.unsure.Add(-1) >= 0:
				w.WriteHeader(http.StatusServiceUnavailable)
			case !leads:
				w.Header().Set("Location", "http://"+g.addrs[g.leader.Load()])
				w.WriteHeader(http.StatusTemporaryRedirect)
			default:
				b.ServeHTTP(w, r)
			}
		}))
		t.Cleanup(s.Close)
		g.addrs = append(g.addrs, strings.TrimPrefix(s.URL, "http://"))
	}
	return g
}

// pids is this process, for each node.
func (g *trio) pids() string {
	self := strconv.Itoa(os.Getpid())
	return strings.Join([]string{self, self, self}, ",")
}

func TestLeaderIsMeasured(t *testing.T) {
	g := startTrio(t)
	for i := range int32(3) {
		g.leader.Store(i)
		g.unsure.Store(i)
		r := bench(t, 0, "-addr", strings.Join(g.addrs, ","), "-pid", g.pids(), "-c", "3", "-n", "50", "-warmup", "0s")
		if r.Leader != g.addrs[i] || r.LeaderMoved || r.Requests != 50 || r.ErrorCount() != 0 {
			t.Errorf("leader %d: %+v", i, r)
		}
		if r.Server == nil || len(r.Followers) != 2 {
			t.Errorf("processes %v, %v", r.Server, r.Followers)
		}
	}
}

func TestLeadershipThatMovesIsTold(t *testing.T) {
	g := startTrio(t)
	c := &config{target: "ayder", token: "dev"}
	for _, addr := range g.addrs {
		c.nodes = append(c.nodes, node{addr: addr})
	}
	if err := c.pin(); err != nil || c.addr != g.addrs[0] {
		t.Fatalf("pinned to %s, %v", c.addr, err)
	}
	g.leader.Store(2)
	if moved, err := c.moved(); !moved || err != nil {
		t.Errorf("moved %t, %v", moved, err)
	}
	g.fresh.Store(false)
	if addr, err := c.leader(); err == nil {
		t.Errorf("%s leads without a majority", addr)
	}
}

// fakeNATSNode is a server with a name that knows who leads the stream; refusals is how often it does not yet.
func fakeNATSNode(t *testing.T, name string, leader *atomic.Pointer[string], refusals int) string {
	t.Helper()
	var left atomic.Int32
	left.Store(int32(refusals))
	return serve(t, func(s net.Conn) {
		defer s.Close()
		fmt.Fprintf(s, "INFO {\"server_name\":%q,\"max_payload\":1048576} \r\n", name)
		in := bufio.NewReader(s)
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				return
			}
			words := strings.Fields(line)
			if len(words) == 1 && words[0] == "PING" {
				fmt.Fprint(s, "PONG\r\n")
			}
			if len(words) != 4 || words[0] != "PUB" {
				continue
			}
			size, _ := strconv.Atoi(words[3])
			settings := make([]byte, size+2)
			if _, err := io.ReadFull(in, settings); err != nil {
				return
			}
			body := fmt.Sprintf(`{"cluster":{"name":"bench","leader":%q}}`, *leader.Load())
			switch {
			case left.Add(-1) == 0:
				fmt.Fprintf(s, "HMSG %s 1 16 16\r\n%s", words[2], natsNobody)
				continue
			case left.Load() > 0 || strings.HasPrefix(words[1], "$JS.API.STREAM.CREATE.") && !strings.Contains(string(settings), `"num_replicas":3`):
				body = `{"error":{"code":503}}`
			}
			fmt.Fprintf(s, "MSG %s 1 %d\r\n%s\r\n", words[2], len(body), body)
		}
	})
}

func TestStreamLeader(t *testing.T) {
	var leader atomic.Pointer[string]
	name := "n2"
	leader.Store(&name)
	c := &config{target: "nats", workload: "produce", topic: "bench", size: 8}
	for i, refusals := range []int{3, 0, 0} {
		c.nodes = append(c.nodes, node{addr: fakeNATSNode(t, "n"+strconv.Itoa(i+1), &leader, refusals)})
	}
	if err := c.pin(); err != nil || c.addr != c.nodes[1].addr {
		t.Errorf("pinned to %s, %v", c.addr, err)
	}
	nobody := ""
	leader.Store(&nobody)
	if addr, err := c.leader(); err == nil {
		t.Errorf("%q leads a stream without a leader", addr)
	}
}

func TestClusterOfWhatHasNone(t *testing.T) {
	if _, err := parseConfig([]string{"-target", "redis", "-addr", "a:1,b:2"}, io.Discard); err == nil {
		t.Error("a cluster of redis was taken")
	}
}
