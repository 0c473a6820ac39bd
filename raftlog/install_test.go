package raftlog

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ayder/aof"
	"ayder/internal/record"
)

// everyFourth is what is alive of every stream.
type everyFourth struct{}

func (everyFourth) Count(_ record.Stream, first, next uint64) uint64 { return (next+3)/4 - (first+3)/4 }

func (everyFourth) Alive(dst []aof.Range, _ record.Stream, first, next uint64) []aof.Range {
	for at := (first + 3) / 4 * 4; at < next; at += 4 {
		dst = append(dst, aof.Range{First: at, Next: at + 1})
	}
	return dst
}

// rewriteFront rewrites what lies in front of index.
func rewriteFront(l *aof.Log, index uint64) error {
	if err := l.WriteCheckpoint(index-1, []byte("state")); err != nil {
		return err
	}
	done, err := l.Reclaim(everyFourth{}, aof.ReclaimOptions{})
	if err == nil && done.Rewritten == 0 {
		err = errors.New("nothing was rewritten")
	}
	return err
}

// dropFront writes until the leader has sealed a segment, makes the checkpoint there, and drops everything before.
func (c *testCluster) dropFront(want []string, drop func(*aof.Log, uint64) error) []string {
	c.t.Helper()
	rolls := &c.leader().log.Stats().Rolls
	big := strings.Repeat("x", 40<<10)
	for enough := rolls.Load() + 3; rolls.Load() < enough; {
		v := big + string(rune('a'+len(want)%26))
		c.commit(v, len(want))
		want = append(want, v)
	}
	l := c.leader()
	until(c.t, "a sealed segment", func() bool { return l.sealed.Load() > 0 && l.node.AwaitApplied(l.sealed.Load(), nil) })
	index := l.sealed.Load()
	if err := l.log.WriteCheckpoint(index, []byte("state")); err != nil {
		c.t.Fatal(err)
	}
	if _, err := l.log.Files(index); err != nil {
		c.t.Fatal(err)
	}
	l.node.Checkpointed(index)
	if err := drop(l.log, index); err != nil {
		c.t.Fatal(err)
	}
	l.node.store.cache.truncate(1) // where it would be found all the same
	if l.log.FirstIndex() <= 1 {
		c.t.Fatal("nothing was dropped")
	}
	return want
}

// A follower that needs entries which are gone receives the leader's files and goes on from there.
func TestAFollowerTooFarBehindIsGivenFiles(t *testing.T) {
	t.Run("dropped", func(t *testing.T) { tooFarBehind(t, (*aof.Log).DropBefore) })
	t.Run("rewritten", func(t *testing.T) { tooFarBehind(t, rewriteFront) })
}

func tooFarBehind(t *testing.T, drop func(*aof.Log, uint64) error) {
	c := newCluster(t, 3)
	restarts := make(chan string, 10)
	for i, m := range c.members {
		m.opts = func(o *Options) {
			o.Restart = func() error { restarts <- m.id; return errors.New("the test starts it over") }
		}
		m.start(i == 0)
	}
	want := c.write(0, 3)
	c.agree(want)
	l := c.leader()
	away := c.members[1]
	if away == l {
		away = c.members[2]
	}
	away.stop()
	want = c.dropFront(want, drop)
	away.start(false)
	select {
	case id := <-restarts:
		if id != away.id {
			t.Fatal(id, "starts over")
		}
	case <-time.After(3 * offerWait):
		t.Fatal("the files never came")
	}
	away.stop()
	if _, err := os.Stat(filepath.Join(away.dir, installDir, installList)); err != nil {
		t.Fatal(err)
	}
	installed, err := FinishInstall(away.dir)
	if !installed || err != nil {
		t.Fatal(installed, err)
	}
	if again, err := FinishInstall(away.dir); again || err != nil {
		t.Fatal("twice", again, err)
	}
	away.start(false)
	first := away.log.FirstIndex()
	if first != l.log.FirstIndex() || !l.node.Offering() {
		t.Fatal("begins at", first)
	}
	until(t, "the rest", func() bool { return away.node.Applied() >= l.node.Applied() })
	until(t, "the same messages", func() bool {
		mine, _ := away.log.Stream(record.Stream{Topic: 1})
		theirs, _ := l.log.Stream(record.Stream{Topic: 1})
		return mine == theirs && mine.Messages > 0
	})
	if got := away.values(); len(got) == 0 || got[len(got)-1] != want[len(want)-1] {
		t.Fatal("has not the end of the log")
	}
	c.commit("after", len(want))
	until(t, "what comes after", func() bool { got := away.values(); return got[len(got)-1] == "after" })
}

