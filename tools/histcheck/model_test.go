package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/anishathalye/porcupine"
)

// The models are what every verdict rests on: histories that a log may have and histories that it may not, drawn by
// hand. Times are small numbers; what is unanswered returns never.

func appended(call, ret int64, id, offset uint64) op {
	return op{kind: kindAppend, call: call, ret: ret, id: id, offset: offset}
}

func swapped(call, ret int64, id, at uint64) op {
	return op{kind: kindSwap, call: call, ret: ret, id: id, expect: at, offset: at}
}

func declined(call, ret int64, expect, next uint64) op {
	return op{kind: kindSwap, outcome: outcomeFailed, call: call, ret: ret, expect: expect, next: next, id: 999}
}

func seen(call, ret int64, from uint64, ids ...uint64) op {
	return op{kind: kindRead, call: call, ret: ret, from: from, ids: ids, next: from + uint64(len(ids))}
}

func committed(call, ret int64, offset uint64) op {
	return op{kind: kindCommitted, call: call, ret: ret, offset: offset}
}

func committing(call, ret int64, offset uint64) op {
	return op{kind: kindCommit, call: call, ret: ret, offset: offset}
}

func truncated(o op) op {
	o.more = true
	return o
}

func TestHistories(t *testing.T) {
	cases := []struct {
		name string
		want porcupine.CheckResult
		h    history
	}{
		{"empty reads of an empty log", porcupine.Ok, history{seen(1, 2, 0), seen(3, 4, 0), committed(5, 6, 0)}},
		{"one after the other", porcupine.Ok, history{appended(1, 2, 10, 0), seen(3, 4, 0, 10), appended(5, 6, 11, 1), seen(7, 8, 1, 11)}},
		{"a read beside an append sees it or not", porcupine.Ok, history{appended(1, 9, 10, 0), seen(2, 3, 0), seen(4, 5, 0, 10)}},
		{"… but does not forget it", porcupine.Illegal, history{appended(1, 9, 10, 0), seen(2, 3, 0, 10), seen(4, 5, 0)}},
		{"a stale read", porcupine.Illegal, history{appended(1, 2, 10, 0), seen(3, 4, 0)}},
		{"a stale read of the second message", porcupine.Illegal, history{appended(1, 2, 10, 0), appended(3, 4, 11, 1), seen(5, 6, 0, 10)}},
		{"a page that ends early and says so", porcupine.Ok, history{appended(1, 2, 10, 0), appended(3, 4, 11, 1), truncated(seen(5, 6, 0, 10))}},
		{"a message that nobody wrote", porcupine.Illegal, history{appended(1, 2, 10, 0), seen(3, 4, 0, 77)}},
		{"a message at another offset", porcupine.Illegal, history{appended(1, 2, 10, 0), appended(3, 4, 11, 1), seen(5, 6, 0, 11, 10)}},
		{"two at one offset", porcupine.Illegal, history{appended(1, 9, 10, 0), appended(1, 9, 11, 0)}},
		{"an offset left out", porcupine.Illegal, history{appended(1, 2, 10, 0), appended(3, 4, 11, 2)}},
		{"offsets against time", porcupine.Illegal, history{appended(1, 2, 10, 1), appended(3, 4, 11, 0)}},
		{"offsets in either order at the same time", porcupine.Ok, history{appended(1, 9, 10, 1), appended(2, 8, 11, 0)}},
		{"an acknowledged message lost, another in its place", porcupine.Illegal, history{appended(1, 2, 10, 0), appended(3, 4, 11, 0), seen(5, 6, 0, 11)}},
		{"unanswered, and there much later", porcupine.Ok, history{appended(1, forever, 10, 1), appended(2, 3, 11, 0), seen(4, 5, 0, 11), seen(6, 7, 0, 11, 10)}},
		{"unanswered, there, and gone again", porcupine.Illegal, history{appended(1, forever, 10, 0), seen(2, 3, 0, 10), seen(4, 5, 0)}},
		{"a read beyond the end says where it is", porcupine.Ok, history{appended(1, 2, 10, 0), {kind: kindRead, call: 3, ret: 4, from: 5, next: 1}}},
		{"… or is wrong", porcupine.Illegal, history{appended(1, 2, 10, 0), {kind: kindRead, call: 3, ret: 4, from: 5, next: 0}}},

		{"compare and set, twice", porcupine.Ok, history{swapped(1, 2, 10, 0), swapped(3, 4, 11, 1)}},
		{"two win", porcupine.Illegal, history{swapped(1, 9, 10, 0), swapped(1, 9, 11, 0)}},
		{"one wins, the other hears why not", porcupine.Ok, history{swapped(1, 9, 10, 0), declined(1, 9, 0, 1)}},
		{"declined although it would have fitted", porcupine.Illegal, history{swapped(1, 2, 10, 0), declined(3, 4, 1, 1)}},
		{"declined by what was there before", porcupine.Illegal, history{appended(1, 2, 10, 0), appended(3, 4, 11, 1), declined(5, 6, 0, 1)}},
		{"declined by what is never seen", porcupine.Illegal, history{declined(1, 2, 0, 1), seen(3, 4, 0)}},
		{"declined by what is on its way", porcupine.Ok, history{appended(1, 9, 10, 0), declined(2, 3, 0, 1), seen(4, 5, 0, 10)}},
		{"declined by what is on its way, which is not seen afterwards", porcupine.Illegal, history{appended(1, 9, 10, 0), declined(2, 3, 0, 1), seen(4, 5, 0)}},

		{"commits grow", porcupine.Ok, history{committing(1, 2, 5), committing(3, 4, 3), committed(5, 6, 5)}},
		{"a commit lost", porcupine.Illegal, history{committing(1, 2, 5), committed(3, 4, 0)}},
		{"a commit goes backward", porcupine.Illegal, history{committing(1, 2, 5), committing(3, 4, 3), committed(5, 6, 3)}},
		{"commits at the same time", porcupine.Ok, history{committing(1, 9, 5), committing(1, 9, 3), committed(2, 3, 3), committed(4, 5, 5)}},
		{"an unanswered commit may come late", porcupine.Ok, history{committing(1, forever, 5), committed(2, 3, 0), committed(4, 5, 5)}},
		{"… or never", porcupine.Ok, history{committing(1, forever, 5), committed(2, 3, 0)}},
		{"… and stays", porcupine.Illegal, history{committing(1, forever, 5), committed(2, 3, 5), committed(4, 5, 0)}},
		{"a committed offset out of nowhere", porcupine.Illegal, history{committed(1, 2, 7)}},
	}
	for _, c := range cases {
		result := porcupine.CheckResult(porcupine.Ok)
		for _, ob := range objects() {
			if operations := c.h.operations(ob.owns); porcupine.CheckOperationsTimeout(ob.model, operations, searchWait) != porcupine.Ok {
				result = porcupine.Illegal
			}
		}
		if result != c.want {
			t.Errorf("%s: %s, want %s", c.name, result, c.want)
		}
	}
}

