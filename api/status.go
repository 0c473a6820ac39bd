package api

import (
	"bytes"

	"ayder/engine"
	"ayder/internal/auth"
	"ayder/internal/jsonscan"
	"ayder/internal/metrics"
	"ayder/internal/timing"
)

// Health, readiness, metrics, timings and the page of error codes.
//
// What only a loop may read is copied on that loop by a posted function; the copies are merged and rendered
// on a goroutine, because rendering takes milliseconds.

// health answers as long as the process can serve.
func health(l *loop, _ *exchange) (reply, error) {
	l.body = append(l.body[:0], `{"ok":true}`...)
	return reply{status: 200, body: l.body}, nil
}

// ready tells whether writes are accepted.
func ready(l *loop, _ *exchange) (reply, error) {
	reason := l.server.unready()
	if reason == "" {
		l.body = append(l.body[:0], `{"ready":true}`...)
		return reply{status: 200, body: l.body}, nil
	}
	b := append(l.body[:0], `{"ready":false,"reason":`...)
	b = jsonscan.AppendString(b, []byte(reason))
	l.body = append(b, '}')
	return reply{status: 503, header: "Retry-After: 1\r\n", body: l.body}, nil
}

// snapshot is what one loop contributes to a scrape.
type snapshot struct {
	timing *timing.Snapshot
	queues []metrics.Queue
	pipes  []pipeStatus
}

// snapshot must run on the loop.
func (l *loop) snapshot() snapshot {
	return snapshot{
		timing: l.recorder.Snapshot(), pipes: l.pipeStatuses(""),
		queues: []metrics.Queue{
			{Name: "parked_replies", Loop: l.index, Depth: l.parked()},
			{Name: "commits_in_flight", Loop: l.index, Depth: len(l.flight)},
			{Name: "held_back", Loop: l.index, Depth: len(l.retries)},
			{Name: "reads_unconfirmed", Loop: l.index, Depth: len(l.reads.asked) + len(l.reads.next)},
		},
	}
}

// parked is how many answers wait for a commit, or for more than that.
func (l *loop) parked() int {
	n := len(l.trailing)
	for _, c := range l.flight {
		n += c.owed()
	}
	if l.open != nil {
		n += l.open.owed()
	}
	return n
}

// owed is how many answers wait for the commit.
func (c *commit) owed() (n int) {
	for i := range c.waiters {
		if c.waiters[i].conn != nil {
			n++
		}
	}
	return n
}

// scrape collects snapshots from every loop and calls done on a goroutine of its own.
func (s *Server) scrape(done func([]snapshot)) {
	ch := make(chan snapshot, len(s.loops))
	for _, l := range s.loops {
		l.net.Post(func() { ch <- l.snapshot() })
	}
	go func() {
		all := make([]snapshot, 0, len(s.loops))
		for range s.loops {
			select {
			case sn := <-ch:
				all = append(all, sn)
			case <-s.stopped:
			}
		}
		done(all)
	}()
}

// later answers x with what make returns, which is called on another goroutine with a snapshot of every loop.
func (l *loop) later(x *exchange, make func([]snapshot) (reply, error)) (reply, error) {
	l.exclude(x.conn)
	c, m := x.conn, x.meta
	l.server.scrape(func(all []snapshot) {
		r, err := make(all)
		l.net.Post(func() {
			if err != nil {
				l.finishError(c, &m, asError(err))
				return
			}
			l.finish(c, &m, 0, &r)
		})
	})
	return reply{later: true}, nil
}

// metricsText answers in Prometheus' text format.
func metricsText(l *loop, x *exchange) (reply, error) {
	l.exclude(x.conn)
	s, scope, c := l.server, x.scope, x.cloned()
	lags := newGroupLags(len(s.loops))
	l.walkAll(l.reachable(x), lags.visitorOf, func() {
		_, _ = l.later(c, func(all []snapshot) (reply, error) {
			sample := s.sample(all, scope)
			sample.GroupLags, sample.GroupLagsTotal = lags.all()
			var b bytes.Buffer
			if err := s.options.Exposition.Render(&b, sample); err != nil {
				return reply{}, err
			}
			return reply{status: 200, contentType: metrics.ContentType, body: b.Bytes()}, nil
		})
	})
	return reply{later: true}, nil
}

