//go:build linux && !race

package differential

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"ayder/internal/query"
)

// joinCase is two streams and a question. Both streams are out of order, but not by more than is allowed, so that nothing is late.
type joinCase struct {
	kind       string
	keys       [2][]string // names of the key's fields, on either side
	fields     [2][]string // what rows show
	sizeMs     int
	latenessMs int
	tsField    bool
	empty      bool // missing_as
	streams    [2][]query.Message
}

// columns of either table: the message's id, its time, its fields.
var joinColumns = []string{"id", "ts", "a", "b", "c"}

func randomJoinCase(t testing.TB, rng *rand.Rand, db *sql.Tx) *joinCase {
	c := &joinCase{
		kind: []string{"inner", "left", "right", "full"}[rng.IntN(4)], sizeMs: rng.IntN(40), latenessMs: rng.IntN(30),
		tsField: rng.IntN(2) == 0, empty: rng.IntN(2) == 0,
	}
	for range 1 + rng.IntN(2) {
		for side := range c.keys {
			c.keys[side] = append(c.keys[side], joinColumns[2+rng.IntN(3)])
		}
	}
	for side, table := range []string{"l", "r"} {
		c.fields[side] = slices.Clone(joinColumns)
		rng.Shuffle(len(joinColumns), func(i, j int) { c.fields[side][i], c.fields[side][j] = c.fields[side][j], c.fields[side][i] })
		c.fields[side] = c.fields[side][:1+rng.IntN(len(joinColumns))]
		c.fill(t, rng, db, side, table)
	}
	return c
}

// fill makes a side's messages, and its table.
func (c *joinCase) fill(t testing.TB, rng *rand.Rand, db *sql.Tx, side int, table string) {
	exec(t, db, fmt.Sprintf("CREATE TABLE %s (id, ts, a, b, c)", table))
	step := 1 + rng.IntN(12)
	clock := 1000 + rng.IntN(100)
	for id := range rng.IntN(40) {
		clock += rng.IntN(step + 1)
		ts := int64(clock - rng.IntN(c.latenessMs+1))
		values := []datum{int64(id), ts, randomDatum(rng), randomDatum(rng), randomDatum(rng)}
		args := make([]any, len(values))
		for i := range values {
			args[i] = sqlOf(values[i])
		}
		exec(t, db, fmt.Sprintf("INSERT INTO %s VALUES (?,?,?,?,?)", table), args...)
		m := query.Message{Offset: uint64(id), TimeMs: uint64(ts), Value: []byte(document(joinColumns, values))}
		if c.tsField {
			m.TimeMs = uint64(rng.IntN(5000))
		}
		c.streams[side] = append(c.streams[side], m)
	}
}

func (c *joinCase) request() string {
	list := func(names []string) string {
		b, _ := json.Marshal(names)
		return string(b)
	}
	ts, as := "", "null"
	if c.tsField {
		ts = `,"ts_field":"ts"`
	}
	if c.empty {
		as = "empty"
	}
	return fmt.Sprintf(`{"left":{"topic":"l"},"right":{"topic":"r"},"on":{"left_keys":%s,"right_keys":%s},"join":{"type":%q},
		"window":{"size_ms":%d,"allowed_lateness_ms":%d%s},"emit":{"left_fields":%s,"right_fields":%s,"max_rows":100000,"missing_as":%q}}`,
		list(c.keys[0]), list(c.keys[1]), c.kind, c.sizeMs, c.latenessMs, ts, list(c.fields[0]), list(c.fields[1]), as)
}

// statement is the same question as SQL.
func (c *joinCase) statement() string {
	on := []string{fmt.Sprintf("abs(l.ts - r.ts) <= %d", c.sizeMs)}
	for i := range c.keys[0] {
		on = append(on, fmt.Sprintf("l.%s = r.%s", c.keys[0][i], c.keys[1][i]))
	}
	return fmt.Sprintf("SELECT l.id, l.ts, l.a, l.b, l.c, r.id, r.ts, r.a, r.b, r.c FROM l %s JOIN r ON %s",
		strings.ToUpper(c.kind), strings.Join(on, " AND "))
}

