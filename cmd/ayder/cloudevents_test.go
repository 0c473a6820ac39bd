package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"

	"ayder/internal/testkit/proc"
)

// CloudEvents that are sent again and again, in batches that are cut differently each time, to a server that is killed in between, and to a
// cluster whose leader is: each is stored once, under the offset that its sender was told.

// eventSender sends numbered events.
type eventSender struct {
	*testing.T
	ask    func(method, target string, body []byte) proc.Response // retries until it is answered
	places map[int]float64                                        // where an event is, as it was told
}

// batch sends events from first on as one batch of partition 0.
func (s *eventSender) batch(first, count int) {
	s.Helper()
	var b bytes.Buffer
	for n := first; n < first+count; n++ {
		fmt.Fprintf(&b, `,{"specversion":"1.0","id":"%d","source":"/numbers","type":"number","data":{"n":%d}}`, n, n)
	}
	body := append([]byte("["), append(b.Bytes()[1:], ']')...)
	r := s.ask("POST", "/cloudevents/events?partition=0", body)
	var a struct {
		First   float64 `json:"first_offset"`
		Count   int
		Offsets []float64
		Durable bool
	}
	if err := r.JSON(&a); err != nil || r.Status != 200 || a.Count != count || !a.Durable {
		s.Fatal(r.String(), err)
	}
	for i := range count {
		at := a.First + float64(i)
		if a.Offsets != nil {
			at = a.Offsets[i]
		}
		if was, ok := s.places[first+i]; ok && was != at {
			s.Fatalf("event %d was at offset %v and is at %v", first+i, was, at)
		}
		s.places[first+i] = at
	}
}

// through sends events, most of them several times.
func (s *eventSender) through(events int, happens func()) {
	s.Helper()
	sent := 0
	for round := 0; sent < events; round++ {
		from, count := max(0, sent-rand.IntN(60)), 1+rand.IntN(80)
		s.batch(from, count)
		if sent = max(sent, from+count); round%30 == 29 {
			happens()
		}
	}
	seen := 0
	for offset := 0; seen < sent; {
		r := s.ask("GET", fmt.Sprintf("/cloudevents/events?partition=0&offset=%d&limit=1000&consistency=leader", offset), nil)
		var page []struct {
			ID   string
			Data struct{ N int }
		}
		if err := json.Unmarshal(r.Body, &page); err != nil || r.Status != 200 || len(page) == 0 {
			s.Fatalf("%d of %d events: %s %v", seen, sent, r.String(), err)
		}
		for _, e := range page {
			if e.ID != strconv.Itoa(e.Data.N) || s.places[e.Data.N] != float64(offset) {
				s.Fatalf("event %+v is at offset %d, not %v", e, offset, s.places[e.Data.N])
			}
			offset++
			seen++
		}
	}
	if r := s.ask("GET", fmt.Sprintf("/cloudevents/events?partition=0&offset=%d", seen), nil); string(r.Body) != "[]" {
		s.Fatalf("more than the %d events: %s", sent, r.String())
	}
}

// eventHeader has a body of events say so.
const eventHeader = "Content-Type: application/cloudevents-batch+json\r\n"

func TestCloudEventsSurviveKills(t *testing.T) {
	t.Parallel()
	k := keepUp(t, proc.Options{Args: smallSegments}, eventHeader)
	e := &eventSender{T: t, places: map[int]float64{}, ask: k.ask}
	e.through(scale(100_000, 10_000, 3000), func() { mustKill(t, k.Server) })
}

func TestCloudEventsSurviveFailOver(t *testing.T) {
	t.Parallel()
	g := runGroup(t, 3, proc.Options{})
	e := &eventSender{T: t, places: map[int]float64{}, ask: func(method, target string, body []byte) (r proc.Response) {
		g.eventually(method+" is answered", func() bool {
			for _, n := range g.nodes {
				c, err := proc.Dial(n.http)
				if err != nil {
					continue
				}
				c.Header += eventHeader
				r, err = c.Do(method, target, body)
				c.Close()
				if err == nil && final(&r) {
					return true
				}
			}
			return false
		})
		return r
	}}
	e.through(scale(20_000, 4000, 2000), func() {
		leader := g.leader()
		mustKill(t, leader.Server)
		e.batch(0, 10) // known to the next one
		g.start(leader)
	})
}
