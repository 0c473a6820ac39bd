package config

// The cluster's settings together. Parse has read each by itself, most of them as text; here they get their
// meaning, in one HA, or their faults, each with the variable that has to be changed. Faults are what cannot
// work; what can work but is hardly meant is a warning, which the caller logs (warnings.go).
//
// Where HTTP is served follows from RF_HA_NODES as well, because that is where the other nodes send clients: an explicit
// address must have this node's http_port, and without one the server listens there. The same holds for HTTPS and https_port,
// which may be left out: then clients that speak TLS are told that this node cannot be reached so.

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
)

// HA is a cluster as one of its nodes is told of it. It is plain data, made by Resolve.
type HA struct {
	NodeID          string   // one of Nodes
	Nodes           []HANode // in the order given; distinct ids and addresses
	BootstrapLeader bool     // found the cluster if there is none yet
	WriteConcern    int      // 1: the leader's disk; Majority(): a majority; more: the commit and so many disks
	DedicatedWorker bool     // replication has a thread of its own
	TLS             *HATLS   // between the nodes; nil: plain TCP
}

// HATLS names the PEM files for TLS between nodes. They could be opened when the server started.
type HATLS struct {
	CA   string // certificate of the cluster's authority
	Cert string // certificate chain of this node, for both roles: server and client
	Key  string
}

// Self is this node.
func (h *HA) Self() *HANode { return find(h.Nodes, h.NodeID) }

// Majority is the least number of Nodes that is more than half of them.
func (h *HA) Majority() int { return len(h.Nodes)/2 + 1 }

// RaftListen is where this node listens for the others: on its own address if that is loopback, else on its port of
// every interface, because the address that others use need not be one of this machine.
func (h *HA) RaftListen() string { return listenAt(h.Self().Host, h.Self().RaftPort) }

func listenAt(host string, port int) string {
	if !isLoopback(host) {
		host = ""
	}
	return net.JoinHostPort(host, strconv.Itoa(port))
}

func find(nodes []HANode, id string) *HANode {
	for i := range nodes {
		if nodes[i].ID == id {
			return &nodes[i]
		}
	}
	return nil
}

// resolveHA makes HA from the settings, if there is a cluster.
func (c *Config) resolveHA() error {
	if !c.HAEnabled || c.HA != nil {
		return nil
	}
	h := &HA{NodeID: c.HANodeID, BootstrapLeader: c.HABootstrapLeader, DedicatedWorker: c.HADedicatedWorker}
	if err := errors.Join(c.resolveNodes(h), c.resolveHATLS(h), c.checkRaftTimes()); err != nil {
		return err
	}
	if err := errors.Join(c.resolveHAListen(h.Self()), c.resolveHATLSListen(h.Self())); err != nil {
		return err
	}
	c.HA = h
	return nil
}

// resolveNodes settles who is in the cluster, and what depends on their number.
func (c *Config) resolveNodes(h *HA) error {
	var faults []error
	if c.HANodeID == "" {
		faults = append(faults, errors.New("RF_HA_NODE_ID is not set: RF_HA_ENABLED wants to know which of RF_HA_NODES this node is"))
	}
	if c.HANodes == "" {
		faults = append(faults, errors.New("RF_HA_NODES is not set: RF_HA_ENABLED wants id:host:raft_port:priority[:http_port[:https_port]],…"))
		return errors.Join(faults...)
	}
	nodes, err := ParseNodes(c.HANodes)
	if err != nil {
		return errors.Join(append(faults, named("RF_HA_NODES", err))...)
	}
	h.Nodes = nodes
	if c.HANodeID != "" && h.Self() == nil {
		faults = append(faults, fmt.Errorf("RF_HA_NODE_ID=%q: not in RF_HA_NODES, which has %s", c.HANodeID, idsOf(nodes)))
	}
	h.WriteConcern, err = c.writeConcern(h)
	return errors.Join(append(faults, err)...)
}

func idsOf(nodes []HANode) string {
	ids := make([]string, len(nodes))
	for i := range nodes {
		ids[i] = nodes[i].ID
	}
	return strings.Join(ids, ", ")
}

// writeConcern reads RF_HA_WRITE_CONCERN. A number between 1 and the majority is raised to the majority: Raft commits
// nothing with fewer.
func (c *Config) writeConcern(h *HA) (int, error) {
	if c.HAWriteConcern == "" {
		return h.Majority(), nil
	}
	var n int
	if err := number(&n, 1, len(h.Nodes)).set(c.HAWriteConcern); err != nil {
		return 0, fmt.Errorf("RF_HA_WRITE_CONCERN=%q: %w: 1 is the leader only, %d the majority, %d all nodes of RF_HA_NODES",
			c.HAWriteConcern, err, h.Majority(), len(h.Nodes))
	}
	if n > 1 && n < h.Majority() {
		n = h.Majority()
	}
	return n, nil
}

