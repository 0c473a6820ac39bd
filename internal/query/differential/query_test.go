//go:build linux && !race

package differential

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"ayder/internal/query"
)

// Queries against SQLite: filters, projections, aggregates, and the three kinds of windows.
//
// The messages go into SQLite as text, and SQLite's own JSON functions take them apart, so that decoding is compared as well. Where SQL means
// something else than we do (NULL is not a value, sums overflow in the middle, types order otherwise) the SQL says what we mean.

// sampleFields are the fields of the random messages; those with a dot are inside of objects.
var sampleFields = []string{"a", "b", "n.x", "n.y.z"}

// sampleMessages are random messages: numbers of all sizes, fractions whose sums are exact, text, nulls, what is missing, what is broken.
func sampleMessages(rng *rand.Rand) (messages []query.Message) {
	values := sampleValue
	if rng.IntN(10) == 0 {
		values = largeValue
	}
	for i := range 1 + rng.IntN(60) {
		text := sampleObject(rng, values)
		if rng.IntN(30) == 0 {
			text = pick(rng, "", "{", `{"a":01}`, `{"a":1}}`, `{'a':1}`, `nul`, `{"a":"`+"\x01"+`"}`)
		}
		messages = append(messages, query.Message{Offset: uint64(i), TimeMs: uint64(rng.IntN(500)), Value: []byte(text)})
	}
	return messages
}

func sampleObject(rng *rand.Rand, value func(rng *rand.Rand) string) string {
	member := func(name, value string) string {
		if value == "" {
			return ""
		}
		return fmt.Sprintf("%q:%s,", name, value)
	}
	end := func(s string) string { return strings.TrimSuffix(s, ",") }
	n := pick(rng, "", "7", "null", `"text"`)
	if rng.IntN(4) > 0 {
		y := pick(rng, "", "null")
		if rng.IntN(4) > 0 {
			y = "{" + end(member("z", value(rng))) + "}"
		}
		n = "{" + end(member("x", value(rng))+member("y", y)) + "}"
	}
	return "{" + end(member("a", value(rng))+member("t", sampleTime(rng))+member("n", n)+member("b", value(rng))) + "}"
}

// sampleValue is a value as JSON, "" where there is none. Few values, so that groups have several members.
func sampleValue(rng *rand.Rand) string {
	switch rng.IntN(12) {
	case 0:
		return ""
	case 1:
		return "null"
	case 2:
		return pick(rng, "true", "false")
	case 3:
		return pick(rng, "9223372036854775807", "-9223372036854775808", "9007199254740993", "9007199254740992", "9007199254740992.0", "-1")
	case 4, 5:
		return pick(rng, "0.5", "1.0", "-2.25", "1e2", "100", "0.0", "9223372036854775808.0")
	case 6:
		return pick(rng, `[]`, `[1]`, `["x",1,null]`, `{"x":1}`, `[true,"ab"]`)
	case 7, 8:
		return pick(rng, `"x"`, `""`, `"ab"`, `"abc"`, `"é"`, `"日本"`, `"\u00e9"`, `"a\"b"`, `"1"`, `"null"`)
	}
	return fmt.Sprint(rng.IntN(4) - 1)
}

// largeValue is mostly one whose sums do not fit.
func largeValue(rng *rand.Rand) string {
	if rng.IntN(4) == 0 {
		return sampleValue(rng)
	}
	return pick(rng, "9223372036854775807", "9223372036854775806", "-9223372036854775808", "4611686018427387904")
}

// sampleTime is a value of the field of the time.
func sampleTime(rng *rand.Rand) string {
	ms := rng.Int64N(600) - 300
	switch rng.IntN(10) {
	case 0:
		return pick(rng, "", "null", `"soon"`, "true", "9223372036854775807", "[1]", "1e300", "-8640000000000001")
	case 1:
		return fmt.Sprintf("%d.75", ms)
	case 2:
		return time.UnixMilli(ms).UTC().Format(`"2006-01-02T15:04:05.000Z"`)
	case 3:
		return time.UnixMilli(ms).In(time.FixedZone("", -5400)).Format(`"2006-01-02T15:04:05.000-07:00"`)
	}
	return fmt.Sprint(ms)
}

