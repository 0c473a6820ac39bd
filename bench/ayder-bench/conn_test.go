package main

import (
	"strings"
	"testing"
)

func TestOutstandingQueue(t *testing.T) {
	c := newConn(0, 3)
	for round := range int64(5) { // the ring turns more than once
		for i := range int64(3) {
			if !c.room() {
				t.Fatal("no room")
			}
			c.push(shot{start: round*10 + i, op: int(i)})
		}
		if c.room() {
			t.Fatal("room for a fourth")
		}
		for i := range int64(3) {
			if c.oldest() != int(i) {
				t.Errorf("oldest operation %d, want %d", c.oldest(), i)
			}
			if s := c.pop(); s.start != round*10+i {
				t.Errorf("popped %d, want %d", s.start, round*10+i)
			}
		}
	}
	if c.oldest() != 0 {
		t.Error("an empty queue has an operation other than the first")
	}
}

func TestQueueBugsPanic(t *testing.T) {
	for name, f := range map[string]func(*conn){
		"push": func(c *conn) { c.push(shot{}); c.push(shot{}) },
		"pop":  func(c *conn) { c.pop() },
	} {
		func() {
			defer func() {
				if text, ok := recover().(string); !ok || !strings.HasPrefix(text, "bug:") {
					t.Errorf("%s: panic %v", name, text)
				}
			}()
			f(newConn(0, 1))
		}()
	}
}

func TestKeepOfItself(t *testing.T) {
	c := newConn(0, 1)
	c.in = append(c.in, "answer|rest"...)
	c.keep(c.in[len("answer|"):])
	if string(c.in) != "rest" {
		t.Errorf("kept %q", c.in)
	}
	c.keep(nil)
	if len(c.in) != 0 {
		t.Errorf("kept %q", c.in)
	}
}

// TestNeedSparesParsing: a large answer that comes in many pieces is looked at
// when its head is there and when it is whole, not for every piece.
func TestNeedSparesParsing(t *testing.T) {
	d := &countingDialect{httpDialect: plainHTTP("")}
	text := "HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n" + strings.Repeat("x", 10_000)
	var pieces []string
	for len(text) > 100 {
		pieces, text = append(pieces, text[:100]), text[100:]
	}
	k, err := feed(t, d, 1, append(pieces, text)...)
	if err != nil || len(k.failures) != 1 {
		t.Fatal(k, err)
	}
	if d.calls != 2 {
		t.Errorf("looked %d times", d.calls)
	}
}

// countingDialect counts how often replies are looked for.
type countingDialect struct {
	*httpDialect
	calls int
}

func (d *countingDialect) reply(buf []byte, op int) (reply, error) {
	d.calls++
	return d.httpDialect.reply(buf, op)
}
