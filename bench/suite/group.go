package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"ayder/bench/peers"
)

// Clusters in the lab: three processes that are started, measured and stopped as one server. Load generators get the
// addresses and processes of all nodes that live, and look for the leader themselves; the parts that kill nodes ask
// ayder's own /metrics_ha here.

// Names of the clusters, as they stand in tables.
const (
	threePlain = "ayder ×3"
	threeTLS   = "ayder ×3, mTLS"
	natsR3     = "nats R3"
	etcdThree  = "etcd ×3"
)

// clusterNodes is how many processes a cluster has.
const clusterNodes = 3

// Waiting times.
const (
	askMax      = time.Second      // one question to a node
	electionMax = 60 * time.Second // for a leader, for a follower that catches up
	pollStep    = 2 * time.Millisecond
)

// group is a cluster that runs.
type group struct {
	nodes []*peers.Process // some may have been killed
}

// clusterSpecs describes a cluster's nodes; none if its program is not there. isCluster is false for single servers.
func (l *lab) clusterSpecs(name, dir string) (specs []peers.Spec, isCluster bool, err error) {
	switch {
	case name == threePlain:
		specs, err = peers.AyderCluster("ayder-3", l.ayder, dir, "", clusterNodes, l.nodeFlags...)
	case name == threeTLS && l.certs != "":
		certs := filepath.Join(dir, "certs")
		if err = l.certify(certs); err == nil {
			specs, err = peers.AyderCluster("ayder-3-tls", l.ayder, dir, certs, clusterNodes, l.nodeFlags...)
		}
	case name == natsR3 && l.nats != "":
		specs, err = peers.NATSCluster(l.nats, dir, clusterNodes)
	case name == etcdThree && l.etcd != "" && l.etcdBench != "":
		specs, err = peers.EtcdCluster(l.etcd, dir, clusterNodes)
	case name == threeTLS || name == natsR3 || name == etcdThree:
		fmt.Fprintf(l.log, "%s is not here and is left out\n", name)
	default:
		return nil, false, nil
	}
	return specs, true, err
}

// certify makes the certificates of a cluster's nodes.
func (l *lab) certify(dir string) error {
	args := []string{"-dir", dir}
	for i := range clusterNodes {
		args = append(args, fmt.Sprintf("n%d=127.0.0.1", i+1))
	}
	if text, err := exec.CommandContext(l.ctx, l.certs, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("certificates: %w: %s", err, text)
	}
	return nil
}

// startGroup runs a cluster.
func (l *lab) startGroup(name string, specs []peers.Spec) error {
	nodes, err := peers.StartAll(l.ctx, specs, l.out)
	if err != nil {
		return err
	}
	l.groups[name] = &group{nodes: nodes}
	return nil
}

// stop ends what lives, the last node first: the first one leads if nothing has happened, and would hand over to
// nodes that are about to end.
func (g *group) stop() error {
	var faults []error
	for i := range g.nodes {
		faults = append(faults, g.nodes[len(g.nodes)-1-i].Stop())
	}
	return errors.Join(faults...)
}

// alive are the nodes that run.
func (g *group) alive() (list []*peers.Process) {
	for _, p := range g.nodes {
		if p.Alive() {
			list = append(list, p)
		}
	}
	return list
}

// addrs are where clients find all nodes, those too that do not run.
func (g *group) addrs() (list []string) {
	for _, p := range g.nodes {
		list = append(list, p.Addr)
	}
	return list
}

// target points a load generator at the nodes that run.
func (g *group) target() []string {
	var addrs, pids []string
	for _, p := range g.alive() {
		addrs, pids = append(addrs, p.Addr), append(pids, strconv.Itoa(p.PID()))
	}
	return []string{"-addr", strings.Join(addrs, ","), "-pid", strings.Join(pids, ",")}
}

// restart runs a node again on its data, and waits until it is ready.
func (g *group) restart(ctx context.Context, i int, logDir string) error {
	p, err := peers.Start(ctx, g.nodes[i].Spec, logDir)
	if err != nil {
		return err
	}
	g.nodes[i] = p
	return nil
}

// standing is what matters here of a node's /metrics_ha.
type standing struct {
	Role    string `json:"role"`
	Term    uint64 `json:"term"`
	Fresh   bool   `json:"fresh_quorum"`
	Applied uint64 `json:"applied_index"`
	Last    uint64 `json:"last_index"`
	Lag     uint64 `json:"lag"`
}

// standingOf asks one node of ayder.
func standingOf(addr string) (s standing, err error) {
	text, err := get(addr, "/metrics_ha")
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal(text, &s)
}

// get does one request and wants 200.
func get(addr, target string) ([]byte, error) {
	client := http.Client{Timeout: askMax, Transport: &http.Transport{DisableKeepAlives: true}}
	request, err := http.NewRequest(http.MethodGet, "http://"+addr+target, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer dev")
	request.Header.Set("Accept", "application/json")
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: %s: %s", target, response.Status, text)
	}
	return text, err
}

// leader waits until a node of ayder leads, and returns its index.
func (g *group) leader(ctx context.Context) (leader int, s standing, err error) {
	err = eventually(ctx, "a node leads", func() (bool, error) {
		for i, p := range g.nodes {
			if !p.Alive() {
				continue
			}
			if s, err = standingOf(p.Addr); err == nil && s.Role == "leader" && s.Fresh {
				leader = i
				return true, nil
			}
		}
		return false, err
	})
	return leader, s, err
}

// quiet waits until the leader has nothing in flight and says where its log ends. Nobody may write meanwhile.
func (g *group) quiet(ctx context.Context) (index uint64, err error) {
	err = eventually(ctx, "nothing is in flight", func() (bool, error) {
		_, s, err := g.leader(ctx)
		index = s.Last
		return err == nil && s.Applied == s.Last, err
	})
	return index, err
}

// caughtUp waits until a node is ready, has applied everything up to an index, and knows of nothing that it lacks.
func caughtUp(ctx context.Context, addr string, index uint64) error {
	return eventually(ctx, addr+" has caught up", func() (bool, error) {
		s, err := standingOf(addr)
		if err != nil || s.Lag > 0 || s.Applied < index {
			return false, err
		}
		_, err = get(addr, "/ready")
		return err == nil, err
	})
}

// eventually polls until ok. What ok returns as an error is told if it lasts.
func eventually(ctx context.Context, what string, ok func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, electionMax)
	defer cancel()
	for {
		done, err := ok()
		if done {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting until %s: %w", what, errors.Join(ctx.Err(), err))
		case <-time.After(pollStep):
		}
	}
}
