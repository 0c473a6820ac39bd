package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"ayder/aof"
	"ayder/internal/backup"
	"ayder/internal/testkit/proc"
)

// What goes wrong with backups: clients and servers that are killed, files that change, disks that are damaged or full, and what puts a log
// together again.

// stocked is a server with some full segments and a bit of everything.
func stocked(t *testing.T) *backupTest {
	t.Helper()
	b := newBackupTest(t, proc.Run(t, proc.Options{Args: smallSegments}))
	b.change(1)
	for body := bytes.Repeat([]byte("load"), 10_000); len(b.now().Pieces) <= 5; {
		for i := range 50 {
			mustProduce(t, b.c, "churn", i%2, body)
		}
	}
	b.change(2)
	b.list()
	return b
}

// stopped ends the server and returns its directory's digest.
func (b *backupTest) stopped() []byte {
	b.Helper()
	if _, err := b.server.Terminate(proc.HangGuard); err != nil {
		b.Fatal(err)
	}
	return digest(b.T, b.server.Dir)
}

// proxy stands before a server and calls at when the n-th file is asked for.
func proxy(t *testing.T, addr string, n int64, at func()) string {
	t.Helper()
	forward := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: addr})
	forward.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusServiceUnavailable) }
	var asked atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/admin/backup/") && asked.Add(1) == n {
			at()
		}
		forward.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// A client that is killed has made no point, and the next run goes on where it was.
func TestBackupClientIsKilled(t *testing.T) {
	t.Parallel()
	b := stocked(t)
	want := show(t, b.server.Addr)
	cmd := exec.CommandContext(t.Context(), proc.Binary(t), "backup", b.dest)
	killed := make(chan struct{})
	through := proxy(t, b.server.Addr, 6, func() {
		if err := cmd.Process.Kill(); err != nil {
			t.Error(err)
		}
		<-killed
	})
	cmd.Env = append(proc.Environment(), "AYDER_SERVER="+through)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("it ended well")
	}
	close(killed)
	if out, code := ayder(t, nil, "restore", b.dest, filepath.Join(t.TempDir(), "x")); code == 0 || !strings.Contains(out, "has no backup.json") {
		t.Errorf("an interrupted backup passes for one: %d %s", code, out)
	}
	if out := b.backup(); strings.Contains(out, " 0 bytes of what was there") {
		t.Errorf("everything was fetched again: %s", out)
	}
	same(t, "restored", b.restored(), want)
}

// A server that is killed and comes back is waited for.
func TestBackupServerIsKilled(t *testing.T) {
	t.Parallel()
	b := stocked(t)
	want := show(t, b.server.Addr)
	through := proxy(t, b.server.Addr, 5, func() {
		if err := b.server.Kill(); err != nil {
			t.Error(err)
		}
		b.server = b.server.Again(t)
	})
	mustAsk(t, strings.TrimPrefix(through, "http://"), "", "backup", b.dest)
	same(t, "restored", b.restored(), want)
}

// failing is a log that cannot be read from some read on.
type failing struct {
	*backup.Offline
	left int
}

var errBrokenOff = errors.New("broken off")

func (f *failing) Read(ctx context.Context, p *aof.Piece, b []byte, off int64) (int, error) {
	if f.left--; f.left < 0 {
		return 0, errBrokenOff
	}
	return f.Offline.Read(ctx, p, b[:min(len(b), 300_000)], off)
}

