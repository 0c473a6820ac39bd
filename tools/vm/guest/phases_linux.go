package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"ayder/internal/testkit/proc"
	"ayder/tools/vm/console"
)

// What is done with the server. A partition has one producer, and the message at offset o of partition p is payload(p, o): a
// producer begins at the end that it finds. So nobody needs to remember what was sent to know what must be there, and a message
// that was stored but not answered, because somebody was killed, fits in too.

const (
	topic      = "vm"
	partitions = 4
	killAfter  = 400 // messages of a partition that are acknowledged before the server is killed
	ackEvery   = 8   // messages between two lines about them
	groupAt    = 7   // offset that a group commits
)

// guest is the server of this machine and what is said about it.
type guest struct {
	w       *console.Writer
	options proc.Options
	server  *proc.Server
}

// payload is the message at an offset.
func payload(partition int, offset uint64) []byte {
	b := fmt.Appendf(nil, "partition %d offset %d ", partition, offset)
	return append(b, bytes.Repeat([]byte{byte('a' + offset%26)}, int(offset*37%900))...)
}

// start starts the server and shows that it serves, and how.
func (g *guest) start() (err error) {
	if g.server, err = proc.Start(g.options); err != nil {
		return err
	}
	c, err := proc.Dial(g.server.Addr)
	if err != nil {
		return err
	}
	defer c.Close()
	r, err := c.Get("/metrics")
	if err != nil {
		return err
	}
	if r.Status != 200 {
		return fmt.Errorf("/metrics: %s", r.String())
	}
	g.w.Note("the server runs: %s", lineWith(string(r.Body), "ayder_backend_info{"))
	return nil
}

// lineWith is the line of a text that begins with prefix.
func lineWith(text, prefix string) string {
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, prefix) {
			return strings.TrimSpace(line)
		}
	}
	return "no line begins with " + prefix
}

// kill is the first phase.
func (g *guest) kill() error {
	if err := g.start(); err != nil {
		return err
	}
	g.w.Note("%s", lineWith(g.server.Log(), "time="))
	if err := g.prepare(); err != nil {
		return err
	}
	g.w.Note("%d producers write; the server gets SIGKILL when each has %d answers", partitions, killAfter)
	var ready sync.WaitGroup
	ready.Add(partitions)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	failed := make(chan error, 1)
	go func() {
		failed <- g.produce(ctx, func(_ int, fresh uint64) {
			if fresh == killAfter {
				ready.Done()
			}
		})
		cancel()
	}()
	all := make(chan struct{})
	go func() { ready.Wait(); close(all) }()
	select {
	case err := <-failed:
		return fmt.Errorf("before the kill: %w", err)
	case <-all:
	}
	if err := g.server.Kill(); err != nil {
		return err
	}
	g.w.Note("killed: %v", <-failed)
	if err := g.start(); err != nil {
		return fmt.Errorf("after the kill: %w", err)
	}
	if err := g.check(); err != nil {
		return err
	}
	return g.stop()
}

// power is the second: it goes on until the host ends it.
func (g *guest) power() error {
	if err := g.start(); err != nil {
		return err
	}
	if err := g.check(); err != nil {
		return err
	}
	g.w.Note("%d producers write", partitions)
	return g.produce(context.Background(), nil)
}

// verify is the last.
func (g *guest) verify() error {
	if err := g.start(); err != nil {
		return err
	}
	if err := g.check(); err != nil {
		return err
	}
	c, err := proc.Dial(g.server.Addr)
	if err != nil {
		return err
	}
	defer c.Close()
	a, err := c.Produce(topic, 0, []byte("the last one"))
	if err != nil {
		return err
	}
	g.w.Note("and it takes more: offset %d, durable %t", a.Offset, a.Durable)
	return g.stop()
}

// stop stops the server as an operator would.
func (g *guest) stop() error {
	code, err := g.server.Terminate(proc.HangGuard)
	if err != nil || code != 0 {
		return fmt.Errorf("SIGTERM: exit status %d, %w\n%s", code, err, g.server.Log())
	}
	g.w.Note("SIGTERM: exit status 0")
	return nil
}

