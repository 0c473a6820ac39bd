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

// A feed read as a FeedAPI client does: discovery, then a page after the other for every partition, with the cursor kept beside what
// was read, and discovery again when the token is stale. Every event is there once and in order, whatever becomes of servers.

// feedReader is such a client, and a producer of numbered events.
type feedReader struct {
	*testing.T
	ask     func(method, target string, body []byte) proc.Response // retries until it is answered
	topic   string
	token   string
	cursors []string // by partition
	read    []int    // events
	sent    []int
	stale   int // tokens
}

// discover learns the partitions. Where cursors are held they are kept.
func (f *feedReader) discover() {
	f.Helper()
	r := f.ask("GET", "/feed/"+f.topic, nil)
	var d struct {
		Token       string
		Partitions  []struct{ ID string }
		ExactlyOnce bool
	}
	if err := r.JSON(&d); err != nil || r.Status != 200 || d.Token == "" || !d.ExactlyOnce {
		f.Fatal(r.String(), err)
	}
	f.token = d.Token
	for n := len(f.cursors); n < len(d.Partitions); n++ {
		if d.Partitions[n].ID != strconv.Itoa(n) {
			f.Fatal(r.String())
		}
		f.cursors, f.read = append(f.cursors, "_first"), append(f.read, 0)
	}
}

// page reads on in a partition; false if there was nothing.
func (f *feedReader) page(partition int) bool {
	f.Helper()
	target := fmt.Sprintf("/feed/%s?token=%s&partition=%d&cursor=%s&pageSizeHint=%d", f.topic, f.token, partition, f.cursors[partition], 1+rand.IntN(500))
	r := f.ask("GET", target, nil)
	if r.Status == 409 {
		f.stale++
		f.discover()
		return true
	}
	if r.Status != 200 {
		f.Fatalf("%s: %s", target, r.String())
	}
	before, cursor := f.read[partition], ""
	for line := range bytes.Lines(r.Body) {
		var one struct {
			Cursor string
			Data   *struct{ P, N int }
		}
		if err := json.Unmarshal(line, &one); err != nil {
			f.Fatalf("%s: %q: %v", target, line, err)
		}
		if cursor = one.Cursor; cursor != "" {
			continue
		}
		if one.Data == nil || one.Data.P != partition || one.Data.N != f.read[partition] {
			f.Fatalf("%s: %s instead of event %d", target, line, f.read[partition])
		}
		f.read[partition]++
	}
	if f.cursors[partition] = cursor; cursor == "" {
		f.Fatalf("%s: no cursor in %s", target, r.String())
	}
	return f.read[partition] > before
}

// produce appends count numbered events to a partition, once, however often that has to be tried.
func (f *feedReader) produce(partition, count int) {
	f.Helper()
	for len(f.sent) <= partition {
		f.sent = append(f.sent, 0)
	}
	var lines bytes.Buffer
	for n := range count {
		fmt.Fprintf(&lines, `{"p":%d,"n":%d}`+"\n", partition, f.sent[partition]+n)
	}
	target := fmt.Sprintf("/broker/topics/%s/produce-ndjson?partition=%d&idempotency_key=%d", f.topic, partition, f.sent[partition])
	if r := f.ask("POST", target, lines.Bytes()); r.Status != 200 {
		f.Fatalf("%s: %s", target, r.String())
	}
	f.sent[partition] += count
}

// through produces events and reads them, over 4 partitions and then 6; now and then something happens.
func (f *feedReader) through(events int, happens func()) {
	f.Helper()
	partitions := 4
	if r := f.ask("POST", "/broker/topics", []byte(`{"name":"`+f.topic+`","partitions":4}`)); r.Status != 201 && r.Status != 200 {
		f.Fatal(r.String())
	}
	f.discover()
	const batch, steps = 50, 5
	rounds := events / batch
	for round := range rounds {
		f.produce(round%partitions, batch)
		f.page(rand.IntN(len(f.cursors)))
		if round == rounds/2 {
			partitions = 6
			if r := f.ask("POST", "/broker/topics/"+f.topic+"/partitions", []byte(`{"partitions":6}`)); r.Status != 200 {
				f.Fatal(r.String())
			}
		}
		if round%(rounds/steps) == rounds/steps-1 {
			happens()
		}
	}
	deadline(f.T, "the feed has been read to its end", func() bool {
		whole := len(f.cursors) == partitions
		for p := range f.cursors {
			f.page(p)
			whole = whole && f.read[p] == f.sent[p]
		}
		return whole
	})
	if f.stale == 0 {
		f.Error("nobody told of the new partitions")
	}
}

func TestFeedSurvivesKills(t *testing.T) {
	t.Parallel()
	k := keepUp(t, proc.Options{Args: smallSegments}, "")
	f := &feedReader{T: t, topic: "numbers", ask: k.ask}
	f.through(scale(100_000, 10_000, 2000), func() { mustKill(t, k.Server) })
}

// TestFeedSurvivesFailOver: cursors are good on every node, and after a change of leaders.
func TestFeedSurvivesFailOver(t *testing.T) {
	t.Parallel()
	g := runGroup(t, 3, proc.Options{})
	f := &feedReader{T: t, topic: "numbers", ask: func(method, target string, body []byte) proc.Response {
		if method == "GET" {
			target += "&consistency=leader"
			if target == "/feed/numbers&consistency=leader" {
				target = "/feed/numbers?consistency=leader"
			}
		}
		return g.any(method, target, body)
	}}
	f.through(scale(20_000, 4000, 1000), func() {
		leader := g.leader()
		mustKill(t, leader.Server)
		for p := range f.cursors {
			f.page(p)
		}
		g.start(leader)
	})
	f.ask = func(method, target string, body []byte) proc.Response { // everywhere, also where one may be behind
		r, err := g.nodes[rand.IntN(3)].ask(method, target, body)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	clear(f.read)
	for p := range f.cursors {
		f.cursors[p] = "_first"
		deadline(t, "every node's part was read", func() bool {
			f.page(p)
			return f.read[p] == f.sent[p]
		})
	}
}