// sampleLiteral is a value to compare with.
func sampleLiteral(rng *rand.Rand) string {
	for {
		if v := sampleValue(rng); v != "" && v[0] != '[' && v[0] != '{' {
			return v
		}
	}
}

// sampleCondition is a random element of a filter, as we and as SQL say it.
func sampleCondition(rng *rand.Rand, depth int) (ours, sql string) {
	if depth < 3 && rng.IntN(3) == 0 {
		switch rng.IntN(3) {
		case 0:
			ours, sql = sampleCondition(rng, depth+1)
			return `{"not":` + ours + `}`, "NOT " + sql
		case 1:
			list, parts := sampleConditions(rng, depth+1)
			return `{"any":` + list + `}`, "(" + strings.Join(append(parts, "0"), " OR ") + ")"
		}
		list, parts := sampleConditions(rng, depth+1)
		return `{"all":` + list + `}`, "(" + strings.Join(append(parts, "1"), " AND ") + ")"
	}
	field := pick(rng, sampleFields...)
	kind, value := sqlField("body", field)
	op := pick(rng, "eq", "ne", "lt", "le", "gt", "ge", "in", "contains", "exists")
	literal := sampleLiteral(rng)
	switch op {
	case "in":
		var parts []string
		list := []string{}
		for range rng.IntN(4) {
			item := sampleLiteral(rng)
			list = append(list, item)
			parts = append(parts, sqlCompare(kind, value, "=", item))
		}
		literal, sql = "["+strings.Join(list, ",")+"]", "("+strings.Join(append(parts, "0"), " OR ")+")"
	case "exists":
		literal = pick(rng, "true", "false")
		sql = "(" + kind + " IS NOT NULL) = " + literal
	case "contains":
		sql = "CASE WHEN " + kind + "='text' THEN " + sqlContained(value, literal) + " WHEN " + kind + "='array' THEN EXISTS(SELECT 1 FROM json_each(body," +
			quoted("$."+field) + ") WHERE " + sqlCompare("type", "value", "=", literal) + ") ELSE 0 END"
	case "eq":
		sql = sqlCompare(kind, value, "=", literal)
	case "ne":
		sql = "(" + kind + " IS NOT NULL AND NOT " + sqlCompare(kind, value, "=", literal) + ")"
	default:
		if literal == "null" {
			literal = "1"
		}
		sql = sqlCompare(kind, value, map[string]string{"lt": "<", "le": "<=", "gt": ">", "ge": ">="}[op], literal)
	}
	return fmt.Sprintf(`{"field":%q,"op":%q,"value":%s}`, field, op, literal), "(" + sql + ")"
}

// sqlCompare compares a value with a literal of the same nature; it is 0 or 1, never NULL.
func sqlCompare(kind, value, op, literal string) string {
	nature, operand := "('integer','real')", sqlNumber(literal)
	switch literal[0] {
	case 'n':
		return "(" + kind + " IS 'null')"
	case 't', 'f':
		nature = "('true','false')"
	case '"':
		var s string
		if err := json.Unmarshal([]byte(literal), &s); err != nil {
			panic(err)
		}
		nature, operand = "('text')", quoted(s)
	}
	return "((" + kind + " IN " + nature + " AND " + value + " " + op + " " + operand + ") IS TRUE)"
}

func sqlContained(value, literal string) string {
	var s string
	if json.Unmarshal([]byte(literal), &s) != nil || literal == "null" {
		return "0"
	}
	return "instr(" + value + "," + quoted(s) + ")>0"
}

func sampleConditions(rng *rand.Rand, depth int) (ours string, sql []string) {
	list := []string{}
	for range rng.IntN(4) {
		c, s := sampleCondition(rng, depth)
		list, sql = append(list, c), append(sql, s)
	}
	return "[" + strings.Join(list, ",") + "]", sql
}

