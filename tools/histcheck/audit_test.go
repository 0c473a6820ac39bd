package main

import (
	"slices"
	"strings"
	"testing"
)

// Each thing that the audit must notice is planted here into a log that is otherwise right.

const testSeed = 42

// right is a log of three partitions with ten messages each, and the history that made it: some acknowledged, some
// of unknown outcome, some refused and not there.
func right() (history, contents) {
	var h history
	log := make(contents)
	id := uint64(0)
	for p := range 3 {
		for i := range 10 {
			id++
			o := op{client: p, partition: p, kind: kind(i % 3), id: id, offset: uint64(i)}
			if i%4 == 3 {
				o.outcome, o.offset = outcomeUnknown, 0
			}
			h = append(h, o)
			log[p] = append(log[p], message{uint64(i), 1700 + id, string(appendValue(nil, testSeed, id))})
		}
		h = append(
			h, op{partition: p, kind: kindAppend, id: id + 1, outcome: outcomeRefused},
			op{partition: p, kind: kindSwap, id: id + 2, outcome: outcomeFailed},
			op{partition: p, kind: kindAppend, id: id + 3, outcome: outcomeUnknown},
			op{partition: p, kind: kindFollower, from: 2, ids: []uint64{id - 7, id - 6}},
			op{partition: p, kind: kindFollower, from: 99, outcome: outcomeFailed},
		)
		id += 3
	}
	return h, log
}

func (c contents) clone() contents {
	d := make(contents)
	for p, messages := range c {
		d[p] = slices.Clone(messages)
	}
	return d
}

// look audits three nodes that hold the log, the last one as spoilt.
func look(h history, log, last contents) *faults {
	f := &faults{}
	compare(f, "the leader's answer", "n1", log, log.clone())
	compare(f, "the leader's answer", "n3", log, last)
	h.promises(f, log.index(f, testSeed))
	h.followers(f, log.ids(testSeed))
	return f
}

func TestAuditFindsNothingWrongInARightLog(t *testing.T) {
	h, log := right()
	if err := look(h, log, log.clone()).err(); err != nil {
		t.Error(err)
	}
}

