package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// A cluster is given as the addresses of its nodes. The load goes to the leader alone, over connections that stay there: what
// is compared is what a write costs, and a client that knows its cluster writes there. For ayder every node says in
// /metrics_ha whether it leads. In NATS each stream has a leader of its own, which $JS.API.STREAM.INFO
// names, so the stream is made before anything else; any node could take the publish, at the price of a hop.
//
// Who leads is asked again when the run is over. A result of two leaders says so.

// node is one server of a cluster; pid is 0 where nobody wants to know what it used.
type node struct {
	addr string
	pid  int
}

// parseNodes joins the lists of -addr and -pid.
func parseNodes(addrs, pids string) ([]node, error) {
	var nodes []node
	for addr := range strings.SplitSeq(addrs, ",") {
		nodes = append(nodes, node{addr: addr})
	}
	if len(nodes) > nodesMax {
		return nil, fmt.Errorf("-addr: %d nodes, at most %d", len(nodes), nodesMax)
	}
	if pids == "" {
		return nodes, nil
	}
	list := strings.Split(pids, ",")
	if len(list) != len(nodes) {
		return nil, fmt.Errorf("-pid: %d processes for %d addresses", len(list), len(nodes))
	}
	for i, text := range list {
		pid, err := strconv.Atoi(text)
		if err != nil || pid < 0 {
			return nil, fmt.Errorf("-pid %s: %q is no process id", pids, text)
		}
		nodes[i].pid = pid
	}
	return nodes, nil
}

// pids lists the processes to watch, the measured one first.
func (c *config) pids() []int {
	var list []int
	for _, n := range c.nodes {
		switch {
		case n.pid == 0:
		case n.addr == c.addr:
			list = append([]int{n.pid}, list...)
		default:
			list = append(list, n.pid)
		}
	}
	return list
}

// pin makes the leader the address of the run. A single server is its own.
func (c *config) pin() error {
	if len(c.nodes) == 1 {
		return nil
	}
	if c.target == "nats" {
		if err := c.awaitStream(); err != nil {
			return err
		}
	}
	addr, err := await(c.leader)
	if err != nil {
		return fmt.Errorf("find the leader: %w", err)
	}
	c.addr = addr
	return nil
}

// moved tells whether another node leads now.
func (c *config) moved() (bool, error) {
	addr, err := await(c.leader)
	if err != nil {
		return true, fmt.Errorf("find the leader afterwards: %w", err)
	}
	return addr != c.addr, nil
}

// errNoLeader is no failure until it lasts.
var errNoLeader = errors.New("no node leads")

// await asks until there is an answer, for a while.
func await[T any](ask func() (T, error)) (T, error) {
	for begin := time.Now(); ; time.Sleep(electionStep) {
		v, err := ask()
		if err == nil || time.Since(begin) > setupMax {
			return v, err
		}
	}
}

// leader asks once.
func (c *config) leader() (string, error) {
	if c.target == "nats" {
		return c.streamLeader()
	}
	return c.raftLeader()
}

// raftLeader is the node that says it leads, with a majority behind it.
func (c *config) raftLeader() (string, error) {
	err := errNoLeader
	for _, n := range c.nodes {
		at := *c
		at.addr = n.addr
		status, text, failed := call(&at, "GET", "/metrics_ha", nil)
		if failed != nil || status != http.StatusOK {
			err = errors.Join(errNoLeader, failed)
			continue
		}
		var answer struct {
			Role  string `json:"role"`
			Fresh bool   `json:"fresh_quorum"`
		}
		if failed := json.Unmarshal(text, &answer); failed != nil {
			return "", fmt.Errorf("/metrics_ha of %s: %w", n.addr, failed)
		}
		if answer.Role == "leader" && answer.Fresh {
			return n.addr, nil
		}
	}
	return "", err
}

// awaitStream makes the stream with a replica on every node, as soon as the nodes have found each other.
func (c *config) awaitStream() error {
	d, err := newNATSDialect(c)
	if err != nil {
		return err
	}
	_, err = await(func() (struct{}, error) { return struct{}{}, d.createStream(c.nodes[0].addr) })
	return err
}

// streamLeader asks for the name of the stream's leader, and then every node for its own.
func (c *config) streamLeader() (string, error) {
	d, err := newNATSDialect(c)
	if err != nil {
		return "", err
	}
	text, err := d.ask(c.nodes[0].addr, "$JS.API.STREAM.INFO."+d.stream, nil)
	if err != nil {
		return "", err
	}
	var answer struct {
		Cluster struct {
			Leader string `json:"leader"`
		} `json:"cluster"`
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		return "", fmt.Errorf("stream info: %w", err)
	}
	for _, n := range c.nodes {
		name, err := natsName(n.addr)
		if err != nil {
			return "", err
		}
		if name == answer.Cluster.Leader {
			return n.addr, nil
		}
	}
	return "", errNoLeader
}

// natsName is what a server calls itself in its greeting, INFO {…}.
func natsName(addr string) (string, error) {
	s, err := net.DialTimeout("tcp", addr, handshakeMax)
	if err != nil {
		return "", err
	}
	defer s.Close()
	if err := s.SetDeadline(time.Now().Add(handshakeMax)); err != nil {
		return "", err
	}
	greeting, err := readUntil(s, "}\r\n", "} \r\n")
	if err != nil {
		return "", err
	}
	var info struct {
		Name string `json:"server_name"`
	}
	if err := json.Unmarshal(bytes.TrimPrefix(greeting, []byte("INFO ")), &info); err != nil {
		return "", fmt.Errorf("greeting of %s: %w", addr, err)
	}
	return info.Name, nil
}

// ask does one request over the NATS protocol, on a connection of its own, and returns the answer's JSON.
func (d *natsDialect) ask(addr, subject string, body []byte) ([]byte, error) {
	s, err := net.DialTimeout("tcp", addr, handshakeMax)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	if err := s.SetDeadline(time.Now().Add(setupMax)); err != nil {
		return nil, err
	}
	const setup = -1 // an inbox that no measured connection uses
	if err := d.greet(s, setup); err != nil {
		return nil, err
	}
	if _, err := s.Write(natsPublish(subject, d.inbox(setup), body)); err != nil {
		return nil, err
	}
	got, err := readUntil(s, "}\r\n", natsNobody)
	if err != nil {
		return nil, err
	}
	line, text, _ := bytes.Cut(got, []byte("\r\n"))
	if !bytes.HasPrefix(line, []byte("MSG ")) || bytes.Contains(text, []byte(`"error":`)) {
		return nil, fmt.Errorf("server says %q", got)
	}
	return text, nil
}

// natsNobody ends the server's own answer to a request that nobody listens to.
const natsNobody = "NATS/1.0 503\r\n\r\n\r\n"
