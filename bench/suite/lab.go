package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"ayder/bench/peers"
	"ayder/bench/result"
)

// lab is where measurements are made: it starts servers in fresh directories, runs
// ayder-bench as a process of its own (so that its processor time is its own), and
// keeps every result.
type lab struct {
	settings
	ctx     context.Context
	log     io.Writer
	work    string // data directories; removed at the end
	starts  int    // numbers them
	servers map[string]*peers.Process
	groups  map[string]*group // clusters
	dirs    map[string]string // where each server has its data
	runs    []sample
	facts   map[string][]float64 // figures that are not runs of ayder-bench
}

// sample is one measurement, as it is kept in raw.json.
type sample struct {
	Part   string         `json:"part"`
	Server string         `json:"server"`
	Load   string         `json:"load"`
	Round  int            `json:"round"`
	Result *result.Result `json:"result"`
}

// newLab prepares the output directory.
func newLab(ctx context.Context, s settings, log io.Writer) (*lab, error) {
	if err := os.MkdirAll(s.out, 0o755); err != nil {
		return nil, err
	}
	out, err := filepath.Abs(s.out)
	if err != nil {
		return nil, err
	}
	s.out = out
	work, err := os.MkdirTemp(s.out, "data-")
	if err != nil {
		return nil, err
	}
	return &lab{
		settings: s, ctx: ctx, log: log, work: work, servers: map[string]*peers.Process{}, groups: map[string]*group{},
		dirs: map[string]string{}, facts: map[string][]float64{},
	}, nil
}

// close removes the data.
func (l *lab) close() {
	if err := os.RemoveAll(l.work); err != nil {
		fmt.Fprintln(l.log, "suite: cannot remove data:", err)
	}
}

// runPart runs one part and ends its servers.
func (l *lab) runPart(p part) error {
	fmt.Fprintf(l.log, "== %s\n", p.name)
	err := p.run(l)
	for name := range l.servers {
		err = errors.Join(err, l.stop(name))
	}
	for name := range l.groups {
		err = errors.Join(err, l.stop(name))
	}
	return err
}

// Names of the servers, as they stand in tables.
const (
	uring   = "ayder uring"
	evio    = "ayder evio"
	redis   = "redis"
	nats    = "nats"
	floor   = "floor"
	netHTTP = "nethttp"
	disk    = "disk"
)

// start runs the named servers in new directories. Peers that are not installed are
// left out.
func (l *lab) start(names ...string) error {
	for _, name := range names {
		l.starts++
		dir := filepath.Join(l.work, strconv.Itoa(l.starts))
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
		if err := l.startIn(name, dir); err != nil {
			return err
		}
	}
	return nil
}

// startIn runs one server on a directory that may already hold its data.
func (l *lab) startIn(name, dir string) error {
	l.dirs[name] = dir
	specs, isCluster, err := l.clusterSpecs(name, dir)
	if err != nil || isCluster && specs == nil {
		return err
	}
	if isCluster {
		return l.startGroup(name, specs)
	}
	addr, err := peers.FreeAddr()
	if err != nil {
		return err
	}
	spec, err := l.spec(name, addr, dir)
	if err != nil || spec.Argv == nil {
		return err
	}
	p, err := peers.Start(l.ctx, spec, l.out)
	if err != nil {
		return err
	}
	l.servers[name] = p
	return nil
}

// spec describes a server; it has no Argv if the program is not there.
func (l *lab) spec(name, addr, dir string) (peers.Spec, error) {
	switch {
	case name == uring:
		return peers.Ayder("ayder-uring", l.ayder, addr, dir, "--backend", "uring"), nil
	case name == evio:
		return peers.Ayder("ayder-evio", l.ayder, addr, dir, "--backend", "evio"), nil
	case name == redis && l.redis != "":
		return peers.Redis(l.redis, addr, dir)
	case name == nats && l.nats != "":
		return peers.NATS(l.nats, addr, dir)
	case name == floor && l.floor != "":
		return peers.Floor(l.floor, addr, dir, l.floorMiB)
	case name == netHTTP && l.nethttp != "":
		return peers.NetHTTP(l.nethttp, addr), nil
	}
	fmt.Fprintf(l.log, "%s is not here and is left out\n", name)
	return peers.Spec{}, nil
}

