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

// Latency at fixed rates. Throughput at full load says little about the latency that
// a service sees, which runs its log at a fraction of that. Each server is asked for
// the same rates; ayder also tells where its time went, stage by stage.

// openRates are requests per second.
var openRates = []int{5_000, 20_000, 50_000}

var openServers = []string{uring, evio, redis, floor, nats}

func rateLoad(rate int) string { return fmt.Sprintf("%d k/s", rate/1000) }

// natsRateMax spares the run from a peer that falls hopelessly behind: at its
// measured maximum of a few thousand per second 50 k/s would queue for minutes.
const natsRateMax = 5_000

func runOpen(l *lab) error {
	if err := l.start(openServers...); err != nil {
		return err
	}
	var cells []cell
	for _, rate := range openRates {
		for _, server := range openServers {
			if server == nats && rate > natsRateMax {
				continue
			}
			args := []string{"-c", "64", "-rate", strconv.Itoa(rate), "-hgrm", l.hgrmFile(server, rate, roundMark)}
			if server == uring || server == evio {
				args = append(args, "-stages")
			}
			cells = append(cells, cell{server, rateLoad(rate), args})
		}
	}
	if err := l.interleave("open", cells); err != nil {
		return err
	}
	return l.draw()
}

// hgrmFile names a round's percentile file.
func (l *lab) hgrmFile(server string, rate int, round string) string {
	return filepath.Join(l.out, fmt.Sprintf("open-%d-%s-%s.hgrm", rate, strings.ReplaceAll(server, " ", "-"), round))
}

// draw makes one picture per rate of each server's typical round.
func (l *lab) draw() error {
	if l.plot == "" {
		return nil
	}
	for _, rate := range openRates {
		args := []string{"-o", l.picture(rate), "-title", fmt.Sprintf("Synced produce, 64 B, %d requests/s by the clock", rate)}
		for _, server := range openServers {
			if round := l.typicalRound("open", server, rateLoad(rate)); round >= 0 {
				args = append(args, server+"="+l.hgrmFile(server, rate, strconv.Itoa(round)))
			}
		}
		if text, err := exec.CommandContext(l.ctx, l.plot, args...).CombinedOutput(); err != nil {
			return fmt.Errorf("plot: %w: %s", err, text)
		}
	}
	return nil
}

func (l *lab) picture(rate int) string { return filepath.Join(l.out, fmt.Sprintf("open-%d.svg", rate)) }

func reportOpen(l *lab, b *strings.Builder) {
	for _, rate := range openRates {
		fmt.Fprintf(b, "### %s\n\n", rateLoad(rate))
		table(b, append([]string{"client side", "answered/s"}, result.Columns...), l.clientRows(rateLoad(rate)))
		if rows := l.stageRows("open", uring, rateLoad(rate)); len(rows) > 0 {
			table(b, append([]string{"server side, ayder uring", ""}, result.Columns...), rows)
		}
		if _, err := os.Stat(l.picture(rate)); err == nil {
			fmt.Fprintf(b, "![latency by percentile](%s)\n\n", filepath.Base(l.picture(rate)))
		}
	}
	l.errorsNote(b, "open")
}

// clientRows is one line per server.
func (l *lab) clientRows(load string) [][]string {
	var rows [][]string
	for _, server := range openServers {
		if s := l.find("open", server, load); s.rounds > 0 {
			rows = append(rows, append([]string{server, perSecond(s.requestsPerS)}, percentileTexts(s.latency)...))
		}
	}
	return rows
}

// stageRows is one line per stage, in the order of a request's way.
func (l *lab) stageRows(partName, server, load string) [][]string {
	var rows [][]string
	stages := l.stages(partName, server, load)
	for _, name := range []string{"recv_parse", "queue", "server", "commit", "total"} {
		if p, ok := stages[name]; ok && p.Count > 0 {
			rows = append(rows, append([]string{name, ""}, percentileTexts(p)...))
		}
	}
	return rows
}

func percentileTexts(p result.Percentiles) []string {
	var texts []string
	for _, v := range p.Row() {
		texts = append(texts, result.FormatMicros(v))
	}
	return texts
}
