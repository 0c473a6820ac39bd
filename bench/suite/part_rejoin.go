package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"ayder/bench/peers"
)

// Coming back. First one follower, which was killed before a million messages were written: how long until it says that
// it is ready and has nothing left to apply. Then all three nodes at once, with a large log: how long until a write
// is acknowledged. The clock runs from the start of the processes.

const (
	rejoinSecondsMax  = 5.0 // the promises
	outageSecondsMax  = 5.0
	rejoinConnections = 8
	fillTries         = 20
)

func runRejoin(l *lab) error {
	if err := l.start(threePlain); err != nil {
		return err
	}
	g := l.groups[threePlain]
	written := int64(0)
	for range l.rounds {
		n, err := l.rejoin(g)
		if err != nil {
			return err
		}
		written += n
	}
	n, err := l.fill(g, l.messages-written)
	if err != nil {
		return err
	}
	for range l.rounds {
		if err := l.outage(g); err != nil {
			return err
		}
	}
	return l.countMessages(g, written+n)
}

// rejoin is one trial with a follower; it returns how many messages were written.
func (l *lab) rejoin(g *group) (int64, error) {
	if err := l.settle(l.dirs[threePlain]); err != nil {
		return 0, err
	}
	leader, _, err := g.leader(l.ctx)
	if err != nil {
		return 0, err
	}
	i := (leader + 1) % len(g.nodes)
	if err := g.nodes[i].Kill(); err != nil {
		return 0, err
	}
	n, err := l.fill(g, l.rejoinMessages)
	if err != nil {
		return n, err
	}
	last, err := g.quiet(l.ctx)
	if err != nil {
		return n, err
	}
	begin := time.Now()
	if err := g.restart(l.ctx, i, l.out); err != nil {
		return n, err
	}
	if err := caughtUp(l.ctx, g.nodes[i].Addr, last); err != nil {
		return n, err
	}
	l.fact("rejoin seconds", time.Since(begin).Seconds())
	fmt.Fprintf(l.log, "%s missed %d messages and was healthy %.3f s after its start\n", g.nodes[i].Name, n, time.Since(begin).Seconds())
	return n, nil
}

// fill writes messages through the leader, in batches. What a change of leaders has left unanswered is written again, so
// that there may be more in the end.
func (l *lab) fill(g *group, messages int64) (written int64, err error) {
	for range fillTries {
		requests := (messages - written) / restartLines
		if requests < 1 {
			return written, nil
		}
		r, err := l.generate(append(
			g.target(), "-workload", "ndjson", "-lines", strconv.Itoa(restartLines), "-c", strconv.Itoa(rejoinConnections), "-warmup", "0s",
			"-partitions", strconv.Itoa(restartPartitions), "-n", strconv.FormatInt(requests, 10),
		))
		if err != nil {
			return written, err
		}
		written += r.Messages
		if r.ErrorCount() > 0 {
			fmt.Fprintln(l.log, "filling:", r.Errors)
		}
	}
	return written, fmt.Errorf("filled %d messages of %d after %d attempts", written, messages, fillTries)
}

// outage is one trial with all nodes.
func (l *lab) outage(g *group) error {
	if err := l.settle(l.dirs[threePlain]); err != nil {
		return err
	}
	var specs []peers.Spec
	for _, p := range g.nodes {
		specs = append(specs, p.Spec)
	}
	if err := peers.KillAll(g.nodes); err != nil {
		return err
	}
	begin := time.Now()
	nodes, err := peers.Launch(specs, l.out)
	copy(g.nodes, nodes) // those that were not launched are still known as ended
	if err != nil {
		return err
	}
	p := newPatient(g.addrs())
	defer p.close()
	if _, err := p.do(l.ctx, http.MethodPost, "/broker/topics/after/produce?partition=0", []byte("accepted")); err != nil {
		return fmt.Errorf("first write: %w", err)
	}
	l.fact("outage seconds", time.Since(begin).Seconds())
	fmt.Fprintf(l.log, "a write was acknowledged %.3f s after the start of all nodes\n", time.Since(begin).Seconds())
	for _, node := range g.nodes {
		if err := node.WaitReady(l.ctx); err != nil {
			return err
		}
	}
	return nil
}

// countMessages asks the leader how many messages there are.
func (l *lab) countMessages(g *group, want int64) error {
	leader, _, err := g.leader(l.ctx)
	if err != nil {
		return err
	}
	text, err := get(g.nodes[leader].Addr, "/broker/topics/bench")
	if err != nil {
		return err
	}
	var topic struct {
		Partitions []struct {
			Messages int64 `json:"messages"`
		} `json:"partition_list"`
	}
	if err := json.Unmarshal(text, &topic); err != nil {
		return fmt.Errorf("describe topic: %w", err)
	}
	got := int64(0)
	for _, p := range topic.Partitions {
		got += p.Messages
	}
	l.fact("rejoin written", float64(want))
	l.fact("rejoin found", float64(got))
	if got < want {
		return fmt.Errorf("%d messages are there, %d were written", got, want)
	}
	return nil
}

func reportRejoin(l *lab, b *strings.Builder) {
	inS := func(v float64) string { return fmt.Sprintf("%.3f s", v) }
	var rows [][]string
	for _, r := range []struct{ fact, about string }{
		{"rejoin seconds", fmt.Sprintf("a follower that missed %d messages: start to ready, nothing left to apply", l.rejoinMessages)},
		{"outage seconds", fmt.Sprintf("all nodes killed with %.0f messages: start to the first write acknowledged", l.median("rejoin written"))},
	} {
		if n := len(l.facts[r.fact]); n > 0 {
			rows = append(rows, []string{r.about, strconv.Itoa(n), inS(l.median(r.fact)), inS(l.most(r.fact))})
		}
	}
	table(b, []string{"", "times", "median", "max"}, rows)
	targets(b, []target{
		{text: "follower healthy, slowest", value: l.most("rejoin seconds"), limit: rejoinSecondsMax, atMost: true, unit: " s", decimal: 2},
		{text: "cluster accepts writes, slowest", value: l.most("outage seconds"), limit: outageSecondsMax, atMost: true, unit: " s", decimal: 2},
		{text: "messages still there", value: l.median("rejoin found"), limit: l.median("rejoin written")},
	})
}
