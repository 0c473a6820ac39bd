package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"
)

// config is one run, as the flags tell it. Nothing but this file reads flags, and
// nothing changes a config once it was checked; what differs for a prefill or for the
// floor program is a copy. Every number has a bound here, so that the rest of the
// program may size its memory by them.
type config struct {
	target, addr, dir string // addr is the one server that is measured
	nodes             []node // of the cluster it belongs to; alone, itself

	workload   string
	mix        string
	topic      string
	token      string
	query      string
	expect     string
	size       int // bytes of a message
	lines      int // of one NDJSON request
	limit      int // messages of one page
	base64     bool
	partitions int
	keys       int
	idempotent bool
	prefill    int64 // messages per partition

	connections int
	pipeline    int
	rate        float64 // requests per second; 0: closed loop
	requests    int64   // instead of duration
	duration    time.Duration
	warmup      time.Duration
	spin        time.Duration
	engine      string

	stages      bool
	json, hgrm  string
	allowErrors bool
}

const usage = `ayder-bench measures one server with one thread.

  ayder-bench -c 64 -d 10s                      closed loop: 64 connections, one request each
  ayder-bench -c 64 -rate 20000 -stages         open loop: 20 000 requests/s by the clock
  ayder-bench -workload consume -prefill 100000 pages of 100 messages
  ayder-bench -target redis -addr 127.0.0.1:6379
  ayder-bench -addr 127.0.0.1:7001,127.0.0.1:8001,127.0.0.1:9001    a cluster: its leader
  ayder-bench -target disk -dir /data           what one synced 4 KiB write costs here

`

