package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"ayder/bench/hgrm"
	"ayder/bench/result"
)

// A measurement is printed in up to three forms: a table for a person, JSON for
// suite and for keeping, and the whole distribution for a plot. With JSON on
// standard output the table moves to standard error, so that a pipe gets one value
// and nothing else.

// write puts the measurement where the flags say.
func (m *measurement) write(c *config, stdout, stderr io.Writer) error {
	table := stdout
	if c.json == "-" {
		table = stderr
	}
	if err := printTable(table, m.result); err != nil {
		return err
	}
	if c.json != "" {
		if err := writeTo(c.json, stdout, m.writeJSON); err != nil {
			return err
		}
	}
	if c.hgrm != "" {
		return writeTo(c.hgrm, stdout, func(w io.Writer) error { return hgrm.Write(w, m.total.latency, 1e6) })
	}
	return nil
}

func (m *measurement) writeJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(m.result)
}

// writeTo runs write on a new file, or on stdout for "-".
func writeTo(name string, stdout io.Writer, write func(io.Writer) error) error {
	if name == "-" {
		return write(stdout)
	}
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	if err := write(f); err != nil {
		_ = f.Close()
		return fmt.Errorf("write %s: %w", name, err)
	}
	return f.Close()
}

// printTable is what a person reads.
func printTable(w io.Writer, r *result.Result) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, headline(r))
	fmt.Fprintf(t, "\n\t%s\t\n", strings.Join(append([]string{"count"}, result.Columns...), "\t"))
	row(t, "latency", r.Latency)
	for _, op := range r.Operations {
		row(t, op.Name, op.Latency)
	}
	if r.SendLag != nil {
		row(t, "sent late by", *r.SendLag)
	}
	stages(t, r.Stages)
	if err := t.Flush(); err != nil {
		return err
	}
	return printTotals(w, r)
}

// headline says what was run.
func headline(r *result.Result) string {
	loop := "closed loop"
	if r.RatePerS > 0 {
		loop = fmt.Sprintf("open loop at %.0f/s", r.RatePerS)
	}
	if r.Pipeline > 1 {
		loop += fmt.Sprintf(", pipeline %d", r.Pipeline)
	}
	return fmt.Sprintf("%s %s, %d connections, %s, %.2f s", r.Target, r.Workload, r.Connections, loop, r.ElapsedS)
}

func row(t io.Writer, name string, p result.Percentiles) {
	fmt.Fprintf(t, "%s\t%d", name, p.Count)
	for _, v := range p.Row() {
		fmt.Fprintf(t, "\t%s", result.FormatMicros(v))
	}
	fmt.Fprint(t, "\t\n")
}

// stageOrder is a request's way through the server; others follow by name.
var stageOrder = []string{"recv_parse", "queue", "server", "commit", "total"}

// stages prints one line per route and stage that was used.
func stages(t io.Writer, routes []result.Route) {
	for _, route := range routes {
		for _, name := range stageNames(route.Stages) {
			if p := route.Stages[name]; p.Count > 0 {
				row(t, route.Route+" "+name, p)
			}
		}
	}
}

// stageNames sorts by stageOrder, then by name.
func stageNames(stages map[string]result.Percentiles) []string {
	var known, other []string
	for _, name := range stageOrder {
		if _, ok := stages[name]; ok {
			known = append(known, name)
		}
	}
	for name := range stages {
		if !slices.Contains(stageOrder, name) {
			other = append(other, name)
		}
	}
	slices.Sort(other)
	return append(known, other...)
}

// printTotals is everything that is not a percentile.
func printTotals(w io.Writer, r *result.Result) error {
	var b strings.Builder
	fmt.Fprintf(&b, "\nrequests %d, %.0f/s", r.Requests, r.RequestsPerS)
	if r.Messages != r.Requests {
		fmt.Fprintf(&b, "; messages %d, %.0f/s", r.Messages, r.MessagesPerS)
	}
	fmt.Fprintf(&b, "\nerrors %d", r.ErrorCount())
	for _, name := range errorNames(r.Errors) {
		fmt.Fprintf(&b, "; %s: %d", name, r.Errors[name])
	}
	fmt.Fprintf(&b, "\nbytes sent %d, received %d\n", r.BytesSent, r.BytesRecv)
	printCPU(&b, strings.TrimSpace("client "+r.Engine), r.ClientCPU)
	if r.Server != nil {
		printCPU(&b, "server", r.Server.CPU)
		fmt.Fprintf(&b, "server memory %.1f MiB resident, %.1f MiB at most\n", mib(r.Server.RSSBytes), mib(r.Server.RSSPeak))
	}
	for _, f := range r.Followers {
		printCPU(&b, "follower", f.CPU)
	}
	if r.LeaderMoved {
		fmt.Fprintf(&b, "%s led in the beginning, and did not in the end\n", r.Leader)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func printCPU(b *strings.Builder, side string, c result.CPU) {
	fmt.Fprintf(b, "%s CPU %.2f s user, %.2f s system, %.2f s per million requests\n", side, c.UserS, c.SystemS, c.PerMillionS)
}

func mib(bytes int64) float64 { return float64(bytes) / (1 << 20) }
