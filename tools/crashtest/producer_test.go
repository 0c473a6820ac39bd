package main

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"ayder/internal/testkit/proc"
)

func answer(format string, args ...any) *proc.Response {
	return &proc.Response{Status: 200, Body: fmt.Appendf(nil, format, args...)}
}

const singleAnswer = `{"ok":true,"offset":%d,"partition":2,"batch_id":9,"sealed":true,"durable":true,"mode":"sealed","synced":true}`

func TestAcceptTakesTheOffset(t *testing.T) {
	r := request{partition: 2, lines: 1}
	if _, err := r.accept(answer(singleAnswer, 41), false); err != nil || !r.acked || r.offset != 41 {
		t.Errorf("%+v, %v", r, err)
	}
	r = request{partition: 2, lines: 3, ndjson: true}
	many := `{"ok":true,"first_offset":7,"count":3,"partition":2,"durable":true,"synced":true}`
	if _, err := r.accept(answer("%s", many), false); err != nil || !r.acked || r.offset != 7 {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestAcceptRefusesWrongAnswers(t *testing.T) {
	for what, text := range map[string]string{
		"not JSON":          `{"ok":true`,
		"not ok":            `{"ok":false,"offset":1,"partition":2,"durable":true}`,
		"another partition": `{"ok":true,"offset":1,"partition":3,"durable":true}`,
		"not durable":       `{"ok":true,"offset":1,"partition":2,"durable":false,"synced":false}`,
	} {
		r := request{partition: 2, lines: 1}
		if _, err := r.accept(answer("%s", text), false); err == nil || r.acked {
			t.Errorf("%s: accepted", what)
		}
	}
	r := request{partition: 2, lines: 3, ndjson: true}
	if _, err := r.accept(answer(`{"ok":true,"first_offset":1,"count":2,"partition":2,"durable":true}`), false); err == nil {
		t.Error("an answer for two of three lines is accepted")
	}
}

func TestAcceptHoldsDuplicatesToTheFirstAnswer(t *testing.T) {
	duplicate := strings.Replace(singleAnswer, `"synced":true`, `"duplicate":true,"synced":null`, 1)
	r := request{partition: 2, lines: 1, acked: true, offset: 41}
	if is, err := r.accept(answer(duplicate, 41), true); !is || err != nil {
		t.Error(is, err)
	}
	if _, err := r.accept(answer(duplicate, 42), true); err != errOtherOffset {
		t.Errorf("another offset: %v", err)
	}
	if _, err := r.accept(answer(singleAnswer, 41), true); err != errNotDuplicate {
		t.Errorf("stored twice: %v", err)
	}
}

// Under load a request that was sent once cannot be a duplicate; after a restart it can.
func TestSettleNoticesADuplicateThatIsNone(t *testing.T) {
	p := composed(t, 1)
	p.page.requests = []request{{partition: 2, lines: 1}}
	duplicate := answer(strings.Replace(singleAnswer, `"synced":true`, `"duplicate":true,"synced":null`, 1), 41)
	if p.settle(0, false, duplicate) || p.faults.total != 1 {
		t.Error("not noticed")
	}
	if !p.settle(0, true, duplicate) || p.faults.total != 1 {
		t.Error("a real one is taken for a fault:", p.faults.err())
	}
}

func TestSettleExpectsErrorsOnlyAfterTheBlow(t *testing.T) {
	failed := &proc.Response{Status: 500, Body: []byte(`{"ok":false,"error":"storage_failed"}`)}
	p := composed(t, 1)
	if p.settle(0, false, failed) || p.faults.total != 1 {
		t.Error("a failure before the blow is not noticed")
	}
	p.struck.Store(true)
	if p.settle(0, false, failed) || p.faults.total != 1 {
		t.Error("a failure after the blow is taken for a fault")
	}
	failed.Body = []byte(`{"ok":false,"error":"internal"}`)
	if p.settle(0, false, failed) || p.faults.total != 2 {
		t.Error("another failure after the blow is not noticed")
	}
}

// The body that settle sends again after a restart must be the one that was sent before.
func TestDescribeIsTheSameEveryTime(t *testing.T) {
	p := composed(t, 200)
	for i := range p.page.requests {
		target, body := describe(nil, testSeed, true, p.page, i)
		again, same := describe(nil, testSeed, true, p.page, i)
		if target != again || string(body) != string(same) {
			t.Fatalf("request %d differs when it is described again", i)
		}
		if !strings.Contains(target, "idempotency_key=") {
			t.Fatalf("request %d has no key: %s", i, target)
		}
	}
}

func TestComposeNotesEveryRequestInTheOrderOfItsAnswers(t *testing.T) {
	p := composed(t, 1)
	repeated := 0
	for range 500 {
		first := len(p.page.requests)
		p.compose()
		want := strings.Count(string(p.out), "POST /broker/topics/"+topic+"/produce")
		if want != len(p.burst) {
			t.Fatalf("%d requests in the burst, %d answers expected", want, len(p.burst))
		}
		next := first
		for i, number := range p.burst {
			if i > 0 && number == p.burst[i-1] {
				repeated++
				continue
			}
			if number != next {
				t.Fatalf("burst %v begins at %d", p.burst, first)
			}
			next++
		}
	}
	if repeated == 0 {
		t.Error("no request was ever sent twice")
	}
}

// composed is a producer that has composed some bursts and sent none.
func composed(t *testing.T, bursts int) *producer {
	t.Helper()
	p := newProducer(testSeed, true, (&ledger{}).open(1)[0], &atomic.Bool{})
	p.client = &proc.Client{Header: proc.DevToken}
	for range bursts {
		p.compose()
	}
	return p
}
