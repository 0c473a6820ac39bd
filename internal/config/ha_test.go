package config

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

const threeNodes = "node1:127.0.0.1:7000:100,node2:127.0.0.1:7010:90,node3:127.0.0.1:7020:80"

// clusterOf is the environment of a node, with further "NAME=text" pairs that win over it.
func clusterOf(id, nodes string, pairs ...string) []string {
	return append([]string{"RF_HA_ENABLED=1", "RF_HA_NODE_ID=" + id, "RF_HA_NODES=" + nodes}, pairs...)
}

// makeFiles makes files that can be read, and returns their paths.
func makeFiles(t *testing.T, names ...string) (paths []string) {
	t.Helper()
	dir := t.TempDir()
	for _, name := range names {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte("PEM"), 0o600); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	return paths
}

func TestHAIsNilWithoutACluster(t *testing.T) {
	c, err := resolve(nil)
	if err != nil || c.HA != nil || c.Warnings() != nil {
		t.Errorf("%+v, %v, %v", c.HA, c.Warnings(), err)
	}
}

func TestHA(t *testing.T) {
	files := makeFiles(t, "ca", "cert", "key")
	c, err := resolve(nil, clusterOf("node2", threeNodes, "RF_HA_BOOTSTRAP_LEADER=1", "RF_HA_WRITE_CONCERN=3", "RF_HA_DEDICATED_WORKER=1",
		"RF_HA_TLS=1", "RF_HA_TLS_CA="+files[0], "RF_HA_TLS_CERT="+files[1], "RF_HA_TLS_KEY="+files[2])...)
	if err != nil {
		t.Fatal(err)
	}
	want := &HA{
		NodeID: "node2", BootstrapLeader: true, WriteConcern: 3, DedicatedWorker: true, TLS: &HATLS{files[0], files[1], files[2]},
		Nodes: []HANode{{"node1", "127.0.0.1", 7000, 100, 7001, 0}, {"node2", "127.0.0.1", 7010, 90, 7011, 0}, {"node3", "127.0.0.1", 7020, 80, 7021, 0}},
	}
	if !reflect.DeepEqual(c.HA, want) {
		t.Errorf("got  %+v\nwant %+v", c.HA, want)
	}
	if self := c.HA.Self(); self != &c.HA.Nodes[1] || self.RaftAddr() != "127.0.0.1:7010" || self.HTTPAddr() != "127.0.0.1:7011" {
		t.Errorf("self is %+v", self)
	}
	if c.Listen != "127.0.0.1:7011" || c.HA.RaftListen() != "127.0.0.1:7010" || c.HA.Majority() != 2 || c.Warnings() != nil {
		t.Errorf("listens on %s and %s, majority %d, warns %q", c.Listen, c.HA.RaftListen(), c.HA.Majority(), c.Warnings())
	}
	made := c.HA
	if err := c.Resolve(); err != nil || c.HA != made {
		t.Errorf("resolved again: %v", err)
	}
}

