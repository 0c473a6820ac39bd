package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ayder/internal/testkit/proc"
)

// A disk that runs full is not a failure: writes are refused with 507 until there is room again, reads go on,
// and what was acknowledged is there, whatever happens in between. It needs root, to have a small disk of its
// own: once in memory, where direct writes do not exist, and once as ext4.

const (
	diskBytes    = 96 << 20
	ballastBytes = 32 << 20
	pieceBytes   = 200_000
)

// eachDisk runs a test on every small disk with every backend.
func eachDisk(t *testing.T, test func(t *testing.T, d *proc.Disk, o proc.Options)) {
	t.Helper()
	if err := proc.DiskTools(); err != nil {
		t.Skip("no disk to fill here: ", err)
	}
	for kind, make := range map[string]func(string, int64) (*proc.Disk, error){"tmpfs": proc.NewMemoryDisk, "ext4": proc.NewDisk} {
		t.Run(kind, func(t *testing.T) {
			eachBackendAtOnce(t, func(t *testing.T, o proc.Options) {
				d, err := make(t.TempDir(), diskBytes)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() {
					if err := d.Remove(); err != nil {
						t.Error(err)
					}
				})
				o.Dir = filepath.Join(d.Mount, "data")
				o.Args = smallSegments
				test(t, d, o)
			})
		})
	}
}

// putBallast takes room that removing the file gives back.
func putBallast(t *testing.T, d *proc.Disk) (path string) {
	t.Helper()
	path = filepath.Join(d.Mount, "ballast")
	if err := os.WriteFile(path, make([]byte, ballastBytes), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// fill produces until the disk is full and returns how many messages are stored.
func fill(t *testing.T, c *proc.Client, from int) (count int) {
	t.Helper()
	for count = from; ; count++ {
		r, err := c.Post("/broker/topics/fill/produce?partition=0", counted(count, pieceBytes))
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case r.Status == 507:
			mustBeDiskFull(t, &r)
			return count
		case r.Status != 200:
			t.Fatalf("message %d: %s", count, r.String())
		case (count-from)*pieceBytes > 2*diskBytes:
			t.Fatalf("%d messages in %d bytes", count, diskBytes)
		}
	}
}

func mustBeDiskFull(t *testing.T, r *proc.Response) {
	t.Helper()
	if r.ErrorCode() != "disk_full" || r.Header.Get("Retry-After") == "" {
		t.Errorf("%s, Retry-After %q", r.String(), r.Header.Get("Retry-After"))
	}
}

// resume produces until a message is taken: the next one.
func resume(t *testing.T, c *proc.Client, number int) {
	t.Helper()
	for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		r, err := c.Post("/broker/topics/fill/produce?partition=0", counted(number, pieceBytes))
		if err != nil {
			t.Fatal(err)
		}
		if r.Status == 200 {
			if !strings.Contains(string(r.Body), fmt.Sprintf(`"offset":%d,`, number)) {
				t.Fatalf("message %d: %s", number, r.String())
			}
			return
		}
		if r.Status != 507 || time.Since(began) > proc.HangGuard {
			t.Fatalf("after space was freed: %s", r.String())
		}
	}
}

// mustHold reads everything back.
func mustHold(t *testing.T, c *proc.Client, count int) {
	t.Helper()
	for i := range count {
		mustFind(t, c, "fill", 0, uint64(i), counted(i, pieceBytes))
	}
	p, err := c.Consume("fill", 0, uint64(count), "")
	if err != nil || p.Count != 0 || p.Next != uint64(count) {
		t.Errorf("behind the last message: %+v, %v", p, err)
	}
}

func TestFullDisk(t *testing.T) {
	t.Parallel()
	eachDisk(t, func(t *testing.T, d *proc.Disk, o proc.Options) {
		s := proc.Run(t, o)
		c := s.Connect(t)
		ballast := putBallast(t, d)
		count := fill(t, c, 0)
		mustHold(t, c, count)
		if status, err := s.Ready(); err != nil || status != 200 && status != 503 {
			t.Errorf("/ready while the disk is full: %d, %v", status, err)
		}
		again := fill(t, c, count) // at most a few small ones more, and it stays an answer
		t.Logf("%d messages of %d bytes on %d MiB, %d after the first refusal", again, pieceBytes, (diskBytes-ballastBytes)>>20, again-count)
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
		resume(t, c, again)
		more := fill(t, c, again+1)
		if more == again+1 {
			t.Error("only one message was taken although space was freed")
		}
		mustKill(t, s)
		s = s.Again(t) // while the disk is full
		c = s.Connect(t)
		mustHold(t, c, more)
		fill(t, c, more)
		c.Close() // a stop waits for clients that do not
		mustStop(t, s)
		if out, code := ayder(t, nil, "check", o.Dir); code != 0 {
			t.Errorf("check: exit status %d: %s", code, out)
		}
	})
}

// A server that is started on a full disk serves what is there, and takes writes when there is room.
func TestStartOnAFullDisk(t *testing.T) {
	t.Parallel()
	eachDisk(t, func(t *testing.T, d *proc.Disk, o proc.Options) {
		s := proc.Run(t, o)
		c := s.Connect(t)
		for i := range 10 {
			mustProduce(t, c, "fill", 0, counted(i, pieceBytes))
		}
		mustKill(t, s)
		ballast := filepath.Join(d.Mount, "ballast")
		f, err := os.Create(ballast)
		if err != nil {
			t.Fatal(err)
		}
		for zeros := make([]byte, 64<<10); err == nil; {
			_, err = f.Write(zeros)
		}
		if err := f.Close(); err != nil {
			t.Logf("closing the ballast: %v", err) // ext4 may tell of the full disk once more
		}
		s = s.Again(t)
		c = s.Connect(t)
		mustHold(t, c, 10)
		count := fill(t, c, 10)
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
		resume(t, c, count)
		mustHold(t, c, count+1)
		mustKill(t, s)
		mustHold(t, s.Again(t).Connect(t), count+1)
	})
}