func TestListsAreComparedByWhatIsInThem(t *testing.T) {
	build := func(ids ...uint64) (e *element) {
		for _, id := range ids {
			e = e.append(id)
		}
		return e
	}
	a, b := build(1, 2, 3), build(1, 2, 3)
	if !a.equal(b) || a.hash() != b.hash() || !(*element)(nil).equal(nil) {
		t.Error("equal lists differ")
	}
	for _, other := range []*element{nil, build(1, 2), build(1, 2, 4), build(3, 2, 1), build(1, 2, 3, 4)} {
		if a.equal(other) || other.equal(a) || a.hash() == other.hash() {
			t.Errorf("a list equals another of length %d", other.len())
		}
	}
	for from, want := range map[uint64]bool{0: false, 1: true, 2: false, 7: false} {
		if got := a.holds(from, []uint64{2, 3}); got != want {
			t.Errorf("2, 3 from %d: %v", from, got)
		}
	}
	if !a.holds(3, nil) || a.holds(4, nil) || !a.holds(1, []uint64{2}) {
		t.Error("an empty slice, or one in the middle")
	}
}

// What nobody was told is settled by the final log, and only that.
func TestResolve(t *testing.T) {
	h := history{
		{kind: kindAppend, id: 1, outcome: outcomeUnknown, call: 1, ret: 2},
		{kind: kindAppend, id: 2, outcome: outcomeUnknown, call: 3, ret: 4},
		{kind: kindKeyed, id: 3, outcome: outcomeUnknown, call: 5, ret: 6, partition: 7},
		{kind: kindAppend, id: 4, outcome: outcomeOK, call: 7, ret: 8, offset: 5},
		{kind: kindRead, id: 5, outcome: outcomeUnknown, call: 9, ret: 10},
		{kind: kindAppend, id: 6, outcome: outcomeRefused, call: 11, ret: 12},
		{kind: kindCommit, id: 7, outcome: outcomeUnknown, call: 13, ret: 14},
		{kind: kindSwap, id: 8, outcome: outcomeFailed, call: 15, ret: 16},
		{kind: kindCommit, id: 9, outcome: outcomeOK, call: 17, ret: 18},
		{kind: kindCommit, id: 10, outcome: outcomeRefused, call: 19, ret: 20},
	}
	settled := h.resolve(map[uint64]place{1: {0, 4}, 3: {8, 1}})
	if len(settled) != 5 {
		t.Fatalf("%d operations are left: %+v", len(settled), settled)
	}
	if o := settled[0]; o.id != 1 || o.outcome != outcomeOK || o.offset != 4 || o.ret != forever {
		t.Errorf("found, but: %+v", o)
	}
	for i, want := range map[int]op{1: h[3], 3: h[7], 4: h[8]} {
		if got := settled[i]; got.id != want.id || got.ret != want.ret || got.outcome != want.outcome || got.offset != want.offset {
			t.Errorf("changed: %+v, was %+v", got, want)
		}
	}
	if o := settled[2]; o.id != 7 || o.ret != forever {
		t.Errorf("an unanswered commit stays open: %+v", o)
	}
	if h[0].outcome != outcomeUnknown {
		t.Error("the history itself was changed")
	}
}