// sqlTime is the time of a message in milliseconds, NULL where it has none.
const sqlTime = `CASE json_type(body,'$.t')
	WHEN 'integer' THEN CASE WHEN json_extract(body,'$.t') BETWEEN -8640000000000000 AND 8640000000000000 THEN json_extract(body,'$.t') END
	WHEN 'real' THEN CASE WHEN abs(json_extract(body,'$.t'))<=8640000000000000 THEN CAST(json_extract(body,'$.t') AS INTEGER) END
	WHEN 'text' THEN unixepoch(substr(json_extract(body,'$.t'),1,19)||substr(json_extract(body,'$.t'),24))*1000+substr(json_extract(body,'$.t'),21,3)
	END`

// sqlRank orders types as we do; missing is null.
func sqlRank(kind string) string {
	return "CASE " + kind + " WHEN 'true' THEN 1 WHEN 'false' THEN 1 WHEN 'integer' THEN 2 WHEN 'real' THEN 2 WHEN 'text' THEN 3 WHEN 'array' THEN 4 WHEN 'object' THEN 4 ELSE 0 END"
}

// sampleQuery is a request, and the same in SQL.
type sampleQuery struct {
	request string
	where   string   // of the messages that match
	groupBy []string // fields
	fields  []string // of each measure, "" for a plain count
	ops     []string
	project []string
	window  string // kind of windows, "" for none
	size    int64
	advance int64
	byField bool // windows are by the field t
}

func newSampleQuery(rng *rand.Rand) *sampleQuery {
	s := &sampleQuery{where: "1"}
	filter := "[]"
	if rng.IntN(4) > 0 {
		var parts []string
		filter, parts = sampleConditions(rng, 0)
		s.where = strings.Join(append(parts, "1"), " AND ")
	}
	var measures []string
	for i := range rng.IntN(4) {
		op, field := pick(rng, "count", "sum", "avg", "min", "max"), pick(rng, sampleFields...)
		text := fmt.Sprintf(`{"op":%q,"field":%q,"as":"m%d"}`, op, field, i)
		if op == "count" && rng.IntN(2) == 0 {
			field, text = "", fmt.Sprintf(`{"op":"count","as":"m%d"}`, i)
		}
		s.ops, s.fields, measures = append(s.ops, op), append(s.fields, field), append(measures, text)
	}
	if len(measures) > 0 {
		s.groupBy = slices.Clone(sampleFields[:rng.IntN(3)])
	}
	s.project = slices.Clone(sampleFields[:1+rng.IntN(len(sampleFields))])
	s.request = fmt.Sprintf(`{"source":{"topic":"t","limit":1000},"filter":%s,%s"aggregate":{"group_by":%s,"measures":[%s]},"transform":{"left_fields":%s,"emit_rows":1000}}`,
		filter, s.sampleWindow(rng), jsonList(s.groupBy), strings.Join(measures, ","), jsonList(s.project))
	return s
}

func (s *sampleQuery) sampleWindow(rng *rand.Rand) string {
	s.window = pick(rng, "", "tumbling", "tumbling", "hopping", "session")
	s.byField = rng.IntN(3) > 0
	s.size = 1 + rng.Int64N(150)
	s.advance = s.size
	text := fmt.Sprintf(`"window":{"type":%q`, s.window)
	switch s.window {
	case "":
		return ""
	case "tumbling":
		text += fmt.Sprintf(`,"size_ms":%d`, s.size)
	case "hopping":
		s.advance = s.size/8 + 1 + rng.Int64N(s.size)
		text += fmt.Sprintf(`,"size_ms":%d,"advance_ms":%d`, s.size, s.advance)
	case "session":
		s.size = 1 + s.size/10
		text += fmt.Sprintf(`,"gap_ms":%d`, s.size)
	}
	if s.byField {
		text += `,"ts_field":"t"`
	}
	return text + "},"
}

func jsonList(names []string) string {
	text, _ := json.Marshal(append([]string{}, names...))
	return string(text)
}