// parseConfig reads the command line. An error has been printed already if it is
// flag.ErrHelp.
func parseConfig(args []string, stderr io.Writer) (*config, error) {
	c := &config{}
	f := flag.NewFlagSet("ayder-bench", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.Usage = func() {
		fmt.Fprint(stderr, usage)
		f.PrintDefaults()
	}
	c.targetFlags(f)
	c.loadFlags(f)
	c.outputFlags(f)
	pids := f.String("pid", "", "server `process`, for its CPU time and memory; of a cluster, one for each address")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if f.NArg() > 0 {
		return nil, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	if c.addr == "" {
		c.addr = defaultAddr[c.target]
	}
	var err error
	if c.nodes, err = parseNodes(c.addr, *pids); err != nil {
		return nil, err
	}
	return c, c.check()
}

// defaultAddr also names the targets.
var defaultAddr = map[string]string{
	"ayder": "127.0.0.1:1109", "redis": "127.0.0.1:6379", "nats": "127.0.0.1:4222", "floor": "127.0.0.1:1109", "disk": "-",
}

func (c *config) targetFlags(f *flag.FlagSet) {
	f.StringVar(&c.target, "target", "ayder", "ayder, redis, nats, floor or disk")
	f.StringVar(&c.addr, "addr", "", "`host:port` (default the target's usual one); several, separated by commas, are a cluster, whose leader is measured")
	f.StringVar(&c.dir, "dir", ".", "for -target disk: `directory` of the file")
	f.StringVar(&c.token, "token", "dev", "bearer token; empty sends none")
	f.StringVar(&c.topic, "topic", "bench", "topic, stream or subject; created if missing")
	f.StringVar(&c.workload, "workload", "produce", "produce, ndjson, consume, commit, kv, kv-get, health or mixed")
	f.StringVar(&c.mix, "mix", "produce=8,consume=1,commit=1", "shares of -workload mixed")
	f.StringVar(&c.query, "query", "", "added to the query of every call, such as timeout_ms=0")
	f.StringVar(&c.expect, "expect", "", "`text` that the last 512 bytes of every good answer contain (default by workload; none: the status is enough)")
}

func (c *config) loadFlags(f *flag.FlagSet) {
	f.IntVar(&c.connections, "c", 64, "connections")
	f.IntVar(&c.pipeline, "pipeline", 1, "requests outstanding per connection")
	f.Float64Var(&c.rate, "rate", 0, "open loop: requests per second; 0: closed loop")
	f.DurationVar(&c.duration, "d", 10*time.Second, "how long to measure")
	f.Int64Var(&c.requests, "n", 0, "requests to send, instead of -d")
	f.DurationVar(&c.warmup, "warmup", time.Second, "the same load before, unmeasured")
	f.DurationVar(&c.spin, "spin", 0, "busy-poll instead of sleeping for less than this")
	f.StringVar(&c.engine, "engine", "auto", "uring, epoll, or auto: uring where the kernel allows it")
	f.IntVar(&c.size, "size", 64, "`bytes` of a message")
	f.IntVar(&c.lines, "lines", 100, "messages of one NDJSON request")
	f.IntVar(&c.limit, "limit", 100, "messages of one page")
	f.BoolVar(&c.base64, "b64", true, "read with encoding=b64")
	f.IntVar(&c.partitions, "partitions", 1, "spread over so many; 0 leaves the choice to the server")
	f.IntVar(&c.keys, "keys", 0, "use so many different keys")
	f.BoolVar(&c.idempotent, "idempotent", false, "a new idempotency_key with every produce")
	f.Int64Var(&c.prefill, "prefill", 0, "`messages` to put into each partition first")
}

func (c *config) outputFlags(f *flag.FlagSet) {
	f.BoolVar(&c.stages, "stages", false, "print the server's own stage percentiles")
	f.StringVar(&c.json, "json", "", "write the result to `file` (- is standard output; the table then goes to standard error)")
	f.StringVar(&c.hgrm, "hgrm", "", "write the percentile distribution, in ms, to `file`")
	f.BoolVar(&c.allowErrors, "allow-errors", false, "exit 0 in spite of failed requests")
}

// bound is one limit on a number.
type bound struct {
	name             string
	value, low, high int64
}

// check refuses what could not run.
func (c *config) check() error {
	if defaultAddr[c.target] == "" {
		return fmt.Errorf("unknown target %q: ayder, redis, nats, floor or disk", c.target)
	}
	for _, b := range []bound{
		{"-c", int64(c.connections), 1, connectionsMax},
		{"-pipeline", int64(c.pipeline), 1, pipelineMax},
		{"-size", int64(c.size), 0, bodyBytesMax},
		{"-lines", int64(c.lines), 1, 1 << 20},
		{"-limit", int64(c.limit), 1, 1 << 20},
		{"-partitions", int64(c.partitions), 0, templatesMax / pagesMax},
		{"-keys", int64(c.keys), 0, templatesMax},
		{"-prefill", c.prefill, 0, 1 << 40},
		{"-n", c.requests, 0, 1 << 40},
	} {
		if b.value < b.low || b.value > b.high {
			return fmt.Errorf("%s %d: want %d … %d", b.name, b.value, b.low, b.high)
		}
	}
	if len(c.nodes) > 1 && c.target != "ayder" && c.target != "nats" {
		return fmt.Errorf("-addr %s: a cluster is ayder or nats", c.addr)
	}
	if c.engine != "auto" && c.engine != "uring" && c.engine != "epoll" {
		return fmt.Errorf("unknown engine %q: uring, epoll or auto", c.engine)
	}
	if c.rate < 0 || c.rate > 1e7 {
		return fmt.Errorf("-rate %v: want 0 … 10 000 000", c.rate)
	}
	if c.requests == 0 && c.duration <= 0 {
		return errors.New("-d: want a positive duration")
	}
	return c.checkWorkload()
}

// checkWorkload refuses combinations.
func (c *config) checkWorkload() error {
	lines := c.workload == "ndjson" || c.workload == "mixed" && strings.Contains(c.mix, "ndjson")
	if c.size < 2 && (c.prefill > 0 || lines) {
		return fmt.Errorf("-size %d: an NDJSON line is a JSON string of at least 2 bytes", c.size)
	}
	if bytes := int64(c.lines) * int64(c.size+1); lines && bytes > bodyBytesMax {
		return fmt.Errorf("-lines %d of -size %d: a request of %d bytes, at most %d", c.lines, c.size, bytes, bodyBytesMax)
	}
	if strings.ContainsAny(c.topic, "\r\n \"\\") || strings.ContainsAny(c.token+c.query, "\r\n ") {
		return errors.New("-topic, -token and -query must not hold blanks or line ends")
	}
	if c.stages && c.target != "ayder" {
		return errors.New("-stages: only ayder tells its stages")
	}
	return nil
}

// dialect is how the target is spoken to.
func (c *config) dialect() (dialect, error) {
	switch c.target {
	case "redis":
		return newRESPDialect(c)
	case "nats":
		return newNATSDialect(c)
	case "floor":
		floor := *c
		floor.workload, floor.token = "floor", ""
		return newHTTPDialect(&floor)
	default:
		return newHTTPDialect(c)
	}
}
