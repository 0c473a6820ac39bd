package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func TestParseNodes(t *testing.T) {
	tests := []struct {
		list string
		want []HANode
	}{
		{"node1:10.0.0.1:7000:100", []HANode{{"node1", "10.0.0.1", 7000, 100, 7001, 0}}},
		{"n:db-1.example.org:65535:0:65534", []HANode{{"n", "db-1.example.org", 65535, 0, 65534, 0}}},
		{"n:[::1]:1:1000000", []HANode{{"n", "::1", 1, 1000000, 2, 0}}},
		{"n:[fe80::1%eth0]:7000:1:80", []HANode{{"n", "fe80::1%eth0", 7000, 1, 80, 0}}},
		{"1.a-b_C:node_1:7000:1", []HANode{{"1.a-b_C", "node_1", 7000, 1, 7001, 0}}},
		{"a:h:1:5,b:h:3:5,c:g:1:5", []HANode{{"a", "h", 1, 5, 2, 0}, {"b", "h", 3, 5, 4, 0}, {"c", "g", 1, 5, 2, 0}}},
		{"n:h:1:1:2:3", []HANode{{"n", "h", 1, 1, 2, 3}}},
		{"a:h:1:1:2:65535,b:g:1:1:2:65535", []HANode{{"a", "h", 1, 1, 2, 65535}, {"b", "g", 1, 1, 2, 65535}}},
		{"a:h:1:1,\n\tb:h:3:1 ", []HANode{{"a", "h", 1, 1, 2, 0}, {"b", "h", 3, 1, 4, 0}}},
	}
	for _, tt := range tests {
		got, err := ParseNodes(tt.list)
		if err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("%q: %+v, %v", tt.list, got, err)
		}
	}
}

func TestNodeAddresses(t *testing.T) {
	n := HANode{ID: "a", Host: "fd00::1", RaftPort: 7000, Priority: 3, HTTPPort: 80}
	if n.RaftAddr() != "[fd00::1]:7000" || n.HTTPAddr() != "[fd00::1]:80" || n.HTTPSAddr() != "" || n.String() != "a:[fd00::1]:7000:3:80" {
		t.Errorf("%s %s %s", n.RaftAddr(), n.HTTPAddr(), n.String())
	}
	if n.HTTPSPort = 443; n.HTTPSAddr() != "[fd00::1]:443" || n.String() != "a:[fd00::1]:7000:3:80:443" {
		t.Errorf("%s %s", n.HTTPSAddr(), n.String())
	}
}