// A history that is not linearizable leaves a picture; one that is leaves none.
func TestSearchDrawsWhatIsWrong(t *testing.T) {
	var h history
	for p := range 5 {
		h = append(
			h, op{kind: kindAppend, partition: p, call: 1, ret: 2, id: uint64(10 + p)},
			op{kind: kindCommit, partition: p, call: 3, ret: 4, offset: 1},
			op{kind: kindRead, partition: p, call: 5, ret: 6, ids: []uint64{uint64(10 + p)}, next: 1},
		)
	}
	dir := t.TempDir()
	if bad, count, err := search(h, dir); len(bad) != 0 || count != 10 || err != nil {
		t.Errorf("%v, %d searches, %v", bad, count, err)
	}
	h = append(
		h, op{kind: kindAppend, partition: 3, call: 1, ret: forever, id: 99, offset: 1},
		op{kind: kindRead, partition: 3, call: 7, ret: 8}, op{kind: kindCommitted, partition: 4, call: 7, ret: 8},
	)
	bad, _, err := search(h, dir)
	if len(bad) != 2 || bad[0].partition != 3 || bad[1].partition != 4 || err != nil {
		t.Fatal(bad, err)
	}
	for i, object := range []string{"log", "committed"} {
		picture, err := os.ReadFile(bad[i].picture)
		if err != nil || !strings.Contains(string(picture), "<html") || !strings.Contains(bad[i].String(), "NOT linearizable") {
			t.Error(bad[i], err)
		}
		if filepath.Dir(bad[i].picture) != dir || bad[i].object != object {
			t.Error(bad[i].picture)
		}
	}
}

// A long history with many clients and unanswered operations is searched in no time: the order of appends follows
// from their offsets.
func TestLongHistoriesAreSearched(t *testing.T) {
	const operations, clients = 3000, 12
	var h history
	var ids []uint64
	for i := range int64(operations) {
		id := uint64(i)
		o := op{kind: kindAppend, client: int(i % clients), id: id, offset: uint64(len(ids)), call: i * 10, ret: i*10 + 10*clients}
		if i%7 == 0 {
			o.ret = forever
		}
		ids = append(ids, id)
		h = append(h, o)
		if i > clients && i%3 == 0 {
			h = append(h, op{kind: kindRead, call: i*10 + 1, ret: i*10 + 10*clients, from: uint64(i - clients), ids: ids[i-clients : i], next: uint64(i), more: true})
		}
	}
	operationsOfLog := h.operations((*op).ofLog)
	if r := porcupine.CheckOperationsTimeout(logModel(), operationsOfLog, searchWait); r != porcupine.Ok {
		t.Error(r)
	}
}

func TestDescriptions(t *testing.T) {
	for want, o := range map[string]op{
		"append(10) → offset 3":                appended(1, 2, 10, 3),
		"append(10) → offset 3 (unanswered)":   appended(1, forever, 10, 3),
		"cas(at 4, 11) → offset 4":             swapped(1, 2, 11, 4),
		"cas(at 4, 999) → declined, next is 6": declined(1, 2, 4, 6),
		"read(from 2) → [7 8], next 4":         seen(1, 2, 2, 7, 8),
		"commit(5)":                            committing(1, 2, 5),
		"committed() → 5":                      committed(1, 2, 5),
	} {
		if got := o.describe(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
