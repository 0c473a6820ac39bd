//go:build linux && !race

package differential

// What tests against SQLite have in common: cases by seed, values that JSON and SQLite hold alike, tables.
//
// AYDER_QUERY_CASES is how many cases each test runs (300). AYDER_QUERY_SEED runs the case of one seed only; it is the number that a failure
// names. Case n of a test is the same on every machine.
//
// SQLite is compiled once: not again for other systems when their code is vetted, nor for the race detector, which has nothing to find here.

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"iter"
	"math"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"ayder/internal/query"
)

const casesDefault = 300

// eachCase runs test with the random numbers of one seed after the other, inside of a transaction that leaves nothing behind.
func eachCase(t *testing.T, test func(t testing.TB, rng *rand.Rand, db *sql.Tx)) {
	t.Helper()
	db, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	first, n := uint64(0), setting(t, "AYDER_QUERY_CASES", casesDefault)
	if text := os.Getenv("AYDER_QUERY_SEED"); text != "" {
		first, n = setting(t, "AYDER_QUERY_SEED", 0), 1
	}
	h := fnv.New64a()
	h.Write([]byte(t.Name()))
	for seed := first; seed < first+n; seed++ {
		tx, err := db.Begin()
		if err != nil {
			t.Fatal(err)
		}
		test(t, rand.New(rand.NewPCG(seed, h.Sum64())), tx)
		if t.Failed() {
			t.Fatalf("AYDER_QUERY_SEED=%d", seed)
		}
		if err := tx.Rollback(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d cases, seeds %d to %d", n, first, first+n-1)
}

func setting(t *testing.T, name string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// datum is a value as both know it: nil (null), int64, float64 (dyadic, so that sums of a few are exact), string. missing is null to SQLite.
type datum any

type missing struct{}

// randomDatum makes a value of a few, so that equal ones are frequent: extremes of 64 bits, whole floats, fractions, texts, null, missing.
func randomDatum(rng *rand.Rand) datum {
	switch rng.IntN(8) {
	case 0:
		return nil
	case 1:
		return missing{}
	case 2:
		return []string{"", "a", "b", "1", "ü|", `q"\`, "\n"}[rng.IntN(7)]
	case 3:
		return float64(rng.IntN(5) - 2)
	case 4:
		return float64(rng.IntN(33)-16) / 8
	case 5:
		return []int64{math.MaxInt64, math.MinInt64, math.MaxInt64 - 1, 1<<53 + 1, 1 << 53, -1<<53 - 1}[rng.IntN(6)]
	}
	return int64(rng.IntN(5) - 2)
}

// jsonOf is d as it stands in a message; a float has a point even if it is whole.
func jsonOf(d datum) string {
	switch v := d.(type) {
	case float64:
		if v == math.Trunc(v) {
			return strconv.FormatFloat(v, 'f', 1, 64)
		}
	case missing:
		panic("bug: a value that is missing has no text")
	}
	b, err := json.Marshal(d)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// sqlOf is d as an argument.
func sqlOf(d datum) any {
	if _, ok := d.(missing); ok {
		return nil
	}
	return d
}

// document makes an object of names and values, without those that are missing.
func document(names []string, values []datum) string {
	var members []string
	for i, name := range names {
		if _, ok := values[i].(missing); !ok {
			members = append(members, fmt.Sprintf("%q:%s", name, jsonOf(values[i])))
		}
	}
	return "{" + strings.Join(members, ",") + "}"
}

// exec runs a statement that must succeed.
func exec(t testing.TB, db *sql.Tx, statement string, args ...any) {
	t.Helper()
	if _, err := db.Exec(statement, args...); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

// rowsOf are the rows of a select, as SQLite's values.
func rowsOf(t testing.TB, db *sql.Tx, statement string, args ...any) (all [][]any) {
	t.Helper()
	rows, err := db.Query(statement, args...)
	if err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		row := make([]any, len(columns))
		into := make([]any, len(columns))
		for i := range row {
			into[i] = &row[i]
		}
		if err := rows.Scan(into...); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
		all = append(all, row)
	}
	if err := rows.Err(); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
	return all
}

// messages gives messages as a source does: in memory that is used again.
func messages(all []query.Message) iter.Seq[*query.Message] {
	return func(yield func(*query.Message) bool) {
		var value []byte
		for _, m := range all {
			value = append(value[:0], m.Value...)
			m.Value = value
			if !yield(&m) {
				return
			}
			clear(value)
		}
	}
}
