package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"ayder/bench/proc"
	"ayder/bench/result"
)

// Queries: how fast a million messages are filtered and aggregated, and two streams joined, and what producers notice while queries follow one
// another without a pause. The answers are checked, so that what was measured is what was asked. The last is measured with and without queries in turns,
// in both orders, because what disturbs a machine for a while would otherwise be taken for the queries' doing.

const (
	queryLimit   = 100_000 // messages that one query looks at, at most
	queryLines   = 5000    // of one NDJSON request
	queryTwoMany = 2       // queries asked at the same time: one is always waiting
	queryAbout   = "1 million JSON messages of 200 bytes in one partition: `amount > 10`, count and sum by one of four countries, 100 000 messages a query. " +
		"Two streams of 100 000 such messages, joined by a key of which each stream has one message, within a window of 5 s, every row in the answer. " +
		"One client, one query at a time; seconds of processor are the whole server's. Below, 64-byte messages from 64 connections, synced, without and beside queries like the first that " +
		"follow one another without a pause. Medians of the rounds."
)

// queryLoads are what producers do, without and beside queries.
var queryLoads = []cell{
	{uring, "5 k/s", []string{"-c", "64", "-rate", "5000"}},
	{uring, "20 k/s", []string{"-c", "64", "-rate", "20000"}},
	{uring, "closed loop", []string{"-c", "64"}},
}

const besideQueries = ", beside queries"

