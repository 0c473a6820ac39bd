package backup

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"ayder/aof"
	"ayder/internal/record"
)

// What can be restored. A state is the log up to an index: a checkpoint at or before it, all frames behind that up to the index, and of what is
// in front the messages that were alive then. The first two are looked up. For the third a point of the backup answers: it lists
// segments of which nothing was missing that was alive at its index, or at any since its WholeFrom; and what came after its
// index is in the frames that have to be there anyway. So from one point on can be restored
//
//	WholeFrom … Index          with the point's own files, from the first checkpoint that is usable on
//	Index … as far as frames   with segments that later points brought, if they had not been rewritten by then
//
// A checkpoint is usable for an index if nothing in it is of a later one (its Reach), and nothing is missing behind it: no segment that was
// rewritten, none that was dropped.

// Range is indexes that can be restored, both included.
type Range struct{ First, Last uint64 }

// plan is how one index is restored.
type plan struct {
	index      uint64
	checkpoint *File // nil: everything is replayed
	segments   []*File
}

// Ranges lists what can be restored, growing and apart from each other.
func (l *List) Ranges() []Range {
	var all []Range
	for i := range l.Points {
		if r, ok := l.rangeOf(&l.Points[i]); ok {
			all = append(all, r)
		}
	}
	slices.SortFunc(all, func(a, b Range) int { return cmp.Compare(a.First, b.First) })
	merged := all[:0]
	for _, r := range all {
		if n := len(merged); n > 0 && r.First <= merged[n-1].Last+1 {
			merged[n-1].Last = max(merged[n-1].Last, r.Last)
			continue
		}
		merged = append(merged, r)
	}
	return merged
}

// rangeOf is what can be restored from one point on.
func (l *List) rangeOf(p *Point) (r Range, ok bool) {
	segments := l.chain(p, math.MaxUint64)
	if len(segments) == 0 {
		return Range{}, p.Index == 0
	}
	r = Range{max(p.WholeFrom, 1), segments[len(segments)-1].Last}
	if covered := coveredOf(segments); covered > 0 {
		lowest := uint64(math.MaxUint64)
		for i := range l.Files {
			if f := &l.Files[i]; f.IsCheckpoint() && f.Last >= covered {
				lowest = min(lowest, f.Reach)
			}
		}
		r.First = max(r.First, lowest)
	}
	return r, r.First <= r.Last
}

// chain lists the segments from a point on up to the one that has index, as far as they follow each other.
func (l *List) chain(p *Point, index uint64) (chain []*File) {
	for i := range l.Files {
		if f := &l.Files[i]; !f.IsCheckpoint() && f.From <= p.Seq && p.Seq <= f.To {
			chain = append(chain, f)
		}
	}
	slices.SortFunc(chain, func(a, b *File) int { return cmp.Compare(a.First, b.First) })
	for i := 1; i < len(chain); i++ {
		if chain[i].First != chain[i-1].Last+1 {
			return nil // the list is not ours
		}
	}
	for len(chain) > 0 && chain[len(chain)-1].Last < index {
		next := l.behind(chain[len(chain)-1].Last)
		if next == nil {
			break
		}
		chain = append(chain, next)
	}
	return chain
}

// behind returns a segment with the frames behind index, whole.
func (l *List) behind(index uint64) *File {
	for i := range l.Files {
		if f := &l.Files[i]; !f.IsCheckpoint() && !f.Rewritten && f.First == index+1 {
			return f
		}
	}
	return nil
}

// coveredOf is the index up to which frames are missing, 0: none are.
func coveredOf(segments []*File) uint64 {
	covered := segments[0].First - 1
	for _, f := range segments {
		if f.Rewritten {
			covered = max(covered, f.Last)
		}
	}
	return covered
}

