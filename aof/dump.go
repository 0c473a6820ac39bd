package aof

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"

	"ayder/internal/record"
)

// Dump shows what is in the files, for people and for scripts that grep: one line per segment, frame, section and record,
// each field with its name before it. It goes through the same sweeper as Check, so that what lies behind damage is
// shown too, and says where it had to search.

// DumpOptions choose what Dump prints.
type DumpOptions struct {
	From, To uint64 // indexes, both inclusive; To 0: to the end
	Sections bool   // a line for every section
	Records  bool   // a line for every record, too
	ValueMax int    // bytes of a record's value that are shown; 0: 64
}

// Dump prints the frames of the log in dir, one line each, also those behind damage. It changes nothing and takes no lock,
// so on a log in use the newest frames may be missing.
func Dump(w io.Writer, fsys FS, dir string, o DumpOptions) error {
	if fsys == nil {
		fsys = OS()
	}
	if o.To == 0 {
		o.To = math.MaxUint64
	}
	if o.ValueMax == 0 {
		o.ValueMax = dumpValueBytes
	}
	d := &dumper{w: bufio.NewWriter(w), o: o}
	v, err := take(fsys, dir, d.bad)
	if err != nil {
		return fmt.Errorf("aof: dump %s: %w", dir, err)
	}
	for _, s := range slices.Concat(v.segments, v.superseded, v.spares) {
		if err := d.segment(fsys, s); err != nil {
			return fmt.Errorf("aof: dump %s: %w", s.name(), err)
		}
	}
	return d.w.Flush()
}

type dumper struct {
	w *bufio.Writer
	o DumpOptions
}

func (d *dumper) bad(err error) error {
	var damage *Damage
	if !errors.As(err, &damage) {
		return err
	}
	_, err = fmt.Fprintln(d.w, damage)
	return err
}

func (d *dumper) segment(fsys FS, s *segment) error {
	f, err := fsys.Open(s.name(), ReadOnly)
	if err != nil {
		return err
	}
	defer f.Close()
	fmt.Fprintf(d.w, "segment %s size %d seed %016x sequence %d log %x\n", s.name(), s.size, s.seed, s.sequence, s.log)
	if x := s.extent; s.rewritten() {
		fmt.Fprintf(d.w, "  rewritten: stands for indexes %d to %d, holds %d frames up to byte %d\n", x.first, x.last, x.frames, x.end)
	}
	sweep := newSweeper(f, &s.segmentHeader)
	for {
		f, ok, err := sweep.next()
		if err != nil || !ok {
			return err
		}
		if sweep.reason != nil && !errors.Is(sweep.reason, record.ErrEmpty) {
			fmt.Fprintf(d.w, "  byte %d: %v\n", sweep.gapAt, sweep.reason)
		}
		if f.Index >= d.o.From && f.Index <= d.o.To {
			d.frame(&f)
		}
	}
}

func (d *dumper) frame(f *frameAt) {
	fmt.Fprintf(d.w, "  byte %d index %d term %d time %d durable %d staged %d kind %d sections %d size %d\n",
		f.pos, f.Index, f.Term, f.TimeMs, f.Durable, f.Staged, f.Kind, f.Sections, f.Size)
	if !d.o.Sections && !d.o.Records {
		return
	}
	it := f.Iter()
	for sec, ok := it.Next(); ok; sec, ok = it.Next() {
		fmt.Fprintf(d.w, "    section +%d type %d flags %d stream %d/%d base %d count %d body %d\n",
			sec.Pos, sec.Type, sec.Flags, sec.Stream.Topic, sec.Stream.Partition, sec.Base, sec.Count, len(sec.Body))
		if d.o.Records {
			d.records(&sec)
		}
	}
	if err := it.Err(); err != nil {
		fmt.Fprintf(d.w, "    %v\n", err)
	}
}

func (d *dumper) records(sec *record.Section) {
	it := sec.Records()
	for n := sec.Base; ; n++ {
		rec, ok := it.Next()
		if !ok {
			return
		}
		v := rec.Value[:min(len(rec.Value), d.o.ValueMax)]
		fmt.Fprintf(d.w, "      offset %d time %d key %q idem %q headers %d value %d %q\n",
			n, rec.TimeMs, rec.Key, rec.Idem, len(rec.Headers), len(rec.Value), v)
	}
}
