package api

import "time"

// Pace: while producers are at work, an evaluation rests between pages, three times as long as it has worked.
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
	appended := t.home.server.appended()
	if t.paused != 0 && appended != t.appended {
		time.Sleep(min(time.Duration(at-t.paused)*paceRest, paceRestMax))
	}
	t.paused, t.appended = now(), appended
}

// appended is how many messages producers have brought.
func (s *Server) appended() (n uint64) {
	for _, l := range s.loops {
		n += l.counters.MessagesAppended.Load()
	}
	return n
}
