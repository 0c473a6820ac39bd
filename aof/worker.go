package aof

import "time"

// worker is a goroutine that runs a step whenever it was kicked, and again after the delay that the step asks for.
// Everything slow that nobody waits for (spares, renames, sidecars) is a step of the keeper or the indexer.
type worker struct {
	kicks chan struct{}
	stop  chan struct{}
	done  chan struct{}
}

// kick makes the worker run its step soon. It never blocks; many kicks may become one step.
func (w *worker) kick() {
	select {
	case w.kicks <- struct{}{}:
	default:
	}
}

// start runs the goroutine. step returns when to run again: 0 for not before the next kick.
func (w *worker) start(step func() time.Duration) {
	w.stop, w.done = make(chan struct{}), make(chan struct{})
	go w.loop(step)
}

func (w *worker) loop(step func() time.Duration) {
	defer close(w.done)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-w.stop:
			return
		case <-w.kicks:
		case <-timer.C:
		}
		if again := step(); again > 0 {
			timer.Reset(again)
		}
	}
}

// halt ends the goroutine after the step it is in. It may be called when none was started.
func (w *worker) halt() {
	if w.stop == nil {
		return
	}
	close(w.stop)
	<-w.done
	w.stop = nil
}

// halting tells a long step to give up.
func (w *worker) halting() bool {
	select {
	case <-w.stop:
		return true
	default:
		return false
	}
}
