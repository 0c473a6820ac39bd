package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ayder/internal/testkit/proc"
)

// Consumers that follow a partition while the server is killed and started again under them: what a browser's
// EventSource does, written out, beside one that reads lines and one that polls with wait_ms. Each must get every message
// once, in order, and no message that is not there afterwards.

// liveConsumer is one of them.
type liveConsumer struct {
	name string
	want int
	got  []string
	n    atomic.Int64 // len(got), for others to read
	// once connects and reads until something breaks or it has all.
	once func(ctx context.Context, c *liveConsumer, addr string) error
}

func liveConsumers(want int) []*liveConsumer {
	return []*liveConsumer{
		{name: "events", want: want, once: readEvents},
		{name: "lines", want: want, once: readLines},
		{name: "pages", want: want, once: readPages},
	}
}

// take notes the next message.
func (c *liveConsumer) take(offset int, value string) error {
	if offset != len(c.got) {
		return fmt.Errorf("%s: offset %d instead of %d: %w", c.name, offset, len(c.got), errBroken)
	}
	c.got = append(c.got, value)
	c.n.Add(1)
	return nil
}

// errBroken is what no reconnecting mends.
var errBroken = errors.New("broken promise")

// run reads until it has all, connecting again as often as it takes.
func (c *liveConsumer) run(ctx context.Context, addr string) error {
	for len(c.got) < c.want {
		if err := c.once(ctx, c, addr); errors.Is(err, errBroken) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s has %d of %d messages: %w", c.name, len(c.got), c.want, ctx.Err())
		case <-time.After(10 * time.Millisecond):
		}
	}
	return nil
}

const livePath = "/broker/consume/live/readers/0"

// open sends a request and returns the body of its answer, which must be a 200.
func openLive(ctx context.Context, addr, path string, header ...string) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, "GET", "http://"+addr+path, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer dev")
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: (&net.Dialer{}).DialContext}}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == 200 {
		return resp.Body, nil
	}
	text, _ := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	err = fmt.Errorf("%s: %s", resp.Status, text)
	if resp.StatusCode < 500 {
		err = errors.Join(err, errBroken)
	}
	return nil, err
}

func readEvents(ctx context.Context, c *liveConsumer, addr string) error {
	header := []string{"Accept", "text/event-stream"}
	if len(c.got) > 0 {
		header = append(header, "Last-Event-ID", fmt.Sprint(len(c.got)-1))
	}
	body, err := openLive(ctx, addr, livePath+"?offset=0", header...)
	if err != nil {
		return err
	}
	defer body.Close()
	id, data := -1, ""
	for lines := bufio.NewReader(body); len(c.got) < c.want; {
		line, err := lines.ReadString('\n')
		if err != nil {
			return err
		}
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		switch {
		case name == "id":
			if _, err := fmt.Sscan(value, &id); err != nil {
				return errors.Join(err, errBroken)
			}
		case name == "data":
			data = value
		case line == "\n" && data != "":
			var m proc.Message
			if err := json.Unmarshal([]byte(data), &m); err != nil || m.Offset != uint64(id) {
				return fmt.Errorf("event %d has the data %s: %w", id, data, errBroken)
			}
			if err := c.take(id, *m.Value); err != nil {
				return err
			}
			data = ""
		}
	}
	return nil
}

func readLines(ctx context.Context, c *liveConsumer, addr string) error {
	body, err := openLive(ctx, addr, fmt.Sprintf("%s?offset=%d", livePath, len(c.got)), "Accept", "application/x-ndjson")
	if err != nil {
		return err
	}
	defer body.Close()
	for lines := bufio.NewReader(body); len(c.got) < c.want; {
		line, err := lines.ReadString('\n')
		if err != nil {
			return err
		}
		var m proc.Message
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			return errors.Join(err, errBroken)
		}
		if err := c.take(int(m.Offset), *m.Value); err != nil {
			return err
		}
	}
	return nil
}

