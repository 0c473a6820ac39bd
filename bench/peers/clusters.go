package peers

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// How clusters are started: each node a process with a directory of its own, all on this machine and this disk, in
// one group. As with single servers, every one of them answers a write after it is synced, here by a majority, and
// is left at its defaults otherwise.
//
// A node's Spec holds all that it needs, so a node that was killed comes back by starting the same Spec again.

// node is where one member of a cluster is.
type node struct {
	id     string
	client string // host:port for clients
	peer   string // host:port for the other nodes
	dir    string
}

// place gives count nodes addresses, and directories below dir.
func place(dir string, count int) ([]node, error) {
	addrs, err := freeAddrs(2 * count)
	if err != nil {
		return nil, err
	}
	nodes := make([]node, count)
	for i := range nodes {
		id := "n" + strconv.Itoa(i+1)
		nodes[i] = node{id: id, client: addrs[2*i], peer: addrs[2*i+1], dir: filepath.Join(dir, id)}
		if err := os.MkdirAll(nodes[i].dir, 0o755); err != nil {
			return nil, err
		}
	}
	return nodes, nil
}

// list joins a text of every node.
func list(nodes []node, text func(n node) string) string {
	texts := make([]string, len(nodes))
	for i, n := range nodes {
		texts[i] = text(n)
	}
	return strings.Join(texts, ",")
}

// specs makes a Spec of every node. The first node of a cluster has the first Spec.
func specs(nodes []node, spec func(i int, n node) (Spec, error)) ([]Spec, error) {
	all := make([]Spec, len(nodes))
	for i, n := range nodes {
		s, err := spec(i, n)
		if err != nil {
			return nil, err
		}
		all[i] = s
	}
	return all, nil
}

// AyderCluster is count nodes of the server under test, of which the first founds the cluster and has the highest
// priority. With certs, a directory with ca.crt and ID.crt and ID.key of every node n1, n2, …, they speak TLS with each other.
func AyderCluster(name, binary, dir, certs string, count int, flags ...string) ([]Spec, error) {
	nodes, err := place(dir, count)
	if err != nil {
		return nil, err
	}
	return specs(nodes, func(i int, n node) (Spec, error) {
		s := Ayder(name+"-"+n.id, binary, n.client, n.dir, flags...)
		s.Env, err = ayderEnvironment(nodes, i, certs)
		return s, err
	})
}

// ayderEnvironment is the settings of a node, as README.md has them.
func ayderEnvironment(nodes []node, self int, certs string) ([]string, error) {
	rank := len(nodes)
	var err error
	members := list(nodes, func(n node) string {
		_, port, bad := net.SplitHostPort(n.client)
		if bad != nil {
			err = bad
		}
		text := fmt.Sprintf("%s:%s:%d:%s", n.id, n.peer, 10*rank, port)
		rank--
		return text
	})
	env := []string{"RF_HA_ENABLED=1", "RF_HA_NODE_ID=" + nodes[self].id, "RF_HA_NODES=" + members}
	if self == 0 {
		env = append(env, "RF_HA_BOOTSTRAP_LEADER=1")
	}
	if certs != "" {
		file := filepath.Join(certs, nodes[self].id)
		env = append(env, "RF_HA_TLS=1", "RF_HA_TLS_CA="+filepath.Join(certs, "ca.crt"), "RF_HA_TLS_CERT="+file+".crt", "RF_HA_TLS_KEY="+file+".key")
	}
	return env, err
}

// NATSCluster is count JetStream servers that sync every message.
func NATSCluster(binary, dir string, count int) ([]Spec, error) {
	nodes, err := place(dir, count)
	if err != nil {
		return nil, err
	}
	routes := list(nodes, func(n node) string { return fmt.Sprintf("%q", "nats://"+n.peer) })
	return specs(nodes, func(_ int, n node) (Spec, error) {
		s, err := NATS(binary, n.client, n.dir)
		if err != nil {
			return s, err
		}
		s.Name += "-" + n.id
		text := fmt.Sprintf("server_name: %q\ncluster {\n  name: \"bench\"\n  listen: %q\n  routes: [%s]\n}\n", n.id, n.peer, routes)
		return s, appendTo(s.Argv[len(s.Argv)-1], text)
	})
}

// appendTo adds text to the end of a file.
func appendTo(file, text string) error {
	f, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if _, err := f.WriteString(text); err != nil {
		_ = f.Close()
		return fmt.Errorf("write %s: %w", file, err)
	}
	return f.Close()
}

// EtcdCluster is count members of an etcd cluster. It says what it has to say from warnings on only, in its favour.
func EtcdCluster(binary, dir string, count int) ([]Spec, error) {
	nodes, err := place(dir, count)
	if err != nil {
		return nil, err
	}
	members := list(nodes, func(n node) string { return n.id + "=http://" + n.peer })
	return specs(nodes, func(_ int, n node) (Spec, error) {
		client, peer := "http://"+n.client, "http://"+n.peer
		return Spec{Name: "etcd-" + n.id, Addr: n.client, Ready: etcdReady, Argv: []string{
			binary, "--name", n.id, "--data-dir", filepath.Join(n.dir, "data"), "--log-level", "warn",
			"--listen-client-urls", client, "--advertise-client-urls", client,
			"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
			"--initial-cluster", members, "--initial-cluster-state", "new",
		}}, nil
	})
}

// etcdReady wants a member that says it is healthy, which it is not without a leader.
func etcdReady(addr string) error { return httpOK(addr, "/health") }
