package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"ayder/internal/testkit/proc"
)

// A cluster is the real program, one process per node, with its settings in the environment as an operator would
// give them. The first node's bootstrap flag stays set at every start, as in a deployment. A process that ends
// although nobody ended it is a fault of its own.

// cluster is the nodes under test.
type cluster struct {
	net    network
	slow   *disks // nil: disks cannot be slowed here
	nodes  []*node
	faults *shared
}

// node is one member. Its lock is held while it is started and ended.
type node struct {
	number  int // from 0
	options proc.Options
	address string

	mu     sync.Mutex
	server *proc.Server    // nil before the first start
	down   bool            // ended by us
	said   strings.Builder // by the processes before
}

// shared are faults that several goroutines may find.
type shared struct {
	mu sync.Mutex
	faults
}

func (s *shared) addf(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.addf(format, args...)
}

// newCluster prepares nodes that are not started yet.
func newCluster(o *options, n network, slow *disks, f *shared) *cluster {
	c := &cluster{net: n, slow: slow, faults: f}
	for i := range o.nodes {
		e := n.endpoint(i)
		c.nodes = append(c.nodes, &node{
			number: i, address: e.address(),
			options: proc.Options{
				Bin: o.bin, Dir: filepath.Join(o.dir, fmt.Sprintf("node-%d", i+1)), Backend: o.backend, Port: e.http,
				// The last of two flags wins; the first is for servers on loopback.
				Args: append([]string{"--listen", e.address(), "--dev"}, o.argsOf(i)...),
				Env:  environment(n, i, o.nodes),
				Wrap: n.wrap(i),
			},
		})
	}
	return c
}

// argsOf are a node's flags.
func (o *options) argsOf(node int) []string {
	if node > 0 {
		return o.args
	}
	return append(slices.Clone(o.args), o.firstArgs...)
}

// environment is what makes a server a node of the cluster.
func environment(n network, self, nodes int) []string {
	var members []string
	for i := range nodes {
		e := n.endpoint(i)
		members = append(members, fmt.Sprintf("%s:%s:%d:%d:%d", name(i), e.host, e.raft, 10*(nodes-i), e.http))
	}
	env := []string{
		"RF_HA_ENABLED=1", "RF_HA_NODE_ID=" + name(self), "RF_HA_NODES=" + strings.Join(members, ","),
		fmt.Sprintf("RF_HA_WRITE_CONCERN=%d", nodes/2+1), "RF_COMMIT_TIMEOUT_MS=" + commitTimeout,
	}
	if self == 0 {
		env = append(env, "RF_HA_BOOTSTRAP_LEADER=1")
	}
	return env
}

// name is a node's id.
func name(node int) string { return "n" + strconv.Itoa(node+1) }

// addresses are where the nodes' clients go.
func (c *cluster) addresses() (list []string) {
	for _, n := range c.nodes {
		list = append(list, n.address)
	}
	return list
}

// start starts a node that is down, or has not run yet.
func (c *cluster) start(number int) error {
	n := c.nodes[number]
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.server != nil && !n.down {
		return nil
	}
	s, err := proc.Launch(n.options)
	if err != nil {
		return err
	}
	s.Addr = n.address
	n.server, n.down = s, false
	if c.slow != nil {
		return c.slow.join(number, s.Pid())
	}
	return nil
}

// kill ends a node at once.
func (c *cluster) kill(number int) error {
	return c.end(number, func(s *proc.Server) error { return s.Kill() })
}

// stop asks a node to end, which it must do in time, and with success unless it has not begun to serve.
func (c *cluster) stop(number int) error {
	return c.end(number, func(s *proc.Server) error {
		code, err := s.Terminate(stopWait)
		if began := strings.Contains(s.Log(), "msg=serving"); (err != nil || code != 0) && began {
			c.faults.addf("%s was asked to stop: exit status %d, %v\n%s", name(number), code, err, tail(s.Log()))
		}
		return s.Kill()
	})
}

func (c *cluster) end(number int, how func(*proc.Server) error) error {
	n := c.nodes[number]
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.server == nil || n.down {
		return nil
	}
	if !n.server.Alive() {
		c.faults.addf("%s ended by itself:\n%s", name(number), tail(n.server.Log()))
	}
	n.down = true
	err := how(n.server)
	fmt.Fprintf(&n.said, "%s\n", n.server.Log())
	return err
}

// revive starts a node that has ended by itself: what it did before is still to be judged.
func (c *cluster) revive(number int) error {
	n := c.nodes[number]
	n.mu.Lock()
	alive := n.server == nil || n.down || n.server.Alive()
	n.mu.Unlock()
	if alive {
		return nil
	}
	return errors.Join(c.kill(number), c.start(number))
}

