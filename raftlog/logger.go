package raftlog

import (
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// Raft's messages on their way to slog. Its warnings and errors keep their level, what it calls info is of interest to
// nobody but us. Raft reports a node that does not answer at every attempt, many times a second: of lines that
// say the same of the same node only one in ten seconds is kept, the others are for debugging.

// hclogger implements hclog.Logger.
type hclogger struct {
	to     *slog.Logger
	name   string
	with   []any
	recent *recentLines
}

func newHclog(to *slog.Logger) hclog.Logger {
	return &hclogger{to: to.With("part", "raft"), recent: &recentLines{at: make(map[string]time.Time)}}
}

// recentLines knows what was logged lately.
type recentLines struct {
	mu sync.Mutex
	at map[string]time.Time
}

// first tells whether a line like this has not been logged for a while.
func (r *recentLines) first(msg string, args []any) bool {
	key := msg
	for i := 0; i+1 < len(args); i += 2 {
		if k := args[i]; k == "peer" || k == "server-id" || k == "id" {
			key += fmt.Sprint(args[i+1])
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if last, ok := r.at[key]; ok && now.Sub(last) < logRepeat {
		return false
	}
	if len(r.at) >= logLinesMax {
		clear(r.at)
	}
	r.at[key] = now
	return true
}

func (h *hclogger) log(level slog.Level, msg string, args []any) {
	if !h.recent.first(msg, args) {
		level = slog.LevelDebug
	}
	h.to.Log(context.Background(), level, msg, args...)
}

// Log implements hclog.Logger.
func (h *hclogger) Log(level hclog.Level, msg string, args ...any) {
	switch level {
	case hclog.Error:
		h.Error(msg, args...)
	case hclog.Warn:
		h.Warn(msg, args...)
	default:
		h.Debug(msg, args...)
	}
}

// Trace implements hclog.Logger.
func (h *hclogger) Trace(string, ...any) {}

// Debug implements hclog.Logger.
func (h *hclogger) Debug(msg string, args ...any) { h.to.Debug(msg, args...) }

// Info implements hclog.Logger.
func (h *hclogger) Info(msg string, args ...any) { h.to.Debug(msg, args...) }

// Warn implements hclog.Logger.
func (h *hclogger) Warn(msg string, args ...any) { h.log(slog.LevelWarn, msg, args) }

// Error implements hclog.Logger.
func (h *hclogger) Error(msg string, args ...any) { h.log(slog.LevelError, msg, args) }

// IsTrace implements hclog.Logger.
func (h *hclogger) IsTrace() bool { return false }

// IsDebug implements hclog.Logger.
func (h *hclogger) IsDebug() bool { return false }

// IsInfo implements hclog.Logger.
func (h *hclogger) IsInfo() bool { return true }

// IsWarn implements hclog.Logger.
func (h *hclogger) IsWarn() bool { return true }

// IsError implements hclog.Logger.
func (h *hclogger) IsError() bool { return true }

// ImpliedArgs implements hclog.Logger.
func (h *hclogger) ImpliedArgs() []any { return h.with }

// With implements hclog.Logger.
func (h *hclogger) With(args ...any) hclog.Logger {
	return &hclogger{to: h.to.With(args...), name: h.name, recent: h.recent, with: append(h.with[:len(h.with):len(h.with)], args...)}
}

// Name implements hclog.Logger.
func (h *hclogger) Name() string { return h.name }

// Named implements hclog.Logger.
func (h *hclogger) Named(name string) hclog.Logger {
	return &hclogger{to: h.to, name: name, recent: h.recent, with: h.with}
}

// ResetNamed implements hclog.Logger.
func (h *hclogger) ResetNamed(name string) hclog.Logger { return h.Named(name) }

// SetLevel implements hclog.Logger.
func (h *hclogger) SetLevel(hclog.Level) {}

// GetLevel implements hclog.Logger.
func (h *hclogger) GetLevel() hclog.Level { return hclog.Info }

// StandardLogger implements hclog.Logger.
func (h *hclogger) StandardLogger(*hclog.StandardLoggerOptions) *log.Logger {
	return slog.NewLogLogger(h.to.Handler(), slog.LevelInfo)
}

// StandardWriter implements hclog.Logger.
func (h *hclogger) StandardWriter(o *hclog.StandardLoggerOptions) io.Writer {
	return h.StandardLogger(o).Writer()
}