// has tells whether a server runs.
func (l *lab) has(name string) bool { return l.servers[name] != nil || l.groups[name] != nil }

// stop ends one server, or all nodes of a cluster.
func (l *lab) stop(name string) error {
	if g := l.groups[name]; g != nil {
		delete(l.groups, name)
		return g.stop()
	}
	p := l.servers[name]
	delete(l.servers, name)
	return p.Stop()
}

// cell is one figure to measure: a server under a load. Args are ayder-bench's,
// without address and duration.
type cell struct {
	server string
	load   string
	args   []string
}

// interleave measures every cell once, then every cell again, and so on: what disturbs
// the machine for a while then disturbs all of them.
func (l *lab) interleave(partName string, cells []cell) error {
	for round := range l.rounds {
		for _, c := range cells {
			if c.server != disk && !l.has(c.server) {
				continue
			}
			if err := l.once(partName, c, round); err != nil {
				return err
			}
		}
	}
	return nil
}

// once measures one cell and keeps the result.
func (l *lab) once(partName string, c cell, round int) error {
	r, err := l.measure(c, round)
	if err != nil {
		return fmt.Errorf("%s, %s: %w", c.server, c.load, err)
	}
	l.note(partName, c, round, r)
	time.Sleep(l.pause)
	return nil
}

// note keeps a result.
func (l *lab) note(partName string, c cell, round int, r *result.Result) {
	l.runs = append(l.runs, sample{partName, c.server, c.load, round, r})
	fmt.Fprintf(l.log, "round %d  %-14s %-18s %9.0f/s  p50 %s  p99 %s  errors %d\n", round+1, c.server, c.load,
		r.RequestsPerS, result.FormatMicros(r.Latency.P50), result.FormatMicros(r.Latency.P99), r.ErrorCount())
}

// measure runs ayder-bench once.
func (l *lab) measure(c cell, round int) (*result.Result, error) {
	args := append(l.target(c.server), "-d", l.duration.String(), "-warmup", l.warmup.String())
	for _, arg := range c.args {
		args = append(args, expand(arg, round))
	}
	if c.server == etcdThree {
		return l.etcdPuts(args)
	}
	return l.generate(args)
}

// target points ayder-bench at a server.
func (l *lab) target(server string) []string {
	if server == disk {
		return []string{"-target", "disk", "-dir", l.work}
	}
	if g := l.groups[server]; g != nil && server == natsR3 {
		return append(g.target(), "-target", nats)
	} else if g != nil {
		return g.target()
	}
	p := l.servers[server]
	args := []string{"-addr", p.Addr, "-pid", strconv.Itoa(p.PID())}
	switch server {
	case redis, nats, floor:
		args = append(args, "-target", server)
	}
	return args
}

// roundMark in an argument becomes the number of the round.
const roundMark = "{round}"

func expand(arg string, round int) string {
	return string(bytes.ReplaceAll([]byte(arg), []byte(roundMark), []byte(strconv.Itoa(round))))
}

// generate runs ayder-bench and reads its JSON. Failed requests are no error here:
// the report shows them.
func (l *lab) generate(args []string) (*result.Result, error) {
	return l.load(l.bench, append(args, "-json", "-", "-allow-errors"))
}

// etcdPuts is generate for etcd, which has a load generator of its own with fewer flags.
func (l *lab) etcdPuts(args []string) (*result.Result, error) { return l.load(l.etcdBench, args) }

// load runs a load generator.
func (l *lab) load(program string, args []string) (*result.Result, error) {
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(l.ctx, program, args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%s %q: %w: %s", filepath.Base(program), args, err, stderr.Bytes())
	}
	var r result.Result
	if err := json.Unmarshal(stdout.Bytes(), &r); err != nil {
		return nil, fmt.Errorf("%s %q: %w", filepath.Base(program), args, err)
	}
	return &r, nil
}
