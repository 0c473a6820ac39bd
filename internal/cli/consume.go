package cli

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/spf13/pflag"
)

// Consuming: every partition has a reader that asks for page after page, a long poll each once it is at the end and the
// user wants more; one printer writes what they bring. A group's offset is moved on when messages were printed. Pages
// instead of a stream: a page that failed is asked for again, at any node, and nothing has to be resumed.

var consumeCommands = []command{
	{name: "consume", args: "TOPIC", count: [2]int{1, 1}, help: "Print messages, of one partition or of all", build: consume},
}

// message is one as the server gives it with encoding=b64.
type message struct {
	Offset    uint64            `json:"offset"`
	Partition uint32            `json:"partition"`
	Value     string            `json:"value_b64"`
	Key       *string           `json:"key_b64"`
	TimeMs    uint64            `json:"ts_ms"`
	Headers   map[string]string `json:"headers,omitempty"`
}

// consumer is one run of consume.
type consumer struct {
	s      *session
	p      *progress
	topic  string
	group  string
	query  url.Values
	follow bool
	commit bool
	format string
	left   atomic.Int64 // messages that may still be printed
	print  sync.Mutex
}

// errEnough ends a reader because the limit is reached.
var errEnough = errors.New("limit reached")

func consume(f *pflag.FlagSet) func(*session, []string) error {
	partition := f.Uint32("partition", 0, "of this partition only")
	group := f.String("group", "", "begin at this group's committed offsets")
	from := f.String("offset", "", "earliest, latest or an offset (default earliest, with --group where the group is)")
	since := f.String("since", "", "begin at the first message not older than a time like 2026-01-31T12:00:00Z")
	limit := f.Int64("limit", 0, "print so many messages at most")
	follow := f.BoolP("follow", "f", false, "wait for more at the end")
	commit := f.Bool("commit", false, "move the group's offsets on behind what was printed")
	format := f.String("format", "value", "value: a line each; raw: nothing between them; json: an object a line")
	return func(s *session, args []string) error {
		c := consumer{s: s, p: s.progress("read", false), topic: args[0], group: *group, query: url.Values{}, follow: *follow, commit: *commit, format: *format}
		c.left.Store(*limit)
		if *limit == 0 {
			c.left.Store(1<<63 - 1)
		}
		if err := c.prepare(*from, *since); err != nil {
			return err
		}
		defer c.p.end()
		if f.Changed("partition") {
			return enough(c.read(*partition))
		}
		return c.all()
	}
}

// prepare checks and completes the settings.
func (c *consumer) prepare(from, since string) error {
	switch {
	case c.format != "value" && c.format != "raw" && c.format != "json":
		return usagef("--format is value, raw or json")
	case c.commit && c.group == "":
		return usagef("--commit needs --group")
	case from != "" && since != "":
		return usagef("--offset and --since exclude each other")
	case since != "":
		ms, err := milliseconds(since)
		if err != nil {
			return err
		}
		c.query.Set("from_ts_ms", strconv.FormatInt(ms, 10))
	case from != "":
		c.query.Set("offset", from)
	case c.group == "":
		c.query.Set("offset", "earliest")
	}
	if c.group == "" {
		c.group = consumeGroup
	}
	return nil
}

// all reads every partition at once.
func (c *consumer) all() error {
	var t topic
	body, _, err := c.s.client.do(c.s.ctx, call{method: http.MethodGet, path: "/broker/topics/" + segment(c.topic), repeat: true})
	if err != nil {
		return err
	}
	if err := json.Unmarshal(body, &t); err != nil {
		return fmt.Errorf("the answer does not decode: %w", err)
	}
	ended := make(chan error, t.Partitions)
	for i := range t.Partitions {
		go func() { ended <- c.read(i) }()
	}
	for range t.Partitions {
		if err := <-ended; err != nil {
			return enough(err)
		}
	}
	return nil
}

func enough(err error) error {
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

// page is one answer.
type page struct {
	Messages []message `json:"messages"`
	Next     uint64    `json:"next_offset"`
}

// read prints a partition's messages until its end, the limit, or for ever.
func (c *consumer) read(partition uint32) error {
	query := url.Values{"encoding": {"b64"}, "limit": {strconv.Itoa(pageMessages)}, "max_bytes": {strconv.Itoa(pageBytes)}}
	maps.Copy(query, c.query)
	path := fmt.Sprintf("/broker/consume/%s/%s/%d", segment(c.topic), segment(c.group), partition)
	for {
		var pg page
		body, _, err := c.s.client.do(c.s.ctx, call{method: http.MethodGet, path: path, query: query, repeat: true})
		if err != nil {
			return fmt.Errorf("partition %d: %w", partition, err)
		}
		if err := json.Unmarshal(body, &pg); err != nil {
			return fmt.Errorf("partition %d: the answer does not decode: %w", partition, err)
		}
		if err := c.show(pg.Messages); err != nil {
			return err
		}
		query.Del("from_ts_ms")
		query.Set("offset", strconv.FormatUint(pg.Next, 10))
		if len(pg.Messages) == 0 {
			if !c.follow {
				return nil
			}
			query.Set("wait_ms", strconv.Itoa(followWaitMs))
		}
	}
}

// show prints messages and moves the group on behind the last one printed.
func (c *consumer) show(messages []message) error {
	if len(messages) == 0 {
		return nil
	}
	printed, err := c.write(messages)
	if n := len(printed); n > 0 && c.commit {
		last := printed[n-1]
		q, err := commitCall(c.group, c.topic, last.Partition, last.Offset+1)
		if err == nil {
			_, _, err = c.s.client.do(c.s.ctx, q)
		}
		if err != nil {
			return fmt.Errorf("commit: %w", err)
		}
	}
	return err
}

// write prints as many messages as the limit allows.
func (c *consumer) write(messages []message) (printed []message, err error) {
	c.print.Lock()
	defer c.print.Unlock()
	for i := range messages {
		if c.left.Add(-1) < 0 {
			return messages[:i], errEnough
		}
		size, err := c.writeOne(&messages[i])
		if err != nil {
			return messages[:i], err
		}
		c.p.add(1, size)
	}
	if c.left.Load() == 0 {
		return messages, errEnough
	}
	return messages, nil
}

func (c *consumer) writeOne(m *message) (size int, err error) {
	value, err := base64.StdEncoding.DecodeString(m.Value)
	if err != nil {
		return 0, fmt.Errorf("the value at offset %d does not decode: %w", m.Offset, err)
	}
	switch c.format {
	case "json":
		line, err := json.Marshal(m)
		if err != nil {
			return 0, err
		}
		_, err = fmt.Fprintf(c.s.Out, "%s\n", line)
		return len(value), err
	case "value":
		value = append(value, '\n')
		_, err = c.s.Out.Write(value)
		return len(value) - 1, err
	}
	_, err = c.s.Out.Write(value)
	return len(value), err
}
