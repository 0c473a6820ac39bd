package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"
	"time"

	"ayder/api"
	"ayder/engine"
	"ayder/httpparse"
	"ayder/internal/auth"
	"ayder/internal/config"
	"ayder/internal/metrics"
	"ayder/internal/uring"
	"ayder/netpoll"
)

// Serving: settings in, server up, signals, server down. Opened in the order store, HTTP face, listener and closed
// in the opposite one, so that a request never meets a part that is not there. SIGTERM and SIGINT drain,
// SIGHUP reads tokens and certificates again (reload.go).

// serve runs a server until SIGTERM or SIGINT.
func serve(args []string) error {
	signal.Ignore(syscall.SIGPIPE) // whoever read our log may be gone: that must not end the server
	c, err := config.Parse(args, os.Getenv)
	if errors.Is(err, config.ErrHelp) {
		return config.Help(os.Stdout)
	}
	if err == nil {
		err = c.Resolve()
	}
	if err != nil {
		return usageError{err}
	}
	logger := newLogger(&c)
	for _, w := range c.Warnings() {
		logger.Warn(w)
	}
	fitLoops(&c, logger)
	tuneRuntime(&c)
	tokens, err := loadTokens(&c)
	if err != nil {
		return usageError{err}
	}
	if c.DevMode() {
		logger.Warn("no tokens are configured: the token is \"dev\" and may do everything", "listen", c.Listen)
	}
	return serveWith(&c, logger, auth.NewHolder(tokens))
}

// serveWith opens the store, then the listener, and closes them in the opposite order.
func serveWith(c *config.Config, logger *slog.Logger, tokens *auth.Holder) error {
	st, err := openStore(c, logger)
	if err != nil {
		return err
	}
	exposition, err := metrics.NewExposition(metrics.Build{Version: version, Revision: commit(), Ring: uring.Implementation()})
	if err != nil {
		return errors.Join(err, st.close())
	}
	o := apiOptions(c, st, tokens, exposition, logger)
	var listener *netpoll.Server
	o.LogErr, o.Backup = st.log.Err, st
	o.Observe = func(s *metrics.Sample) { st.observe(s); observeNetwork(s, listener) }
	face := api.NewServer(o)
	checkpoint := face.Checkpoint
	st.checkpointer.Store(&checkpoint)
	held := &secrets{c: c, logger: logger, tokens: tokens}
	listener, err = listen(c, held, face)
	if err != nil {
		return errors.Join(err, st.close())
	}
	if st.cluster != nil {
		if err := st.startNode(c, face); err != nil {
			return errors.Join(err, listener.Shutdown(context.Background()), st.close())
		}
		held.nodes = st.cluster.tls
	}
	if len(listener.Loops()) != c.Loops {
		return errors.Join(fmt.Errorf("the %s backend has %d loops, not %d: %s", listener.Backend(), len(listener.Loops()), c.Loops, listener.Reason()),
			listener.Shutdown(context.Background()), st.close())
	}
	st.startReclaiming(face.KVSnapshots)
	stopSignals := handleSignals(c, held, func() { stop(c, logger, st, listener) })
	logger.Info("serving", "listen", listener.Addr().String(), "backend", listener.Backend(), "reason", listener.Reason(),
		"io_uring", uring.Implementation(), "loops", c.Loops, "data", c.DataDir)
	err = listener.Serve()
	stopSignals()
	return errors.Join(err, st.close())
}

func listen(c *config.Config, held *secrets, h netpoll.Handler) (_ *netpoll.Server, err error) {
	o := netpoll.Options{
		Addr: c.Listen, Backend: c.Backend, Loops: c.Loops, ConnsMax: c.ConnsMax, OutputMax: c.OutputBytesMax,
		InputMax: c.HeadBytesMax + int(c.BodyBytesMax), Logger: held.logger,
	}
	if c.TLSCert != "" {
		if held.https, err = loadKeyPair(c.TLSCert, c.TLSKey); err != nil {
			return nil, err
		}
		o.TLSAddr, o.TLSConfig = c.TLSListen, held.https.config()
	}
	return netpoll.Listen(o, h)
}

