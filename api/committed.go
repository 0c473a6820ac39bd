package api

import (
	"ayder/engine"
	"ayder/internal/record"
)

// The way of committed frames from the cluster to the shards, and the beginnings and ends of leadership.
//
// All of it comes from one goroutine, in the order in which it happened, and is posted to the loops, whose queues keep
// that order. So whatever is posted after ApplyCommitted has returned (a read that waited for a barrier, the
// beginning of a term) finds those frames applied.
//
//	a frame of ours       to the loop that proposed it, which ends the batch: it owes the answers
//	any other frame       to every loop that owns a section of it
//	a topic's creation    to loop 0, and what follows waits until it is there: other loops may need the topic
//
// A call costs one post per loop however many frames there are, one more for every creation among them where there
// are several loops.

// CommittedFrame is one frame that the cluster has committed.
type CommittedFrame struct {
	Frame record.Frame  // its memory must stay as it is for as long as anybody refers to it
	Own   *record.Batch // the batch that it was proposed in here and whose Done was not called; nil otherwise
}

// ApplyCommitted hands frames, in the order of the log, to the loops that apply them, and returns when all are posted.
// An own batch ends in Done there. It waits for creations of topics, for the loops to have begun, now and then for them to
// keep up with other nodes' frames, and for nothing once they have stopped. Calls must not overlap each other or those of BeginTerm and Forget. frames is not kept.
func (s *Server) ApplyCommitted(frames []CommittedFrame) {
	if !s.awaitStart() {
		return
	}
	parts := make([][]CommittedFrame, len(s.loops))
	for i := range frames {
		f := &frames[i]
		s.route(parts, f)
		if f.Own == nil {
			s.unapplied += len(f.Frame.Payload)
		}
		if len(s.loops) > 1 && engine.HasCatalogue(f.Frame) {
			s.postParts(parts)
			if !s.awaitLoops(s.loops[engine.CatalogueShard : engine.CatalogueShard+1]) {
				return
			}
		}
	}
	s.postParts(parts)
	if s.unapplied > unappliedBytesMax {
		s.unapplied = 0
		s.awaitLoops(s.loops)
	}
}

// route adds f to the parts of the loops that it concerns.
func (s *Server) route(parts [][]CommittedFrame, f *CommittedFrame) {
	if f.Own != nil {
		n := f.Own.Tag.(*commit).loop.index
		parts[n] = append(parts[n], *f)
		return
	}
	set := s.options.Engine.ShardsOf(f.Frame)
	for n := range parts {
		if set.Has(n) {
			parts[n] = append(parts[n], *f)
		}
	}
}

// postParts gives every loop its part and empties them.
func (s *Server) postParts(parts [][]CommittedFrame) {
	for n, part := range parts {
		if len(part) == 0 {
			continue
		}
		l := s.loops[n]
		l.net.Post(func() { l.applyCommitted(part) })
		parts[n] = nil
	}
}

// BeginTerm must be called when this node has become leader and ApplyCommitted has returned for everything that was
// committed before its term, and before Cluster.Leading or Log.Admit say so. It returns when every loop has applied
// all that and forgotten what was in flight: from then on batches are opened, with offsets that follow from
// it. After an ErrLeadershipLost no batch is opened until it is called again, even if this node kept leading.
func (s *Server) BeginTerm() {
	if s.awaitStart() {
		s.postAll(func(l *loop) { l.beginTerm() })
		s.awaitLoops(s.loops)
	}
}

// Forget may be called when this node has ceased to lead: what is parked is answered and nothing more is written
// until BeginTerm, without waiting for the Done of each batch. It does not wait.
func (s *Server) Forget() {
	if s.awaitStart() {
		s.postAll(func(l *loop) { l.endTerm() })
	}
}

func (s *Server) postAll(f func(*loop)) {
	for _, l := range s.loops {
		l.net.Post(func() { f(l) })
	}
}

// awaitStart waits until every loop has begun; false: they have stopped.
func (s *Server) awaitStart() bool {
	select {
	case <-s.stopped:
		return false
	case <-s.started:
		return true
	}
}

// awaitLoops waits until the loops have done everything posted so far; false: they have stopped.
func (s *Server) awaitLoops(loops []*loop) bool {
	passed := make(chan struct{}, len(loops))
	for _, l := range loops {
		l.net.Post(func() { passed <- struct{}{} })
	}
	for range loops {
		select {
		case <-passed:
		case <-s.stopped:
			return false
		}
	}
	return true
}
