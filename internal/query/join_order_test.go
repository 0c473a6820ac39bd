package query

import (
	"fmt"
	"testing"
)

// Which side of a join that runs for good is to be read: the one that is behind, and the other while a pair can come of it.
func TestJoinOperatorOrder(t *testing.T) {
	r, err := ParseJoin([]byte(`{"left":{"topic":"l"},"right":{"topic":"r"},"on":{"left_key":"k","right_key":"k"},"window":{"size_ms":100,"allowed_lateness_ms":20,"ts_field":"ts"}}`))
	if err != nil {
		t.Fatal(err)
	}
	j, err := r.Compile(JSONFormat(), JSONFormat())
	if err != nil {
		t.Fatal(err)
	}
	op, err := j.Operator()
	if err != nil {
		t.Fatal(err)
	}
	want := func(first int, both bool) {
		t.Helper()
		if f, b := op.(Paced).Order(); f != first || b != both {
			t.Fatalf("%d first, both %v; want %d, %v", f, b, first, both)
		}
	}
	push := func(side, ts int) {
		t.Helper()
		m := &Message{Value: fmt.Appendf(nil, `{"k":1,"ts":%d}`, ts)}
		if err := op.Push(side, m, func(Row) {}); err != nil {
			t.Fatal(err)
		}
	}
	want(0, true)
	push(0, 1000)
	want(1, false)
	push(1, 900)
	want(1, true)
	push(0, 1021)
	want(1, false)
	push(1, 1030)
	want(0, true)
	push(1, 1141)
	want(0, true)
	push(1, 1142)
	want(0, false)
	again, err := j.Operator()
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Restore(op.AppendState(nil)); err != nil {
		t.Fatal(err)
	}
	if op = again; true {
		want(0, false)
	}
}
