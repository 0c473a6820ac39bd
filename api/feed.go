package api

import (
	"slices"

	"ayder/engine"
	"ayder/internal/record"
)

// News: how whoever waits for a partition's messages learns that some were applied.
//
//	partition's loop    apply ──> feed ──> ears here
//	                              └──> one post per other loop and turn ──> its feed ──> ears there
//
// A loop has a feed for a partition as long as somebody listens on it, so a produce that nobody waits for pays one look
// at an empty map. News say nothing but "look again": a listener knows where it stands and reads on from there, so
// news may be merged, late or superfluous, and never wrong.
//
// News are told at the end of the turn, to earsPerTurn listeners; the others' turn comes in the next ones. So a loop with ten
// thousand listeners goes on serving producers in between, and what is produced meanwhile reaches every listener
// together with what it has not heard of yet: the more there are, the larger the pieces.
//
// Rejected: listeners compare the ends of all feeds once per turn (a load per feed and turn, on an idle server too); a
// goroutine or channel per listener (kilobytes each, and a wake-up of a thread per message).

// ear is one listener's place at one feed. It is a part of what listens and belongs to one loop; the zero value is deaf.
type ear struct {
	feed *feed
	slot int // in feed.ears
	who  listener
}

// listener is what waits for news.
type listener interface {
	// heard is called on the loop of the ear when there may be something new at f, and about once a second if f's topic
	// is gone. It may call listen and unlisten. It must not leave and come back without having got further.
	heard(l *loop, f *feed)
}

// feed is what one loop knows of those who wait for a partition's news.
type feed struct {
	stream record.Stream
	ears   []*ear
	far    []int // other loops that have a feed of this partition; only on the loop that owns it
	fresh  bool  // on loop.fresh
	told   bool  // far was told of what is fresh
	next   int   // the ear whose turn it is, modulo their number
	deaf   int   // how many, from there on, have not heard of it yet
	tails  [formCount]*tail
	count  uint32 // partitions of its topic, when it was last looked at
}

// listen adds an ear to the feed of a partition, whichever loop that belongs to, or of a bucket of keys.
func (l *loop) listen(e *ear, s record.Stream, who listener) {
	f := l.feeds[s]
	if f == nil {
		f = l.newFeed(s)
		if owner := l.server.options.Engine.ShardOf(s); owner != l.index {
			there, here := l.server.loops[owner], l.index
			there.net.Post(func() { there.subscribe(s, here) })
		}
	}
	*e = ear{feed: f, slot: len(f.ears), who: who}
	f.ears = append(f.ears, e)
	if f.deaf > 0 {
		f.deaf++ // it may stand among those who have not heard
	}
	if l.watch.slot == 0 {
		l.watch.who = watchman{}
		l.alarms.set(&l.watch, l.net.Now()+int64(watchEvery))
	}
}

func (l *loop) newFeed(s record.Stream) *feed {
	f := &feed{stream: s, count: l.partitionsOf(s)}
	l.feeds[s] = f
	return f
}

// unlisten takes an ear away. A deaf one may be taken away again.
func (l *loop) unlisten(e *ear) {
	f := e.feed
	if f == nil {
		return
	}
	last := len(f.ears) - 1
	f.ears[e.slot] = f.ears[last]
	f.ears[e.slot].slot = e.slot
	f.ears[last] = nil
	f.ears = f.ears[:last]
	if f.deaf > 0 {
		f.deaf = last // whoever took the place may not have heard: once more around
	}
	*e = ear{}
	l.dropFeed(f)
}

// dropFeed forgets a feed that nobody listens to.
func (l *loop) dropFeed(f *feed) {
	if len(f.ears) > 0 || len(f.far) > 0 {
		return
	}
	delete(l.feeds, f.stream)
	if owner := l.server.options.Engine.ShardOf(f.stream); owner != l.index {
		there, here := l.server.loops[owner], l.index
		there.net.Post(func() { there.unsubscribe(f.stream, here) })
	}
}