// TestFlagsAndBothPrefixes names every node setting in another way.
func TestFlagsAndBothPrefixes(t *testing.T) {
	c, err := resolve([]string{"--ha-enabled", "--ha-node-id=a"}, "AYDER_HA_NODES=a:127.0.0.1:1:0", "RF_RAFT_HEARTBEAT_MS=400", "AYDER_RAFT_ELECTION_MS=500")
	if err != nil || c.HA == nil || c.HA.NodeID != "a" || c.RaftHeartbeat.Milliseconds() != 400 || c.RaftElection.Milliseconds() != 500 {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestWriteConcern(t *testing.T) {
	tests := []struct {
		nodes int
		text  string
		want  int
	}{
		{1, "", 1},
		{1, "1", 1},
		{2, "", 2},
		{3, "", 2},
		{3, "1", 1},
		{3, "2", 2},
		{3, "3", 3},
		{5, "", 3},
		{5, "2", 3}, // nothing is committed with two of five
		{5, "4", 4},
		{5, "5", 5},
	}
	all := strings.Split(threeNodes+",node4:127.0.0.1:7030:0,node5:127.0.0.1:7040:0", ",")
	for _, tt := range tests {
		c, err := resolve(nil, clusterOf("node1", strings.Join(all[:tt.nodes], ","), "RF_HA_WRITE_CONCERN="+tt.text)...)
		if err != nil || c.HA.WriteConcern != tt.want {
			t.Errorf("%q of %d: %+v, %v, want %d", tt.text, tt.nodes, c.HA, err, tt.want)
		}
	}
}

// TestHAListen is about where HTTP and Raft are served in a cluster.
func TestHAListen(t *testing.T) {
	const remote = "node1:10.0.0.1:7000:1:8000,node2:[fd00::2]:7000:1:8000,node3:localhost:7000:1:8000,node4:[::1]:7000:1:8000"
	const tokens = "RF_BEARER_TOKENS=t"
	tests := []struct {
		id, args   string
		env        []string
		http, raft string
	}{
		{"node1", "", []string{tokens}, ":8000", ":7000"},
		{"node1", "--dev", nil, ":8000", ":7000"},
		{"node2", "", []string{tokens}, ":8000", ":7000"},
		{"node3", "", nil, "localhost:8000", "localhost:7000"},
		{"node4", "", []string{tokens}, "[::1]:8000", "[::1]:7000"},
		{"node1", "--listen=10.0.0.1:8000", []string{tokens}, "10.0.0.1:8000", ":7000"},
		{"node1", "--listen=127.0.0.1:8000", nil, "127.0.0.1:8000", ":7000"}, // behind a proxy
		{"node1", "--port=8000", []string{tokens}, ":8000", ":7000"},
		{"node1", "--listen=10.0.0.1:80 --port=8000", []string{tokens}, "10.0.0.1:8000", ":7000"},
	}
	for _, tt := range tests {
		c, err := resolve(strings.Fields(tt.args), clusterOf(tt.id, remote, tt.env...)...)
		if err != nil || c.Listen != tt.http || c.HA.RaftListen() != tt.raft {
			t.Errorf("%s %s %v: %q, %+v, %v; want %q and %q", tt.id, tt.args, tt.env, c.Listen, c.HA, err, tt.http, tt.raft)
		}
	}
}

// secure is a cluster whose nodes serve HTTPS, too, but for the last.
const secure = "node1:127.0.0.1:7000:100:7001:7443,node2:127.0.0.1:7010:90:7011:7444,node3:127.0.0.1:7020:80"

// TestHTTPSListen is about where HTTPS is served in a cluster.
func TestHTTPSListen(t *testing.T) {
	for _, tt := range []struct{ id, nodes, args, want string }{
		{"node1", secure, "--tls-cert=c --tls-key=k", "127.0.0.1:7443"},
		{"node2", secure, "--tls-cert=c --tls-key=k --tls-listen=[::1]:7444", "[::1]:7444"},
		{"node3", secure, "--tls-cert=c --tls-key=k", "127.0.0.1:1443"},
		{"node3", secure, "", ""},
		{"a", "a:10.0.0.1:1:1:2:3", "--tls-cert=c --tls-key=k --dev", ":3"},
	} {
		c, err := resolve(strings.Fields(tt.args), clusterOf(tt.id, tt.nodes)...)
		if err != nil || c.TLSListen != tt.want {
			t.Errorf("%s %s: %q, %v, want %q", tt.id, tt.args, c.TLSListen, err, tt.want)
			continue
		}
		if err := c.Resolve(); err != nil || c.TLSListen != tt.want {
			t.Errorf("%s %s, resolved again: %q, %v", tt.id, tt.args, c.TLSListen, err)
		}
	}
}

func TestHAFaults(t *testing.T) {
	file := makeFiles(t, "file")[0]
	dir := filepath.Dir(file)
	tls := []string{"RF_HA_TLS=1", "RF_HA_TLS_CA=" + file, "RF_HA_TLS_CERT=" + file, "RF_HA_TLS_KEY=" + file}
	tests := []struct {
		args string
		env  []string
		want []string
	}{
		{"", []string{"RF_HA_ENABLED=1"}, []string{"RF_HA_NODE_ID is not set: ", "RF_HA_NODES is not set: "}},
		{"", clusterOf("", threeNodes), []string{"RF_HA_NODE_ID is not set: "}},
		{"", clusterOf("node1", ""), []string{"RF_HA_NODES is not set: "}},
		{"", clusterOf("node4", threeNodes), []string{`RF_HA_NODE_ID="node4": not in RF_HA_NODES, which has node1, node2, node3`}},
		{"", clusterOf("Node1", threeNodes), []string{`RF_HA_NODE_ID="Node1": not in RF_HA_NODES`}},
		{"", []string{"RF_HA_ENABLED=maybe"}, []string{`RF_HA_ENABLED="maybe": want true or false`}},
		{"", clusterOf("node1", threeNodes, "RF_HA_BOOTSTRAP_LEADER=node1"), []string{`RF_HA_BOOTSTRAP_LEADER="node1": want true or false`}},
		{"", clusterOf("node1", threeNodes, "RF_HA_WRITE_CONCERN=0"), []string{`RF_HA_WRITE_CONCERN="0": want a number from 1 to 3: 1 is the leader only, 2 the majority, 3 all`}},
		{"", clusterOf("node1", threeNodes, "RF_HA_WRITE_CONCERN=4"), []string{`RF_HA_WRITE_CONCERN="4": want a number from 1 to 3`}},
		{"", clusterOf("node1", threeNodes, "RF_HA_WRITE_CONCERN=majority"), []string{`RF_HA_WRITE_CONCERN="majority": want a number from 1 to 3`}},
		{"", clusterOf("node1", threeNodes, "RF_HA_TLS=1"), []string{"RF_HA_TLS_CA is not set: ", "RF_HA_TLS_CERT is not set: ", "RF_HA_TLS_KEY is not set: "}},
		{"", clusterOf("node1", threeNodes, append(tls[:3:3], "RF_HA_TLS_KEY="+dir+"/none")...), []string{"RF_HA_TLS_KEY: open " + dir + "/none: no such file"}},
		{"", clusterOf("node1", threeNodes, append(tls[:3:3], "RF_HA_TLS_KEY="+dir)...), []string{"RF_HA_TLS_KEY: cannot read " + dir + ": "}},
		{"--listen=127.0.0.1:1109", clusterOf("node1", threeNodes), []string{"RF_HA_NODES: node1 has the http_port 7001, where the other nodes send clients, but HTTP is to listen on port 1109; "}},
		{"--port=1109", clusterOf("node1", threeNodes), []string{"RF_HA_NODES: node1 has the http_port 7001, "}},
		{"--listen=127.0.0.1:0", clusterOf("node1", threeNodes), []string{"RF_HA_NODES: node1 has the http_port 7001, "}},
		{"--listen=7001", clusterOf("node1", threeNodes), []string{`listen="7001": want host:port`}},
		{"--listen=:7001", clusterOf("node1", threeNodes), []string{"listen: without tokens"}},
		{"", clusterOf("a", "a:10.0.0.1:7000:1"), []string{"RF_HA_NODES: clients are to reach a at 10.0.0.1:7001, but without tokens the server listens on loopback only; "}},
		{"", clusterOf("node1", secure), []string{"RF_HA_NODES: node1 has the https_port 7443, where the other nodes send clients, but this server has no certificate; "}},
		{"--tls-cert=c --tls-key=k --tls-listen=127.0.0.1:443", clusterOf("node1", secure), []string{"RF_HA_NODES: node1 has the https_port 7443, where the other nodes send clients, but HTTPS is to listen on port 443; "}},
		{"--tls-cert=c --tls-key=k --tls-listen=443 --listen=127.0.0.1:1", clusterOf("node1", secure), []string{"RF_HA_NODES: node1 has the http_port 7001, ", `tls-listen="443": want host:port`}},
		{"--raft-election-ms=299", clusterOf("node1", threeNodes), []string{"raft-election-ms (299ms) is less than raft-heartbeat-ms (300ms)"}},
		{"--raft-lease-ms=301", clusterOf("node1", threeNodes), []string{"raft-lease-ms (301ms) is more than raft-heartbeat-ms (300ms)"}},
		{"--raft-heartbeat-ms=4", nil, []string{`--raft-heartbeat-ms="4": want a time from 5ms`}},
		{"--raft-leader-sync=both", nil, []string{`--raft-leader-sync="both": want one of parallel, serial`}},
		{"", clusterOf("x", "node1:127.0.0.1:7000:1,node2", "RF_HA_TLS=1"), []string{
			`RF_HA_NODES: entry 2 ("node2"): want id:host:raft_port`, "RF_HA_TLS_CA is not set", "RF_HA_TLS_CERT is", "RF_HA_TLS_KEY is",
		}},
	}
	for _, tt := range tests {
		c, err := resolve(strings.Fields(tt.args), tt.env...)
		if err == nil || c.HA != nil && !strings.HasPrefix(tt.want[0], "listen") {
			t.Errorf("%s %v: %v and %+v", tt.args, tt.env, err, c.HA)
			continue
		}
		wantLines(t, err, tt.want)
	}
}

// wantLines expects an error with one line for each beginning, in any order.
func wantLines(t *testing.T, err error, want []string) {
	t.Helper()
	lines := strings.Split(err.Error(), "\n")
	ok := len(lines) == len(want)
	for _, begin := range want {
		ok = ok && slices.ContainsFunc(lines, func(line string) bool { return strings.HasPrefix(line, begin) })
	}
	if !ok {
		t.Errorf("got\n%v\nwant\n%s", err, strings.Join(want, "\n"))
	}
}

func TestUnreadableFilesAreFaults(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root reads everything")
	}
	paths := makeFiles(t, "ca", "cert", "key")
	if err := os.Chmod(paths[2], 0); err != nil {
		t.Fatal(err)
	}
	_, err := resolve(nil, clusterOf("node1", threeNodes, "RF_HA_TLS=1", "RF_HA_TLS_CA="+paths[0], "RF_HA_TLS_CERT="+paths[1], "RF_HA_TLS_KEY="+paths[2])...)
	if err == nil || !strings.HasPrefix(err.Error(), "RF_HA_TLS_KEY: open "+paths[2]) {
		t.Error(err)
	}
}

func TestWarnings(t *testing.T) {
	four := threeNodes + ",node4:127.0.0.1:7030:0"
	five := four + ",node5:127.0.0.1:7040:0"
	tests := []struct {
		args string
		env  []string
		want []string
	}{
		{"", []string{"RF_HA_ENABLED=0"}, nil},
		{"", []string{"RF_HA_NODE_ID=node1", "AYDER_HA_TLS=1"}, []string{"RF_HA_ENABLED is off, so this is a single node: these settings have no effect: RF_HA_NODE_ID, AYDER_HA_TLS"}},
		{"--ha-enabled=false --raft-lease-ms=100", []string{"RF_HA_NODES=nonsense"}, []string{"RF_HA_ENABLED is off, so this is a single node: these settings have no effect: RF_HA_NODES, --raft-lease-ms"}},
		{"", clusterOf("a", "a:127.0.0.1:1:0"), nil},
		{"", clusterOf("node1", four), []string{"RF_HA_NODES has 4 nodes: an even number survives no more failures than 3 would"}},
		{"", clusterOf("node1", five, "RF_HA_WRITE_CONCERN=2"), []string{"RF_HA_WRITE_CONCERN=2 is less than a majority and more than the leader: 3 is used"}},
		{"", clusterOf("node1", five, "RF_HA_WRITE_CONCERN=1"), nil},
		{"--tls-cert=c --tls-key=k", clusterOf("node1", secure), []string{"RF_HA_NODES has no https_port for node3: "}},
		{"--tls-cert=c --tls-key=k", clusterOf("node1", threeNodes), []string{"RF_HA_NODES has no https_port for node1, node2, node3: "}},
		{"", clusterOf("node3", secure), nil}, // nobody comes over TLS here
		{"", clusterOf("node1", threeNodes, "RF_HA_TLS_CA=x"), []string{"RF_HA_TLS is off: the files of"}},
		{"", clusterOf("a", "a:10.0.0.1:7000:1", "RF_BEARER_TOKENS=t"), []string{"RF_HA_TLS is off: whoever reaches port 7000"}},
	}
	for _, tt := range tests {
		c, err := resolve(strings.Fields(tt.args), tt.env...)
		if err != nil {
			t.Errorf("%s %v: %v", tt.args, tt.env, err)
			continue
		}
		got := c.Warnings()
		ok := len(got) == len(tt.want)
		for i := 0; ok && i < len(got); i++ {
			ok = strings.HasPrefix(got[i], tt.want[i])
		}
		if !ok {
			t.Errorf("%s %v: %q, want %q", tt.args, tt.env, got, tt.want)
		}
	}
}
