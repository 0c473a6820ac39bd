package main

import (
	"fmt"
	"net"
	"strings"
	"time"

	"ayder/bench/proc"
	"ayder/bench/result"
)

// A server that nobody talks to should cost nothing: no timer that ticks, no thread
// that polls. Its threads' own clocks are read ten seconds apart; the clock ticks that
// /proc/PID/stat counts would be half of the promise each.

const (
	idleTime    = 10 * time.Second
	idleSettle  = 2 * time.Second // for what starting or the load has left to do
	idleConns   = 64
	idlePercent = 0.2 // the promise
)

func runIdle(l *lab) error {
	for _, server := range backends {
		if err := l.start(server); err != nil {
			return err
		}
		if err := l.idle(server); err != nil {
			return err
		}
		if err := l.stop(server); err != nil {
			return err
		}
	}
	return nil
}

// idle measures one server fresh, then with open connections after a load.
func (l *lab) idle(server string) error {
	if err := l.sampleIdle(server, "fresh"); err != nil {
		return err
	}
	if _, err := l.measure(cell{server: server, args: []string{"-c", "64"}}, 0); err != nil {
		return err
	}
	for range idleConns {
		s, err := net.Dial("tcp", l.servers[server].Addr)
		if err != nil {
			return fmt.Errorf("open an idle connection: %w", err)
		}
		defer s.Close()
	}
	return l.sampleIdle(server, "after a load")
}

// sampleIdle notes percent of one core, and memory.
func (l *lab) sampleIdle(server, state string) error {
	pid := l.servers[server].PID()
	time.Sleep(idleSettle)
	before, err := proc.RunTime(pid)
	if err != nil {
		return err
	}
	time.Sleep(idleTime)
	after, err := proc.RunTime(pid)
	if err != nil {
		return err
	}
	rss, _, err := proc.Memory(pid)
	if err != nil {
		return err
	}
	percent := float64(after-before) / float64(idleTime) * 100
	l.fact("idle percent "+server+" "+state, percent)
	l.fact("idle rss "+server+" "+state, float64(rss)/(1<<20))
	fmt.Fprintf(l.log, "%-12s idle, %s: %.3f %% of a core, %.1f MiB\n", server, state, percent, float64(rss)/(1<<20))
	return nil
}

// fact keeps a figure that is not a run of ayder-bench.
func (l *lab) fact(name string, value float64) { l.facts[name] = append(l.facts[name], value) }

// median is the median of a fact, 0 if there is none.
func (l *lab) median(name string) float64 { return result.Median(l.facts[name]) }

func reportIdle(l *lab, b *strings.Builder) {
	var rows [][]string
	var list []target
	for _, server := range backends {
		for _, state := range []string{"fresh", "after a load"} {
			if len(l.facts["idle percent "+server+" "+state]) == 0 {
				continue
			}
			percent, rss := l.median("idle percent "+server+" "+state), l.median("idle rss "+server+" "+state)
			rows = append(rows, []string{server, state, fmt.Sprintf("%.3f %%", percent), fmt.Sprintf("%.1f", rss)})
			list = append(list, target{text: server + ", " + state, value: percent, zero: true, limit: idlePercent, atMost: true, unit: " %", decimal: 3})
		}
	}
	table(b, []string{"server", "state", "of one core", "RSS MiB"}, rows)
	targets(b, list)
}