func TestNodeFaults(t *testing.T) {
	const shape = "want id:host:raft_port:priority[:http_port[:https_port]], with an IPv6 host in brackets"
	one := func(entry, fault string) []string { return []string{fmt.Sprintf("entry 1 (%q): %s", entry, fault)} }
	long := strings.Repeat("x", 64)
	tests := []struct {
		list string
		want []string
	}{
		{"", one("", shape)},
		{"a", one("a", shape)},
		{"a:h:1", one("a:h:1", shape)},
		{"a:h:1:2:3:4:5", one("a:h:1:2:3:4:5", shape)},
		{"a:::1:7000:1", one("a:::1:7000:1", shape)},
		{"a:fd00::1:7000:1", one("a:fd00::1:7000:1", shape)},
		{"a:[::1:7000:1", one("a:[::1:7000:1", shape)},
		{"a:[::1]7000:1", one("a:[::1]7000:1", shape)},
		{"a:[10.0.0.1]:7000:1", one("a:[10.0.0.1]:7000:1", shape)},
		{"a:[host]:7000:1", one("a:[host]:7000:1", shape)},
		{"a:h:1:1,", []string{`entry 2 (""): ` + shape}},
		{"a:h:1:1;b:h:3:1", one("a:h:1:1;b:h:3:1", shape)},
		{":h:1:1", one(":h:1:1", `node id "": want 1 to 63 letters`)},
		{long + ":h:1:1", one(long+":h:1:1", "node id ")},
		{"-a:h:1:1", one("-a:h:1:1", `node id "-a": want`)},
		{"a b:h:1:1", one("a b:h:1:1", `node id "a b": want`)},
		{"a::1:1", one("a::1:1", `host "": want a host name or an address`)},
		{"a:10.0.0:1:1", one("a:10.0.0:1:1", `host "10.0.0": want`)},
		{"a:10.0.0.256:1:1", one("a:10.0.0.256:1:1", `host "10.0.0.256": want`)},
		{"a:h/x:1:1", one("a:h/x:1:1", `host "h/x": want`)},
		{"a:0.0.0.0:1:1", one("a:0.0.0.0:1:1", "host 0.0.0.0: no other node can connect")},
		{"a:[::]:1:1", one("a:[::]:1:1", "host ::: no other node can connect")},
		{"a:224.0.0.1:1:1", one("a:224.0.0.1:1:1", "host 224.0.0.1: no other node can connect")},
		{"a:h:0:1", one("a:h:0:1", `raft_port "0": want a number from 1 to 65535`)},
		{"a:h:65536:1", one("a:h:65536:1", `raft_port "65536": want`)},
		{"a:h:x:1", one("a:h:x:1", `raft_port "x": want`)},
		{"a:h: 1:1", one("a:h: 1:1", `raft_port " 1": want`)},
		{"a:h:1:-1", one("a:h:1:-1", `priority "-1": want a number from 0 to 1000000`)},
		{"a:h:1:high", one("a:h:1:high", `priority "high": want`)},
		{"a:h:1:", one("a:h:1:", `priority "": want`)},
		{"a:h:1:1:0", one("a:h:1:1:0", `http_port "0": want a number from 1 to 65535`)},
		{"a:h:65535:1", one("a:h:65535:1", "raft_port 65535 leaves no http_port after it: give one")},
		{"a:h:80:1:80", one("a:h:80:1:80", "raft_port and http_port are both 80")},
		{"a:h:1:1:2:0", one("a:h:1:1:2:0", `https_port "0": want a number from 1 to 65535`)},
		{"a:h:1:1:2:", one("a:h:1:1:2:", `https_port "": want`)},
		{"a:h:1:1:2:65536", one("a:h:1:1:2:65536", `https_port "65536": want`)},
		{"a:h:1:1::3", one("a:h:1:1::3", shape)},
		{"a:[::1]:1:1::3", one("a:[::1]:1:1::3", `http_port "": want`)},
		{"a:h:1:1:2:2", one("a:h:1:1:2:2", "http_port and https_port are both 2")},
		{"a:h:1:1:2:1", one("a:h:1:1:2:1", "raft_port and https_port are both 1")},
		{"a:h:1:1:2:3,b:h:4:1:5:3", []string{"nodes a and b both have the address h:3"}},
		{"a:h:1:1:2:3,b:h:3:1:5", []string{"nodes a and b both have the address h:3"}},
		{"a:h:x:y:z", append(one("a:h:x:y:z", "raft_port"), append(one("a:h:x:y:z", "priority"), one("a:h:x:y:z", "http_port")...)...)},
		{"a:h:1:1,a:h:3:1", []string{`node id "a" is used twice`}},
		{"a:h:1:1,A:h:3:1", []string{`node id "A" is used twice`}},
		{"a:h:1:1,b:h:1:1:9", []string{"nodes a and b both have the address h:1"}},
		{"a:h:1:1,b:H.:2:1", []string{"nodes a and b both have the address h:2"}},
		{"a:[::1]:1:1:5,b:[0:0:0:0:0:0:0:1]:3:1:5", []string{"nodes a and b both have the address [::1]:5"}},
		{"a:h:1:1,b:h:1:1,b:x:y:1", []string{`entry 3 ("b:x:y:1"): raft_port "y"`, "nodes a and b both have the address h:1", "nodes a and b both have the address h:2"}},
	}
	for _, tt := range tests {
		nodes, err := ParseNodes(tt.list)
		if err == nil || nodes != nil {
			t.Errorf("%q: %v, %v", tt.list, nodes, err)
			continue
		}
		wantLines(t, err, tt.want)
	}
}

// manyNodes is a valid list of n.
func manyNodes(n int) string {
	var entries []string
	for i := range n {
		entries = append(entries, fmt.Sprintf("n%d:h:%d:0", i, 1000+2*i))
	}
	return strings.Join(entries, ",")
}

func TestNodesAreLimited(t *testing.T) {
	if nodes, err := ParseNodes(manyNodes(haNodesMax)); err != nil || len(nodes) != haNodesMax {
		t.Errorf("%d nodes, %v", len(nodes), err)
	}
	if _, err := ParseNodes(manyNodes(haNodesMax + 1)); err == nil || err.Error() != "32 nodes, the limit is 31" {
		t.Error(err)
	}
}

// FuzzNodes holds what every accepted list is: bounded, distinct, and the same when it is written out and read again.
func FuzzNodes(f *testing.F) {
	for _, seed := range []string{
		threeNodes, "a:[::1]:1:1:3,b:h.example.org:65535:0:1", "a:[fe80::1%eth0]:7000:1", " a:h:1:1,\nb:h:3:1", "a:h:1:1,", "a:::1:7000:1", manyNodes(40), "a:h:1:1:2:3,b:[::1]:1:1:2:3", "a:h:1:1::3", "a:h:1:1:2:2",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, list string) {
		nodes, err := ParseNodes(list)
		if err != nil {
			if nodes != nil || strings.Contains(err.Error(), "\n\n") {
				t.Errorf("%v with %q", nodes, err)
			}
			return
		}
		var texts []string
		for i := range nodes {
			n := &nodes[i]
			texts = append(texts, n.String())
			if find(nodes, n.ID) != n || n.RaftPort < 1 || n.RaftPort > portMax || n.HTTPPort < 1 || n.HTTPPort > portMax || n.HTTPSPort < 0 || n.HTTPSPort > portMax || n.Priority < 0 {
				t.Errorf("accepted %+v", n)
			}
			if _, err := netip.ParseAddr(n.Host); err != nil && strings.ContainsAny(n.Host, ":[]") {
				t.Errorf("accepted the host %q", n.Host)
			}
		}
		again, err := ParseNodes(strings.Join(texts, ","))
		if err != nil || !slices.Equal(again, nodes) {
			t.Errorf("%+v became %+v, %v", nodes, again, err)
		}
	})
}
