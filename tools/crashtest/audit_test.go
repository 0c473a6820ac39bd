package main

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"ayder/internal/testkit/proc"
)

// The audit is what every verdict rests on, so each thing that it must notice is planted here into
// a log that is otherwise right.

// world is a ledger and the log that a faultless server would hold.
type world struct {
	ledger ledger
	log    [partitions][]proc.Message
}

// newWorld has two rounds of three connections with forty requests each; every fifth was not
// answered, and half of those are in the log all the same.
func newWorld() *world {
	w := &world{}
	for range 2 {
		for _, p := range w.ledger.open(3) {
			for i := range 40 {
				r := request{partition: uint8(i / 2 % partitions), lines: 1, acked: i%5 != 0}
				if i%3 == 0 {
					r.ndjson, r.lines = true, uint16(1+i%7)
				}
				p.requests = append(p.requests, r)
			}
		}
	}
	w.ledger.each(func(p *page, number int, r *request) {
		if r.acked || number%2 == 0 {
			r.offset = w.append(p, number, r)
		}
	})
	return w
}

// append puts a request's messages at the end of its partition.
func (w *world) append(p *page, number int, r *request) (offset uint64) {
	part := &w.log[r.partition]
	offset = uint64(len(*part))
	for line := range r.lines {
		n := name{p.round, p.conn, uint32(number), line}
		*part = append(*part, proc.Message{
			Offset: uint64(len(*part)), ValueB64: appendPayload(nil, testSeed, n, r.ndjson),
		})
	}
	return offset
}

// number gives the partition's messages the offsets of their places.
func (w *world) number(partition int) {
	for i := range w.log[partition] {
		w.log[partition][i].Offset = uint64(i)
	}
}

func (w *world) read(partition int, from uint64, visit func(*proc.Message) error) (uint64, error) {
	end := from
	for i := range w.log[partition] {
		m := &w.log[partition][i]
		if m.Offset < from {
			continue
		}
		if err := visit(m); err != nil {
			return end, err
		}
		end = m.Offset + 1
	}
	return end, nil
}

func (w *world) audit(t *testing.T) *audit {
	t.Helper()
	a := &audit{seed: testSeed, ledger: &w.ledger}
	if _, err := a.run(w.read, [partitions]uint64{}); err != nil {
		t.Fatal(err)
	}
	return a
}

// place finds a message in the log of partition 1: the first line of the first request for which ok.
func (w *world) place(t *testing.T, ok func(r *request) bool) (index int, r *request) {
	t.Helper()
	for i := range w.log[1] {
		n, err := parseName(testSeed, w.log[1][i].ValueB64)
		if err != nil {
			t.Fatal(err)
		}
		if r := w.ledger.find(n); i > 2 && n.line == 0 && ok(r) {
			return i, r
		}
	}
	t.Fatal("no such message")
	return 0, nil
}

func single(r *request) bool    { return r.acked && !r.ndjson }
func batch(r *request) bool     { return r.acked && r.lines > 2 }
func unsettled(r *request) bool { return !r.acked && r.lines == 1 }

func TestAuditFindsNothingWrongInARightLog(t *testing.T) {
	w := newWorld()
	a := w.audit(t)
	if err := a.faults.err(); err != nil {
		t.Error(err)
	}
	want := 0
	for p := range w.log {
		want += len(w.log[p])
	}
	if a.messages != want || a.late == 0 {
		t.Errorf("%d messages of %d, %d unanswered ones found", a.messages, want, a.late)
	}
	if again := w.audit(t); again.faults.total != 0 {
		t.Error("a second audit of the same log finds faults:", again.faults.err())
	}
}

