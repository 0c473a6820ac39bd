package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"ayder/bench/result"
)

// What happens before and after the measured phase goes through net/http: it is
// not timed and may be as comfortable as it likes. Only the prefill uses the loop,
// since a comparison over millions of messages should not wait for its preparation.

// setUp creates the topic or stream.
func setUp(c *config, d dialect) error {
	if nats, ok := d.(*natsDialect); ok {
		return nats.createStream(c.addr)
	}
	if c.target != "ayder" || c.workload == "health" {
		return nil
	}
	body, err := json.Marshal(map[string]any{"name": c.topic, "partitions": max(c.partitions, 1)})
	if err != nil {
		return fmt.Errorf("create topic: %w", err)
	}
	status, answer, err := call(c, "POST", "/broker/topics", body)
	if err != nil {
		return fmt.Errorf("create topic: %w", err)
	}
	// 409: it is there, with other settings; a missing partition shows up at once.
	if status > 299 && status != http.StatusConflict {
		return fmt.Errorf("create topic: %d %s", status, answer)
	}
	return nil
}

// prefillLines is how many messages one request of the prefill carries.
const prefillLines = 1000

// prefill puts c.prefill messages into every partition, through the loop itself.
func prefill(c *config) error {
	if c.prefill == 0 || c.target != "ayder" {
		return nil
	}
	fill := *c
	fill.workload, fill.lines, fill.keys, fill.query, fill.expect = "ndjson", prefillLines, 0, "", ""
	fill.partitions = max(c.partitions, 1)
	fill.connections, fill.pipeline, fill.rate = 4, 1, 0
	fill.requests = (c.prefill + prefillLines - 1) / prefillLines * int64(fill.partitions)
	d, err := newHTTPDialect(&fill)
	if err != nil {
		return err
	}
	l, err := newLoop(&fill, d)
	if err != nil {
		return err
	}
	defer l.close()
	r := newRecorder(names(d), false)
	if err := l.run(newClosedPacer(0, 0, fill.requests), r); err != nil {
		return fmt.Errorf("prefill: %w", err)
	}
	if len(r.errors) > 0 {
		return fmt.Errorf("prefill: %v", r.errors)
	}
	return nil
}

const timingPath = "/admin/timing"

// resetStages starts the server's histograms anew.
func resetStages(c *config) error {
	if !c.stages {
		return nil
	}
	status, answer, err := call(c, "GET", timingPath+"?reset=1", nil)
	if err != nil {
		return fmt.Errorf("reset stages: %w", err)
	}
	if status != http.StatusOK {
		return fmt.Errorf("reset stages: %d %s", status, answer)
	}
	return nil
}

// fetchStages reads what the server measured itself.
func fetchStages(c *config) ([]result.Route, error) {
	if !c.stages {
		return nil, nil
	}
	status, answer, err := call(c, "GET", timingPath, nil)
	if err != nil {
		return nil, fmt.Errorf("read stages: %w", err)
	}
	if status != http.StatusOK {
		return nil, fmt.Errorf("read stages: %d %s", status, answer)
	}
	return parseStages(answer)
}

// parseStages reads the answer of GET /admin/timing. What else it tells is passed
// over, and so is the reset itself, the only call that was not part of the load.
func parseStages(text []byte) ([]result.Route, error) {
	var answer struct {
		Routes []result.Route `json:"routes"`
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		return nil, fmt.Errorf("read stages: %w", err)
	}
	return slices.DeleteFunc(answer.Routes, func(r result.Route) bool {
		return strings.HasSuffix(r.Route, timingPath)
	}), nil
}

// call does one request on a connection of its own.
func call(c *config, method, target string, body []byte) (int, []byte, error) {
	client := http.Client{Timeout: setupMax, Transport: &http.Transport{DisableKeepAlives: true}}
	request, err := http.NewRequest(method, "http://"+c.addr+target, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	if c.token != "" {
		request.Header.Set("Authorization", "Bearer "+c.token)
	}
	request.Header.Set("Accept", "application/json") // /metrics_ha could answer in another format
	response, err := client.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, replyBytesMax))
	return response.StatusCode, answer, err
}
