package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"ayder/bench/result"
)

// A leader at a moderate rate for a minute. What is looked for is not speed but calm: nobody may lose leadership over a
// commit that takes long, and no request may fail. Where the time of the slowest requests goes is told by the server.
// It runs once, whatever -rounds says: the rarest latencies of one long run are what is asked for.

const (
	leaderRate  = 5_000
	leaderLoad  = "5 k/s at the leader"
	leaderConns = 64
)

func runLeader(l *lab) error {
	if err := l.start(threePlain); err != nil {
		return err
	}
	g := l.groups[threePlain]
	if err := l.settle(l.dirs[threePlain]); err != nil {
		return err
	}
	_, before, err := g.leader(l.ctx)
	if err != nil {
		return err
	}
	r, err := l.generate(append(
		g.target(), "-c", strconv.Itoa(leaderConns), "-rate", strconv.Itoa(leaderRate), "-d", l.leaderTime.String(),
		"-warmup", l.warmup.String(), "-stages", "-hgrm", l.leaderFile(),
	))
	if err != nil {
		return err
	}
	l.note("leader", cell{server: threePlain, load: leaderLoad}, 0, r)
	_, after, err := g.leader(l.ctx)
	if err != nil {
		return err
	}
	l.fact("leader changes", float64(after.Term-before.Term))
	l.fact("leader seconds", r.ElapsedS)
	return l.drawLeader()
}

func (l *lab) leaderFile() string { return filepath.Join(l.out, "leader-5000.hgrm") }

// leaderPicture is drawn like those of the part open.
func (l *lab) leaderPicture() string { return filepath.Join(l.out, "leader-5000.svg") }

func (l *lab) drawLeader() error {
	if l.plot == "" {
		return nil
	}
	args := []string{"-o", l.leaderPicture(), "-title", "Produce to a majority of three, 64 B, 5000 requests/s by the clock", threePlain + "=" + l.leaderFile()}
	if text, err := exec.CommandContext(l.ctx, l.plot, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("plot: %w: %s", err, text)
	}
	return nil
}

func reportLeader(l *lab, b *strings.Builder) {
	s := l.find("leader", threePlain, leaderLoad)
	if s.rounds == 0 {
		return
	}
	client := append([]string{threePlain, perSecond(s.requestsPerS)}, percentileTexts(s.latency)...)
	table(b, append([]string{"client side", "answered/s"}, result.Columns...), [][]string{client})
	if rows := l.stageRows("leader", threePlain, leaderLoad); len(rows) > 0 {
		table(b, append([]string{"server side, the leader", ""}, result.Columns...), rows)
	}
	if _, err := os.Stat(l.leaderPicture()); err == nil {
		fmt.Fprintf(b, "![latency by percentile](%s)\n\n", filepath.Base(l.leaderPicture()))
	}
	fmt.Fprintf(b, "%.0f seconds; CPU s/M of the leader, a follower and the client: %s.\n\n", l.median("leader seconds"), cpuText(s))
	l.errorsNote(b, "leader")
	measured := len(l.facts["leader changes"]) > 0
	targets(b, []target{
		{text: "changes of leadership", value: l.median("leader changes"), zero: measured, atMost: true},
		{text: "failed requests", value: float64(s.errors), zero: true, atMost: true},
	})
}
