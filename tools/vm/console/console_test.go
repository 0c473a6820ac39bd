package console

import (
	"errors"
	"strings"
	"testing"
)

func TestWhatIsWrittenIsRead(t *testing.T) {
	var b strings.Builder
	w := NewWriter(&b)
	w.Note("two\nlines of %s", "text")
	w.Count(Acked, 3, 17)
	w.Count(Holds, 0, 18)
	w.End(errors.New("a\nb"))
	w.End(nil)
	want := []Line{
		{Note, 0, 0, "two"},
		{Note, 0, 0, "lines of text"},
		{Acked, 3, 17, ""},
		{Holds, 0, 18, ""},
		{Failed, 0, 0, "a / b"},
		{Done, 0, 0, ""},
	}
	var got []Line
	for text := range strings.Lines(b.String()) {
		l, ok := Parse(strings.TrimSuffix(text, "\n"))
		if !ok {
			t.Errorf("%q is not read", text)
		}
		got = append(got, l)
	}
	if len(got) != len(want) {
		t.Fatalf("%d lines, want %d", len(got), len(want))
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("%+v, want %+v", got[i], want[i])
		}
	}
	if w.Err() != nil {
		t.Error(w.Err())
	}
}

func TestWhatIsNotOursIsNotRead(t *testing.T) {
	for _, text := range []string{"", "[    0.000000] Booting Linux", "@acked", "@acked 1", "@acked 1 ", "@acked x 1", "@acked 1 2 3", "@acked -1 2", "@done now", "@ackedx 1 2", "x@done"} {
		if l, ok := Parse(text); ok {
			t.Errorf("%q is read as %+v", text, l)
		}
	}
}
