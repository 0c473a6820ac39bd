package query

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// forGood is a query as it runs in a pipeline, with what it gave out.
type forGood struct {
	t    *testing.T
	q    *Query
	op   Operator
	rows []Row
}

func runForGood(t *testing.T, q *Query) *forGood {
	t.Helper()
	op, err := q.Operator()
	if err != nil {
		t.Fatal(err)
	}
	return &forGood{t: t, q: q, op: op}
}

func (f *forGood) push(m *Message) {
	f.t.Helper()
	// The operator may keep nothing of a message: it gets one that is spoiled afterwards.
	once := *m
	once.Key, once.Value = bytes.Clone(m.Key), bytes.Clone(m.Value)
	err := f.op.Push(0, &once, func(r Row) {
		f.rows = append(f.rows, Row{bytes.Clone(r.Key), r.TimeMs, bytes.Clone(r.JSON)})
	})
	if err != nil {
		f.t.Fatalf("%s: %v", m.Value, err)
	}
	for i := range once.Value {
		once.Value[i] = 'x'
	}
}

// restart puts the operator away and takes it up again.
func (f *forGood) restart() {
	f.t.Helper()
	state := f.op.AppendState([]byte("before"))[len("before"):]
	again, err := f.q.Operator()
	if err != nil {
		f.t.Fatal(err)
	}
	kept := bytes.Clone(state)
	if err := again.Restore(state); err != nil {
		f.t.Fatalf("%x: %v", state, err)
	}
	for i := range state {
		state[i] = 0xEE
	}
	if got := again.AppendState(nil); !bytes.Equal(got, kept) {
		f.t.Fatalf("a state that was restored is another:\n%x\n%x", kept, got)
	}
	f.op = again
}

func (f *forGood) text() []string {
	var lines []string
	for _, r := range f.rows {
		lines = append(lines, string(r.JSON))
	}
	return lines
}

// aggregatesOf are the objects of a batch run.
func aggregatesOf(t testing.TB, r *Result) (list []string) {
	t.Helper()
	var answer struct{ Aggregates []json.RawMessage }
	if err := json.Unmarshal(append(r.AppendJSON([]byte{'{'}), '}'), &answer); err != nil {
		t.Fatal(err)
	}
	for _, a := range answer.Aggregates {
		list = append(list, string(a))
	}
	return list
}

// disordered makes messages of which none is older than lateness before the latest.
func disordered(rng *rand.Rand, count, lateness int) (messages []*Message) {
	now := int64(rng.IntN(2000)) - 1000
	for i := range count {
		if rng.IntN(3) == 0 {
			now += rng.Int64N(60)
		}
		value := fmt.Sprintf(`{"ts":%d,"g":%s,"n":%s,"s":"%c"}`, now-rng.Int64N(int64(lateness)+1),
			pick(rng, "1", "1.0", `"a"`, `"b"`, "null", `{"x":[1]}`, `2`), pick(rng, "1", "0.1", "1e300", "-1e300", "40071992547409931", `"7"`, "null", "-0.3"),
			'a'+rune(rng.IntN(5)))
		switch rng.IntN(40) {
		case 0:
			value = `{"ts":"yesterday","g":1}`
		case 1:
			value = `{"ts":`
		}
		messages = append(messages, &Message{Offset: uint64(i), TimeMs: uint64(i), Value: []byte(value)})
	}
	return messages
}

func pick[T any](rng *rand.Rand, of ...T) T { return of[rng.IntN(len(of))] }