// resolveHATLS wants all three files, and that this process may read them: a node that finds out at its first
// connection looks like one whose network is broken.
func (c *Config) resolveHATLS(h *HA) error {
	if !c.HATLS {
		return nil
	}
	h.TLS = &HATLS{CA: c.HATLSCA, Cert: c.HATLSCert, Key: c.HATLSKey}
	return errors.Join(
		checkFile("RF_HA_TLS_CA", c.HATLSCA),
		checkFile("RF_HA_TLS_CERT", c.HATLSCert),
		checkFile("RF_HA_TLS_KEY", c.HATLSKey),
	)
}

// checkFile reads one byte of a file.
func checkFile(variable, path string) error {
	if path == "" {
		return fmt.Errorf("%s is not set: RF_HA_TLS needs RF_HA_TLS_CA, RF_HA_TLS_CERT and RF_HA_TLS_KEY", variable)
	}
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("%s: %w", variable, err)
	}
	defer func() { _ = f.Close() }() // nothing was written
	if _, err := f.Read(make([]byte, 1)); err != nil {
		return fmt.Errorf("%s: cannot read %s: %w", variable, path, err)
	}
	return nil
}

// checkRaftTimes holds the order that elections need: a leader notices that it is alone before somebody else can be elected.
func (c *Config) checkRaftTimes() error {
	var faults []error
	if c.RaftElection < c.RaftHeartbeat {
		faults = append(faults, fmt.Errorf("raft-election-ms (%v) is less than raft-heartbeat-ms (%v)", c.RaftElection, c.RaftHeartbeat))
	}
	if c.RaftLease > c.RaftHeartbeat {
		faults = append(faults, fmt.Errorf("raft-lease-ms (%v) is more than raft-heartbeat-ms (%v)", c.RaftLease, c.RaftHeartbeat))
	}
	return errors.Join(faults...)
}

// resolveHAListen makes HTTP listen at the port that RF_HA_NODES has for this node.
func (c *Config) resolveHAListen(self *HANode) error {
	if c.Listen == "" && c.Port == 0 {
		if c.DevMode() && !c.Dev && !isLoopback(self.Host) {
			return fmt.Errorf("RF_HA_NODES: clients are to reach %s at %s, but without tokens the server listens on loopback only; "+
				"set RF_BEARER_TOKENS, or give --dev to open it to everybody with the token dev", self.ID, self.HTTPAddr())
		}
		c.Listen = listenAt(self.Host, self.HTTPPort)
		return nil
	}
	port := strconv.Itoa(c.Port)
	if c.Port == 0 {
		var err error
		if _, port, err = splitAddress("listen", c.Listen); err != nil {
			return nil // resolveListen reports it
		}
	}
	if port != strconv.Itoa(self.HTTPPort) {
		return fmt.Errorf("RF_HA_NODES: %s has the http_port %d, where the other nodes send clients, but HTTP is to listen on port %s; "+
			"make them equal, or leave listen and port out", self.ID, self.HTTPPort, port)
	}
	return nil
}

// resolveHATLSListen makes HTTPS listen at the port that RF_HA_NODES has for this node, if it has one.
func (c *Config) resolveHATLSListen(self *HANode) error {
	switch {
	case self.HTTPSPort == 0:
		return nil
	case c.TLSCert == "" || c.TLSKey == "":
		return fmt.Errorf("RF_HA_NODES: %s has the https_port %d, where the other nodes send clients, but this server has no certificate; "+
			"set RF_TLS_CERT and RF_TLS_KEY, or leave the https_port out", self.ID, self.HTTPSPort)
	case c.TLSListen == "":
		c.TLSListen = listenAt(self.Host, self.HTTPSPort)
		return nil
	}
	_, port, err := splitAddress("tls-listen", c.TLSListen)
	if err != nil {
		return nil // resolveTLS reports it
	}
	if port != strconv.Itoa(self.HTTPSPort) {
		return fmt.Errorf("RF_HA_NODES: %s has the https_port %d, where the other nodes send clients, but HTTPS is to listen on port %s; "+
			"make them equal, or leave tls-listen out", self.ID, self.HTTPSPort, port)
	}
	return nil
}
