package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"ayder/bench/result"
)

// kill -9 of the leader under load, again and again. A gap is the time between the last write that was acknowledged
// before the others have a leader, and the first one after; clients come by themselves, by redirects and by trying the
// next node. What the same load shows before the kill stands beside it, for the noise of the machine. When the killed node is back and has caught up, the next leader is killed. In the end every node
// is asked for everything that was acknowledged.

const (
	failoverWriters = 8
	failoverMore    = 200                    // acknowledgements before and after a kill
	failoverCalm    = 500 * time.Millisecond // under load, before and after a kill
)

func runFailover(l *lab) error {
	if err := l.start(threePlain); err != nil {
		return err
	}
	g := l.groups[threePlain]
	if err := l.settle(l.dirs[threePlain]); err != nil {
		return err
	}
	ws, err := startWriters(l.ctx, g.addrs(), failoverWriters)
	if err != nil {
		return err
	}
	for kill := 0; kill < l.kills && err == nil; kill++ {
		err = l.killLeader(g, ws)
	}
	if err := errors.Join(err, ws.stop()); err != nil {
		return err
	}
	l.fact("failover acknowledged", float64(ws.acked()))
	return l.auditAll(g, ws)
}

// killLeader is one trial.
func (l *lab) killLeader(g *group, ws *writers) error {
	ws.pulse.reset()
	usual, _, err := l.observe(ws)
	if err != nil {
		return err
	}
	i, _, err := g.leader(l.ctx)
	if err != nil {
		return err
	}
	ws.pulse.reset()
	if err := g.nodes[i].Kill(); err != nil {
		return err
	}
	longest, slowest, err := l.observe(ws)
	if err != nil {
		return err
	}
	l.fact("failover usual ms", ms(usual))
	l.fact("failover gap ms", ms(longest))
	l.fact("failover slowest ms", ms(slowest))
	fmt.Fprintf(l.log, "kill -9 of %s: %.1f ms without an acknowledgement, slowest write %.1f ms\n", g.nodes[i].Name, ms(longest), ms(slowest))
	return g.restart(l.ctx, i, l.out)
}

// observe lets the load go on for a while and tells what the pulse has seen since its last reset.
func (l *lab) observe(ws *writers) (longest, slowest time.Duration, err error) {
	if err := ws.more(l.ctx, failoverMore); err != nil {
		return 0, 0, err
	}
	time.Sleep(failoverCalm)
	longest, slowest = ws.pulse.observed()
	return longest, slowest, nil
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// auditAll asks every node for what was acknowledged, once it has all that the leader has.
func (l *lab) auditAll(g *group, ws *writers) error {
	last, err := g.quiet(l.ctx)
	if err != nil {
		return err
	}
	for _, p := range g.nodes {
		if err := caughtUp(l.ctx, p.Addr, last); err != nil {
			return err
		}
		v, err := ws.audit(p.Addr)
		if err != nil {
			return fmt.Errorf("audit of %s: %w", p.Name, err)
		}
		l.fact("failover lost", float64(v.lost))
		l.fact("failover twice", float64(v.twice))
		fmt.Fprintf(l.log, "%s: %d acknowledged, %d in the log, %d lost, %d twice, %d never acknowledged\n",
			p.Name, ws.acked(), v.messages, v.lost, v.twice, v.unasked)
	}
	return nil
}

// most is the largest value of a fact, 0 of none.
func (l *lab) most(name string) float64 {
	if len(l.facts[name]) == 0 {
		return 0
	}
	return slices.Max(l.facts[name])
}

func reportFailover(l *lab, b *strings.Builder) {
	gaps := slices.Sorted(slices.Values(l.facts["failover gap ms"]))
	if len(gaps) == 0 {
		return
	}
	inMs := func(v float64) string { return result.FormatMicros(v * 1e3) }
	table(b, []string{fmt.Sprintf("%d kills", len(gaps)), "median", "max"}, [][]string{
		{"without any acknowledgement", inMs(l.median("failover gap ms")), inMs(l.most("failover gap ms"))},
		{"the same before the kill", inMs(l.median("failover usual ms")), inMs(l.most("failover usual ms"))},
		{"slowest single write", inMs(l.median("failover slowest ms")), inMs(l.most("failover slowest ms"))},
	})
	var texts []string
	for _, gap := range gaps {
		texts = append(texts, fmt.Sprintf("%.0f", gap))
	}
	fmt.Fprintf(b, "All gaps in ms, sorted: %s. %.0f messages were acknowledged.\n\n", strings.Join(texts, ", "), l.median("failover acknowledged"))
	audited := len(l.facts["failover lost"]) == clusterNodes // 0 is a verdict only then
	targets(b, []target{
		{text: "acknowledged and missing on any node", value: l.most("failover lost"), zero: audited, atMost: true},
		{text: "acknowledged and there twice", value: l.most("failover twice"), zero: audited, atMost: true},
	})
}