// A query that runs for good, over a stream that ends with a message from the far future, gives what a batch run gives, whatever the
// windows, and wherever it was put away and taken up again.
func TestForGoodIsAsBatch(t *testing.T) {
	seed := rand.Uint64()
	for n := range 300 {
		rng := rand.New(rand.NewPCG(seed, uint64(n)))
		lateness := rng.IntN(300)
		window := pick(rng, fmt.Sprintf(`"size_ms":%d`, 1+rng.IntN(100)),
			fmt.Sprintf(`"type":"hopping","size_ms":%d,"advance_ms":%d`, 1+rng.IntN(100), 1+rng.IntN(120)),
			fmt.Sprintf(`"type":"session","gap_ms":%d`, 1+rng.IntN(50)))
		q := compiled(t, fmt.Sprintf(`"filter":[{"field":"s","op":"ne","value":"c"}],"window":{%s,"ts_field":"ts","allowed_lateness_ms":%d},"aggregate":{"group_by":[%s],
			"measures":[{"op":"count"},{"op":"count","field":"n"},{"op":"sum","field":"n"},{"op":"avg","field":"n"},{"op":"min","field":"s"},{"op":"max","field":"n"}]}`,
			window, lateness, pick(rng, ``, `"g"`, `"g","s"`)))
		messages := disordered(rng, 1+rng.IntN(300), lateness)
		batch, err := q.Run(Limits{}, slices.Values(messages[:min(len(messages), scanDefault)]))
		if err != nil {
			t.Fatal(err)
		}
		want := aggregatesOf(t, batch)
		if strings.Contains(window, "session") {
			slices.SortStableFunc(want, func(a, b string) int { return int(endOf(t, a) - endOf(t, b)) })
		}
		plain, broken := runForGood(t, q), runForGood(t, q)
		for _, m := range append(messages[:min(len(messages), scanDefault)], &Message{Offset: 1e9, Value: []byte(`{"ts":1000000000,"s":"c"}`)}) {
			plain.push(m)
			broken.push(m)
			if rng.IntN(10) == 0 {
				broken.restart()
			}
			if a, b := plain.op.AppendState(nil), broken.op.AppendState(nil); !bytes.Equal(a, b) {
				t.Fatalf("seed %d case %d: states differ:\n%x\n%x", seed, n, a, b)
			}
		}
		if got := plain.text(); !slices.Equal(got, want) {
			t.Fatalf("seed %d case %d: %s\ngot  %s\nwant %s", seed, n, window, strings.Join(got, "\n     "), strings.Join(want, "\n     "))
		}
		if !slices.EqualFunc(plain.rows, broken.rows, func(a, b Row) bool {
			return bytes.Equal(a.JSON, b.JSON) && bytes.Equal(a.Key, b.Key) && a.TimeMs == b.TimeMs
		}) {
			t.Fatalf("seed %d case %d: put away and taken up again, it gives other rows", seed, n)
		}
		c := plain.op.(Counted).Counts()
		if c.Late != 0 || int(c.Matched) != batch.Matched || int(c.Skipped) != batch.Skipped || int(c.Scanned) != batch.Scanned+1 {
			t.Fatalf("seed %d case %d: %+v, but %+v", seed, n, c, batch)
		}
	}
}

func endOf(t *testing.T, aggregate string) int64 {
	var a struct {
		End int64 `json:"window_end_ms"`
	}
	if err := json.Unmarshal([]byte(aggregate), &a); err != nil {
		t.Fatal(err)
	}
	return a.End
}

// All memory is given back when windows close.
func TestClosedWindowsAreForgotten(t *testing.T) {
	for _, window := range []string{`"size_ms":10`, `"type":"hopping","size_ms":10,"advance_ms":3`, `"type":"session","gap_ms":5`} {
		f := runForGood(t, compiled(t, `"window":{`+window+`},"aggregate":{"group_by":["g"],"measures":[{"op":"max","field":"g"}]}`))
		for i := range 20_000 {
			f.push(&Message{Offset: uint64(i), TimeMs: uint64(i), Value: fmt.Appendf(nil, `{"g":"%d"}`, i)})
			f.rows = f.rows[:0]
		}
		a := f.op.(*queryOperator).groups
		if len(a.groups) > 30 || len(a.cells) > 80 || len(a.ids) > 30 || len(a.names) > 80 || len(a.closing.entries) > 200 {
			t.Errorf("%s: %d groups, %d cells, %d, %d, %d", window, len(a.groups), len(a.cells), len(a.ids), len(a.names), len(a.closing.entries))
		}
		if n := len(f.op.AppendState(nil)); n > 4000 {
			t.Errorf("%s: the state has %d bytes", window, n)
		}
	}
}

