package raftlog

import (
	"io"
	"log"
	"log/slog"

	"github.com/hashicorp/go-hclog"
)

// hclogger passes raft's messages on to slog. Its warnings and errors keep their level; what it calls info is of
// interest to nobody but us.
type hclogger struct {
	to   *slog.Logger
	name string
	with []any
}

func newHclog(to *slog.Logger) hclog.Logger { return &hclogger{to: to.With("part", "raft")} }

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
func (h *hclogger) Warn(msg string, args ...any) { h.to.Warn(msg, args...) }

// Error implements hclog.Logger.
func (h *hclogger) Error(msg string, args ...any) { h.to.Error(msg, args...) }

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
	return &hclogger{to: h.to.With(args...), name: h.name, with: append(h.with[:len(h.with):len(h.with)], args...)}
}

// Name implements hclog.Logger.
func (h *hclogger) Name() string { return h.name }

// Named implements hclog.Logger.
func (h *hclogger) Named(name string) hclog.Logger {
	return &hclogger{to: h.to, name: name, with: h.with}
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