// expected is what a row of SQLite's has to look like.
func (c *joinCase) expected(row []any) string {
	sides := [2][]any{row[:len(joinColumns)], row[len(joinColumns):]}
	var shown, times [2]string
	var key []any
	for side, values := range sides {
		times[side], shown[side] = "null", "null"
		if c.empty {
			shown[side] = "{}"
		}
		if values[0] == nil {
			continue
		}
		original := c.members(side, values[0].(int64))
		times[side] = strconv.FormatInt(values[1].(int64), 10)
		shown[side] = c.shown(side, values, original)
		if key == nil {
			for _, name := range c.keys[side] {
				key = append(key, values[slices.Index(joinColumns, name)])
			}
		}
	}
	var texts, quoted []string
	for _, v := range key {
		text, q := keyText(v)
		texts, quoted = append(texts, text), append(quoted, q)
	}
	return fmt.Sprintf(`{"key":%s,"keys":[%s],"left_ts_ms":%s,"right_ts_ms":%s,"left":%s,"right":%s}`,
		quote(strings.Join(texts, "|")), strings.Join(quoted, ","), times[0], times[1], shown[0], shown[1])
}

// members are the fields that a message has.
func (c *joinCase) members(side int, id int64) map[string]json.RawMessage {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(c.streams[side][id].Value, &members); err != nil {
		panic(err)
	}
	return members
}

// shown renders the fields of a side. Which of SQLite's nulls are missing, the message tells.
func (c *joinCase) shown(side int, values []any, original map[string]json.RawMessage) string {
	var members []string
	for _, name := range c.fields[side] {
		if _, there := original[name]; there || !c.empty {
			members = append(members, fmt.Sprintf("%q:%s", name, numberOrJSON(values[slices.Index(joinColumns, name)])))
		}
	}
	return "{" + strings.Join(members, ",") + "}"
}

// numberOrJSON is one of SQLite's values as JSON.
func numberOrJSON(v any) string {
	if s, ok := v.(string); ok {
		return quote(s)
	}
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// keyText is a key's value, as text and as JSON. Numbers that are whole are shown as such.
func keyText(v any) (text, quoted string) {
	switch v := v.(type) {
	case nil:
		return "null", "null"
	case string:
		return v, quote(v)
	case float64:
		if v == math.Trunc(v) {
			text = strconv.FormatInt(int64(v), 10)
			return text, quote(text)
		}
	}
	text = numberOrJSON(v)
	return text, quote(text)
}

// quote is s as a JSON string, without encoding/json's escapes for HTML.
func quote(s string) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil {
		panic(err)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// TestJoinsAreSQLites compares the rows of all four types of join, whole and byte by byte.
func TestJoinsAreSQLites(t *testing.T) {
	rows := 0
	eachCase(t, func(t testing.TB, rng *rand.Rand, db *sql.Tx) {
		c := randomJoinCase(t, rng, db)
		request, err := query.ParseJoin([]byte(c.request()))
		if err != nil {
			t.Fatalf("%s: %v", c.request(), err)
		}
		join, err := request.Compile(query.JSONFormat(), query.JSONFormat())
		if err != nil {
			t.Fatal(err)
		}
		result, err := join.Run(query.Limits{}, messages(c.streams[0]), messages(c.streams[1]))
		if err != nil {
			t.Fatal(err)
		}
		var answer struct{ Rows []json.RawMessage }
		if err := json.Unmarshal(append(result.AppendRows([]byte{'{'}), '}'), &answer); err != nil {
			t.Fatal(err)
		}
		var got, want []string
		for _, row := range answer.Rows {
			got = append(got, string(row))
		}
		for _, row := range rowsOf(t, db, c.statement()) {
			want = append(want, c.expected(row))
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s\n%s\nrows:\n%s\nSQLite:\n%s", c.request(), c.statement(), strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		if result.Truncated || result.Left.Late+result.Right.Late > 0 {
			t.Errorf("truncated %v, late %d and %d", result.Truncated, result.Left.Late, result.Right.Late)
		}
		rows += len(want)
	})
	t.Logf("%d rows", rows)
}