// relation is the WITH clause: rows (off, body, tms, ts) that decode, those of them that match, and those in their windows.
func (s *sampleQuery) relation() string {
	ts := "tms"
	if s.byField {
		ts = sqlTime
	}
	matched := s.where
	if s.timed() {
		matched = "(" + matched + ") AND ts IS NOT NULL"
	}
	text := "WITH decoded AS (SELECT off, body, " + ts + " AS ts FROM m WHERE json_valid(body)), matched AS (SELECT * FROM decoded WHERE " + matched + "), "
	switch s.window {
	case "":
		return text + "windows AS (SELECT *, 0 AS start, 0 AS stop FROM matched)"
	case "session":
		var by []string
		for _, f := range s.groupBy {
			kind, value := sqlField("body", f)
			by = append(by, sqlRank(kind), value)
		}
		partition := strings.Join(append(by, "1"), ",")
		return text + fmt.Sprintf("gaps AS (SELECT *, coalesce(ts-lag(ts) OVER (PARTITION BY %s ORDER BY ts)>=%d,1) AS fresh FROM matched), "+
			"numbered AS (SELECT *, sum(fresh) OVER (PARTITION BY %s ORDER BY ts ROWS UNBOUNDED PRECEDING) AS number FROM gaps), "+
			"windows AS (SELECT *, min(ts) OVER (PARTITION BY %[3]s, number) AS start, max(ts) OVER (PARTITION BY %[3]s, number)+%[2]d AS stop FROM numbered)",
			partition, s.size, partition)
	}
	return text + fmt.Sprintf("steps AS (WITH RECURSIVE k(n) AS (SELECT 0 UNION ALL SELECT n+1 FROM k WHERE n<%d) SELECT n FROM k), "+
		"starts AS (SELECT *, ts-((ts%%%[2]d)+%[2]d)%%%[2]d-n*%[2]d AS start FROM matched, steps), "+
		"windows AS (SELECT *, start+%[3]d AS stop FROM starts WHERE ts-start<%[3]d)", s.size/s.advance+1, s.advance, s.size)
}

// timed tells whether a message has to have a time.
func (s *sampleQuery) timed() bool { return s.window != "" && len(s.ops) > 0 }

// aggregates asks SQLite for the groups: start, stop, values of the fields, measures. overflows tells that a sum has no answer.
func (s *sampleQuery) aggregates(o *oracle) (lines []string, overflows bool) {
	columns, by := []string{"start", "stop"}, []string{"start", "stop"}
	for _, f := range s.groupBy {
		kind, value := sqlField("body", f)
		columns = append(columns, "min("+kind+")", "min("+value+")")
		by = append(by, sqlRank(kind), value)
	}
	for i, f := range s.fields {
		columns = append(columns, s.sqlMeasure(s.ops[i], f)...)
	}
	text := s.relation() + " SELECT " + strings.Join(columns, ",") + " FROM windows GROUP BY " + strings.Join(by, ",") + " ORDER BY " + strings.Join(slices.Delete(by, 1, 2), ",")
	if s.window == "" && len(s.groupBy) == 0 {
		text = s.relation() + " SELECT 0, 0," + strings.Join(columns[2:], ",") + " FROM windows"
	}
	for _, row := range o.rows(text) {
		line := ""
		if s.window != "" {
			line = fmt.Sprintf("%v %v", row[0], row[1])
		}
		row = row[2:]
		for range s.groupBy {
			line += " " + sameGroup(row[0], row[1])
			row = row[2:]
		}
		for _, op := range s.ops {
			measure, ok := measureOf(op, row[:10])
			overflows = overflows || !ok
			line += " " + measure
			row = row[10:]
		}
		lines = append(lines, line)
	}
	return lines, overflows
}

