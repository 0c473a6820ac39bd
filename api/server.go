package api

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"

	"ayder/engine"
	"ayder/httpparse"
	"ayder/internal/auth"
	"ayder/internal/metrics"
	"ayder/internal/record"
	"ayder/internal/timing"
	"ayder/netpoll"
)

// The server: what all loops share, and the netpoll.Handler that leads into them.
//
// The seams to the log (Log, Reader) are declared here, by their consumer; cmd/ayder wires package aof into
// them and the tests a log in memory.

// Log is one loop's way into the log. All methods are called on that loop's thread and none blocks. One that goes to
// several nodes implements Replicated, too.
type Log interface {
	// Admit tells whether a batch may be opened now: nil, ErrNoSpace, ErrBusy (wake follows), ErrNotLeader, or why the log
	// has stopped.
	Admit() error
	// Append takes the batch; its Done is called later on the same loop, once, in log order: with nil when the batch is
	// durable (in a cluster: committed), with an error that wraps ErrLeadershipLost, or with why the log has stopped.
	// A batch must reach the log in the term of leadership in which it was admitted, or not at all.
	Append(b *record.Batch)
	// Deliver calls the Done of batches that other loops' commits made durable.
	Deliver()
}

// Reader finds stored records. One belongs to one goroutine.
type Reader interface {
	// Read visits the sections of s that hold offsets of [offset, end), in order, until visit returns
	// false. Without block it returns ErrCold at the first section that is not in memory. Sections are
	// valid during the call. Any other error means damage.
	Read(s record.Stream, offset, end uint64, block bool, visit func(record.Section) bool) (next uint64, err error)
	// ReadSince is Read with block; it may pass over sections that certainly hold no record as young as sinceMs.
	ReadSince(s record.Stream, offset, end, sinceMs uint64, visit func(record.Section) bool) (next uint64, err error)
}

// Options are what a server is made of. All fields are needed unless stated.
type Options struct {
	Engine     *engine.Engine
	OpenLog    func(l *netpoll.Loop, wake func()) (Log, error) // called once on every loop
	NewReader  func() Reader
	Tokens     *auth.Holder
	Exposition *metrics.Exposition
	Observe    func(*metrics.Sample) // adds what only the program knows: log, network, backend
	LogErr     func() error          // why the log has stopped, nil while it works; nil itself: only what commits meet counts
	Backup     Backup                // the log as files; nil: nobody can copy it
	Logger     *slog.Logger

	QueryWorkers int    // goroutines that evaluate queries, 0: half as many as there are processors
	Background   func() // makes the calling thread, which it locked, one that others do not wait for; may be nil

	Cluster      Cluster // nil: a single node
	WriteConcern Concern // of writes that do not say

	HTTP              httpparse.Limits
	Loops             int
	CommitsInFlight   int   // batches of one loop that are made durable at the same time
	CommitTimeoutNs   int64 // after which a write without timeout_ms is answered 504
	HeaderNs          int64 // time for a request's head to arrive
	IdleNs            int64 // time between requests
	LastCallNs        int64 // once the server stops, time for one more request on a connection that is idle
	RetentionNs       int64 // how often the leader looks for what may go by age or size, a few seconds if 0
	DefaultPartitions uint32
	DefaultMode       engine.Mode // of topics that are created without one
	AutoCreate        bool
	ServerTiming      bool
	CommitIsLast      bool   // clients commit the last offset processed, not the next one to read
	CORSOrigin        string // origins joined by commas; empty: no CORS
}

// commitIn translates a client's committed offset to ours, commitOut ours to a client's.
func (o *Options) commitIn(offset uint64) uint64 {
	if o.CommitIsLast {
		return offset + 1
	}
	return offset
}

func (o *Options) commitOut(offset uint64) uint64 {
	if o.CommitIsLast && offset > 0 {
		return offset - 1
	}
	return offset
}

