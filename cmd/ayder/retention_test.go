package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"ayder/internal/testkit/proc"
)

// Retention in a cluster: what a leader decided holds on every node and outlives the leader, and so does what was
// deleted.

// described is what a node says of a topic.
type described struct {
	ID         int
	Partitions []struct {
		Floor     uint64 `json:"earliest_offset"`
		Next      uint64 `json:"next_offset"`
		Bytes     uint64
		Messages  uint64
		Retention struct {
			TTLMs    uint64 `json:"ttl_ms"`
			MaxBytes uint64 `json:"max_bytes"`
		}
	} `json:"partition_list"`
}

func describe(n *groupNode, topic string) (d described, err error) {
	r, err := n.get("/broker/topics/" + topic)
	if err == nil && r.Status != 200 {
		err = fmt.Errorf("%s: %s", n.id, &r)
	}
	if err == nil {
		err = r.JSON(&d)
	}
	return d, err
}

// command makes a change through whichever node leads.
func (g *group) command(method, target, body string) {
	g.t.Helper()
	if r := g.any(method, target, []byte(body)); r.Status != 200 && r.Status != 201 {
		g.t.Fatalf("%s %s %s: %s", method, target, body, &r)
	}
}

// agree waits until all running nodes describe a topic alike, and as want wants it; then it compares what they have at the floor, and
// that they have nothing below.
func (g *group) agree(what, topic string, want func(*described) bool) (d described) {
	g.t.Helper()
	g.eventually(what, func() bool {
		var first string
		for _, n := range g.nodes {
			if !n.running() {
				continue
			}
			now, err := describe(n, topic)
			text, _ := json.Marshal(now)
			if err != nil || !want(&now) || first != "" && first != string(text) {
				return false
			}
			first, d = string(text), now
		}
		return first != ""
	})
	for i, p := range d.Partitions {
		g.agreeAtFloor(topic, i, p.Floor, p.Next)
	}
	return d
}

func (g *group) agreeAtFloor(topic string, partition int, floor, next uint64) {
	g.t.Helper()
	var first []byte
	for _, n := range g.nodes {
		if !n.running() {
			continue
		}
		r, err := n.get(fmt.Sprintf("/broker/consume/%s/g/%d?offset=%d&limit=5&encoding=b64", topic, partition, floor))
		if err != nil || r.Status != 200 || next > floor && !bytes.Contains(r.Body, fmt.Appendf(nil, `{"offset":%d,`, floor)) {
			g.t.Fatalf("%s at the floor %d: %s %v", n.id, floor, &r, err)
		}
		body, _, _ := bytes.Cut(r.Body, []byte(`],"count"`))
		if first != nil && !bytes.Equal(first, body) {
			g.t.Fatalf("%s has other messages at the floor %d:\n%s\n%s", n.id, floor, first, body)
		}
		first = body
		if floor == 0 {
			continue
		}
		r, err = n.get(fmt.Sprintf("/broker/consume/%s/g/%d?offset=%d", topic, partition, floor-1))
		if err != nil || r.Status != 410 || !strings.Contains(string(r.Body), fmt.Sprintf(`"earliest_offset":%d,`, floor)) {
			g.t.Fatalf("%s below the floor %d: %s %v", n.id, floor, &r, err)
		}
	}
}

func TestRetentionOutlivesLeaders(t *testing.T) {
	t.Parallel()
	g := runGroup(t, 3, proc.Options{})
	g.command("POST", "/broker/topics", `{"name":"big","partitions":2}`)
	lines := strings.Repeat(`"`+strings.Repeat("x", 200)+"\"\n", 100)
	put := func() {
		for i := range 40 {
			g.command("POST", fmt.Sprintf("/broker/topics/big/produce-ndjson?partition=%d", i%2), lines)
		}
	}
	put()
	const most = 150_000
	g.command("POST", "/broker/retention", fmt.Sprintf(`{"topic":"*","max_bytes":%d}`, most))
	g.command("POST", "/broker/retention", `{"topic":"big","partition":1,"max_bytes":9000000000}`)
	small := func(d *described) bool {
		return d.Partitions[0].Bytes <= most && d.Partitions[0].Floor > 0 && d.Partitions[1].Floor == 0
	}
	before := g.agree("the partition is small", "big", small)
	g.command("POST", "/broker/delete-before", `{"topic":"big","partition":1,"before_offset":77}`)

	leader := g.leader()
	mustKill(t, leader.Server)
	put()
	after := g.agree("the partition is small again under another leader", "big", func(d *described) bool {
		return d.Partitions[0].Bytes <= most && d.Partitions[0].Floor > before.Partitions[0].Floor && d.Partitions[1].Floor == 77
	})
	g.command("POST", "/broker/topics/big/partitions", `{"partitions":3}`)
	g.command("POST", "/broker/topics/big/produce?partition=2", "v")
	g.start(leader)
	g.agree("the old leader knows", "big", func(d *described) bool {
		return len(d.Partitions) == 3 && d.Partitions[0].Floor >= after.Partitions[0].Floor && d.Partitions[2].Next == 1 &&
			d.Partitions[2].Retention.MaxBytes == most && d.Partitions[1].Retention.MaxBytes == 9_000_000_000
	})

	g.command("DELETE", "/broker/topics/big", "")
	g.command("POST", "/broker/topics/big/produce?partition=1", "anew")
	fresh := func(d *described) bool { return d.ID > before.ID && d.Partitions[1].Next == 1 }
	g.agree("the new topic", "big", fresh)
	for _, n := range g.nodes {
		mustStop(t, n.Server)
	}
	g.start(g.nodes...)
	g.agree("the new topic after a restart", "big", fresh)
}