func runQuery(l *lab) error {
	if err := l.start(uring); err != nil {
		return err
	}
	q := queryBench{lab: l, base: "http://" + l.servers[uring].Addr}
	n := int(l.queryMessages)
	for topic, messages := range map[string]int{"orders": n, "left": n / 10, "right": n / 10} {
		if err := q.fill(topic, messages); err != nil {
			return err
		}
	}
	for range l.rounds {
		if err := q.timed("query", n, func() error { return q.aggregate(n) }); err != nil {
			return err
		}
		if err := q.timed("join", n/10*2, func() error { return q.join(n / 10) }); err != nil {
			return err
		}
	}
	for round := range l.rounds {
		for _, c := range queryLoads {
			for _, beside := range []bool{round%2 == 0, round%2 != 0} {
				if err := q.produce(c, round, beside); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// queryBench asks one server.
type queryBench struct {
	*lab
	base   string
	client http.Client
}

// ask posts a body and decodes the answer.
func (q *queryBench) ask(path string, body []byte, v any) error {
	req, err := http.NewRequestWithContext(q.ctx, http.MethodPost, q.base+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer dev")
	resp, err := q.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode >= 300 {
		return fmt.Errorf("%s: %d %.300s", path, resp.StatusCode, text)
	}
	return json.Unmarshal(text, v)
}

// queryCountries are the groups.
var queryCountries = [...]string{"DE", "FR", "IT", "PL"}

// fill makes a topic of one partition with so many messages of 200 bytes, a millisecond apart.
func (q *queryBench) fill(topic string, messages int) error {
	var answer map[string]any
	if err := q.ask("/broker/topics", fmt.Appendf(nil, `{"name":%q,"partitions":1}`, topic), &answer); err != nil {
		return err
	}
	for i := 0; i < messages; {
		var body []byte
		for range min(queryLines, messages-i) {
			from := len(body)
			body = fmt.Appendf(body, `{"id":%d,"country":%q,"amount":%d,"ts":%d,"customer":{"name":"somebody","vip":%t},"note":"`,
				i, queryCountries[i%len(queryCountries)], i%1000, 1_700_000_000_000+i, i%7 == 0)
			body = append(body, strings.Repeat("x", max(0, 200-(len(body)-from)-len(`"}`)))...)
			body = append(body, '"', '}', '\n')
			i++
		}
		if err := q.ask("/broker/topics/"+topic+"/produce-ndjson?partition=0", body, &answer); err != nil {
			return err
		}
	}
	return nil
}

// timed notes how long do takes, and what of it the server's processors.
func (q *queryBench) timed(name string, messages int, do func() error) error {
	pid := q.servers[uring].PID()
	before, err := proc.RunTime(pid)
	if err != nil {
		return err
	}
	begin := time.Now()
	if err := do(); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	took := time.Since(begin)
	after, err := proc.RunTime(pid)
	if err != nil {
		return err
	}
	q.fact(name+" seconds", took.Seconds())
	q.fact(name+" messages/s", float64(messages)/took.Seconds())
	q.fact(name+" cpu", (after - before).Seconds())
	q.fact(name+" messages/s of a core", float64(messages)/(after-before).Seconds())
	fmt.Fprintf(q.log, "%-6s %.3f s, %.0f messages/s, %.0f/s of a core\n", name, took.Seconds(), float64(messages)/took.Seconds(), float64(messages)/(after-before).Seconds())
	return nil
}

// aggregateFrom is a query that begins at an offset.
func aggregateFrom(offset int) []byte {
	return fmt.Appendf(nil, `{"source":{"topic":"orders","partition":0,"offset":%d,"limit":%d},"filter":[{"field":"amount","op":"gt","value":10}],
		"aggregate":{"group_by":["country"],"measures":[{"op":"count"},{"op":"sum","field":"amount","as":"total"}]}}`, offset, queryLimit)
}

// aggregate goes over all messages, a query after the other.
func (q *queryBench) aggregate(messages int) error {
	matched, want := 0, 0
	for i := range messages {
		if i%1000 > 10 {
			want++
		}
	}
	for offset := 0; offset < messages; {
		var a struct {
			Source struct {
				Next int `json:"next_offset"`
			} `json:"source"`
			Stats struct {
				Matched int `json:"matched"`
			} `json:"stats"`
		}
		if err := q.ask("/broker/query", aggregateFrom(offset), &a); err != nil {
			return err
		}
		if a.Source.Next <= offset {
			return fmt.Errorf("the query at offset %d goes on at %d", offset, a.Source.Next)
		}
		offset = a.Source.Next
		matched += a.Stats.Matched
	}
	if matched != want {
		return fmt.Errorf("%d messages matched, want %d", matched, want)
	}
	return nil
}

// join joins the two streams.
func (q *queryBench) join(messages int) error {
	body := fmt.Appendf(nil, `{"left":{"topic":"left","partition":0,"limit":%d},"right":{"topic":"right","partition":0,"limit":%d},"on":{"left_key":"id","right_key":"id"},
		"window":{"size_ms":5000,"ts_field":"ts"},"emit":{"left_fields":["amount"],"right_fields":["id"],"max_rows":%d}}`, messages, messages, messages)
	var a struct {
		Rows      []json.RawMessage `json:"rows"`
		Truncated bool              `json:"truncated"`
	}
	if err := q.ask("/broker/join", body, &a); err != nil {
		return err
	}
	if len(a.Rows) != messages || a.Truncated {
		return fmt.Errorf("%d rows, want %d; truncated: %t", len(a.Rows), messages, a.Truncated)
	}
	return nil
}

// produce measures one load, beside queries if asked to.
func (q *queryBench) produce(c cell, round int, beside bool) error {
	if !beside {
		return q.once("query", c, round)
	}
	c.load += besideQueries
	stop := make(chan struct{})
	asked := make([]int, queryTwoMany)
	errs := make([]error, queryTwoMany)
	var all sync.WaitGroup
	for i := range asked {
		all.Go(func() { asked[i], errs[i] = q.askUntil(stop) })
	}
	begin := time.Now()
	err := q.once("query", c, round)
	close(stop)
	all.Wait()
	total := 0
	for _, n := range asked {
		total += n
	}
	q.fact("queries/s "+c.load, float64(total)/time.Since(begin).Seconds())
	return errors.Join(append(errs, err)...)
}

// askUntil asks one query after the other.
func (q *queryBench) askUntil(stop chan struct{}) (n int, err error) {
	for {
		select {
		case <-stop:
			return n, nil
		default:
		}
		var answer map[string]any
		if err := q.ask("/broker/query", aggregateFrom(0), &answer); err != nil {
			return n, err
		}
		n++
	}
}

func reportQuery(l *lab, b *strings.Builder) {
	var rows [][]string
	for _, name := range []string{"query", "join"} {
		text := map[string]string{"query": "filter and aggregate", "join": "join"}[name]
		if len(l.facts[name+" seconds"]) > 0 {
			rows = append(rows, []string{
				text, fmt.Sprintf("%.2f", l.median(name+" seconds")), perSecond(l.median(name + " messages/s")),
				fmt.Sprintf("%.2f", l.median(name+" cpu")), perSecond(l.median(name + " messages/s of a core")),
			})
		}
	}
	table(b, []string{"", "s", "messages/s", "CPU s", "messages/s of a core"}, rows)
	rows = nil
	for _, c := range queryLoads {
		for _, load := range []string{c.load, c.load + besideQueries} {
			if s := l.find("query", c.server, load); s.rounds > 0 {
				queries := ""
				if len(l.facts["queries/s "+load]) > 0 {
					queries = fmt.Sprintf("%.1f", l.median("queries/s "+load))
				}
				rows = append(rows, append([]string{load, perSecond(s.requestsPerS), queries}, percentileTexts(s.latency)...))
			}
		}
	}
	if len(rows) > 0 {
		table(b, append([]string{"produce", "answered/s", "queries/s"}, result.Columns...), rows)
	}
	l.errorsNote(b, "query")
}
