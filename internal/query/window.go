package query

// Windows: stretches of event time, [start, end), in milliseconds.
//
// Tumbling and hopping windows are aligned to 1970: a start is a multiple of the advance, for times before 1970 as well. A tumbling window is a
// hopping one that advances by its size. A session is a group's own: from its first message to gap_ms after its last; two
// messages less than gap_ms apart are in one session.

// window is compiled. advance 0: sessions; size 0: no windows at all.
type window struct {
	size     int64 // or the gap of sessions
	advance  int64
	lateness int64
	tsField  int // place of the field that holds the time, -1: the log's time
}

// none is where nothing is cut by time.
func (w *window) none() bool { return w.size == 0 }

func (w *window) sessions() bool { return w.size > 0 && w.advance == 0 }

// lastStart is the start of the last window that covers ts; earlier ones begin an advance before, as long as covers says so.
func (w *window) lastStart(ts int64) int64 { return floorDiv(ts, w.advance) * w.advance }

func (w *window) covers(start, ts int64) bool { return ts-start < w.size }

// compile checks w, which may be nil, and takes its field.
func (w *Window) compile(fields *fieldSet) (window, error) {
	c := window{tsField: -1}
	if w == nil {
		return c, nil
	}
	kind := w.Type
	if kind == "" && w.SizeMs != nil {
		kind = "tumbling"
	}
	if err := w.checkMembers(kind); err != nil {
		return c, err
	}
	for _, m := range w.durations() {
		if err := inRange("window."+m.name, m.ms, m.least, windowMsMax); err != nil {
			return c, err
		}
	}
	switch kind {
	case "tumbling":
		c.size, c.advance = *w.SizeMs, *w.SizeMs
	case "hopping":
		c.size, c.advance = *w.SizeMs, *w.AdvanceMs
		if (c.size-1)/c.advance >= windowsPerMax {
			return c, badQuery("window.advance_ms", "is so small that more than %d windows cover an instant", windowsPerMax)
		}
	case "session":
		c.size = *w.GapMs
	}
	if w.AllowedLatenessMs != nil {
		c.lateness = *w.AllowedLatenessMs
	}
	var err error
	if w.TsField != nil {
		c.tsField, err = fields.add("window.ts_field", *w.TsField)
	}
	return c, err
}

// duration is a member of a window, and which types it belongs to.
type duration struct {
	name  string
	ms    *int64
	least int64
	of    map[string]bool
}

func (w *Window) durations() []duration {
	return []duration{
		{"size_ms", w.SizeMs, 1, map[string]bool{"tumbling": true, "hopping": true}},
		{"advance_ms", w.AdvanceMs, 1, map[string]bool{"hopping": true}},
		{"gap_ms", w.GapMs, 1, map[string]bool{"session": true}},
		{"allowed_lateness_ms", w.AllowedLatenessMs, 0, nil},
	}
}

// checkMembers wants what the type needs, and nothing that it would not look at.
func (w *Window) checkMembers(kind string) error {
	switch kind {
	case "tumbling", "hopping", "session":
	case "":
		return badQuery("window.size_ms", "is missing")
	default:
		return badQuery("window.type", "is %q: it can be tumbling, hopping or session", kind)
	}
	for _, m := range w.durations() {
		switch {
		case m.of[kind] && m.ms == nil:
			return badQuery("window."+m.name, "is missing")
		case m.of != nil && !m.of[kind] && m.ms != nil:
			return badQuery("window."+m.name, "has no meaning for a %s window", kind)
		}
	}
	return nil
}