func TestAuditNotices(t *testing.T) {
	cases := map[string]struct {
		want  string
		spoil func(t *testing.T, w *world)
	}{
		"a message that is lost": {"lost", func(t *testing.T, w *world) {
			i, _ := w.place(t, single)
			w.log[1] = slices.Delete(w.log[1], i, i+1)
			w.number(1)
		}},
		"the end of the log cut off": {"lost", func(_ *testing.T, w *world) {
			w.log[2] = w.log[2][:len(w.log[2])/2]
		}},
		"a whole partition gone": {"lost", func(_ *testing.T, w *world) { w.log[3] = nil }},
		"a gap": {"follows", func(t *testing.T, w *world) {
			i, _ := w.place(t, unsettled)
			w.log[1] = slices.Delete(w.log[1], i, i+1)
		}},
		"a repeated offset": {"follows", func(t *testing.T, w *world) {
			i, _ := w.place(t, single)
			w.log[1] = slices.Insert(w.log[1], i, w.log[1][i])
		}},
		"a duplicate": {"duplicate", func(t *testing.T, w *world) {
			i, _ := w.place(t, single)
			w.log[1] = append(w.log[1], w.log[1][i])
			w.number(1)
		}},
		"a duplicate of what was not answered": {"duplicate", func(t *testing.T, w *world) {
			i, _ := w.place(t, unsettled)
			w.log[1] = append(w.log[1], w.log[1][i])
			w.number(1)
		}},
		"an altered byte": {"other bytes", func(t *testing.T, w *world) {
			i, _ := w.place(t, single)
			v := slices.Clone(w.log[1][i].ValueB64)
			v[len(v)-1] ^= 1
			w.log[1][i].ValueB64 = v
		}},
		"a byte too many": {"other bytes", func(t *testing.T, w *world) {
			i, _ := w.place(t, single)
			w.log[1][i].ValueB64 = append(slices.Clone(w.log[1][i].ValueB64), 0)
		}},
		"a message at another offset than promised": {"found at", func(t *testing.T, w *world) {
			_, r := w.place(t, single)
			r.offset++
		}},
		"two messages exchanged": {"found at", func(t *testing.T, w *world) {
			i, _ := w.place(t, single)
			w.log[1][i], w.log[1][i-1] = w.log[1][i-1], w.log[1][i]
			w.number(1)
		}},
		"half a batch": {"lines are there", func(t *testing.T, w *world) {
			i, r := w.place(t, batch)
			w.log[1] = slices.Delete(w.log[1], i+1, i+int(r.lines))
			w.number(1)
		}},
		"a batch with another message inside": {"torn batch", func(t *testing.T, w *world) {
			i, _ := w.place(t, batch)
			w.log[1] = slices.Insert(w.log[1], i+1, w.log[1][0])
			w.number(1)
		}},
		"a message in another partition": {"not sent here", func(t *testing.T, w *world) {
			i, _ := w.place(t, unsettled)
			w.log[2] = append(w.log[2], w.log[1][i])
			w.number(2)
		}},
		"a message that nobody sent": {"not sent here", func(_ *testing.T, w *world) {
			w.log[2] = append(w.log[2], proc.Message{ValueB64: appendName(nil, testSeed, name{request: 999_999})})
			w.number(2)
		}},
		"a message of somebody else": {"not a message of this run", func(_ *testing.T, w *world) {
			w.log[2] = append(w.log[2], proc.Message{ValueB64: []byte("hello")})
			w.number(2)
		}},
		"requests of one connection out of order": {"before the one sent before it", func(t *testing.T, w *world) {
			i, r := w.place(t, unsettled)
			m := w.log[1][i]
			w.log[1] = append(slices.Delete(w.log[1], i, i+1), m)
			w.number(1)
			w.ledger.each(func(_ *page, _ int, other *request) {
				if other != r && other.acked && other.partition == 1 && other.offset > uint64(i) {
					other.offset--
				}
			})
		}},
	}
	for what, c := range cases {
		t.Run(what, func(t *testing.T) {
			w := newWorld()
			c.spoil(t, w)
			err := w.audit(t).faults.err()
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("the audit says %v, want something with %q", err, c.want)
			}
		})
	}
}

// An audit that begins where the last one ended must still notice what concerns earlier rounds.
func TestAuditOfWhatIsNewBuildsOnTheLastOne(t *testing.T) {
	w := newWorld()
	from, err := (&audit{seed: testSeed, ledger: &w.ledger}).run(w.read, [partitions]uint64{})
	if err != nil {
		t.Fatal(err)
	}
	more := func() *audit {
		a := &audit{seed: testSeed, ledger: &w.ledger}
		if _, err := a.run(w.read, from); err != nil {
			t.Fatal(err)
		}
		return a
	}
	if a := more(); a.faults.total != 0 || a.messages != 0 {
		t.Errorf("nothing is new: %d messages, %v", a.messages, a.faults.err())
	}
	p := w.ledger.open(1)[0]
	p.requests = []request{{partition: 1, lines: 1, acked: true}}
	p.requests[0].offset = w.append(p, 0, &p.requests[0])
	if a := more(); a.faults.total != 0 || a.messages != 1 {
		t.Errorf("one message is new: %d messages, %v", a.messages, a.faults.err())
	}
	p.requests[0].found = 0
	w.log[1] = append(w.log[1], w.log[1][0])
	w.number(1)
	if a := more(); a.faults.err() == nil || !strings.Contains(a.faults.err().Error(), "duplicate") {
		t.Errorf("an old message is there again: %v", a.faults.err())
	}
}

func TestAuditGivesUpWhenReadingFails(t *testing.T) {
	w, broken := newWorld(), errors.New("no answer")
	a := &audit{seed: testSeed, ledger: &w.ledger}
	_, err := a.run(func(int, uint64, func(*proc.Message) error) (uint64, error) { return 0, broken }, [partitions]uint64{})
	if !errors.Is(err, broken) {
		t.Errorf("the audit says %v", err)
	}
}

func TestFaultsTellTheFirstFewAndCountAll(t *testing.T) {
	var a, b faults
	for i := range 3 * faultsMax {
		a.addf("a%d", i)
		b.addf("b%d", i)
	}
	a.merge(&b)
	if a.total != 6*faultsMax || len(a.texts) != faultsMax || a.texts[0] != "a0" {
		t.Errorf("%d counted, %d told, the first is %q", a.total, len(a.texts), a.texts[0])
	}
	if (&faults{}).err() != nil {
		t.Error("no fault is an error")
	}
}