// prepare makes the topic, a key and a group's place.
func (g *guest) prepare() error {
	c, err := proc.Dial(g.server.Addr)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.CreateTopic(topic, partitions); err != nil {
		return err
	}
	if r, err := c.Do("PUT", "/kv/vm/colour", []byte("green")); err != nil || r.Status != 200 {
		return fmt.Errorf("a key: %s, %w", r.String(), err)
	}
	return nil
}

// produce writes into every partition until the context ends or a producer fails. tick hears of every acknowledgement: its partition, and
// how many the producer has.
func (g *guest) produce(ctx context.Context, tick func(partition int, fresh uint64)) error {
	errs := make([]error, partitions)
	var stop atomic.Bool
	var all sync.WaitGroup
	for p := range partitions {
		all.Go(func() {
			errs[p] = g.produceOne(p, func(fresh uint64) bool {
				if tick != nil {
					tick(p, fresh)
				}
				return ctx.Err() == nil && !stop.Load()
			})
			stop.Store(true) // one that fails ends all
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

func (g *guest) produceOne(partition int, on func(fresh uint64) bool) error {
	c, err := proc.Dial(g.server.Addr)
	if err != nil {
		return err
	}
	defer c.Close()
	offset, err := c.Each(topic, partition, 0, func(*proc.Message) error { return nil })
	if err != nil {
		return err
	}
	for fresh := uint64(1); ; fresh++ {
		a, err := c.Produce(topic, partition, payload(partition, offset))
		if err != nil {
			return fmt.Errorf("partition %d offset %d: %w", partition, offset, err)
		}
		if a.Offset != offset || !a.Durable || a.Synced == nil || !*a.Synced {
			return fmt.Errorf("partition %d offset %d: the answer is %+v", partition, offset, a)
		}
		offset++
		if fresh%ackEvery == 0 || fresh == killAfter {
			g.w.Count(console.Acked, partition, offset)
		}
		if offset == groupAt+1 {
			if err := c.Commit(topic, "readers", partition, groupAt); err != nil {
				return err
			}
		}
		if !on(fresh) {
			return nil
		}
	}
}

// check reads everything there is and compares it.
func (g *guest) check() error {
	c, err := proc.Dial(g.server.Addr)
	if err != nil {
		return err
	}
	defer c.Close()
	var ends []string
	for p := range partitions {
		next := uint64(0)
		end, err := c.Each(topic, p, 0, func(m *proc.Message) error {
			if want := payload(p, next); m.Offset != next || !bytes.Equal(m.ValueB64, want) {
				return fmt.Errorf("partition %d offset %d: message %d is %q, want %q", p, next, m.Offset, m.ValueB64, want)
			}
			next++
			return nil
		})
		if err != nil {
			return err
		}
		if end != next {
			return fmt.Errorf("partition %d ends at %d, and %d messages are there", p, end, next)
		}
		g.w.Count(console.Holds, p, next)
		ends = append(ends, fmt.Sprint(next))
		page, err := c.Get(fmt.Sprintf("/broker/consume/%s/readers/%d?limit=1", topic, p))
		if err != nil || page.Status != 200 {
			return fmt.Errorf("the group of partition %d: %s, %w", p, page.String(), err)
		}
		var place proc.Page
		if err := page.JSON(&place); err != nil || place.Committed != groupAt {
			return fmt.Errorf("the group of partition %d is at %d: %w", p, place.Committed, err)
		}
	}
	r, err := c.Get("/kv/vm/colour?raw=1")
	if err != nil || r.Status != 200 || string(r.Body) != "green" {
		return fmt.Errorf("the key: %s, %w", r.String(), err)
	}
	g.w.Note("consumed, every message has its bytes, partitions end at %s; the key and the groups are as they were", strings.Join(ends, ", "))
	return nil
}
