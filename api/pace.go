package api

import "time"

// Pace: while producers are at work, an evaluation rests between pages, and a worker between steps of pipelines, several times as long as
// it has worked: a pipeline less, because it must not fall behind for good.
//
// Being the least urgent is not enough where the log is on a disk: a processor that never rests makes the disk's completions late, by up to
// tens of milliseconds, whoever it works for (docs/decisions/0015-queries-beside-producers.md). Rests as short as a page's work put
// that right, and nobody rests who is alone.

// pause is called before a page is read, on the worker.
func (t *task) pause() {
	at := now()
	if t.paused != 0 && at-t.paused < int64(paceEvery) {
		return
	}
	if t.paused != 0 {
		t.home.server.rest(queryRest*(at-t.paused), t.produced)
	}
	t.paused, t.produced = now(), t.home.server.produced()
}

// rest has a worker rest if producers have brought anything since they had brought so many messages.
func (s *Server) rest(ns int64, produced uint64) {
	if s.produced() != produced {
		time.Sleep(min(time.Duration(ns), paceRestMax))
	}
}

// produced is how many messages producers have brought; what pipelines write is not counted, or they would hold themselves up.
func (s *Server) produced() (n uint64) {
	for _, l := range s.loops {
		n += l.counters.MessagesAppended.Load() - l.counters.MessagesPiped.Load()
	}
	return n
}
