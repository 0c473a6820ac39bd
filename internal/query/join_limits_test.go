package query

// What a join that stops early promises: rows of what was looked at, and two places to go on from.

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// lookedAt are the messages that a run took, which are the first of each side.
func lookedAt(all []*joinRecord, result *JoinResult) (taken []*joinRecord) {
	left := [2]int{result.Left.Scanned, result.Right.Scanned}
	for _, r := range all {
		if left[r.side] > 0 {
			left[r.side]--
			taken = append(taken, r)
		}
	}
	return taken
}

// checkNext wants that next is behind the last message of each partition that was looked at, and resume not behind next.
func checkNext(t *testing.T, all []*joinRecord, result *JoinResult) {
	t.Helper()
	want := [2]map[uint32]uint64{{}, {}}
	for _, r := range lookedAt(all, result) {
		want[r.side][r.Partition] = r.Offset + 1
	}
	for side, s := range []JoinSideResult{result.Left, result.Right} {
		if !maps.Equal(s.Next, want[side]) {
			t.Errorf("next is %v, want %v", s.Next, want[side])
		}
		for partition, offset := range s.Resume {
			if next, ok := s.Next[partition]; ok && offset > next {
				t.Errorf("resume %v is behind next %v", s.Resume, s.Next)
			}
		}
	}
}

// resumed tells whether a run that goes on from resume sees r.
func resumed(r *joinRecord, result *JoinResult) bool {
	from := [2]map[uint32]uint64{result.Left.Resume, result.Right.Resume}[r.side]
	return r.Offset >= from[r.Partition]
}

// checkResume wants of every row of the whole join that the answer has it, or that a run that goes on sees its messages; and of a row without
// a partner that it is one of the whole join's, or its message is seen again.
func checkResume(t *testing.T, all []*joinRecord, j *Join, result *JoinResult) {
	t.Helper()
	byName := make(map[string]*joinRecord)
	for _, r := range all {
		byName[fmt.Sprintf("%d %d/%d", r.side, r.Partition, r.Offset)] = r
	}
	seenAgain := func(row string) bool {
		for side, name := range strings.Fields(row) {
			if r := byName[fmt.Sprintf("%d %s", side, name)]; r != nil && !resumed(r, result) {
				return false
			}
		}
		return true
	}
	got, want := placesOf(result), modelJoin(all, j)
	for _, row := range want {
		if !slices.Contains(got, row) && !seenAgain(row) {
			t.Errorf("the row %s is not there, and %v %v does not lead to it", row, result.Left.Resume, result.Right.Resume)
		}
	}
	for _, row := range got {
		if !slices.Contains(want, row) && !seenAgain(row) {
			t.Errorf("the row %s is no row of the whole join, and %v %v does not say so", row, result.Left.Resume, result.Right.Resume)
		}
	}
}

// TestJoinStopsEarly stops runs by all limits.
func TestJoinStopsEarly(t *testing.T) {
	stopped := make(map[string]int)
	seeds(t, 2000, func(t *testing.T, rng *rand.Rand) {
		j := randomJoin(t, rng)
		all := joinData(rng, 1+rng.IntN(80), rng.Int64N(j.latenessMs+1), 1+rng.Int64N(20))
		var l Limits
		asked, patience := 0, rng.IntN(30)
		switch rng.IntN(7) {
		case 0:
			j.sides[leftSide].limit = 1 + rng.IntN(40)
		case 1:
			j.sides[rightSide].limit = 1 + rng.IntN(40)
			j.sides[leftSide].limit = 1 + rng.IntN(40)
		case 2:
			l.Scanned = 1 + rng.IntN(60)
		case 3:
			l.Rows = 1 + rng.IntN(20)
		case 4:
			l.OutputBytes = 150 + rng.IntN(3000)
		case 5:
			l.StateBytes = arenaChunkBytes + rng.IntN(5000)
		case 6:
			l.Expired = func() bool { asked++; return asked > patience }
		}
		r := newJoinRun(j, l)
		r.patience = 0
		result, err := r.run(sideOf(all, leftSide), sideOf(all, rightSide))
		if err != nil {
			t.Fatal(err)
		}
		stopped[result.TruncatedBy]++
		checkNext(t, all, result)
		taken := lookedAt(all, result)
		if want := modelJoin(taken, j); !r.cut && result.TruncatedBy != "rows" && result.TruncatedBy != "output" && !slices.Equal(placesOf(result), want) {
			t.Errorf("%s: rows are\n%s\nwant\n%s", result.TruncatedBy, strings.Join(placesOf(result), "\n"), strings.Join(want, "\n"))
		}
		whole := modelJoin(all, j)
		if !result.Truncated && (len(taken) < len(all) || !slices.Equal(placesOf(result), whole)) {
			t.Errorf("not truncated, with %d of %d messages and %d of %d rows", len(taken), len(all), len(result.order), len(whole))
		}
		if l.Rows > 0 && (len(result.order) > l.Rows || result.TruncatedBy == "rows" && len(result.order) < l.Rows) {
			t.Errorf("%d rows of %d", len(result.order), l.Rows)
		}
		if l.OutputBytes > 0 && len(result.AppendRows(nil)) > l.OutputBytes+len(`"rows":[]`) {
			t.Errorf("%d bytes of %d", len(result.AppendRows(nil)), l.OutputBytes)
		}
		if !j.once {
			checkResume(t, all, j, result)
		}
	})
	for _, by := range []string{"", "limit", "rows", "output", "memory", "time"} {
		if stopped[by] == 0 {
			t.Errorf("no run was stopped by %q", by)
		}
	}
	t.Log(stopped)
}

// TestJoinGoesOnExactly has the left side limited, and goes on from next on the left and resume on the right: all rows are there, each once.
func TestJoinGoesOnExactly(t *testing.T) {
	seeds(t, 600, func(t *testing.T, rng *rand.Rand) {
		j := randomJoin(t, rng)
		j.once, j.outer[rightSide] = false, false
		all := joinData(rng, 1+rng.IntN(80), rng.Int64N(j.latenessMs+1), 1+rng.Int64N(20))
		j.sides[leftSide].limit = 1 + rng.IntN(10)
		var got []string
		for rest := all; ; {
			result, err := j.Run(Limits{}, sideOf(rest, leftSide), sideOf(rest, rightSide))
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, placesOf(result)...)
			if !result.Truncated {
				break
			}
			rest = slices.DeleteFunc(slices.Clone(rest), func(r *joinRecord) bool {
				if r.side == rightSide {
					return !resumed(r, result)
				}
				return r.Offset < result.Left.Next[r.Partition]
			})
		}
		slices.Sort(got)
		if want := modelJoin(all, j); !slices.Equal(got, want) {
			t.Errorf("rows are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	})
}
