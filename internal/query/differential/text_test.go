//go:build linux && !race

package differential

// Values and fields, as SQLite has them and as we show them.
//
// What both give is compared as typed values: sameText of our JSON, sqlText of what json_type and json_extract gave. Numbers are the same
// however they are written, but whole numbers stay whole.

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"testing"

	"ayder/internal/query"
)

// quoted is a string as SQL writes it.
func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// sqlField is a field of a message: its type as SQLite names it (NULL if it is missing) and its value.
func sqlField(body, field string) (kind, value string) {
	path := quoted("$." + field)
	return "json_type(" + body + "," + path + ")", "json_extract(" + body + "," + path + ")"
}

// sqlNumber is the text of a number that Go's JSON and SQLite read as the same.
func sqlNumber(text string) string {
	if text == "-9223372036854775808" {
		return "(-9223372036854775807-1)"
	}
	return text
}

// sameText is one text for values that are the same.
func sameText(t testing.TB, raw json.RawMessage) string {
	t.Helper()
	switch raw[0] {
	case '"':
		var s string
		if err := json.Unmarshal(raw, &s); err != nil {
			t.Fatal(err)
		}
		return strconv.Quote(s)
	case '{', '[', 't', 'f', 'n':
		return string(raw)
	}
	if !bytes.ContainsAny(raw, ".eE") {
		return string(raw)
	}
	f, err := strconv.ParseFloat(string(raw), 64)
	if err != nil {
		t.Fatal(err)
	}
	return sameFloat(f)
}

func sameFloat(f float64) string { return string(query.FloatValue(f).AppendJSON(nil)) }

// sameGroup is sameFloat where whole numbers of 64 bits and floats of their value are one group.
func sameGroup(kind, value any) string {
	if f, ok := value.(float64); ok && f == math.Trunc(f) && math.Abs(f) < 1<<64 {
		i, _ := big.NewFloat(f).Int(nil)
		return i.String()
	}
	return sqlText(kind, value)
}

// sqlText is sameText of what json_type and json_extract gave.
func sqlText(kind, value any) string {
	switch v := value.(type) {
	case nil:
		return "null"
	case int64:
		if kind == "true" || kind == "false" {
			return kind.(string)
		}
		return strconv.FormatInt(v, 10)
	case float64:
		return sameFloat(v)
	case string:
		if kind == "array" || kind == "object" {
			return v
		}
		return strconv.Quote(v)
	}
	panic(fmt.Sprintf("bug: SQLite gave a %T", value))
}

// difference says where two lists begin to differ.
func difference(ours, sqlites []string) string {
	for i := range max(len(ours), len(sqlites)) {
		switch {
		case i >= len(ours):
			return fmt.Sprintf("%d: SQLite has %s more", i, sqlites[i])
		case i >= len(sqlites):
			return fmt.Sprintf("%d: we have %s more", i, ours[i])
		case ours[i] != sqlites[i]:
			return fmt.Sprintf("%d:\n    ours     %s\n    SQLite's %s", i, ours[i], sqlites[i])
		}
	}
	return "are the same"
}