// signal sends a signal to a node that runs.
func (c *cluster) signal(number int, sig syscall.Signal) error {
	n := c.nodes[number]
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.server == nil || n.down {
		return nil
	}
	if err := n.server.Signal(sig); !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

// each runs f for every node, all at once.
func (c *cluster) each(f func(number int) error) error {
	errs := make([]error, len(c.nodes))
	var running sync.WaitGroup
	for i := range c.nodes {
		running.Go(func() { errs[i] = f(i) })
	}
	running.Wait()
	return errors.Join(errs...)
}

// with runs f over a connection to a node that lasts as long as f.
func (c *cluster) with(number int, wait time.Duration, f func(*proc.Client) error) error {
	client, err := c.net.dial(c.nodes[number].address)
	if err != nil {
		return err
	}
	defer client.Close()
	client.Timeout = wait
	return f(client)
}

// ready tells whether a node says that it is.
func (c *cluster) ready(number int) bool {
	status := 0
	err := c.with(number, requestWait, func(client *proc.Client) error {
		r, err := client.Get("/ready")
		status = r.Status
		return err
	})
	return err == nil && status == 200
}

// waitReady waits until every node is ready.
func (c *cluster) waitReady() error {
	return c.each(func(number int) error {
		n := c.nodes[number]
		n.mu.Lock()
		server := n.server
		n.mu.Unlock()
		ended := false
		if until(settleWait, func() bool { ended = !server.Alive(); return ended || c.ready(number) }) && !ended {
			return nil
		}
		return fmt.Errorf("%s is not ready (ended: %v):\n%s", name(number), ended, tail(server.Log()))
	})
}

// leader is the node that says it leads, in the newest term if several do; -1 without one.
func (c *cluster) leader() int {
	var mu sync.Mutex
	leader, newest := -1, -1.0
	_ = c.each(func(number int) error { // a node that does not answer does not lead
		return c.with(number, leaderWait, func(client *proc.Client) error {
			r, err := client.Get("/metrics_ha")
			if err != nil || r.Status != 200 {
				return err
			}
			role, term := gauge(r.Body, "ramforge_ha_role"), gauge(r.Body, "ramforge_ha_term")
			mu.Lock()
			defer mu.Unlock()
			if role == 0 && term > newest {
				leader, newest = number, term
			}
			return nil
		})
	})
	return leader
}

// gauge finds a value in Prometheus's text format; -1 if it is not there.
func gauge(text []byte, name string) float64 {
	for line := range strings.Lines(string(text)) {
		rest, found := strings.CutPrefix(line, name)
		if !found || rest == "" || rest[0] != ' ' && rest[0] != '{' {
			continue
		}
		fields := strings.Fields(rest)
		if v, err := strconv.ParseFloat(fields[len(fields)-1], 64); err == nil {
			return v
		}
	}
	return -1
}

// transfer asks the leader to give its place to a node, and returns what became of that. Any answer will do.
func (c *cluster) transfer(to int) (answer string) {
	leader := c.leader()
	if leader < 0 {
		return "nobody to ask"
	}
	err := c.with(leader, requestWait, func(client *proc.Client) error {
		r, err := client.Post("/ha/transfer", fmt.Appendf(nil, `{"node_id":%q}`, name(to)))
		answer = strconv.Itoa(r.Status)
		return err
	})
	if err != nil {
		return err.Error()
	}
	return answer
}

// close ends all nodes.
func (c *cluster) close() error { return c.each(c.kill) }

// logs writes what the nodes have said.
func (c *cluster) logs(dir string) error {
	return c.each(func(number int) error {
		n := c.nodes[number]
		n.mu.Lock()
		defer n.mu.Unlock()
		text := n.said.String()
		if n.server != nil && !n.down {
			text += n.server.Log()
		}
		return os.WriteFile(filepath.Join(dir, name(number)+".log"), []byte(text), 0o644)
	})
}

// tail is the end of a log.
func tail(log string) string {
	if len(log) > logTailBytes {
		log = "…" + log[len(log)-logTailBytes:]
	}
	return log
}

// until polls, and tells whether ok became true in time.
func until(wait time.Duration, ok func() bool) bool {
	for began := time.Now(); ; time.Sleep(pollEvery) {
		if ok() {
			return true
		}
		if time.Since(began) > wait {
			return false
		}
	}
}

// retry repeats f until it has no error, for a while, and returns the last one.
func retry(f func() error) (err error) {
	until(retryWait, func() bool {
		err = f()
		return err == nil
	})
	return err
}

// say prints a line with the time since the beginning.
func say(out io.Writer, began time.Time, format string, args ...any) {
	fmt.Fprintf(out, "%7.2fs "+format+"\n", append([]any{time.Since(began).Seconds()}, args...)...)
}
