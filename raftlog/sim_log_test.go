package raftlog

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
)

// What nodes log is counted by message: a schedule under which no log is ever truncated, no leader handed over and no
// segment dropped would find nothing and prove nothing. With AYDER_SIM_LOG=1 it is printed, too, in virtual time.

// simLog is a slog.Handler that counts.
type simLog struct {
	slog.Handler
	s *sim
}

func (s *sim) logger(name string) *slog.Logger {
	h := slog.DiscardHandler
	if os.Getenv("AYDER_SIM_LOG") != "" {
		h = slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}).WithAttrs([]slog.Attr{slog.String("machine", name)})
	}
	return slog.New(simLog{h, s})
}

// Enabled is true for what is counted.
func (h simLog) Enabled(_ context.Context, level slog.Level) bool {
	return level >= slog.LevelInfo || h.Handler.Enabled(context.Background(), level)
}

// Handle counts a message.
func (h simLog) Handle(ctx context.Context, r slog.Record) error {
	h.s.mu.Lock()
	h.s.seen[r.Message]++
	h.s.mu.Unlock()
	if !h.Handler.Enabled(ctx, r.Level) {
		return nil
	}
	return h.Handler.Handle(ctx, r)
}

// WithAttrs keeps counting.
func (h simLog) WithAttrs(attrs []slog.Attr) slog.Handler {
	return simLog{h.Handler.WithAttrs(attrs), h.s}
}

// WithGroup keeps counting.
func (h simLog) WithGroup(name string) slog.Handler { return simLog{h.Handler.WithGroup(name), h.s} }

// simCoverage is what every long series of runs must have seen.
var simCoverage = []string{
	"leader", "no longer leader", "log truncated", "handing leadership over", "this node cannot go on",
	"the leader's process is gone: standing for election",
}

// unseen are the messages of simCoverage that were not logged.
func (r *simResult) unseen() (all []string) {
	for _, m := range simCoverage {
		if r.seen[m] == 0 {
			all = append(all, m)
		}
	}
	return all
}

// events is simCoverage with numbers.
func (r *simResult) events() string {
	var all []string
	for _, m := range simCoverage {
		all = append(all, fmt.Sprintf("%s: %d", m, r.seen[m]))
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}