func readPages(ctx context.Context, c *liveConsumer, addr string) error {
	for len(c.got) < c.want {
		body, err := openLive(ctx, addr, fmt.Sprintf("%s?offset=%d&wait_ms=30000", livePath, len(c.got)))
		if err != nil {
			return err
		}
		text, err := io.ReadAll(body)
		_ = body.Close()
		if err != nil {
			return err
		}
		var p proc.Page
		if err := json.Unmarshal(text, &p); err != nil {
			return errors.Join(err, errBroken)
		}
		for _, m := range p.Messages {
			if err := c.take(int(m.Offset), *m.Value); err != nil {
				return err
			}
		}
	}
	return nil
}

// liveProducer writes count messages, each until it is acknowledged.
func liveProducer(ctx context.Context, addr, name string, count int) error {
	var c *proc.Client
	for i := 0; i < count && ctx.Err() == nil; {
		var err error
		if c == nil {
			if c, err = proc.Dial(addr); err != nil {
				time.Sleep(10 * time.Millisecond)
				continue
			}
		}
		r, err := c.Post(fmt.Sprintf("/broker/topics/live/produce?partition=0&idempotency_key=%s-%d", name, i), fmt.Appendf(nil, "%s-%d", name, i))
		if err != nil || r.Status/100 != 2 {
			c.Close()
			c = nil
			time.Sleep(time.Millisecond)
			continue
		}
		i++
	}
	if c != nil {
		c.Close()
	}
	return ctx.Err()
}

func TestFollowersSurviveKills(t *testing.T) {
	eachBackendAtOnce(t, func(t *testing.T, o proc.Options) {
		const producers, each, kills = 3, 1500, 6
		s := proc.Run(t, o)
		if err := s.Connect(t).CreateTopic("live", 1); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
		defer cancel()
		all := liveConsumers(producers * each)
		var running sync.WaitGroup
		check := func(err error) {
			if err != nil {
				t.Error(err)
				cancel()
			}
		}
		for i := range producers {
			running.Go(func() { check(liveProducer(ctx, s.Addr, fmt.Sprint(i), each)) })
		}
		for _, c := range all {
			running.Go(func() { check(c.run(ctx, s.Addr)) })
		}
		addr := s.Addr
		for i := 1; i <= kills && ctx.Err() == nil; i++ {
			for ctx.Err() == nil && slowest(all) < int64(i*producers*each/(kills+1)) {
				time.Sleep(time.Millisecond)
			}
			if err := s.Kill(); err != nil {
				t.Fatal(err)
			}
			s = s.Again(t)
			if s.Addr != addr {
				t.Fatal("another port")
			}
		}
		running.Wait()
		if !t.Failed() {
			sameAsStored(t, s, all, producers, each)
		}
	})
}

// slowest is how many messages the consumer that has fewest has.
func slowest(all []*liveConsumer) int64 {
	n := all[0].n.Load()
	for _, c := range all {
		n = min(n, c.n.Load())
	}
	return n
}

// sameAsStored compares what consumers got with what is stored, and that with what was produced.
func sameAsStored(t *testing.T, s *proc.Server, all []*liveConsumer, producers, each int) {
	t.Helper()
	var stored []string
	next := make(map[string]int)
	if _, err := s.Connect(t).Each("live", 0, 0, func(m *proc.Message) error {
		value := string(m.ValueB64)
		stored = append(stored, value)
		name, i, _ := strings.Cut(value, "-")
		if i != fmt.Sprint(next[name]) {
			return fmt.Errorf("offset %d has %s where %s-%d was expected", m.Offset, value, name, next[name])
		}
		next[name]++
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if len(stored) != producers*each {
		t.Errorf("%d messages are stored, %d were produced", len(stored), producers*each)
	}
	for _, c := range all {
		for i, value := range c.got {
			if value != stored[i] {
				t.Errorf("%s got %s at offset %d, stored is %s", c.name, value, i, stored[i])
				break
			}
		}
	}
}
