package aof_test

import (
	"errors"
	"testing"

	"ayder/aof"
	"ayder/internal/record"
)

// The crash test with space given back in between: messages die, from the front of a stream or one here and one there, and the power
// goes at any step of dropping and rewriting. To what TestCrash asks for is added:
//
//   - every message that is not dead is there, wherever its segment went, and reads as it was written;
//   - Check finds nothing wrong at any moment.

// reclaiming makes a run give space back.
func reclaiming(r *crashRun) {
	r.segment, r.frameMax = 16<<10, 4<<10
	r.power = &stepFS{MemFS: r.fs, left: forever}
	r.dead = map[record.Stream]map[uint64]bool{}
}

const forever = 1 << 30

func TestReclaimCrash(t *testing.T) {
	seeds := crashSeedsMin
	if testing.Short() {
		seeds /= 4
	}
	var all aof.Reclaimed
	for seed := range uint64(seeds) {
		var run *crashRun
		if err := runCrashOf(seed, nil, func(r *crashRun) { run = r; reclaiming(r) }); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		all.Dropped += run.gave.Dropped
		all.Rewritten += run.gave.Rewritten
		all.Files += run.gave.Files
	}
	t.Logf("%d seeds: %d segments dropped, %d rewritten into %d", seeds, all.Dropped, all.Rewritten, all.Files)
	if all.Dropped < seeds/4 || all.Rewritten < seeds/4 || all.Files == all.Rewritten {
		t.Error("too little happened to show anything")
	}
}

// The test has teeth.
func TestReclaimCrashNotices(t *testing.T) {
	for what, bug := range map[string]func(*aof.Options){
		"a file that gets its name before it is durable":    (*aof.Options).LooseRewrite,
		"segments removed before the one that has the rest": (*aof.Options).RemoveFirst,
		"segments rewritten that a restart needs":           (*aof.Options).RewriteAll,
	} {
		noticed := false
		for seed := uint64(0); seed < 4*crashSeedsMin && !noticed; seed++ {
			err := runCrashOf(seed, bug, reclaiming)
			if noticed = err != nil; noticed {
				t.Logf("%s: noticed with seed %d: %v", what, seed, err)
			}
		}
		if !noticed {
			t.Error("not noticed:", what)
		}
	}
}

// isDark tells that the power went in the middle of a step; what was in flight is gone.
func (r *crashRun) isDark() bool {
	if r.power == nil || r.power.left > 0 {
		return false
	}
	r.power.left = forever
	r.killed = false
	r.fs.FailWrite(0)
	r.fs.FailSync(0)
	r.fs.SetSpace(-1)
	for _, l := range r.loops {
		l.sub.Drop()
	}
	return true
}

// reclaim lets messages die and gives space back; one time in three the power goes meanwhile.
func (r *crashRun) reclaim() error {
	share := r.rng.IntN(6) // of everything dies
	for topic := range uint32(3) {
		for p := range uint32(crashStreamsPer) {
			r.die(record.Stream{Topic: topic + 1, Partition: p}, share)
		}
	}
	if r.rng.IntN(2) == 0 {
		if err := r.writeCheckpoint(); err != nil {
			return err
		}
	}
	if r.rng.IntN(3) == 0 {
		r.power.left = 1 + r.rng.IntN(40)
	}
	done, err := r.log.Reclaim(r, aof.ReclaimOptions{KeepBytes: r.rng.Int64N(2) * r.segment, Slim: r.rng.IntN(2) == 0})
	r.gave.Dropped += done.Dropped
	r.gave.Rewritten += done.Rewritten
	r.gave.Files += done.Files
	if r.power.left == 0 {
		return nil
	}
	r.power.left = forever
	if errors.Is(err, aof.ErrFailed) || r.full || r.failed {
		return nil
	}
	return err
}

// die kills messages that are durable: all up to one, or some here and there.
func (r *crashRun) die(s record.Stream, share int) {
	u, ok := r.log.Stream(s)
	if !ok || r.log.Durable() < r.log.LastIndex() {
		return
	}
	if r.dead[s] == nil {
		r.dead[s] = map[uint64]bool{}
	}
	floor := u.First + r.rng.Uint64N(u.Next-u.First+1)
	if share > 3 {
		floor = u.Next - (u.Next-u.First)/8
	}
	for at := u.First; at < u.Next; at++ {
		if (share != 1 && at < floor) || (share < 2 && r.rng.IntN(3) == 0) {
			r.dead[s][at] = true
		}
	}
}

// Count implements aof.Liveness.
func (r *crashRun) Count(s record.Stream, first, next uint64) (n uint64) {
	for _, a := range r.Alive(nil, s, first, next) {
		n += a.Next - a.First
	}
	return n
}

// Alive implements aof.Liveness.
func (r *crashRun) Alive(dst []aof.Range, s record.Stream, first, next uint64) []aof.Range {
	for at := first; at < next; at++ {
		switch n := len(dst); {
		case r.dead[s][at]:
		case n > 0 && dst[n-1].Next == at:
			dst[n-1].Next++
		default:
			dst = append(dst, aof.Range{First: at, Next: at + 1})
		}
	}
	return dst
}
