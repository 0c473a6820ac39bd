package query

// Joins against models that are short enough to be believed: all pairs looked at, no watermark but where lateness is what is asked.

import (
	"bytes"
	"cmp"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// joinRecord is a message of a test, with what the model has to know of it.
type joinRecord struct {
	Message
	side uint8
	key  string // "" where it joins nothing
	late bool
}

// joinData makes messages of both sides: few keys, times that are out of order by at most disorderMs, some keys missing.
func joinData(rng *rand.Rand, n int, disorderMs, stepMs int64) []*joinRecord {
	keys := []struct{ json, key string }{
		{`1`, "1"},
		{`1.0`, "1"},
		{`"1"`, "s1"},
		{`"a|b"`, "sa|b"},
		{`true`, "true"},
		{`9007199254740993`, "9007199254740993"},
		{`9007199254740992`, "9007199254740992"},
		{`null`, ""},
		{`[1]`, ""},
		{``, ""},
	}
	kinds := 1 + rng.IntN(len(keys))
	var all []*joinRecord
	clock := [2]int64{1000, 1000 + rng.Int64N(20)}
	next := [2][3]uint64{}
	for range n {
		r := &joinRecord{side: uint8(rng.IntN(2))}
		clock[r.side] += rng.Int64N(stepMs + 1)
		ts := clock[r.side] - rng.Int64N(disorderMs+1)
		k := keys[rng.IntN(kinds)]
		r.key = k.key
		r.Partition = uint32(rng.IntN(3))
		r.Offset = next[r.side][r.Partition]
		next[r.side][r.Partition] += 1 + uint64(rng.IntN(2))
		r.TimeMs = uint64(ts)
		member := ""
		if k.json != "" {
			member = `,"k":` + k.json
		}
		r.Value = fmt.Appendf(nil, `{"p":%d,"o":%d,"ts":%d%s}`, r.Partition, r.Offset, ts, member)
		all = append(all, r)
	}
	return all
}

func (r *joinRecord) timeMs() int64 { return int64(r.TimeMs) }

// modelRow is a row as a model knows it: nil for a side without a message.
type modelRow [2]*joinRecord

func (m modelRow) String() string {
	var text [2]string
	for side, r := range m {
		text[side] = "-"
		if r != nil {
			text[side] = fmt.Sprintf("%d/%d", r.Partition, r.Offset)
		}
	}
	return text[0] + " " + text[1]
}

// lateness marks what is late when messages come in this order.
func lateness(all []*joinRecord, j *Join) {
	var seen [2]bool
	var latest [2]int64
	for _, r := range all {
		watermark := min(latest[0], latest[1]) - j.latenessMs
		r.late = seen[0] && seen[1] && r.timeMs() < watermark-j.sizeMs
		if !seen[r.side] || r.timeMs() > latest[r.side] {
			seen[r.side], latest[r.side] = true, r.timeMs()
		}
	}
}

// modelJoin is the join of all messages that are not late.
func modelJoin(all []*joinRecord, j *Join) []string {
	var pairs []modelRow
	for _, l := range all {
		for _, r := range all {
			if l.side == leftSide && r.side == rightSide && !l.late && !r.late && l.key != "" && l.key == r.key && gap(l, r) <= j.sizeMs {
				pairs = append(pairs, modelRow{l, r})
			}
		}
	}
	if j.once {
		pairs = modelOnce(pairs)
	}
	joined := make(map[*joinRecord]bool)
	for _, p := range pairs {
		joined[p[0]], joined[p[1]] = true, true
	}
	for _, r := range all {
		if !r.late && !joined[r] && j.outer[r.side] {
			var row modelRow
			row[r.side] = r
			pairs = append(pairs, row)
		}
	}
	return rowNames(pairs)
}

// modelOnce takes the nearest pair, then the nearest of those left, and so on.
func modelOnce(pairs []modelRow) (taken []modelRow) {
	slices.SortStableFunc(pairs, func(p, q modelRow) int {
		return cmp.Or(cmp.Compare(gap(p[0], p[1]), gap(q[0], q[1])), byOffset(p[0], q[0]), byOffset(p[1], q[1]))
	})
	used := make(map[*joinRecord]bool)
	for _, p := range pairs {
		if !used[p[0]] && !used[p[1]] {
			used[p[0]], used[p[1]] = true, true
			taken = append(taken, p)
		}
	}
	return taken
}

func gap(l, r *joinRecord) int64 { return max(l.timeMs()-r.timeMs(), r.timeMs()-l.timeMs()) }

func byOffset(p, q *joinRecord) int {
	return cmp.Or(cmp.Compare(p.Partition, q.Partition), cmp.Compare(p.Offset, q.Offset))
}

func rowNames(rows []modelRow) []string {
	names := make([]string, 0, len(rows))
	for _, r := range rows {
		names = append(names, r.String())
	}
	slices.Sort(names)
	return names
}

// randomJoin compiles a join of fields k, with random settings.
func randomJoin(t testing.TB, rng *rand.Rand) *Join {
	t.Helper()
	kind := []string{"inner", "left", "right", "full"}[rng.IntN(4)]
	ts := ""
	if rng.IntN(2) == 0 {
		ts = `,"ts_field":"ts"`
	}
	return mustJoin(t, fmt.Sprintf(`{"left":{"topic":"l","limit":100000},"right":{"topic":"r","limit":100000},"on":{"left_key":"k","right_key":"k"},
		"join":{"type":%q},"window":{"size_ms":%d,"allowed_lateness_ms":%d%s},"emit":{"left_fields":["p","o"],"right_fields":["p","o"],"max_rows":100000},
		"dedupe_once":%t}`, kind, rng.IntN(30), rng.IntN(40), ts, rng.IntN(2) == 0))
}

func mustJoin(t testing.TB, request string) *Join {
	t.Helper()
	r, err := ParseJoin([]byte(request))
	if err != nil {
		t.Fatalf("%s: %v", request, err)
	}
	j, err := r.Compile(JSONFormat(), JSONFormat())
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// rowsOf names the rows that a joiner emits.
type rowsOf struct{ names []string }

func (r *rowsOf) add(p *pair) bool {
	var text [2]string
	for side := range p.sides {
		text[side] = "-"
		if h := &p.sides[side]; h.present {
			text[side] = fmt.Sprintf("%d/%d", h.partition, h.offset)
			if want := fmt.Sprintf(`{"p":%d,"o":%d}`, h.partition, h.offset); string(h.shown) != want {
				panic(fmt.Sprintf("a row of %s shows %s", want, h.shown))
			}
		}
	}
	r.names = append(r.names, text[0]+" "+text[1])
	return true
}

func (r *rowsOf) sorted() []string {
	slices.Sort(r.names)
	return r.names
}

func seeds(t *testing.T, n int, test func(t *testing.T, rng *rand.Rand)) {
	t.Helper()
	for seed := range uint64(n) {
		test(t, rand.New(rand.NewPCG(seed, 5)))
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// TestJoinerIsTheJoinOfWhatIsNotLate pushes messages in orders that have late ones, and compares rows and counts with the model.
func TestJoinerIsTheJoinOfWhatIsNotLate(t *testing.T) {
	seeds(t, 1500, func(t *testing.T, rng *rand.Rand) {
		j := randomJoin(t, rng)
		all := joinData(rng, 1+rng.IntN(80), rng.Int64N(120), 1+rng.Int64N(20))
		lateness(all, j)
		var rows rowsOf
		w := newJoiner(j)
		w.emit = rows.add
		late := 0
		for _, r := range all {
			if !w.push(r.side, &r.Message) {
				t.Fatal("refused")
			}
			if r.late {
				late++
			}
		}
		if !w.finish() || w.buf.waiting != 0 || w.buf.dataBytes != 0 || w.buf.groupCount != 0 || len(w.buf.due) != 0 {
			t.Errorf("something waits: %+v", w.buf)
		}
		if got := w.tallies[0].late + w.tallies[1].late; got != late {
			t.Errorf("%d are late, want %d", got, late)
		}
		if want := modelJoin(all, j); !slices.Equal(rows.sorted(), want) {
			t.Errorf("rows are\n%s\nwant\n%s", strings.Join(rows.names, "\n"), strings.Join(want, "\n"))
		}
	})
}

// TestJoinerForgets wants that what is remembered is what the window takes, whatever came before.
func TestJoinerForgets(t *testing.T) {
	for _, once := range []bool{false, true} {
		j := mustJoin(t, fmt.Sprintf(`{"left":{"topic":"l"},"right":{"topic":"r"},"on":{"left_key":"k","right_key":"k"},"window":{"size_ms":100},
			"dedupe_once":%t}`, once))
		w := newJoiner(j)
		w.emit = func(*pair) bool { return true }
		var occupied int
		for i := range 50_000 {
			m := Message{Offset: uint64(i), TimeMs: uint64(i), Value: fmt.Appendf(nil, `{"k":%d}`, i%977)}
			if !w.push(uint8(i%2), &m) {
				t.Fatal("refused")
			}
			if w.buf.waiting > 500 {
				t.Fatalf("%d messages wait", w.buf.waiting)
			}
			if i == 10_000 {
				occupied = w.buf.occupied()
			}
		}
		if w.buf.occupied() != occupied {
			t.Errorf("the buffer grew from %d to %d bytes", occupied, w.buf.occupied())
		}
	}
}

// sideOf are the messages of one side as a source gives them: in memory that is used again.
func sideOf(all []*joinRecord, side uint8) iter.Seq[*Message] {
	return func(yield func(*Message) bool) {
		var value []byte
		for _, r := range all {
			if r.side != side {
				continue
			}
			m := r.Message
			value = append(value[:0], m.Value...)
			m.Value = value
			if !yield(&m) {
				return
			}
			clear(value)
		}
	}
}

// TestJoinRunReadsBothSidesByTime compares a whole run with the model, in the order in which it is said to read.
func TestJoinRunReadsBothSidesByTime(t *testing.T) {
	seeds(t, 1000, func(t *testing.T, rng *rand.Rand) {
		j := randomJoin(t, rng)
		all := joinData(rng, 1+rng.IntN(80), rng.Int64N(80), 1+rng.Int64N(20))
		lateness(inReadingOrder(all), j)
		result, err := j.Run(Limits{}, sideOf(all, leftSide), sideOf(all, rightSide))
		if err != nil {
			t.Fatal(err)
		}
		if want := modelJoin(all, j); len(result.order) != len(want) {
			t.Errorf("%d rows, want %d", len(result.order), len(want))
		} else if got := placesOf(result); !slices.Equal(got, want) {
			t.Errorf("rows are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		if result.Truncated || !slices.IsSortedFunc(result.order, placedRow.compare) {
			t.Errorf("truncated %v, or not in order", result.Truncated)
		}
	})
}

// inReadingOrder is how Run takes them: the side whose last few messages lag, of equals the one that was read less, then what is left.
func inReadingOrder(all []*joinRecord) (order []*joinRecord) {
	var queue [2][]*joinRecord
	for _, r := range all {
		queue[r.side] = append(queue[r.side], r)
	}
	var recent [2][]int64
	var read [2]int
	for len(queue[0])+len(queue[1]) > 0 {
		side := 0
		switch {
		case len(queue[0]) == 0:
			side = 1
		case len(queue[1]) == 0, read[0] == 0:
		case read[1] == 0, slices.Min(recent[1]) < slices.Min(recent[0]):
			side = 1
		case slices.Min(recent[1]) == slices.Min(recent[0]) && read[1] < read[0]:
			side = 1
		}
		r := queue[side][0]
		queue[side] = queue[side][1:]
		recent[side] = append(recent[side], r.timeMs())
		recent[side] = recent[side][max(0, len(recent[side])-joinProgressMessages):]
		read[side]++
		order = append(order, r)
	}
	return order
}

func placesOf(result *JoinResult) []string {
	names := make([]string, 0, len(result.order))
	for _, row := range result.order {
		var text [2]string
		for side, p := range row.sides {
			text[side] = "-"
			if !p.absent {
				text[side] = fmt.Sprintf("%d/%d", p.partition, p.offset)
			}
		}
		names = append(names, text[0]+" "+text[1])
	}
	slices.Sort(names)
	return names
}

// TestJoinOperatorIsTheRun wants the rows of a run from the operator, put away and restored at random points, and byte for byte the same with and
// without that. Nothing is late here.
func TestJoinOperatorIsTheRun(t *testing.T) {
	seeds(t, 600, func(t *testing.T, rng *rand.Rand) {
		j := randomJoin(t, rng)
		all := joinData(rng, 1+rng.IntN(80), rng.Int64N(j.latenessMs+1), 1+rng.Int64N(20))
		once := operate(t, j, all, func() bool { return false })
		if again := operate(t, j, all, func() bool { return rng.IntN(4) == 0 }); !slices.Equal(once, again) {
			t.Errorf("rows are\n%s\nrestored\n%s", strings.Join(once, "\n"), strings.Join(again, "\n"))
		}
		result, err := j.Run(Limits{}, sideOf(all, leftSide), sideOf(all, rightSide))
		if err != nil {
			t.Fatal(err)
		}
		var rows []string
		for _, row := range result.order {
			rows = append(rows, string(result.text[row.at:row.end]))
		}
		slices.Sort(rows)
		slices.Sort(once)
		if !slices.Equal(rows, once) {
			t.Errorf("a run gives\n%s\nthe operator\n%s", strings.Join(rows, "\n"), strings.Join(once, "\n"))
		}
	})
}

// operate gives the messages to an operator, and then two of the far future, so that everything is settled.
func operate(t *testing.T, j *Join, all []*joinRecord, putAway func() bool) (rows []string) {
	t.Helper()
	o := mustOperator(t, j)
	emit := func(r Row) {
		if !strings.Contains(string(r.JSON), `"key":"far`) {
			rows = append(rows, string(r.JSON))
		}
	}
	push := func(side uint8, m *Message) {
		if err := o.Push(int(side), m, emit); err != nil {
			t.Fatal(err)
		}
		if !putAway() {
			return
		}
		state := o.AppendState(nil)
		o = mustOperator(t, j)
		if err := o.Restore(bytes.Clone(state)); err != nil {
			t.Fatalf("restore: %v", err)
		}
		if again := o.AppendState(nil); !bytes.Equal(again, state) {
			t.Fatalf("put away again it is another state:\n%x\n%x", state, again)
		}
	}
	for _, r := range all {
		push(r.side, &r.Message)
	}
	for side := range uint8(2) {
		push(side, &Message{Offset: 1 << 40, TimeMs: 1 << 40, Value: fmt.Appendf(nil, `{"k":"far%d","ts":1099511627776}`, side)})
	}
	return rows
}

func mustOperator(t testing.TB, j *Join) Operator {
	t.Helper()
	o, err := j.Operator()
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// TestJoinerAllocatesNothing has a joiner that has seen its window take messages, make pairs and forget, without an allocation.
func TestJoinerAllocatesNothing(t *testing.T) {
	for _, more := range []string{"", `,"dedupe_once":true`} {
		j := mustJoin(t, `{"left":{"topic":"l"},"right":{"topic":"r"},"on":{"left_key":"k","right_key":"k"},"join":{"type":"full"},"window":{"size_ms":100},
			"emit":{"left_fields":["k","n"],"right_fields":["n"]}`+more+`}`)
		w := newJoiner(j)
		rows := 0
		w.emit = func(*pair) bool { rows++; return true }
		var value []byte
		i := 0
		push := func() {
			value = strconv.AppendInt(append(value[:0], `{"n":1.5,"k":"key `...), int64(i*7%300), 10)
			value = append(value, `"}`...)
			w.push(uint8(i%2), &Message{Offset: uint64(i), TimeMs: uint64(i), Value: value})
			i++
		}
		for i < 20_000 {
			push()
		}
		if n := testing.AllocsPerRun(5000, push); n != 0 {
			t.Errorf("%s: %v allocations per message", more, n)
		}
		if rows < i/10 {
			t.Errorf("only %d rows of %d messages", rows, i)
		}
	}
}
