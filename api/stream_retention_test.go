package api

import (
	"fmt"
	"strings"
	"testing"
)

// TestStreamsOfDeletedTopic: those who wait for messages of a topic that is deleted are told so, whichever loop they are on.
func TestStreamsOfDeletedTopic(t *testing.T) {
	eachWay(t, func(t *testing.T, backend string, loops int) {
		f := newFixture(t, backend, func(o *Options) { o.Loops = loops })
		f.topic(3)
		var all []*live
		for p := range 3 {
			f.put(p, "zero")
			for _, accept := range streamTypes {
				s := f.follow(fmt.Sprintf("/broker/consume/t/g/%d?offset=0", p), accept)
				s.message(0)
				all = append(all, s)
			}
		}
		c, r := f.dial()
		fmt.Fprint(c, get("/broker/consume/t/g/1?wait_ms=30000&offset=1"))
		f.awaitWaiting(1)
		if status, m := f.call("DELETE", "/broker/topics/t", ""); status != 200 {
			t.Fatal(status, m)
		}
		for _, s := range all {
			s.ended("unknown_topic")
		}
		if status, text := answer(t, r, "GET"); status != 404 {
			t.Fatal(status, text)
		}
		f.awaitStreaming(0)
		f.awaitNoFeeds()
	})
}

// TestStreamOvertakenByTheFloor: a reader that is too slow for retention gets what was sent, and then hears what it missed.
func TestStreamOvertakenByTheFloor(t *testing.T) {
	eachWay(t, func(t *testing.T, backend string, loops int) {
		f := newFixture(t, backend, func(o *Options) { o.Loops = loops })
		f.topic(len(streamTypes))
		const messages = 60
		for p, accept := range streamTypes {
			for range messages {
				f.put(p, strings.Repeat("x", 250_000))
			}
			path := fmt.Sprintf("/broker/consume/t/g/%d?offset=0", p)
			s := f.follow(path, accept)
			waitFor(t, "a stream that is full", func() bool { return f.queuedMost() > streamQueuedMax })
			if status, m := f.call("POST", "/broker/delete-before", fmt.Sprintf(`{"topic":"t","partition":%d,"before_offset":%d}`, p, messages)); status != 200 {
				t.Fatal(status, m)
			}
			next := 0
			e, err := s.next()
			for ; err == nil && strings.HasPrefix(e.data, fmt.Sprintf(`{"offset":%d,`, next)); e, err = s.next() {
				next++
			}
			want := fmt.Sprintf(`"earliest_offset":%d,"next_offset":%d`, messages, messages)
			if err != nil || next == 0 || next == messages || !strings.HasPrefix(e.data, `{"ok":false,"error":"offset_gone"`) || !strings.Contains(e.data, want) {
				t.Fatalf("after %d messages: %.200s %v", next, e.data, err)
			}
			s.ended("")
			if s := f.tryFollow(path, accept, "Last-Event-ID", "5"); s.resp.StatusCode != 410 {
				t.Error(s.resp.Status)
			}
		}
	})
}

// TestStreamOfWhatIsNotThere: a message that should be there and cannot be found ends the stream with an error, and not with silence.
func TestStreamOfWhatIsNotThere(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		f := newFixture(t, backend)
		f.topic(1)
		f.put(0, "zero", "one")
		f.log.set(func(m *memLog) { m.frames = m.frames[:len(m.frames)-1] })
		for _, accept := range streamTypes {
			s := f.follow("/broker/consume/t/g/0?offset=0", accept)
			s.message(0)
			s.ended("storage_damaged")
		}
	})
}
