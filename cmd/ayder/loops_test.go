package main

import (
	"log/slog"
	"testing"

	"ayder/internal/config"
	"ayder/internal/uring"
	"ayder/netpoll"
)

// The engine and the log are divided by the number of loops before the listener exists, so a
// backend that has fewer must be known by then.
func TestLoopsFitTheBackend(t *testing.T) {
	logger := slog.New(slog.DiscardHandler)
	for _, backend := range []string{netpoll.BackendEvio, netpoll.BackendUring, netpoll.BackendAuto} {
		c := config.Config{Backend: backend, Loops: 3}
		fitLoops(&c, logger)
		want := 3
		if backend == netpoll.BackendEvio || backend == netpoll.BackendAuto && uring.Probe() != nil {
			want = 1
		}
		if c.Loops != want {
			t.Errorf("%s: %d loops, want %d", backend, c.Loops, want)
		}
	}
}
