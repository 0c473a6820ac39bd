package main

import (
	"fmt"
	"strings"
)

// Tables of the report, in the Markdown that BENCHMARKS.md uses. A figure that was not
// measured is a dash, never a zero. Promises stand below the figures they are about,
// with a verdict that is made from the printed digits, so that no reader finds "1.30
// measured, 1.30 wanted, missed".

const missing = "–"

// table writes a Markdown table; all columns but the first are right-aligned.
func table(b *strings.Builder, heading []string, rows [][]string) {
	writeRow(b, heading)
	marks := make([]string, len(heading))
	for i := range marks {
		marks[i] = "---:"
	}
	marks[0] = "---"
	writeRow(b, marks)
	for _, row := range rows {
		writeRow(b, row)
	}
	b.WriteString("\n")
}

func writeRow(b *strings.Builder, row []string) {
	escaped := make([]string, len(row))
	for i, text := range row {
		escaped[i] = strings.ReplaceAll(text, "|", `\|`)
	}
	fmt.Fprintf(b, "| %s |\n", strings.Join(escaped, " | "))
}

// perSecond prints a rate the way people say it: 950, 4.5 k, 111 k, 1.2 M.
func perSecond(v float64) string {
	switch {
	case v == 0:
		return missing
	case v < 1000:
		return fmt.Sprintf("%.0f", v)
	case v < 10_000:
		return fmt.Sprintf("%.1f k", v/1e3)
	case v < 1e6:
		return fmt.Sprintf("%.0f k", v/1e3)
	default:
		return fmt.Sprintf("%.2f M", v/1e6)
	}
}

// target is one promise with what was measured for it.
type target struct {
	text    string
	value   float64 // 0: not measured
	zero    bool    // 0 is a measurement like any other
	limit   float64
	atMost  bool   // value must not pass limit; otherwise it must reach it
	unit    string // behind both numbers
	decimal int
}

// met compares what is printed, so that a table never contradicts itself.
func (t target) met() bool {
	shown, limit := t.number(t.value), t.number(t.limit)
	if shown == limit {
		return true
	}
	return t.value > t.limit != t.atMost
}

func (t target) number(v float64) string { return fmt.Sprintf("%.*f", t.decimal, v) }

// measured tells whether there is a value at all.
func (t target) measured() bool { return t.value > 0 || t.zero }

// targets writes the promises of a part.
func targets(b *strings.Builder, list []target) {
	var rows [][]string
	for _, t := range list {
		verdict, value, sign := missing, missing, "≥"
		if t.atMost {
			sign = "≤"
		}
		if t.measured() {
			value = t.number(t.value) + t.unit
			verdict = "**missed**"
			if t.met() {
				verdict = "met"
			}
		}
		rows = append(rows, []string{t.text, sign + " " + t.number(t.limit) + t.unit, value, verdict})
	}
	table(b, []string{"target", "wanted", "measured", ""}, rows)
}

// ratio is a/b, 0 if either was not measured.
func ratio(a, b float64) float64 {
	if a <= 0 || b <= 0 {
		return 0
	}
	return a / b
}

// errorsNote warns below a table if requests failed.
func (l *lab) errorsNote(b *strings.Builder, partName string) {
	for _, r := range l.runs {
		if r.Part == partName && r.Result.ErrorCount() > 0 {
			fmt.Fprintf(b, "- %s, %s, round %d: **%d failed requests** %v\n", r.Server, r.Load, r.Round+1, r.Result.ErrorCount(), r.Result.Errors)
		}
		if r.Part == partName && r.Result.LeaderMoved {
			fmt.Fprintf(b, "- %s, %s, round %d: **another node led in the end**\n", r.Server, r.Load, r.Round+1)
		}
	}
}