func TestAuditNotices(t *testing.T) {
	foreign := message{10, 1, "somebody else's"}
	cases := map[string]struct {
		want  string
		spoil func(h history, log, last contents) history
	}{
		"a node that lacks the end": {"holds 10 messages, n3 9", func(h history, _, last contents) history {
			last[1] = last[1][:9]
			return h
		}},
		"a node that has more": {"n3 11", func(h history, _, last contents) history {
			last[1] = append(last[1], foreign)
			return h
		}},
		"a node with other bytes": {"at offset 4 of time 1731, n3 ", func(h history, _, last contents) history {
			last[2][4].value = last[2][5].value
			return h
		}},
		"a node with another time": {"at offset 4 of time 1732", func(h history, _, last contents) history {
			last[2][4].time++
			return h
		}},
		"an acknowledged message that is nowhere": {"LOST", func(h history, log, last contents) history {
			log[0], last[0] = log[0][:9], last[0][:9]
			return h
		}},
		"an acknowledged message at another offset": {"acknowledged at offset 0, found at 1", func(h history, log, last contents) history {
			log[0][0].value, log[0][1].value = log[0][1].value, log[0][0].value
			last[0] = slices.Clone(log[0])
			return h
		}},
		"a message twice": {"its message is at offset", func(h history, log, last contents) history {
			log[0] = append(log[0], message{10, 1, log[0][3].value})
			last[0] = slices.Clone(log[0])
			return h
		}},
		"a message in another partition": {"found in partition 1", func(h history, log, last contents) history {
			log[1] = append(log[1], message{10, 1, log[0][9].value})
			log[0] = log[0][:9]
			last[0], last[1] = slices.Clone(log[0]), slices.Clone(log[1])
			return h
		}},
		"a refused message that is there": {"refused, found at offset 10", func(h history, log, last contents) history {
			log[0] = append(log[0], message{10, 1, string(appendValue(nil, testSeed, 11))})
			last[0] = slices.Clone(log[0])
			return h
		}},
		"a declined message that is there": {"declined, found at offset 10", func(h history, log, last contents) history {
			log[0] = append(log[0], message{10, 1, string(appendValue(nil, testSeed, 12))})
			last[0] = slices.Clone(log[0])
			return h
		}},
		"a message of somebody else": {"nobody wrote this", func(h history, log, last contents) history {
			log[0] = append(log[0], foreign)
			last[0] = slices.Clone(log[0])
			return h
		}},
		"a message that no client of this run sent": {"1 messages are there that no client sent", func(h history, log, last contents) history {
			log[0] = append(log[0], message{10, 1, string(appendValue(nil, testSeed, 7777))})
			last[0] = slices.Clone(log[0])
			return h
		}},
		"altered bytes": {"not the bytes that were written", func(h history, log, last contents) history {
			log[0][3].value = log[0][3].value[:20] + "?" + log[0][3].value[21:]
			last[0] = slices.Clone(log[0])
			return h
		}},
		"a gap": {"is in place", func(h history, log, last contents) history {
			log[0][9].offset = 11
			last[0] = slices.Clone(log[0])
			return h
		}},
		"a follower that showed what is not there": {"a follower showed messages up to offset 11", func(h history, _, _ contents) history {
			return append(h, op{kind: kindFollower, from: 9, ids: []uint64{10, 4}})
		}},
		"a follower that showed something else": {"a follower showed the message of operation 4 at offset 2", func(h history, _, _ contents) history {
			return append(h, op{kind: kindFollower, from: 2, ids: []uint64{4}})
		}},
	}
	for name, c := range cases {
		h, log := right()
		last := log.clone()
		h = c.spoil(h, log, last)
		f := look(h, log, last)
		if err := f.err(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want something with %q", name, err, c.want)
		}
	}
}

func TestFaultsAreCountedWhenTheyAreNoLongerTold(t *testing.T) {
	var f, g faults
	for i := range 3 * faultsMax {
		f.addf("number %d", i)
	}
	g.addf("another")
	f.merge(&g)
	if f.total != 3*faultsMax+1 || len(f.texts) != faultsMax || f.err() == nil || (&faults{}).err() != nil {
		t.Errorf("%d faults, %d told", f.total, len(f.texts))
	}
}

func TestValues(t *testing.T) {
	shortest, longest := valueBytesMax, 0
	for id := range uint64(2000) {
		v := appendValue(nil, testSeed, id)
		shortest, longest = min(shortest, len(v)), max(longest, len(v))
		got, err := parseValue(testSeed, v)
		if got != id || err != nil {
			t.Fatal(got, err)
		}
		if _, err := parseValue(testSeed+1, v); err == nil {
			t.Fatal("another run's value is taken for this one's")
		}
		if _, err := parseValue(testSeed, v[:len(v)-1]); err == nil {
			t.Fatal("a short value is taken for a whole one")
		}
	}
	if shortest < valueBytesMin || longest > valueBytesMax || longest-shortest < (valueBytesMax-valueBytesMin)/2 {
		t.Errorf("lengths from %d to %d", shortest, longest)
	}
	for _, foreign := range []string{"", "x", "000000000000000g more", "0000000000000001"} {
		if _, err := parseValue(testSeed, []byte(foreign)); err == nil {
			t.Errorf("%q is taken for a value", foreign)
		}
	}
}

func TestWriteGap(t *testing.T) {
	h := history{appended(0, 30, 1, 0), appended(0, 10, 2, 1), seen(0, 60, 0), appended(0, 100, 3, 2), appended(0, 110, 4, 3)}
	h = append(h, op{kind: kindAppend, outcome: outcomeUnknown, ret: 50})
	if gap, at := h.writeGap(); gap != 70 || at != 30 {
		t.Errorf("a gap of %d from %d on", gap, at)
	}
}
