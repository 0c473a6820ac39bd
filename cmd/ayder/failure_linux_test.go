package main

import (
	"path/filepath"
	"testing"

	"ayder/internal/testkit/proc"
)

// The log may also stop between two writes: here the thread that waits for room on a full disk meets a dead one.
// /ready must say so as it does after a failed write, and reading goes on.
func TestDiskThatDiesBetweenWrites(t *testing.T) {
	t.Parallel()
	if err := proc.DiskTools("xfs_io"); err != nil {
		t.Skip("no disk to shut down here: ", err)
	}
	eachBackend(t, func(t *testing.T, o proc.Options) {
		d, err := proc.NewDisk(t.TempDir(), diskBytes)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := d.Remove(); err != nil {
				t.Error(err)
			}
		})
		o.Dir = filepath.Join(d.Mount, "data")
		o.Args = []string{"--segment-bytes", "4MiB", "--body-bytes", "1MiB"}
		s := proc.Run(t, o)
		c := s.Connect(t)
		count := fill(t, c, 0)
		if err := d.Shutdown(false); err != nil {
			t.Fatal(err)
		}
		if err := s.WaitLog("log stopped", proc.HangGuard); err != nil {
			t.Fatal(err)
		}
		mustRefuseWrites(t, s, c)
		mustFind(t, c, "fill", 0, uint64(count-1), counted(count-1, pieceBytes))
		mustKill(t, s)
		if err := d.Remount(); err != nil {
			t.Fatal(err)
		}
		mustHold(t, s.Again(t).Connect(t), count)
	})
}

func mustRefuseWrites(t *testing.T, s *proc.Server, c *proc.Client) {
	t.Helper()
	for range 3 {
		r, err := c.Post("/broker/topics/fill/produce?partition=0", []byte("x"))
		if err != nil || r.Status != 500 || r.ErrorCode() != "storage_failed" {
			t.Errorf("a write: %s, %v", r.String(), err)
		}
		if status, err := s.Ready(); err != nil || status != 503 {
			t.Errorf("/ready: %d, %v", status, err)
		}
	}
}
