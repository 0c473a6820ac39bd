package cli

import (
	"fmt"
	"sync"
	"time"
)

// progress counts what a long command has done and shows it on a terminal once a second.
type progress struct {
	s        *session
	verb     string
	totals   bool // are worth a line although nobody watches
	began    time.Time
	mu       sync.Mutex // several workers count
	shown    time.Time
	messages uint64
	bytes    uint64
}

func (s *session) progress(verb string, totals bool) *progress {
	return &progress{s: s, verb: verb, totals: totals, began: time.Now(), shown: time.Now()}
}

// add counts messages; any goroutine may call it.
func (p *progress) add(messages, bytes int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.messages += uint64(messages)
	p.bytes += uint64(bytes)
	if p.s.Terminal && !p.s.quiet && time.Since(p.shown) >= progressEvery {
		p.shown = time.Now()
		fmt.Fprintf(p.s.Err, "\r%s\x1b[K", p.line())
	}
}

// end prints the totals.
func (p *progress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.s.Terminal && !p.s.quiet {
		fmt.Fprint(p.s.Err, "\r\x1b[K")
	}
	if p.totals || p.s.Terminal {
		p.s.notice("%s", p.line())
	}
}

func (p *progress) line() string {
	took := time.Since(p.began)
	return fmt.Sprintf("%s %d messages, %d bytes in %.1f s (%.0f/s)", p.verb, p.messages, p.bytes, took.Seconds(), float64(p.messages)/max(took.Seconds(), 0.001))
}