// A leader that has not filled a segment since its start makes files for a follower that needs them.
func TestALeaderMakesFilesWhenTheyAreNeeded(t *testing.T) {
	c := newCluster(t, 3)
	restarts := make(chan string, 10)
	for i, m := range c.members {
		m.opts = func(o *Options) {
			o.Checkpoint = func(last uint64) {
				if m.node.AwaitApplied(last, nil) && m.log.WriteCheckpoint(last, []byte("state")) == nil {
					m.node.Checkpointed(last)
				}
			}
			o.Restart = func() error { restarts <- m.id; return errors.New("the test starts it over") }
		}
		m.start(i == 0)
	}
	want := c.write(0, 3)
	c.agree(want)
	first := c.members[0]
	lead := func() {
		until(t, "the first one leads", func() bool {
			l := c.leader()
			if l != first {
				_ = l.node.Transfer(t.Context(), first.id)
			}
			return l == first
		})
	}
	lead()
	away := c.members[2]
	away.stop()
	want = c.dropFront(want, (*aof.Log).DropBefore)
	first.stop()
	first.start(false)
	lead()
	if _, err := first.log.Files(first.node.checkpoint.Load()); !errors.Is(err, aof.ErrNotFound) {
		t.Fatal("there are files already:", err)
	}
	rolls := first.log.Stats().Rolls.Load()
	away.start(false)
	select {
	case id := <-restarts:
		if id != away.id {
			t.Fatal(id, "starts over")
		}
	case <-time.After(3 * offerWait): // an offer that comes to nothing, because another one leads, takes as long
		t.Fatalf("the files never came: %+v %+v", first.node.Status(), away.node.Status())
	}
	if now := first.log.Stats().Rolls.Load(); now > rolls+1 {
		t.Error(now-rolls, "segments were sealed for one node")
	}
	away.stop()
	if installed, err := FinishInstall(away.dir); !installed || err != nil {
		t.Fatal(installed, err)
	}
	away.start(false)
	until(t, "the rest", func() bool { return away.node.Applied() >= first.node.Applied() })
	c.commit("after", len(want))
	until(t, "what comes after", func() bool { got := away.values(); return len(got) > 0 && got[len(got)-1] == "after" })
}

// An interruption at any point of an install leaves something that can be finished.
func TestAnInstallCanBeInterrupted(t *testing.T) {
	files := []string{"00000000000000000005.aof", "00000000000000000009.aof", "checkpoint-00000000000000000012.ckp"}
	old := []string{"00000000000000000001.aof", "00000000000000000001.idx", "spare-00000000000000000003.ready", "checkpoint-00000000000000000002.ckp"}
	for moved := 0; moved <= len(files); moved++ {
		dir := t.TempDir()
		from := filepath.Join(dir, installDir)
		var o offer
		write := func(path, s string) {
			if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(s), 0o644)); err != nil {
				t.Fatal(err)
			}
		}
		for i, name := range files {
			o.Files = append(o.Files, offerFile{Name: name, Size: 3})
			if i < moved {
				write(filepath.Join(dir, name), "new")
			} else {
				write(filepath.Join(from, name), "new")
			}
		}
		for _, name := range old[moved:] {
			write(filepath.Join(dir, name), "old")
		}
		write(filepath.Join(dir, stateName), "state")
		write(filepath.Join(from, installList), `{"files":[{"name":"`+strings.Join(files, `","size":3},{"name":"`)+`","size":3}]}`)
		if ok, err := FinishInstall(dir); !ok || err != nil {
			t.Fatal(ok, err)
		}
		entries, _ := os.ReadDir(dir)
		var names []string
		for _, e := range entries {
			names = append(names, e.Name())
		}
		if got := strings.Join(names, " "); got != strings.Join(append(files, stateName), " ") {
			t.Fatal(got)
		}
	}
}

// What came of one file does not go on with another of the same name: not when the leader has put one in its place, and not from another leader.
func TestAFileThatWasReplacedIsNotGivenAway(t *testing.T) {
	c := newCluster(t, 1)
	c.members[0].start(true)
	c.dropFront(c.write(0, 3), rewriteFront)
	l := c.leader()
	files, err := l.log.Files(l.node.checkpoint.Load())
	if err != nil || len(files) < 2 {
		t.Fatal(files, err)
	}
	for _, f := range files {
		of := offerFile{f.Name, f.Size, f.ID}
		r, size, err := l.node.bulk(hello{}, of.request(), 0)
		if err != nil || size != f.Size {
			t.Fatal(f, size, err)
		}
		_ = r.Close()
		of.ID = strings.Repeat("0", len(of.ID))
		if _, _, err := l.node.bulk(hello{}, of.request(), 0); err == nil {
			t.Error(f.Name, "is given away under another id")
		}
	}
	dir := filepath.Join(t.TempDir(), installDir)
	kept := offerFile{files[0].Name, files[0].Size, files[0].ID}
	for _, name := range []string{files[0].Name, files[0].Name + "@00", kept.request(), "other"} {
		if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, name), nil, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	if err := removeOthers(dir, &offer{Files: []offerFile{kept}}); err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 || left[0].Name() != kept.request() {
		t.Error("left of other offers:", left)
	}
}

// Nothing but the log's files is given away, and none taken.
func TestOnlyTheLogsFilesTravel(t *testing.T) {
	n := &Node{o: Options{Dir: t.TempDir()}}
	for _, name := range []string{stateName, "../x.aof", "/etc/passwd", "tokens", "checkpoint-1.tmp", ""} {
		if _, _, err := n.bulk(hello{}, name, 0); err == nil {
			t.Error(name, "was given away")
		}
		if err := n.fetch(filepath.Join(t.TempDir(), "in"), "", &offer{Files: []offerFile{{Name: name, Size: 1}}}); err == nil {
			t.Error(name, "was taken")
		}
	}
	if err := n.fetch(filepath.Join(t.TempDir(), "in"), "", &offer{Files: []offerFile{{"1.aof", 1, "/../../x"}}}); err == nil {
		t.Error("a path was taken for an id")
	}
}