// planFor finds files for an index. ErrNoPoint names what can be restored.
func (l *List) planFor(index uint64) (*plan, error) {
	for i := len(l.Points) - 1; i >= 0; i-- {
		if r, ok := l.rangeOf(&l.Points[i]); ok && r.First <= index && index <= r.Last {
			return l.planFrom(&l.Points[i], index), nil
		}
	}
	return nil, fmt.Errorf("index %d: %w; %s", index, ErrNoPoint, l.describe())
}

func (l *List) planFrom(p *Point, index uint64) *plan {
	w := &plan{index: index}
	for _, f := range l.chain(p, index) {
		if f.First <= index {
			w.segments = append(w.segments, f)
		}
	}
	if len(w.segments) == 0 {
		return w
	}
	covered := coveredOf(w.segments)
	for i := range l.Files {
		f := &l.Files[i]
		if f.IsCheckpoint() && f.Reach <= index && f.Last >= covered && (w.checkpoint == nil || f.Last > w.checkpoint.Last) {
			w.checkpoint = f
		}
	}
	return w
}

// describe says what can be restored.
func (l *List) describe() string {
	all := l.Ranges()
	if len(all) == 0 {
		return "the backup holds nothing that can be"
	}
	var parts []string
	for _, r := range all[max(0, len(all)-rangesShown):] {
		parts = append(parts, fmt.Sprintf("%d to %d", r.First, r.Last))
	}
	text := "indexes " + strings.Join(parts, ", ") + " can be restored"
	if len(all) > rangesShown {
		text += fmt.Sprintf(", and others from %d on", all[0].First)
	}
	return text
}

// at finds the last index whose frame is not later than ms.
func (l *List) at(dir string, ms uint64) (uint64, error) {
	newest := l.newest()
	if newest == nil {
		return 0, fmt.Errorf("%w: it is empty", ErrNoPoint)
	}
	if newest.TimeMs <= ms {
		return newest.Index, nil
	}
	var in *File // the last segment that begins by then
	for i := range l.Files {
		if f := &l.Files[i]; !f.IsCheckpoint() && f.TimeMs <= ms && (in == nil || f.First > in.First || f.First == in.First && f.Last > in.Last) {
			in = f
		}
	}
	if in == nil {
		return 0, l.noTime(dir, ms)
	}
	index := in.First - 1
	if !in.Rewritten {
		_, err := aof.ScanPiece(nil, in.path(dir), in.Size, func(f *record.Frame, _ int64) bool {
			if f.TimeMs <= ms {
				index = f.Index
			}
			return f.TimeMs <= ms
		})
		if err != nil {
			return 0, err
		}
	}
	if index < in.First || index == in.Last && l.behind(index) == nil { // nobody knows whether there were later ones by then
		return 0, l.noTime(dir, ms)
	}
	return index, nil
}

// noTime says which times can be restored.
func (l *List) noTime(dir string, ms uint64) error {
	text := l.describe()
	if all := l.Ranges(); len(all) > 0 {
		text += fmt.Sprintf("; index %d was written at %s, %d at %s", all[0].First, l.timeOf(dir, all[0].First), l.newest().Index, ShowTime(l.newest().TimeMs))
	}
	return fmt.Errorf("%s: %w; %s", ShowTime(ms), ErrNoPoint, text)
}

// timeOf is the time of a frame, as far as that is known.
func (l *List) timeOf(dir string, index uint64) string {
	found := uint64(0)
	for i := range l.Files {
		f := &l.Files[i]
		if f.IsCheckpoint() || f.First > index || f.Last < index || found != 0 {
			continue
		}
		_, _ = aof.ScanPiece(nil, f.path(dir), f.Size, func(f *record.Frame, _ int64) bool {
			if f.Index == index {
				found = f.TimeMs
			}
			return f.Index < index
		})
	}
	if found == 0 {
		return "a time that is not known"
	}
	return ShowTime(found)
}

// ShowTime renders a frame's time.
func ShowTime(ms uint64) string {
	return time.UnixMilli(int64(ms)).UTC().Format("2006-01-02T15:04:05.000Z07:00")
}
