package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"ayder/bench/proc"
)

// Restart: how long a crashed server with a large log needs until it serves again,
// what memory it then holds, and whether every message is still there. The log is
// filled through the NDJSON call, killed, and started on the same directory; only
// the part between the start of the process and GET /ready counts.

const (
	restartPartitions = 8
	restartLines      = 1000
	restartPage       = 1000 // the largest page
	restartSecondsMax = 2.0  // the promises
	restartRSSMiBMax  = 300.0
)

func runRestart(l *lab) error {
	if err := l.start(uring); err != nil {
		return err
	}
	dir := filepath.Join(l.work, strconv.Itoa(l.starts))
	requests := l.messages / restartLines
	filled, err := l.generate(append(
		l.target(uring), "-workload", "ndjson", "-lines", strconv.Itoa(restartLines), "-c", "8", "-warmup", "0s",
		"-partitions", strconv.Itoa(restartPartitions), "-n", strconv.FormatInt(requests, 10),
	))
	if err != nil {
		return err
	}
	if filled.Messages != requests*restartLines {
		return fmt.Errorf("filled %d messages, want %d: %v", filled.Messages, requests*restartLines, filled.Errors)
	}
	l.fact("restart messages", float64(filled.Messages))
	for range l.rounds {
		if err := l.crash(dir); err != nil {
			return err
		}
	}
	return l.readEverything(filled.Messages)
}

// crash kills the server and times its return.
func (l *lab) crash(dir string) error {
	if err := l.servers[uring].Kill(); err != nil {
		return err
	}
	delete(l.servers, uring)
	begin := time.Now()
	if err := l.startIn(uring, dir); err != nil {
		return err
	}
	l.fact("restart seconds", time.Since(begin).Seconds())
	rss, _, err := proc.Memory(l.servers[uring].PID())
	if err != nil {
		return err
	}
	l.fact("restart rss", float64(rss)/(1<<20))
	fmt.Fprintf(l.log, "ready %.3f s after the start, %.1f MiB\n", l.facts["restart seconds"][len(l.facts["restart seconds"])-1], float64(rss)/(1<<20))
	return nil
}

// readEverything pages through all partitions and counts.
func (l *lab) readEverything(want int64) error {
	begin, got := time.Now(), int64(0)
	for partition := range restartPartitions {
		n, err := readPartition(l.servers[uring].Addr, partition)
		if err != nil {
			return err
		}
		got += n
	}
	rss, _, err := proc.Memory(l.servers[uring].PID())
	if err != nil {
		return err
	}
	l.fact("restart read", float64(got))
	l.fact("restart read seconds", time.Since(begin).Seconds())
	l.fact("restart read rss", float64(rss)/(1<<20))
	if got != want {
		return fmt.Errorf("%d messages are readable, %d were written", got, want)
	}
	return nil
}

// readPartition counts messages from offset 0, and checks that pages join.
func readPartition(addr string, partition int) (int64, error) {
	return readMessages(addr, "bench", partition, func(int64, string) error { return nil })
}

// readMessages does the same for any topic, and shows every message to visit.
func readMessages(addr, topic string, partition int, visit func(offset int64, message string) error) (int64, error) {
	client := http.Client{Timeout: time.Minute}
	for offset := int64(0); ; {
		target := fmt.Sprintf("http://%s/broker/consume/%s/verify/%d?offset=%d&limit=%d", addr, topic, partition, offset, restartPage)
		p, err := readPage(&client, target)
		if err != nil {
			return offset, fmt.Errorf("partition %d at %d: %w", partition, offset, err)
		}
		if p.NextOffset != offset+int64(len(p.Messages)) {
			return offset, fmt.Errorf("partition %d: a page of %d messages at %d ends at %d", partition, len(p.Messages), offset, p.NextOffset)
		}
		for i, m := range p.Messages {
			if m.Offset != offset+int64(i) {
				return offset, fmt.Errorf("partition %d: message %d of the page at %d has offset %d", partition, i, offset, m.Offset)
			}
			if err := visit(m.Offset, m.Value); err != nil {
				return offset, err
			}
		}
		if len(p.Messages) == 0 {
			return offset, nil
		}
		offset = p.NextOffset
	}
}

// page is what matters of a page here.
type page struct {
	Messages []struct {
		Offset int64  `json:"offset"`
		Value  string `json:"value"`
	} `json:"messages"`
	NextOffset int64 `json:"next_offset"`
}

func readPage(client *http.Client, target string) (page, error) {
	var p page
	request, err := http.NewRequest(http.MethodGet, target, nil)
	if err != nil {
		return p, err
	}
	request.Header.Set("Authorization", "Bearer dev")
	response, err := client.Do(request)
	if err != nil {
		return p, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return p, err
	}
	if response.StatusCode != http.StatusOK {
		return p, fmt.Errorf("%s: %s", response.Status, text)
	}
	return p, json.Unmarshal(text, &p)
}

func reportRestart(l *lab, b *strings.Builder) {
	if len(l.facts["restart seconds"]) == 0 {
		return
	}
	table(b, []string{"", ""}, [][]string{
		{"messages", fmt.Sprintf("%.0f", l.median("restart messages"))},
		{"start to /ready, median", fmt.Sprintf("%.3f s", l.median("restart seconds"))},
		{"RSS then", fmt.Sprintf("%.1f MiB", l.median("restart rss"))},
		{"messages read back", fmt.Sprintf("%.0f in %.1f s", l.median("restart read"), l.median("restart read seconds"))},
		{"RSS after reading all", fmt.Sprintf("%.1f MiB", l.median("restart read rss"))},
	})
	targets(b, []target{
		{text: "start to /ready", value: l.median("restart seconds"), limit: restartSecondsMax, atMost: true, unit: " s", decimal: 2},
		{text: "RSS after restart", value: l.median("restart rss"), limit: restartRSSMiBMax, atMost: true, unit: " MiB", decimal: 0},
		{text: "messages readable", value: l.median("restart read"), limit: l.median("restart messages")},
	})
}