// sqlMeasure is ten columns: what all the measures need. Sums are of parts, so that none of them overflows or is rounded.
func (s *sampleQuery) sqlMeasure(op, field string) []string {
	if field == "" {
		return []string{"count(*)", "0", "0", "0", "0", "NULL", "NULL", "NULL", "NULL", "0"}
	}
	kind, value := sqlField("body", field)
	only := func(rank int, what string) string {
		return fmt.Sprintf("CASE WHEN %s=%d THEN %s END", sqlRank(kind), rank, what)
	}
	whole := func(what string) string { return fmt.Sprintf("CASE %s WHEN 'integer' THEN %s END", kind, what) }
	real := func(what string) string { return fmt.Sprintf("CASE %s WHEN 'real' THEN %s END", kind, what) }
	best := op
	if op != "max" {
		best = "min"
	}
	list := []string{
		"count(" + fmt.Sprintf("CASE WHEN %s>0 THEN 1 END", sqlRank(kind)) + ")",
		"coalesce(sum(" + whole(value+">>32") + "),0)", "coalesce(sum(" + whole(value+"&4294967295") + "),0)",
		"sum(" + real(value+"-CAST("+value+"/4294967296.0 AS INTEGER)*4294967296.0") + ")", "count(" + only(2, "1") + ")",
	}
	for rank := 1; rank <= 4; rank++ {
		list = append(list, best+"("+only(rank, value)+")")
	}
	return append(list, "coalesce(sum("+real("CAST("+value+"/4294967296.0 AS INTEGER)")+"),0)")
}

// measureOf computes a measure from what sqlMeasure selects: count, two halves of the sum of whole numbers, the lower half of that of the others, the
// count of numbers, the best of each rank, the upper half of the others. ok is false where a sum has no answer.
func measureOf(op string, c []any) (text string, ok bool) {
	switch op {
	case "count":
		return fmt.Sprint(c[0]), true
	case "min", "max":
		ranks := []int{1, 2, 3, 4}
		if op == "max" {
			slices.Reverse(ranks)
		}
		for _, rank := range ranks {
			if v := c[4+rank]; v != nil {
				return sqlText([]any{nil, map[any]any{int64(0): "false", int64(1): "true"}[v], "number", "text", "object"}[rank], v), true
			}
		}
		return "null", true
	}
	count := c[4].(int64)
	if count == 0 {
		return map[string]string{"sum": "0", "avg": "null"}[op], true
	}
	whole := new(big.Int).Lsh(big.NewInt(c[1].(int64)), 32)
	sum := new(big.Rat).SetInt(whole.Add(whole, big.NewInt(c[2].(int64))))
	if c[3] == nil {
		if op == "sum" {
			return whole.String(), whole.IsInt64() || whole.IsUint64()
		}
		f, _ := sum.Quo(sum, big.NewRat(count, 1)).Float64()
		return sameFloat(f), true
	}
	sum.Add(sum, new(big.Rat).SetFloat64(c[3].(float64)))
	f, _ := sum.Add(sum, new(big.Rat).SetInt(new(big.Int).Lsh(big.NewInt(c[9].(int64)), 32))).Float64()
	if op == "avg" {
		f /= float64(count)
	}
	return sameFloat(f), true
}

// rowsOf asks SQLite for the projected matches.
func (s *sampleQuery) rowsOf(o *oracle) (lines []string) {
	var columns []string
	for _, f := range s.project {
		kind, value := sqlField("body", f)
		columns = append(columns, kind, value)
	}
	for _, row := range o.rows(s.relation() + " SELECT " + strings.Join(columns, ",") + " FROM matched ORDER BY off") {
		line := ""
		for ; len(row) > 0; row = row[2:] {
			line += " " + sqlText(row[0], row[1])
		}
		lines = append(lines, line)
	}
	return lines
}

// skipped asks SQLite how many messages do not decode, or match but have no time.
func (s *sampleQuery) skipped(o *oracle) int {
	where := "0"
	if s.timed() {
		where = "(" + s.where + ") AND ts IS NULL"
	}
	row := o.rows(s.relation() + " SELECT (SELECT count(*) FROM m WHERE NOT json_valid(body))+(SELECT count(*) FROM decoded WHERE " + where + ")")[0]
	return int(row[0].(int64))
}