// Server is the HTTP face of an engine and its log: a netpoll.Handler. A connection, a shard and a
// writer of the log belong to one loop each; what is here is read by all.
type Server struct {
	options  Options
	loops    []*loop        // set by each loop for itself; nobody goes on before all are
	starting sync.WaitGroup // the loops that are not
	readers  *readers
	workers  *workers // of queries and joins
	pipers   *workers // of pipelines, so that neither waits for the other
	cors     corsLines
	started  chan struct{} // closed when all loops have begun
	stopped  chan struct{} // closed when all have ended
	lifetime context.Context
	end      context.CancelFunc

	failure atomic.Pointer[error] // why the log stopped; set once by the loop that saw it first
	running atomic.Int32          // loops that have started

	changing  atomic.Int32 // changes of the cluster that are under way
	unapplied int          // bytes of other nodes' frames posted since the loops were waited for; ApplyCommitted's own
}

// NewServer returns a server that is ready to be given to netpoll.Listen.
func NewServer(o Options) *Server {
	newReader := o.NewReader
	o.NewReader = func() Reader { return memoryReader{o.Engine, newReader()} }
	s := &Server{options: o, loops: make([]*loop, o.Loops), stopped: make(chan struct{}), started: make(chan struct{})}
	s.lifetime, s.end = context.WithCancel(context.Background())
	s.starting.Add(o.Loops)
	s.readers = newReaders(o.NewReader)
	s.workers = newWorkers(o.QueryWorkers, queriesQueuedMax, o.Background, o.NewReader)
	s.pipers = newWorkers(o.QueryWorkers, pipersQueuedMax, o.Background, o.NewReader)
	s.cors = newCORS(o.CORSOrigin)
	return s
}

// Start prepares a loop and waits for the others: from the first request on, any of them may be
// asked for something.
func (s *Server) Start(n *netpoll.Loop) {
	if n.Ring() == nil && s.options.Loops > 1 {
		panic("bug: a server for several loops on a backend that has one")
	}
	l := &loop{
		server: s, net: n, index: n.Index(), shard: s.options.Engine.Shard(n.Index()),
		recorder: timing.NewRecorder(len(routeNames)), counters: metrics.NewCounters(len(routeNames)),
		commits: metrics.NewCommitStats(), conns: map[*conn]struct{}{}, unread: map[*conn]struct{}{}, feeds: map[record.Stream]*feed{}, reader: s.options.NewReader(),
	}
	log, err := s.options.OpenLog(n, func() { n.Post(func() {}) }) // any post ends the wait: BeforeWait delivers
	if err != nil {
		s.options.Logger.Error("this loop cannot write to the log", "loop", l.index, "error", err)
		log = brokenLog{err}
		s.fail(err)
	}
	l.log = log
	l.replicas, _ = log.(Replicated)
	l.term.over = s.options.Cluster != nil // BeginTerm begins the first one
	l.beginRetention()
	l.pipes = make(map[uint32]*pipe)
	l.pipesBy(n.Now() + int64(pipeLeadEvery))
	n.Context, n.Busy = l, l.busy
	l.checkKeysBy(n.Now())
	s.loops[l.index] = l
	if int(s.running.Add(1)) == s.options.Loops {
		close(s.started)
	}
	s.starting.Done()
	s.starting.Wait()
}

// brokenLog refuses everything.
type brokenLog struct{ err error }

func (b brokenLog) Admit() error         { return b.err }
func (b brokenLog) Append(*record.Batch) { panic("bug: append to a log that admits nothing") }
func (b brokenLog) Deliver()             {}

// Open greets a connection.
func (s *Server) Open(n *netpoll.Conn) {
	l := n.Loop().Context.(*loop)
	c := &conn{net: n, loop: l}
	if l.draining { // it was waiting to be accepted
		l.lastCall = max(l.lastCall, l.net.Now()+s.options.LastCallNs)
	}
	n.Context = c
	l.conns[c] = struct{}{}
	c.setDeadline()
}