// A message is late when all its windows are closed, and not before.
func TestLateMessages(t *testing.T) {
	for _, c := range []struct {
		window string
		times  []int64
		late   uint64
		rows   int
	}{
		{`"size_ms":10`, []int64{5, 10, 9, 3}, 2, 1},
		{`"size_ms":10`, []int64{5, 9, 3}, 0, 0},
		{`"size_ms":10,"allowed_lateness_ms":5`, []int64{5, 14, 9, 15, 9}, 1, 1},
		{`"type":"hopping","size_ms":10,"advance_ms":5`, []int64{5, 10, 9, 15, 9}, 1, 2},
		{`"type":"hopping","size_ms":10,"advance_ms":20`, []int64{15, 35, 15}, 0, 0}, // between windows
		{`"type":"session","gap_ms":10`, []int64{5, 15, 4, 6}, 1, 1},                 // 6 is near enough to 15
		{`"type":"session","gap_ms":10`, []int64{5, 14, 4}, 0, 0},
	} {
		f := runForGood(t, compiled(t, `"window":{"ts_field":"ts",`+c.window+`},"aggregate":{"measures":[{"op":"count"}]}`))
		for i, ts := range c.times {
			f.push(&Message{Offset: uint64(i), Value: fmt.Appendf(nil, `{"ts":%d}`, ts)})
		}
		if late := f.op.(Counted).Counts().Late; late != c.late || len(f.rows) != c.rows {
			t.Errorf("%s %v: %d late, want %d; rows %q, want %d", c.window, c.times, late, c.late, f.text(), c.rows)
		}
	}
}

// What the filter does not want moves the watermark, too.
func TestUnwantedMessagesMoveTheWatermark(t *testing.T) {
	f := runForGood(t, compiled(t, `"filter":[{"field":"a","op":"eq","value":1}],"window":{"size_ms":10},"aggregate":{"group_by":["a"],"measures":[{"op":"count"}]}`))
	f.push(&Message{Offset: 0, TimeMs: 5, Value: []byte(`{"a":1}`)})
	f.push(&Message{Offset: 1, TimeMs: 12, Value: []byte(`{"a":2}`)})
	want := `{"key":"a=1","group":{"a":1},"window_start_ms":0,"window_end_ms":10,"count":1}`
	if len(f.rows) != 1 || string(f.rows[0].JSON) != want || string(f.rows[0].Key) != "a=1" || f.rows[0].TimeMs != 9 {
		t.Errorf("%+v", f.rows)
	}
}

// Without measures, matches go through.
func TestMatchesGoThrough(t *testing.T) {
	f := runForGood(t, compiled(t, `"filter":[{"field":"a","op":"gt","value":1}],"window":{"size_ms":1,"ts_field":"ts"},"transform":{"left_fields":["a","b.c"]}`))
	f.push(&Message{TimeMs: 7, HasKey: true, Key: []byte("k"), Value: []byte(`{"a":2,"b":{"c":[1]},"ts":1234}`)})
	f.push(&Message{TimeMs: 7, Value: []byte(`{"a":3}`)})
	f.push(&Message{TimeMs: 7, Value: []byte(`{"a":1}`)})
	f.restart()
	if len(f.rows) != 2 || string(f.rows[0].JSON) != `{"a":2,"b.c":[1]}` || string(f.rows[0].Key) != "k" || f.rows[0].TimeMs != 1234 ||
		string(f.rows[1].JSON) != `{"a":3,"b.c":null}` || f.rows[1].Key != nil || f.rows[1].TimeMs != 7 {
		t.Errorf("%+v", f.rows)
	}
	if c := f.op.(Counted).Counts(); c != (Counts{Scanned: 3, Matched: 2}) {
		t.Errorf("%+v", c)
	}
}