// ourLines are an answer's rows and aggregates in the form of rowsOf and aggregates.
func (s *sampleQuery) ourLines(t testing.TB, r *query.Result) (rows, aggregates []string) {
	t.Helper()
	var answer struct {
		Rows       []map[string]json.RawMessage
		Aggregates []map[string]json.RawMessage
	}
	text := append(r.AppendJSON([]byte{'{'}), '}')
	if err := json.Unmarshal(text, &answer); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	for _, row := range answer.Rows {
		line := ""
		for _, f := range s.project {
			line += " " + sameText(t, row[f])
		}
		rows = append(rows, line)
	}
	for _, a := range answer.Aggregates {
		line := ""
		if s.window != "" {
			line = string(a["window_start_ms"]) + " " + string(a["window_end_ms"])
		}
		var group map[string]json.RawMessage
		if err := json.Unmarshal(a["group"], &group); err != nil {
			t.Fatal(err)
		}
		for _, f := range s.groupBy {
			line += " " + sameText(t, group[f])
		}
		for i := range s.ops {
			line += " " + sameText(t, a[fmt.Sprintf("m%d", i)])
		}
		aggregates = append(aggregates, line)
	}
	return rows, aggregates
}

// oracle is SQLite with the messages in the table m (off, tms, body).
type oracle struct {
	t  testing.TB
	tx *sql.Tx
}

func newOracle(t testing.TB, tx *sql.Tx, messages []query.Message) *oracle {
	t.Helper()
	exec(t, tx, "CREATE TABLE m (off INTEGER, tms INTEGER, body TEXT)")
	for _, m := range messages {
		exec(t, tx, "INSERT INTO m VALUES (?,?,?)", int64(m.Offset), int64(m.TimeMs), string(m.Value))
	}
	return &oracle{t, tx}
}

func (o *oracle) rows(statement string) [][]any {
	o.t.Helper()
	return rowsOf(o.t, o.tx, statement)
}

func TestQueriesAreThoseOfSQLite(t *testing.T) {
	overflows, rowCount, groupCount := 0, 0, 0
	eachCase(t, func(t testing.TB, rng *rand.Rand, tx *sql.Tx) {
		all := sampleMessages(rng)
		o := newOracle(t, tx, all)
		s := newSampleQuery(rng)
		wantRows, wantSkipped := s.rowsOf(o), s.skipped(o)
		var wantAggregates []string
		overflow := false
		if len(s.ops) > 0 {
			wantAggregates, overflow = s.aggregates(o)
		}
		result, err := s.run(t, all)
		if overflow {
			overflows++
			var bad *query.RequestError
			if !errors.As(err, &bad) || bad.Code != "sum_overflow" {
				t.Errorf("%s\na sum does not fit, but the error is %v", s.request, err)
			}
			return
		}
		if err != nil {
			t.Errorf("%s\n%v", s.request, err)
			return
		}
		rows, aggregates := s.ourLines(t, result)
		rowCount, groupCount = rowCount+len(rows), groupCount+len(aggregates)
		if slices.Equal(rows, wantRows) && slices.Equal(aggregates, wantAggregates) && result.Skipped == wantSkipped && result.Matched == len(wantRows) && result.Scanned == len(all) {
			return
		}
		t.Errorf("%s\n%s\nrows %s\naggregates %s\nskipped %d, matched %d, scanned %d; SQLite has %d skipped, %d matched", s.request, s.relation(),
			difference(rows, wantRows), difference(aggregates, wantAggregates), result.Skipped, result.Matched, result.Scanned, wantSkipped, len(wantRows))
		for i := range all {
			t.Logf("%s", all[i].Value)
		}
	})
	t.Logf("%d rows, %d groups; %d cases had a sum that does not fit", rowCount, groupCount, overflows)
}

func (s *sampleQuery) run(t testing.TB, all []query.Message) (*query.Result, error) {
	t.Helper()
	r, err := query.ParseQuery([]byte(s.request))
	if err != nil {
		t.Fatalf("%s: %v", s.request, err)
	}
	q, err := r.Compile(query.JSONFormat())
	if err != nil {
		t.Fatal(err)
	}
	return q.Run(query.Limits{}, messages(all))
}

func pick[T any](rng *rand.Rand, of ...T) T { return of[rng.IntN(len(of))] }
