// Package console is what a guest and its host say to each other: lines on the guest's serial console, which also carries the kernel's
// messages, so ours begin with "@".
//
//	@ TEXT          for the transcript
//	@acked P N      messages 0 to N-1 of partition P were answered as durable
//	@holds P N      messages 0 to N-1 of partition P are stored, each with its bytes
//	@failed TEXT    the phase has failed
//	@done           the phase has ended well
//
// A line that is not whole, because the machine was killed in its middle, is nothing: what it tells must not count.
package console

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
)

// Kind is the kind of a line.
type Kind string

const (
	Note   Kind = "@"       // for the transcript
	Acked  Kind = "@acked"  // so many messages were answered as durable
	Holds  Kind = "@holds"  // so many are stored
	Failed Kind = "@failed" // the end of a phase
	Done   Kind = "@done"   // its good end
)

// Line is one line of ours.
type Line struct {
	Kind      Kind
	Partition int
	Count     uint64 // of messages, from the first
	Text      string
}

// Parse reads a line without its end; false: it is not ours, or not whole.
func Parse(text string) (l Line, ok bool) {
	kind, rest, _ := strings.Cut(text, " ")
	l = Line{Kind: Kind(kind), Text: rest}
	switch l.Kind {
	case Note, Failed:
		return l, true
	case Done:
		return l, rest == ""
	case Acked, Holds:
		p, n, _ := strings.Cut(rest, " ")
		partition, perr := strconv.Atoi(p)
		count, nerr := strconv.ParseUint(n, 10, 63)
		l.Partition, l.Count, l.Text = partition, count, ""
		return l, perr == nil && nerr == nil && partition >= 0
	}
	return l, false
}

// Writer writes lines, each in one write. Any goroutine.
type Writer struct {
	mu  sync.Mutex
	out io.Writer
	err error // the first one
}

// NewWriter writes to out.
func NewWriter(out io.Writer) *Writer { return &Writer{out: out} }

// Note adds to the transcript.
func (w *Writer) Note(format string, a ...any) {
	for line := range strings.Lines(fmt.Sprintf(format, a...)) {
		w.line(string(Note) + " " + strings.TrimRight(line, "\r\n"))
	}
}

// Count tells what was acknowledged or is held.
func (w *Writer) Count(kind Kind, partition int, count uint64) {
	w.line(fmt.Sprintf("%s %d %d", kind, partition, count))
}

// End tells how a phase has ended.
func (w *Writer) End(err error) {
	if err == nil {
		w.line(string(Done))
		return
	}
	w.line(string(Failed) + " " + strings.ReplaceAll(err.Error(), "\n", " / "))
}

// Err is the first error of writing.
func (w *Writer) Err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

func (w *Writer) line(text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, err := io.WriteString(w.out, text+"\n"); err != nil && w.err == nil {
		w.err = err
	}
}
