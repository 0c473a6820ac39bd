package main

import (
	"encoding/json"
	"fmt"
	"testing"

	"ayder/internal/testkit/proc"
)

// A rocket topic's messages are in its leader's memory. They are gone with that leader, and no offset is given twice: a
// reader that was somewhere in what is gone is told so, and never shown another message at the same offset.
func TestRocketOffsetsAreNotReusedByTheNextLeader(t *testing.T) {
	t.Parallel()
	g := runGroup(t, 3, proc.Options{})
	if r := g.any("POST", "/broker/topics", []byte(`{"name":"r","partitions":1,"mode":"rocket"}`)); r.Status != 201 {
		t.Fatal(r.Status, string(r.Body))
	}
	seen := map[uint64]string{}
	produce := func(value string) uint64 {
		r := g.any("POST", "/broker/topics/r/produce?partition=0", []byte(value))
		var a proc.Append
		if err := json.Unmarshal(r.Body, &a); err != nil || r.Status != 200 || a.Durable || a.Sealed || a.Mode != "rocket" || a.BatchID != 0 {
			t.Fatalf("%v %d %s", err, r.Status, r.Body)
		}
		if before, ok := seen[a.Offset]; ok {
			t.Fatalf("offset %d was given to %s and to %s", a.Offset, before, value)
		}
		seen[a.Offset] = value
		return a.Offset
	}
	last := uint64(0)
	for round := range 3 {
		for i := range 20 {
			if offset := produce(fmt.Sprintf("%d/%d", round, i)); round+i > 0 && offset <= last {
				t.Fatalf("offset %d after %d", offset, last)
			} else {
				last = offset
			}
		}
		// Any node leads there.
		r := g.any("GET", fmt.Sprintf("/broker/consume/r/g/0?offset=%d", last), nil)
		var page proc.Page
		if err := json.Unmarshal(r.Body, &page); err != nil || page.Count != 1 || *page.Messages[0].Value != seen[last] {
			t.Fatalf("%v %d %s", err, r.Status, r.Body)
		}
		leader := g.leader()
		if round == 1 {
			g.lead(g.others(leader)[0]) // and once without a crash
			continue
		}
		mustKill(t, leader.Server)
		g.start(leader)
	}
	produce("after")
	if r := g.any("GET", "/broker/consume/r/g/0?offset=0", nil); r.Status != 410 {
		t.Errorf("what is gone: %d %s", r.Status, r.Body)
	}
}
