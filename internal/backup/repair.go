package backup

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"sort"

	"ayder/aof"
	"ayder/engine"
	"ayder/internal/record"
	"ayder/raftlog"
)

// Repairing a directory of which no server is running. What is damaged is aof.Check's to say; here is what it means to each partition, and what either
// way out would lose:
//
//	from a backup   good frames take the place of damaged ones (aof.Mend); what the backup does not have stays damaged
//	by a cut        the log ends before the damage, whatever is good behind it (aof.Cut)
//
// What is lost is told by offsets: from where a partition ends before the damage to the highest offset that anything, before or behind, says it had. A damaged
// part that nothing behind speaks of can only be told by its indexes.

// Diagnosis is what is wrong with a log and what can be done.
type Diagnosis struct {
	Report *aof.Report
	Cut    *aof.Loss // what goes for the log to end before the damage
	Lost   []Lost    // by a cut
	Mended []aof.Mended
}

// Lost is what a partition loses.
type Lost struct {
	What        string // "orders partition 3"
	First, Last uint64 // offsets
}

// Repair is how.
type Repair struct {
	From string // a backup; empty: none
	Cut  bool
}

// Diagnose says what is damaged in dir and what the two ways would come to. It changes nothing.
func Diagnose(dir, from string) (*Diagnosis, error) {
	if Unfinished(dir) {
		return nil, fmt.Errorf("%s: a restore into it has not come to its end: empty it and restore again", dir)
	}
	d := &Diagnosis{}
	var err error
	if d.Report, err = aof.Check(nil, dir); err != nil || d.Report.OK() {
		return d, err
	}
	if d.Cut, err = aof.DiagnoseCut(aof.OS(), dir); err != nil {
		return d, err
	}
	if d.Lost, err = lostBehind(dir, d.Cut.From); err != nil || from == "" {
		return d, err
	}
	donors, err := donorsOf(from)
	if err == nil {
		d.Mended, err = aof.Mend(nil, dir, donors, false)
	}
	return d, err
}

// Apply repairs dir in one of the ways, or the first and then the other, and returns what is left to say of it.
func (r Repair) Apply(dir string) (*Diagnosis, error) {
	var mended []aof.Mended
	if r.From != "" {
		donors, err := donorsOf(r.From)
		if err != nil {
			return nil, err
		}
		if mended, err = aof.Mend(nil, dir, donors, true); err != nil {
			return nil, err
		}
	}
	d, err := Diagnose(dir, "")
	if err != nil {
		return d, err
	}
	d.Mended = mended
	if !r.Cut || d.Report.OK() {
		return d, nil
	}
	if member, err := raftlog.HasState(aof.OS(), dir); err != nil || member {
		return d, errors.Join(err, fmt.Errorf("%s belongs to a node of a cluster: it gets what is damaged again from the others when it starts, and must not give up by itself what it confirmed", dir))
	}
	if err := aof.Cut(aof.OS(), dir, d.Cut); err != nil {
		return d, err
	}
	after, err := Diagnose(dir, "")
	if err == nil {
		d.Report = after.Report
	}
	return d, err
}

// donorsOf lists the files of a backup, those of newer points first.
func donorsOf(dir string) ([]aof.Donor, error) {
	l, err := Load(dir)
	if err != nil {
		return nil, err
	}
	files := slices.Clone(l.Files)
	slices.SortStableFunc(files, func(a, b File) int { return cmp.Compare(b.To, a.To) })
	donors := make([]aof.Donor, len(files))
	for i := range files {
		donors[i] = aof.Donor{Path: files[i].path(dir), Piece: files[i].Piece}
	}
	return donors, nil
}

// lostBehind tells what is lost if the log ends before index from.
func lostBehind(dir string, from uint64) ([]Lost, error) {
	names, before, all, err := ends(dir, from)
	if err != nil {
		return nil, err
	}
	var lost []Lost
	for s, next := range all {
		if next > before[s] {
			lost = append(lost, Lost{names.of(s), before[s], next - 1})
		}
	}
	sort.Slice(lost, func(i, j int) bool { return lost[i].What < lost[j].What })
	return lost, nil
}

// ends finds where every stream ends, in front of an index and at all.
func ends(dir string, from uint64) (names namer, before, all map[record.Stream]uint64, err error) {
	if before, err = aof.Known(nil, dir, 0, from, nil); err != nil {
		return names, nil, nil, err
	}
	names.engine = engine.New(engine.Config{})
	checkpoints, err := aof.Checkpoints(nil, dir)
	if err != nil {
		return names, nil, nil, err
	}
	all = make(map[record.Stream]uint64)
	index := uint64(0)
	for _, path := range checkpoints {
		e := engine.New(engine.Config{})
		var payload []byte
		if index, payload, err = aof.ReadCheckpoint(nil, path); err == nil {
			err = e.Restore(payload)
		}
		if err != nil {
			return names, nil, nil, err
		}
		names.engine = e
		if index < from {
			merge(before, e)
		}
		merge(all, e)
	}
	follows := true
	behind, err := aof.Known(nil, dir, 0, ^uint64(0), func(f record.Frame) {
		if follows && f.Index == index+1 { // names that are not in a checkpoint yet
			follows, index = names.engine.ApplyReplay(f) == nil, f.Index
		}
	})
	for s, next := range behind {
		all[s] = max(all[s], next)
	}
	return names, before, all, err
}

// merge adds what an engine knows of the ends of partitions.
func merge(ends map[record.Stream]uint64, e *engine.Engine) {
	for _, t := range e.Topics() {
		for n := range t.Partitions() {
			if t.Mode() == engine.Rocket {
				continue
			}
			if p := t.Partition(n); p.Next() > 0 {
				ends[p.Stream()] = max(ends[p.Stream()], p.Next())
			}
		}
	}
}

// namer says what a stream is.
type namer struct{ engine *engine.Engine }

func (n namer) of(s record.Stream) string {
	if engine.IsKVStream(s) {
		return fmt.Sprintf("changes of keys, bucket %d", s.Partition)
	}
	if t := n.engine.TopicByID(s.Topic); t != nil {
		return fmt.Sprintf("%s partition %d", t.Name(), s.Partition)
	}
	return fmt.Sprintf("the topic with id %d, partition %d", s.Topic, s.Partition)
}

// Print says it for people.
func (d *Diagnosis) Print(w io.Writer) error {
	p := &printer{w: w}
	p.err = d.Report.Print(w)
	for _, m := range d.Mended {
		p.line("from the backup: %d frames of %s, which goes to index %d then", m.Frames, filepath.Base(m.File), m.Last)
	}
	if d.Cut == nil {
		return p.err
	}
	p.line("a cut: the log ends before index %d, of %d that it is known to have had; %d files go to quarantine", d.Cut.From, d.Cut.Index, len(d.Cut.Files))
	for _, l := range d.Lost {
		p.line("a cut loses: %s, offsets %d to %d", l.What, l.First, l.Last)
	}
	if d.Cut.Blind {
		p.line("a cut loses: what a file held whose header cannot be read")
	}
	return p.err
}

// printer keeps the first error.
type printer struct {
	w   io.Writer
	err error
}

func (p *printer) line(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format+"\n", args...)
	}
}