func apiOptions(c *config.Config, st *store, tokens *auth.Holder, e *metrics.Exposition, logger *slog.Logger) api.Options {
	o := api.Options{
		Engine: st.engine, OpenLog: st.openLog, NewReader: st.newReader, Tokens: tokens, Exposition: e, Logger: logger, Background: background,
		HTTP: httpparse.Limits{
			RequestLineMax: c.RequestLineBytesMax, HeadMax: c.HeadBytesMax, FieldsMax: c.HeadFieldsMax, BodyMax: c.BodyBytesMax,
		},
		Loops: c.Loops, CommitsInFlight: c.CommitsInFlight, CommitTimeoutNs: int64(c.CommitTimeout),
		HeaderNs: int64(c.HeadTimeout), IdleNs: int64(c.IdleTimeout), DefaultPartitions: uint32(c.PartitionsDefault),
		LastCallNs: int64(min(lastCall, c.ShutdownTimeout/4)),
		AutoCreate: c.AutoCreate, ServerTiming: c.ServerTiming, CommitIsLast: c.CommitIs == "last", CORSOrigin: c.CORSOrigin,
	}
	if c.Rocket {
		o.DefaultMode = engine.Rocket
	}
	if st.cluster != nil {
		o.Cluster = st.cluster
		o.WriteConcern = api.ConcernOf(c.HA.WriteConcern, len(c.HA.Nodes))
	}
	return o
}

// handleSignals drains on SIGTERM and SIGINT and reads tokens and certificates again on SIGHUP. The result
// ends it.
func handleSignals(c *config.Config, held *secrets, stop func()) func() {
	ch := make(chan os.Signal, 4)
	signal.Notify(ch, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	done := make(chan struct{})
	go func() {
		for {
			select {
			case sig := <-ch:
				if sig == syscall.SIGHUP {
					held.reload()
					continue
				}
				held.logger.Info("stopping: open requests are finished first", "signal", sig.String(), "timeout", c.ShutdownTimeout)
				go stop()
			case <-done:
				return
			}
		}
	}()
	return func() { signal.Stop(ch); close(done) }
}

// stop ends the server. A node of a cluster first gives leadership away and lets its clients go, all of whom it tells where to turn
// to as long as raft runs; what raft's end then leaves unanswered is answered, for which the loops must still be there.
func stop(c *config.Config, logger *slog.Logger, st *store, listener *netpoll.Server) {
	if st.cluster != nil {
		st.cluster.handOver(c.ShutdownTimeout)
		ctx, cancel := context.WithTimeout(context.Background(), c.ShutdownTimeout/2)
		defer cancel()
		if err := listener.Drain(ctx); err != nil {
			logger.Info("connections are left: the cluster is left now", "error", err)
		}
		st.leave(c.ShutdownTimeout)
	}
	shutdown(c, logger, listener)
}

func shutdown(c *config.Config, logger *slog.Logger, s *netpoll.Server) {
	ctx, cancel := context.WithTimeout(context.Background(), c.ShutdownTimeout)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		logger.Warn("connections were cut off at shutdown", "error", err)
	}
}

// fitLoops settles the number of loops before anything is divided by it: evio serves one.
func fitLoops(c *config.Config, logger *slog.Logger) {
	evio := c.Backend == netpoll.BackendEvio || c.Backend == netpoll.BackendAuto && uring.Probe() != nil
	if evio && c.Loops > 1 {
		logger.Info("one loop: the evio backend has no more", "asked_for", c.Loops)
		c.Loops = 1
	}
}

// tuneRuntime gives every loop a processor of its own beside those for background work: a loop
// that comes back from the kernel must find one free. A node of a cluster has one more that is in the kernel most of the time,
// for the log's writes. One more is for the threads of queries and pipelines, which keep theirs while the kernel runs others. The collector has
// next to nothing to do.
func tuneRuntime(c *config.Config) {
	inKernel := c.Loops
	if c.HA != nil {
		inKernel++
	}
	runtime.GOMAXPROCS(inKernel + 1 + max(2, runtime.NumCPU()))
	debug.SetGCPercent(c.GCPercent)
	go paceCollector(c.GCPercent)
	if c.MemoryLimit > 0 {
		debug.SetMemoryLimit(c.MemoryLimit)
	}
}

func newLogger(c *config.Config) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.LogLevel)); err != nil {
		level = slog.LevelInfo
	}
	o := &slog.HandlerOptions{Level: level}
	if c.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(os.Stderr, o))
	}
	return slog.New(slog.NewTextHandler(os.Stderr, o))
}

func observeNetwork(s *metrics.Sample, n *netpoll.Server) {
	s.Backend, s.BackendReason = n.Backend(), n.Reason()
	for _, l := range n.Loops() {
		st := l.Stats()
		s.Network.Conns += uint64(st.Conns)
		s.Network.ConnsAccepted += uint64(st.Accepted)
		s.Network.ConnsRefused += uint64(st.Refused)
		s.Network.BytesReceived += uint64(st.BytesIn)
		s.Network.BytesSent += uint64(st.BytesOut)
	}
}

// lastCall is how long idle connections stay open for one more request when the server stops: most clients that use a connection
// at all send something within it, and an operator does not mind the wait.
const lastCall = time.Second

// checkpointTimeout bounds the wait for the loops when a checkpoint is made.
const checkpointTimeout = time.Minute