// Broken off after every read in turn, the runs together copy what one would have, each of them more than the one before.
func TestBackupIsBrokenOffEverywhere(t *testing.T) {
	t.Parallel()
	b := stocked(t)
	want := b.stopped()
	src, err := backup.OpenOffline(b.server.Dir)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	runs, had := 0, int64(-1)
	for ; ; runs++ {
		_, err := backup.Run(t.Context(), &failing{src, 3}, b.dest, backup.Options{})
		if err == nil {
			break
		}
		if !errors.Is(err, errBrokenOff) {
			t.Fatal(runs, err)
		}
		has := bytesIn(t, b.dest, "")
		if has <= had {
			t.Fatalf("run %d left %d bytes, the one before it %d", runs, has, had)
		}
		had = has
	}
	if runs < 10 {
		t.Errorf("only %d runs were broken off", runs)
	}
	dir := filepath.Join(t.TempDir(), "restored")
	if _, err := backup.Restore(b.dest, dir, backup.Target{}); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(digest(t, dir), want) {
		t.Error("the states differ")
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if _, err := backup.Run(ended, src, filepath.Join(t.TempDir(), "other"), backup.Options{}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// flipBit changes one bit of a file.
func flipBit(t *testing.T, path string, at int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, 1)
	if _, err = f.ReadAt(b, at); err == nil {
		b[0] ^= 8
		_, err = f.WriteAt(b, at)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A bit that has changed in any file of a backup is found, by that file's name, before anything is written.
func TestRestoreRefusesDamage(t *testing.T) {
	t.Parallel()
	b := stocked(t)
	b.backup()
	files, err := filepath.Glob(filepath.Join(b.dest, "*[.@]*"))
	if err != nil || len(files) < 6 {
		t.Fatal(files, err)
	}
	l, err := backup.Load(b.dest)
	if err != nil {
		t.Fatal(err)
	}
	newest := uint64(0)
	for _, f := range l.Files {
		if f.IsCheckpoint() {
			newest = max(newest, f.Last)
		}
	}
	for _, path := range files {
		if strings.Contains(path, "checkpoint-") && !strings.Contains(path, fmt.Sprintf("%020d", newest)) {
			continue // the end does not need it
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		flipBit(t, path, info.Size()/2)
		dir := filepath.Join(t.TempDir(), "x")
		if _, err := backup.Restore(b.dest, dir, backup.Target{}); !errors.Is(err, backup.ErrDamaged) || !strings.Contains(err.Error(), filepath.Base(path)) {
			t.Errorf("%s: %v", filepath.Base(path), err)
		}
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("%s: the directory was made", filepath.Base(path))
		}
		flipBit(t, path, info.Size()/2)
	}
	// What was lost is fetched again.
	if err := os.Remove(files[0]); err != nil {
		t.Fatal(err)
	}
	if out := b.backup(); strings.Contains(out, "fetched 0 files") {
		t.Error(out)
	}
	if _, err := backup.Restore(b.dest, filepath.Join(t.TempDir(), "x"), backup.Target{}); err != nil {
		t.Error(err)
	}
}

// A directory has one backup of one log, and one writer.
func TestBackupIntoTheWrongPlace(t *testing.T) {
	t.Parallel()
	b := stocked(t)
	b.backup()
	lock, err := aof.OS().Lock(b.dest)
	if err != nil {
		t.Fatal(err)
	}
	if out, code := ask(t, b.server.Addr, "", "backup", b.dest); code != 1 || !strings.Contains(out, "another backup") {
		t.Errorf("two at once: %d %s", code, out)
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	other := proc.Run(t, proc.Options{})
	mustProduce(t, other.Connect(t), "t", 0, []byte("x"))
	if out, code := ask(t, other.Addr, "", "backup", b.dest); code != 1 || !strings.Contains(out, "another log") {
		t.Errorf("another log: %d %s", code, out)
	}
	full := t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "letter.txt"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, code := ask(t, b.server.Addr, "", "backup", full); code != 1 || !strings.Contains(out, "letter.txt") {
		t.Errorf("a directory in use: %d %s", code, out)
	}
	// What is restored is another log, too.
	dir := filepath.Join(t.TempDir(), "restored")
	if _, err := backup.Restore(b.dest, dir, backup.Target{}); err != nil {
		t.Fatal(err)
	}
	src, err := backup.OpenOffline(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	if _, err := backup.Run(t.Context(), src, b.dest, backup.Options{}); !errors.Is(err, backup.ErrForeign) {
		t.Error(err)
	}
}

// Of the newest points there are as many as are asked for, and no file that none of them needs.
func TestBackupKeepsPoints(t *testing.T) {
	t.Parallel()
	b := stocked(t)
	for range 4 {
		b.change(3)
		b.backup()
	}
	b.change(4)
	b.backup("--keep", "2")
	l, err := backup.Load(b.dest)
	if err != nil || len(l.Points) != 2 {
		t.Fatalf("%+v %v", l.Points, err)
	}
	entries, err := os.ReadDir(b.dest)
	if err != nil || len(entries) != len(l.Files)+2 {
		t.Errorf("%d files, %d are listed: %v %v", len(entries), len(l.Files), entries, err)
	}
	b.restored("--index", fmt.Sprint(l.Points[0].Index))
	if out, code := ask(t, b.server.Addr, "", "backup", b.dest, "--keep", "-1"); code != 2 {
		t.Errorf("%d %s", code, out)
	}
}

// segmentsOf lists a directory's segments.
func segmentsOf(t *testing.T, dir string) []string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(dir, "*.aof"))
	if err != nil || len(all) < 4 {
		t.Fatal(all, err)
	}
	slices.Sort(all)
	return all
}

// mustRepair runs ayder repair.
func mustRepair(t *testing.T, status int, want string, args ...string) string {
	t.Helper()
	out, code := ayder(t, nil, append([]string{"repair"}, args...)...)
	if code != status || !strings.Contains(out, want) {
		t.Fatalf("repair %v: %d, want %d and %q:\n%s", args, code, status, want, out)
	}
	return out
}

// Whatever a backup has is put in the place of what is damaged.
func TestRepairFromABackup(t *testing.T) {
	t.Parallel()
	b := stocked(t)
	b.backup()
	b.change(3)
	mustRepair(t, 1, "in use", b.server.Dir)
	want, dir := b.stopped(), b.server.Dir
	mustRepair(t, 0, "\nok\n", dir)
	all := segmentsOf(t, dir)
	sealed, last := all[1], all[len(all)-1]
	for _, c := range []struct {
		name   string
		damage func()
	}{
		{"a frame", func() { flipBit(t, sealed, 200_000) }},
		{"frames of several segments", func() { flipBit(t, sealed, 100_000); flipBit(t, all[2], 300_000); flipBit(t, last, 4200) }},
		{"a header", func() { flipBit(t, sealed, 30) }},
		{"the last header", func() { flipBit(t, last, 30) }},
		{"a missing segment", func() { must(t, os.Remove(sealed)) }},
		{"a short one", func() { must(t, os.Truncate(sealed, 1_000_000)) }},
		{"all checkpoints", func() {
			cs, _ := filepath.Glob(filepath.Join(dir, "*.ckp"))
			for _, c := range cs {
				flipBit(t, c, 100)
			}
			flipBit(t, sealed, 5000)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.damage()
			mustRepair(t, 3, "nothing was changed", dir, "--from", b.dest)
			mustRepair(t, 3, "damage", dir)
			mustRepair(t, 0, "from the backup: ", dir, "--from", b.dest, "--yes")
			mustRepair(t, 0, "\nok\n", dir)
			if !bytes.Equal(digest(t, dir), want) {
				t.Error("the state is another one")
			}
		})
	}
	aside, err := os.ReadDir(filepath.Join(dir, "quarantine"))
	if err != nil || len(aside) < 7 {
		t.Errorf("%v %v", aside, err)
	}
	mustRepair(t, 2, "usage", dir, dir)
	mustRepair(t, 2, "say how", dir, "--yes")
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A cut says what it loses, loses that, and keeps the files.
func TestRepairByACut(t *testing.T) {
	t.Parallel()
	b := stocked(t)
	b.stopped()
	dir := b.server.Dir
	all := segmentsOf(t, dir)
	flipBit(t, all[2], 400_000)
	told := mustRepair(t, 3, "a cut loses: churn partition 0, offsets ", dir, "--cut")
	for _, want := range []string{"a cut: the log ends before index", "churn partition 1", "kept partition 0", "nothing was changed"} {
		if !strings.Contains(told, want) {
			t.Errorf("%q is not in\n%s", want, told)
		}
	}
	mustRepair(t, 0, "\nok\n", dir, "--cut", "--yes")
	s := b.server.Again(t)
	for p := range 2 {
		var lost, end uint64
		_, line, _ := strings.Cut(told, fmt.Sprintf("churn partition %d, offsets ", p))
		if _, err := fmt.Sscanf(line, "%d to %d", &lost, &end); err != nil {
			t.Fatal(err, line)
		}
		c := s.Connect(t)
		n, err := c.Each("churn", p, 0, func(*proc.Message) error { return nil })
		if err != nil || n != lost {
			t.Errorf("partition %d ends with %d, said was %d: %v", p, n, lost, err)
		}
	}
	for _, path := range all[2:] {
		if _, err := os.Stat(filepath.Join(dir, "quarantine", filepath.Base(path))); err != nil {
			t.Error(err)
		}
	}
}

// Any node of a cluster can be asked; what it has becomes a single node's log, or a new cluster's first node.
func TestBackupOfAClustersFollower(t *testing.T) {
	t.Parallel()
	g := runGroup(t, 3, proc.Options{})
	c, err := proc.Dial(g.leader().http)
	if err != nil {
		t.Fatal(err)
	}
	b := &backupTest{T: t, c: c, server: g.leader().Server, dest: filepath.Join(t.TempDir(), "dest")}
	b.fill()
	b.change(1)
	stop := b.load()
	follower := g.others(g.leader())[0]
	deadline(t, "some segments are full", func() bool {
		mustAsk(t, follower.http, "", "backup", b.dest)
		l, err := backup.Load(b.dest)
		return err == nil && len(l.Files) > 4
	})
	stop()
	b.change(2)
	b.list()
	index := b.now().Index
	deadline(t, "the follower has it all", func() bool {
		s, err := follower.status()
		return err == nil && s.Applied >= index
	})
	want := show(t, g.leader().http)
	mustAsk(t, follower.http, "", "backup", b.dest)
	same(t, "a single node", b.restored("--index", fmt.Sprint(index)), want)

	// A node's directory that was stopped says the same.
	if _, err := follower.Terminate(proc.HangGuard); err != nil {
		t.Fatal(err)
	}
	mustAsk(t, follower.http, "", "backup", b.dest, "--data-dir", follower.Dir)
	same(t, "of its directory", b.restored("--index", fmt.Sprint(index)), want)

	dir := filepath.Join(t.TempDir(), "founder")
	if _, err := backup.Restore(b.dest, dir, backup.Target{}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "raft.state")); err == nil {
		t.Error("the restored directory knows a cluster")
	}
	again := newGroup(t, 3, proc.Options{})
	must(t, os.CopyFS(again.nodes[0].options.Dir, os.DirFS(dir)))
	again.start(again.nodes...)
	var leads visible
	again.eventually("a leader shows everything", func() bool {
		leads = show(t, again.leader().http)
		return leads["churn/0"] != ""
	})
	for _, path := range []string{"churn/0", "churn/1", "kept/0", "/broker/groups", "/broker/schemas"} {
		if leads[path] != want[path] {
			t.Errorf("the new cluster: %s differs", path)
		}
	}
}