// A single node that is killed while floors move and topics come and go has, after its start, what it had answered.
func TestRetentionSurvivesKill(t *testing.T) {
	t.Parallel()
	s := proc.Run(t, proc.Options{})
	lines := []byte(strings.Repeat(`"`+strings.Repeat("x", 200)+"\"\n", 100))
	for round := range scale(10, 4, 3) {
		c := s.Connect(t)
		do := func(method, target, body string) string {
			t.Helper()
			r, err := c.Do(method, target, []byte(body))
			if err != nil || r.Status >= 300 {
				t.Fatalf("%s %s: %s %v", method, target, &r, err)
			}
			return string(r.Body)
		}
		for range 5 {
			do("POST", "/broker/topics/kept/produce-ndjson?partition=0", string(lines))
			do("POST", "/broker/topics/brief/produce-ndjson?partition=0", string(lines))
		}
		do("POST", "/broker/topics/kept/partitions", fmt.Sprintf(`{"partitions":%d}`, 9+round))
		floor := 500*round + 123
		if got := do("POST", "/broker/delete-before", fmt.Sprintf(`{"topic":"kept","partition":0,"before_offset":%d}`, floor)); !strings.Contains(got, fmt.Sprintf(`"deleted_count":%d,`, min(floor, 500))) {
			t.Fatal(got)
		}
		do("POST", "/broker/retention", fmt.Sprintf(`{"topic":"kept","ttl_ms":%d}`, 1e9+round))
		do("DELETE", "/broker/topics/brief", "")
		want := do("GET", "/broker/topics/kept", "")
		mustKill(t, s)
		s = s.Again(t)
		c = s.Connect(t)
		if got := do("GET", "/broker/topics/kept", ""); got != want {
			t.Fatalf("after the start\n%s\nbefore\n%s", got, want)
		}
		if r, err := c.Get("/broker/topics/brief"); err != nil || r.Status != 404 {
			t.Fatalf("a deleted topic: %s %v", &r, err)
		}
		if r, err := c.Get(fmt.Sprintf("/broker/consume/kept/g/0?limit=1&offset=%d", floor)); err != nil || r.Status != 200 {
			t.Fatalf("at the floor: %s %v", &r, err)
		}
	}
}

// A topic that was filled with far more than it may keep: what the directory occupies falls to what is kept and a little, reads go on
// right at the floor, and so it is after a restart. 2 GiB and 256 MiB in segments of the usual size with AYDER_BIG=1.
func TestDiskUseFollowsMaxBytes(t *testing.T) {
	t.Parallel()
	fill, most, segment := scale[int64](2<<30, 96<<20, 48<<20), scale[int64](256<<20, 16<<20, 16<<20), scale[int64](64<<20, 4<<20, 4<<20)
	s := proc.Run(t, proc.Options{Args: []string{"--segment-bytes", fmt.Sprint(segment), "--body-bytes", "1048576"}})
	c := s.Connect(t)
	if err := c.CreateTopic("big", 1); err != nil {
		t.Fatal(err)
	}
	line := bytes.Repeat(append(bytes.Repeat([]byte("1"), 1023), '\n'), 1024)
	for n := int64(0); n < fill; n += int64(len(line)) {
		if _, err := c.ProduceLines("big", 0, line); err != nil {
			t.Fatal(err)
		}
	}
	filled := logBytes(t, s.Dir)
	began := time.Now()
	r, err := c.Post("/broker/retention", fmt.Appendf(nil, `{"topic":"big","max_bytes":%d}`, most))
	if err != nil || r.Status != 200 {
		t.Fatal(&r, err)
	}
	limit := most + 3*segment // the newest segment, one to come, and the rest of the oldest
	if full() {
		limit = most + most*3/10
	}
	deadline(t, "the space", func() bool { return logBytes(t, s.Dir) <= limit })
	t.Logf("%d MiB became %d MiB, %.2f of %d, in %v", filled>>20, logBytes(t, s.Dir)>>20, float64(logBytes(t, s.Dir))/float64(most), most>>20, time.Since(began).Round(time.Second))
	look := func() (d described) {
		t.Helper()
		r, err := c.Get("/broker/topics/big")
		if err == nil {
			err = r.JSON(&d)
		}
		if err != nil || d.Partitions[0].Bytes > uint64(most) || d.Partitions[0].Bytes < uint64(most-fill/32) {
			t.Fatalf("%s %v", &r, err)
		}
		floor := d.Partitions[0].Floor
		count := uint64(0)
		end, err := c.Each("big", 0, floor, func(*proc.Message) error { count++; return nil })
		if err != nil || end != d.Partitions[0].Next || count != d.Partitions[0].Messages {
			t.Fatalf("%d of %d messages from the floor on, %v", count, d.Partitions[0].Messages, err)
		}
		if r, err := c.Get(fmt.Sprintf("/broker/consume/big/g/0?offset=%d", floor-1)); err != nil || r.Status != 410 {
			t.Fatalf("below the floor: %s %v", &r, err)
		}
		return d
	}
	before := look()
	mustKill(t, s)
	s = s.Again(t)
	c = s.Connect(t)
	if after := look(); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("after a restart %+v, before %+v", after, before)
	}
	if out, code := ayderCheck(t, s); code != 0 {
		t.Errorf("check: %d, %s", code, out)
	}
}