func TestWhatCannotRunForGood(t *testing.T) {
	var bad *RequestError
	if _, err := compiled(t, `"aggregate":{"measures":[{"op":"count"}]}`).Operator(); !errors.As(err, &bad) || bad.Code != "bad_query" {
		t.Errorf("an aggregate without a window: %v", err)
	}
	op, err := compiled(t, `"window":{"size_ms":10},"aggregate":{"measures":[{"op":"sum","field":"a"}]}`).Operator()
	if err != nil {
		t.Fatal(err)
	}
	for i, m := range []string{`{"a":18446744073709551615}`, `{"a":1}`} {
		if err := op.Push(0, &Message{Offset: uint64(i), Value: []byte(m)}, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := op.Push(0, &Message{TimeMs: 10, Value: []byte(`{}`)}, nil); !errors.As(err, &bad) || bad.Code != "sum_overflow" {
		t.Errorf("a sum that does not fit: %v", err)
	}
}

// The state of another query, or a damaged one, is refused.
func TestStatesThatAreRefused(t *testing.T) {
	const query = `"window":{"size_ms":10},"aggregate":{"group_by":["g"],"measures":[{"op":"sum","field":"a"},{"op":"min","field":"s"}]}`
	f := runForGood(t, compiled(t, query))
	for i := range 20 {
		f.push(&Message{Offset: uint64(i), TimeMs: uint64(i % 10), Value: fmt.Appendf(nil, `{"g":[%d],"a":%d.5,"s":{"a":"%d"}}`, i%3, i, i)})
	}
	state := f.op.AppendState(nil)
	for _, other := range []string{
		strings.Replace(query, "10", "20", 1), strings.Replace(query, `"g"`, `"h"`, 1), strings.Replace(query, "sum", "avg", 1), `"window":{"size_ms":10}`,
	} {
		if err := runForGood(t, compiled(t, other)).op.Restore(state); !errors.Is(err, errState) {
			t.Errorf("%s takes the state of %s: %v", other, query, err)
		}
	}
	for cut := 1; cut < len(state); cut++ {
		if err := runForGood(t, f.q).op.Restore(state[:cut]); !errors.Is(err, errState) {
			t.Fatalf("%d of %d bytes are taken: %v", cut, len(state), err)
		}
	}
	if err := runForGood(t, f.q).op.Restore(append(state, 0)); !errors.Is(err, errState) {
		t.Errorf("a byte more is taken: %v", err)
	}
}

// FuzzRestore: whatever is restored, the operator refuses it or works.
func FuzzRestore(f *testing.F) {
	var queries []*Query
	for _, window := range []string{`"size_ms":10`, `"type":"hopping","size_ms":10,"advance_ms":3`, `"type":"session","gap_ms":5`} {
		q := compiled(f, `"window":{`+window+`},"aggregate":{"group_by":["g"],"measures":[{"op":"count"},{"op":"sum","field":"a"},{"op":"min","field":"s"}]}`)
		queries = append(queries, q)
		op, err := q.Operator()
		if err != nil {
			f.Fatal(err)
		}
		for i := range 8 {
			value := fmt.Appendf(nil, `{"g":%d,"a":%d.5,"s":["%d"]}`, i%3, i, i)
			if err := op.Push(0, &Message{Offset: uint64(i), TimeMs: uint64(i), Value: value}, func(Row) {}); err != nil {
				f.Fatal(err)
			}
			f.Add(op.AppendState(nil))
		}
	}
	f.Fuzz(func(t *testing.T, state []byte) {
		for _, q := range queries {
			op, err := q.Operator()
			if err != nil {
				t.Fatal(err)
			}
			if len(state) > 9 { // the fingerprint is not what is to be found
				state = bytes.Clone(state)
				for i := range 8 {
					state[1+i] = byte(q.fingerprint() >> (8 * i))
				}
			}
			if op.Restore(state) != nil {
				continue
			}
			kept := op.AppendState(nil)
			again, _ := q.Operator()
			if err := again.Restore(kept); err != nil {
				t.Fatalf("%x is taken, and becomes %x, which is not: %v", state, kept, err)
			}
			for _, ts := range []uint64{3, 50, 1e12} {
				_ = op.Push(0, &Message{TimeMs: ts, Value: []byte(`{"g":1,"a":2,"s":"x"}`)}, func(r Row) {
					if !json.Valid(r.JSON) {
						t.Fatalf("a row is not JSON: %s", r.JSON)
					}
				})
			}
		}
	})
}

// The encoding of states that are in logs already. Another one needs another version.
func TestStateIsAsWritten(t *testing.T) {
	f := runForGood(t, compiled(t, `"window":{"type":"session","gap_ms":10,"ts_field":"t","allowed_lateness_ms":3},
		"aggregate":{"group_by":["g","h"],"measures":[{"op":"count"},{"op":"sum","field":"n"},{"op":"avg","field":"f"},{"op":"max","field":"s"}]}`))
	for i, m := range []string{`{"t":100,"g":1.0,"n":-3,"f":0.5,"s":"x"}`, `{"t":103,"g":1,"n":9223372036854775807,"s":[1]}`, `{"t":99,"g":"a","h":true}`, `{"t":1`} {
		f.push(&Message{Offset: uint64(i), Value: []byte(m)})
	}
	const want = "016ccf593b1f2cf77001ce010403010002050701610201c601000100000000000000000000000000000000000000000000000a030100000000000000" +
		"01c80103020200fcffffffffffff7f000100000000000000000001000000000000e03f000000000000000009035b315d"
	if got := hex.EncodeToString(f.op.AppendState(nil)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	f.restart()
}