// groupLags collects, on every loop by itself, how far groups are behind.
type groupLags struct {
	found [][]metrics.GroupLag
	total []int
}

func newGroupLags(loops int) *groupLags {
	return &groupLags{make([][]metrics.GroupLag, loops), make([]int, loops)}
}

// visitorOf looks at all places at which groups read, and keeps as many as are shown.
func (g *groupLags) visitorOf(loop int) visitor {
	return func(t *engine.Topic, p *engine.Partition) (steps int) {
		p.EachGroup(func(name string, committed uint64) {
			steps++
			if g.total[loop]++; len(g.found[loop]) < metrics.GroupLagsMax {
				at := metrics.GroupLag{Group: name, Topic: t.Name(), Partition: p.Stream().Partition, Messages: lag(p, committed)}
				g.found[loop] = append(g.found[loop], at)
			}
		})
		return steps
	}
}

func (g *groupLags) all() (found []metrics.GroupLag, total int) {
	for i := range g.found {
		found = append(found, g.found[i]...)
		total += g.total[i]
	}
	return found, total
}

// sample fills in everything that /metrics shows: of the topics, those that the token reaches.
func (s *Server) sample(all []snapshot, scope *auth.Scope) *metrics.Sample {
	out := &metrics.Sample{Routes: routeNames, Ready: s.unready() == "", Timing: mergeTimings(all)}
	for _, sn := range all {
		out.Queues = append(out.Queues, sn.queues...)
	}
	for _, l := range s.loops {
		out.Counters = append(out.Counters, l.counters)
		out.Commits = append(out.Commits, l.commits)
	}
	out.Queries = s.workers.sample()
	for _, sn := range all {
		for i := range sn.pipes {
			if reachesPipeline(scope, sn.pipes[i].of) {
				out.Pipelines = append(out.Pipelines, sn.pipes[i].metric())
			}
		}
	}
	topics := s.options.Engine.Topics()
	out.Topics, out.Keys, out.RocketBytes = len(topics), s.options.Engine.KVKeys(), s.options.Engine.RocketBytes()
	for _, t := range topics {
		if !scope.AllowsName([]byte(t.Name())) {
			continue
		}
		out.Partitions = appendPartitions(out.Partitions, t)
		out.PartitionsTotal += int(t.Partitions())
	}
	s.options.Observe(out)
	return out
}

func appendPartitions(dst []metrics.Partition, t *engine.Topic) []metrics.Partition {
	for i := range t.Partitions() {
		if len(dst) >= metrics.PartitionsMax {
			break
		}
		st := t.Partition(i).Stats()
		dst = append(dst, metrics.Partition{
			Topic: t.Name(), Partition: i, EarliestOffset: st.Floor, NextOffset: st.Next, Bytes: st.Bytes,
		})
	}
	return dst
}

func mergeTimings(all []snapshot) *timing.Snapshot {
	parts := make([]*timing.Snapshot, len(all))
	for i := range all {
		parts[i] = all[i].timing
	}
	return timing.Merge(parts...)
}

// adminTiming answers per-route, per-stage percentiles; ?reset=1 starts anew.
func adminTiming(l *loop, x *exchange) (reply, error) {
	if x.args.reset && !x.mayAdmin() {
		return reply{}, errForbidden.with("reset needs the role admin")
	}
	reset := x.args.reset
	return l.later(x, func(all []snapshot) (reply, error) {
		if reset {
			for _, l := range l.server.loops {
				l.net.Post(l.recorder.Reset)
			}
		}
		return reply{status: 200, body: mergeTimings(all).AppendJSON(nil, routeNames)}, nil
	})
}
