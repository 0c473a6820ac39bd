package api

import "ayder/engine"

// Walking all partitions: every loop visits its own, some at a time, so that a million of them hold up nobody, and
// what the loops found comes together on the one that asked.

// visitor is called on the loop that owns p. It returns what the visit cost, in steps of which a turn has walkSteps.
type visitor func(t *engine.Topic, p *engine.Partition) (steps int)

// walk is one loop's way through the topics.
type walk struct {
	loop   *loop
	topics []*engine.Topic
	topic  int
	next   uint32 // partition
	visit  visitor
	done   func()
}

// walkAll has every loop visit its partitions of the topics. visitorOf makes each loop's visitor; done is called on l
// when all are through.
func (l *loop) walkAll(topics []*engine.Topic, visitorOf func(loop int) visitor, done func()) {
	left := len(l.server.loops)
	for i, there := range l.server.loops {
		w := &walk{loop: there, topics: topics, visit: visitorOf(i), done: func() {
			l.net.Post(func() {
				if left--; left == 0 {
					done()
				}
			})
		}}
		there.net.Post(w.step)
	}
}

// step is one turn's part.
func (w *walk) step() {
	left := walkSteps
	for ; w.topic < len(w.topics); w.topic++ {
		t := w.topics[w.topic]
		for ; w.next < t.Partitions(); w.next++ {
			if left <= 0 {
				w.loop.net.Post(w.step)
				return
			}
			left--
			if p := t.Partition(w.next); p.Shard() == w.loop.index {
				left -= w.visit(t, p)
			}
		}
		w.next = 0
	}
	w.done()
}

// reachable are the topics that a token reaches.
func (l *loop) reachable(x *exchange) []*engine.Topic {
	all := l.server.options.Engine.Topics()
	kept := all[:0]
	for _, t := range all {
		if x.scope.AllowsName([]byte(t.Name())) {
			kept = append(kept, t)
		}
	}
	return kept
}