// Data is shown what came in.
func (s *Server) Data(n *netpoll.Conn, buf []byte) int { return n.Context.(*conn).data(buf) }

// Timeout ends a connection that is too slow.
func (s *Server) Timeout(n *netpoll.Conn) {
	c := n.Context.(*conn)
	c.deadline = 0
	c.timeout()
}

// Close forgets a connection. Answers that are still owed to it find it gone.
func (s *Server) Close(n *netpoll.Conn, _ error) {
	c := n.Context.(*conn)
	delete(c.loop.conns, c)
	delete(c.loop.unread, c)
	c.held, c.chunked = nil, nil
	if c.stream != nil {
		c.stream.close(c.loop)
	}
	if c.task != nil {
		c.task.gone.Store(true)
	}
	if c.away == 0 {
		c.loop.forsake(c)
		return
	}
	there := s.loops[c.away-1]
	there.net.Post(func() { there.forsake(c) })
}

// Writable lets a stream go on.
func (s *Server) Writable(n *netpoll.Conn) {
	if c := n.Context.(*conn); c.stream != nil {
		c.stream.source.more(c.loop, c.stream)
	}
}

// BeforeWait commits what the turn brought.
func (s *Server) BeforeWait(n *netpoll.Loop) { n.Context.(*loop).beforeWait() }

// Stop is a loop's last call.
func (s *Server) Stop(*netpoll.Loop) {
	if s.running.Add(-1) == 0 {
		close(s.stopped)
		s.end()
		s.readers.close()
		s.workers.close()
		s.pipers.close()
	}
}

// fail notes why the log stopped.
func (s *Server) fail(err error) {
	if s.failure.CompareAndSwap(nil, &err) {
		s.options.Logger.Error("the log has stopped: every write is refused from now on", "error", err)
	}
}

// unready says why writes are not accepted, or nothing.
func (s *Server) unready() string {
	if int(s.running.Load()) < s.options.Loops {
		return "starting"
	}
	if s.loops[0].net.Draining() {
		return "stopping"
	}
	if err := s.failure.Load(); err != nil {
		return "storage failed: " + (*err).Error()
	}
	if s.options.LogErr != nil {
		if err := s.options.LogErr(); err != nil {
			return "storage failed: " + err.Error()
		}
	}
	if s.options.Cluster != nil {
		return s.status().unready()
	}
	return ""
}

// Checkpoint collects the state of every shard as of at least index durable, which the caller must
// have read from the log before. Every loop captures its own part between two batches, which takes
// microseconds; encoding is done on another goroutine, and so is done called, or not at all if the
// loops have not begun or end before.
func (s *Server) Checkpoint(done func(payload []byte)) {
	if int(s.running.Load()) < s.options.Loops {
		return
	}
	captures := make(chan *engine.Capture, len(s.loops))
	for _, l := range s.loops {
		l.net.Post(func() {
			l.log.Deliver() // so that everything durable that is this shard's is applied
			captures <- l.shard.Capture()
		})
	}
	go func() {
		var all []*engine.Capture
		for range s.loops {
			select {
			case c := <-captures:
				all = append(all, c)
			case <-s.stopped:
				return
			}
		}
		done(engine.EncodeCaptures(all))
	}()
}

// KVSnapshots gives done the keys of all loops, each as they are between two batches. Like Checkpoint it does not wait, and does not call done if
// the loops have not begun or end before.
func (s *Server) KVSnapshots(done func([]engine.KVSnapshot)) {
	if int(s.running.Load()) < s.options.Loops {
		return
	}
	taken := make(chan []engine.KVSnapshot, len(s.loops))
	for _, l := range s.loops {
		l.net.Post(func() { taken <- l.shard.KVSnapshots() })
	}
	go func() {
		var all []engine.KVSnapshot
		for range s.loops {
			select {
			case some := <-taken:
				all = append(all, some...)
			case <-s.stopped:
				return
			}
		}
		done(all)
	}()
}
