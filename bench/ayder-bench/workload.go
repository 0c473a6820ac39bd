package main

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Workloads of the HTTP targets. Each is a list of preformatted requests that
// take turns: over partitions, over keys, over the pages of a topic, over consumer
// groups. What a good answer must contain is decided here too, since it depends on
// what was asked: a produce that does not wait cannot promise that it is synced.

// newHTTPDialect builds the operations that c asks for.
func newHTTPDialect(c *config) (*httpDialect, error) {
	weights := []weight{{c.workload, 1}}
	if c.workload == "mixed" {
		var err error
		if weights, err = parseMix(c.mix); err != nil {
			return nil, err
		}
	}
	d := &httpDialect{order: rotation(weights)}
	for _, w := range weights {
		op, err := newOperation(c, w.name)
		if err != nil {
			return nil, err
		}
		d.ops = append(d.ops, op)
	}
	return d, nil
}

// newOperation formats the requests of one workload.
func newOperation(c *config, name string) (httpOperation, error) {
	op := httpOperation{operation: operation{name: name, messages: 1}}
	switch name {
	case "produce":
		op.templates, op.expect = produceTemplates(c, "produce", payload(c.size)), syncedText(c)
	case "ndjson":
		op.messages = c.lines
		op.templates, op.expect = produceTemplates(c, "produce-ndjson", ndjson(c.lines, c.size)), syncedText(c)
	case "consume":
		op.messages = c.limit
		op.templates, op.expect = consumeTemplates(c), fmt.Appendf(nil, `"count":%d,`, c.limit)
	case "commit":
		op.templates, op.expect = commitTemplates(c), []byte(`"ok":true`)
	case "kv":
		op.templates, op.expect = kvTemplates(c, "PUT", payload(c.size)), syncedText(c)
	case "kv-get":
		op.templates, op.expect = kvTemplates(c, "GET", nil), []byte(`"cas":`)
	case "health":
		op.templates, op.expect = []template{newTemplate(c, "GET", "/health", nil)}, []byte(`"ok":true`)
	case "floor":
		op.templates, op.expect = []template{newTemplate(c, "POST", "/", payload(c.size))}, []byte(`"durable":true`)
	default:
		return op, fmt.Errorf("unknown workload %q: produce, ndjson, consume, commit, kv, kv-get, health or mixed", name)
	}
	if c.expect != "" {
		op.expect = []byte(strings.TrimPrefix(c.expect, "none"))
	}
	return op, nil
}

// syncedText is what a produce answer must contain. Without waiting there is
// nothing to promise but the append.
func syncedText(c *config) []byte {
	if strings.Contains(c.query, "timeout_ms=0") {
		return []byte(`"ok":true`)
	}
	return []byte(`"synced":true`)
}

// produceTemplates has one request per partition and key.
func produceTemplates(c *config, call string, body []byte) []template {
	var list []template
	run := strconv.FormatInt(time.Now().UnixNano(), 36) // keys of two runs differ
	for i := range max(c.partitions, c.keys, 1) {
		query := url.Values{}
		if c.partitions > 0 {
			query.Set("partition", strconv.Itoa(i%c.partitions))
		}
		if c.keys > 0 {
			query.Set("key", "key-"+strconv.Itoa(i%c.keys))
		}
		if c.idempotent {
			query.Set("idempotency_key", fmt.Sprintf("%s-%d-%s", run, i, numberField))
		}
		list = append(list, newTemplate(c, "POST", c.topicPath()+"/"+call+join(query, c.query), body))
	}
	return list
}

// consumeTemplates reads pages spread evenly over what the topic holds, so that
// not one page is served again and again from a cache.
func consumeTemplates(c *config) []template {
	pages := max(min(c.prefill/int64(c.limit), pagesMax), 1)
	step := max(c.prefill-int64(c.limit), 0) / pages
	var list []template
	for page := range pages {
		for partition := range max(c.partitions, 1) {
			query := url.Values{"limit": {strconv.Itoa(c.limit)}, "offset": {strconv.FormatInt(page*step, 10)}}
			if c.base64 {
				query.Set("encoding", "b64")
			}
			path := fmt.Sprintf("/broker/consume/%s/bench/%d", url.PathEscape(c.topic), partition)
			list = append(list, newTemplate(c, "GET", path+join(query, c.query), nil))
		}
	}
	return list
}

// kvTemplates has one request per key of -keys; without, every put has a key of its own, in no order, the same ones in every run.
func kvTemplates(c *config, method string, body []byte) []template {
	var list []template
	path := "/kv/" + url.PathEscape(c.topic) + "/"
	for i := range c.keys {
		list = append(list, newTemplate(c, method, path+"key-"+strconv.Itoa(i)+join(url.Values{}, c.query), body))
	}
	if len(list) == 0 {
		t := newTemplate(c, method, path+numberField+join(url.Values{}, c.query), body)
		t.fill = fillScattered
		list = append(list, t)
	}
	return list
}

// commitTemplates moves many groups forward, one message at a time, since a
// commit that does not move would not be written.
func commitTemplates(c *config) []template {
	var list []template
	for group := range commitGroups {
		body := fmt.Sprintf(`{"topic":%q,"group":"g%d","partition":0,"offset":%s}`, c.topic, group, numberField)
		t := newTemplate(c, "POST", "/broker/commit", []byte(body))
		t.fill, t.limit = fillSpaced, uint64(c.prefill)
		list = append(list, t)
	}
	return list
}

// Spreads of the read and commit workloads.
const (
	pagesMax     = 64
	commitGroups = 64
)

// topicPath is the topic's own URL path.
func (c *config) topicPath() string { return "/broker/topics/" + url.PathEscape(c.topic) }

// join puts a query together; extra is text as the user typed it.
func join(query url.Values, extra string) string {
	text := strings.Trim(query.Encode()+"&"+extra, "&")
	if text == "" {
		return ""
	}
	return "?" + text
}

// weight is one share of a mix.
type weight struct {
	name  string
	share int
}

// parseMix reads "produce=8,consume=1,commit=1".
func parseMix(text string) ([]weight, error) {
	var list []weight
	for part := range strings.SplitSeq(text, ",") {
		name, count, ok := strings.Cut(strings.TrimSpace(part), "=")
		share, err := strconv.Atoi(count)
		if !ok || err != nil || share < 1 || share > 1000 {
			return nil, fmt.Errorf("mix %q: want NAME=SHARE with a share of 1 … 1000", part)
		}
		list = append(list, weight{name, share})
	}
	return list, nil
}

// rotation interleaves the operations by smooth weighted round robin: each gains
// its share every turn, the richest goes and pays the sum. A plain run of eight
// produces and then two reads would show up in the latencies.
func rotation(weights []weight) []int {
	sum := 0
	for _, w := range weights {
		sum += w.share
	}
	credit := make([]int, len(weights))
	order := make([]int, sum)
	for turn := range order {
		best := 0
		for i, w := range weights {
			credit[i] += w.share
			if credit[i] > credit[best] {
				best = i
			}
		}
		credit[best] -= sum
		order[turn] = best
	}
	return order
}
