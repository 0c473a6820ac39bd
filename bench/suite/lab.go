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
	return &lab{settings: s, ctx: ctx, log: log, work: work, servers: map[string]*peers.Process{}, facts: map[string][]float64{}}, nil
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

// stop ends one server.
func (l *lab) stop(name string) error {
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
			if c.server != disk && l.servers[c.server] == nil {
				continue
			}
			r, err := l.measure(c, round)
			if err != nil {
				return fmt.Errorf("%s, %s: %w", c.server, c.load, err)
			}
			l.runs = append(l.runs, sample{partName, c.server, c.load, round, r})
			fmt.Fprintf(l.log, "round %d  %-12s %-18s %9.0f/s  p50 %s  p99 %s  errors %d\n", round+1, c.server, c.load,
				r.RequestsPerS, result.FormatMicros(r.Latency.P50), result.FormatMicros(r.Latency.P99), r.ErrorCount())
			time.Sleep(l.pause)
		}
	}
	return nil
}

// measure runs ayder-bench once.
func (l *lab) measure(c cell, round int) (*result.Result, error) {
	args := append(l.target(c.server), "-d", l.duration.String(), "-warmup", l.warmup.String())
	for _, arg := range c.args {
		args = append(args, expand(arg, round))
	}
	return l.generate(args)
}

// target points ayder-bench at a server.
func (l *lab) target(server string) []string {
	if server == disk {
		return []string{"-target", "disk", "-dir", l.work}
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
	args = append(args, "-json", "-", "-allow-errors")
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(l.ctx, l.bench, args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("ayder-bench %q: %w: %s", args, err, stderr.Bytes())
	}
	var r result.Result
	if err := json.Unmarshal(stdout.Bytes(), &r); err != nil {
		return nil, fmt.Errorf("ayder-bench %q: %w", args, err)
	}
	return &r, nil
}
