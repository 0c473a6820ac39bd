package raftlog

import (
	"errors"
	"strings"
	"testing"

	"ayder/internal/record"
)

// A judge that sees nothing would make every simulation pass: each kind of violation is shown to it here.

// frameOf is a frame as a node would apply it.
func frameOf(term uint64, values ...string) *record.Frame {
	b := record.NewBatch()
	for i, v := range values {
		b.AppendRecord(record.Stream{Topic: 1}, uint64(i), &record.Record{Value: []byte(v)})
	}
	b.Term = term
	b.Seal(record.Header{Index: 7, Term: term, TimeMs: 1}, 0)
	f := b.Frame()
	return &f
}

func TestLedgerSeesHarm(t *testing.T) {
	a, b := factOf(frameOf(1, "a")), factOf(frameOf(1, "b"))
	later := factOf(frameOf(2, "a"))
	for name, c := range map[string]struct {
		do   func(l *ledger)
		want string
	}{
		"agreement":             {func(l *ledger) { l.applied("n1", 1, a); l.applied("n2", 1, a) }, ""},
		"other bytes":           {func(l *ledger) { l.applied("n1", 1, a); l.applied("n2", 1, b) }, "n2 applied [b]"},
		"other term":            {func(l *ledger) { l.applied("n1", 1, a); l.applied("n2", 1, later) }, "of term 2"},
		"twice":                 {func(l *ledger) { l.applied("n1", 1, a); l.applied("n1", 2, later) }, "at index 1 and at index 2"},
		"acknowledged":          {func(l *ledger) { l.applied("n1", 1, a); l.acknowledge("n1", "a", 1) }, ""},
		"acknowledged too soon": {func(l *ledger) { l.acknowledge("n1", "a", 1); l.applied("n1", 1, a) }, "acknowledged a at index 1"},
		"acknowledged wrongly":  {func(l *ledger) { l.applied("n1", 1, a); l.acknowledge("n1", "a", 2) }, "applied at 1"},
		"lost":                  {func(l *ledger) { l.acknowledge("n1", "a", 1) }, "is lost"},
		"behind": {func(l *ledger) {
			l.applied("n1", 1, a)
			l.judge("n2", 0, 1, func(uint64) (fact, error) { return a, nil })
		}, "n2 has applied up to index 0"},
		"log differs": {func(l *ledger) {
			l.applied("n1", 1, a)
			l.judge("n2", 1, 1, func(uint64) (fact, error) { return b, nil })
		}, "n2: the log's index 1 holds [b]"},
		"log unreadable": {func(l *ledger) {
			l.applied("n1", 1, a)
			l.judge("n2", 1, 1, func(uint64) (fact, error) { return b, errors.New("torn") })
		}, "torn"},
		"log dropped": {func(l *ledger) {
			l.applied("n1", 1, a)
			l.judge("n2", 1, 2, func(uint64) (fact, error) { return b, errors.New("gone") })
		}, ""},
		"time goes back": {func(l *ledger) {
			early := b
			early.timeMs--
			l.applied("n1", 1, a)
			l.applied("n1", 2, early)
		}, "before it was 1"},
	} {
		l := newLedger()
		c.do(l)
		l.close()
		got := strings.Join(l.harm, "\n")
		if c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// What replicas must agree on is in the fact, what is each disk's own is not.
func TestFactOfAFrame(t *testing.T) {
	x := factOf(frameOf(3, "a", "b"))
	if len(x.values) != 2 || x.values[1] != "b" || x.term != 3 {
		t.Fatal(x)
	}
	own := frameOf(3, "a", "b")
	own.Durable, own.Staged = 5, 6
	if y := factOf(own); !x.same(&y) {
		t.Error("a disk's own marks count")
	}
	for name, change := range map[string]func(f *record.Frame){
		"term":    func(f *record.Frame) { f.Term++ },
		"time":    func(f *record.Frame) { f.TimeMs++ },
		"flags":   func(f *record.Frame) { f.Flags++ },
		"group":   func(f *record.Frame) { f.Group++ },
		"payload": func(f *record.Frame) { f.Payload[len(f.Payload)-1]++ },
	} {
		f := frameOf(3, "a", "b")
		change(f)
		if y := factOf(f); x.same(&y) {
			t.Errorf("%s does not count", name)
		}
	}
}