// subscribe has another loop told of a partition's news. What was applied before this call may be news there.
func (l *loop) subscribe(s record.Stream, who int) {
	f := l.feeds[s]
	if f == nil {
		f = l.newFeed(s)
	}
	f.far = append(f.far, who)
	l.news(f)
}

func (l *loop) unsubscribe(s record.Stream, who int) {
	f := l.feeds[s]
	if f == nil {
		return
	}
	if i := slices.Index(f.far, who); i >= 0 {
		f.far = slices.Delete(f.far, i, i+1)
	}
	l.dropFeed(f)
}

// applied notes what a frame that was applied here means to listeners.
func (l *loop) applied(f *record.Frame) {
	if len(l.feeds) == 0 {
		return
	}
	it := f.Iter()
	for sec, ok := it.Next(); ok; sec, ok = it.Next() {
		if fd := l.feeds[sec.Stream]; fd != nil {
			l.news(fd)
		}
	}
}

// news has everybody at f told in this turn and the next ones.
func (l *loop) news(f *feed) {
	l.freshen(f)
	f.told, f.deaf = false, len(f.ears)
}

// freshen has f looked at at the end of this turn.
func (l *loop) freshen(f *feed) {
	if !f.fresh {
		f.fresh = true
		l.fresh = append(l.fresh, f)
	}
}

// tellNews is the part of news in a turn.
func (l *loop) tellNews() {
	if len(l.fresh) == 0 {
		return
	}
	budget := earsPerTurn
	kept := 0
	for i := 0; i < len(l.fresh); i++ { // listeners may make more feeds fresh meanwhile
		f := l.fresh[i]
		l.tellFar(f)
		for ; f.deaf > 0 && len(f.ears) > 0 && budget > 0; budget-- {
			f.deaf--
			f.next = (f.next + 1) % len(f.ears)
			f.ears[f.next].who.heard(l, f)
		}
		if f.told && (f.deaf == 0 || len(f.ears) == 0) {
			f.fresh = false
			l.dropTails(f)
			continue
		}
		l.fresh[kept] = f
		kept++
	}
	clear(l.fresh[kept:])
	l.fresh = l.fresh[:kept]
	l.sendFar()
	if kept > 0 {
		l.net.WakeAt(l.net.Now())
	}
}

// tellFar gathers what other loops are to be told.
func (l *loop) tellFar(f *feed) {
	if f.told {
		return
	}
	f.told = true
	for _, n := range f.far {
		if l.outbox == nil {
			l.outbox = make([][]record.Stream, len(l.server.loops))
		}
		l.outbox[n] = append(l.outbox[n], f.stream)
	}
}

// sendFar tells the other loops, by one post each.
func (l *loop) sendFar() {
	for n, streams := range l.outbox {
		if len(streams) == 0 {
			continue
		}
		there := l.server.loops[n]
		there.net.Post(func() { there.newsFrom(streams) })
		l.outbox[n] = nil
	}
}

// newsFrom takes what the loop that owns these partitions has told.
func (l *loop) newsFrom(streams []record.Stream) {
	for _, s := range streams {
		if f := l.feeds[s]; f != nil {
			l.news(f)
		}
	}
}

// watchman looks once a second for feeds of partitions that are gone, or have become more, of which no frame tells this loop.
type watchman struct{}

func (watchman) due(l *loop, at int64) {
	for s, f := range l.feeds {
		if count := l.partitionsOf(s); s.Topic != 0 && len(f.ears) > 0 && (count == 0 || count != f.count) {
			f.count = count
			l.news(f)
		}
	}
	if len(l.feeds) > 0 {
		l.alarms.set(&l.watch, at+int64(watchEvery))
	}
}

// partitionsOf is how many partitions the topic of a stream has, 0 if it is gone.
func (l *loop) partitionsOf(s record.Stream) uint32 {
	if t := l.server.options.Engine.TopicByID(s.Topic); t != nil {
		return t.Partitions()
	}
	return 0
}

// lookup finds a partition by its number, nil if it is not there any more.
func (s *Server) lookup(at record.Stream) *engine.Partition {
	if t := s.options.Engine.TopicByID(at.Topic); t != nil {
		return t.Partition(at.Partition)
	}
	return nil
}
